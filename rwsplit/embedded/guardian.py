"""Remove a cluster when the process that owns it ends without doing so.

`python -m rwsplit.embedded.guardian DIR` waits for the end of its standard input, a pipe whose
other end only the owner holds: the kernel closes it however the owner ends, SIGKILL included. It
runs in a session of its own, so Ctrl-C in the owner's terminal does not reach it.

Rejected: PR_SET_PDEATHSIG on the postmasters. It fires when the *thread* that started them ends,
and a worker thread of `rwsplit demo` or of a test ends long before the cluster should.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rwsplit.embedded.directory import InUse, remove_leftover


def start_guardian(directory: Path) -> subprocess.Popen[bytes]:
    """Start a guardian of *directory*; close its stdin to let it go."""
    package_parent = os.fspath(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "rwsplit.embedded.guardian", os.fspath(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONPATH": package_parent, "PATH": os.environ.get("PATH", os.defpath)},
        start_new_session=True,
    )


def release(guardian: subprocess.Popen[bytes]) -> None:
    """Tell *guardian* that there is nothing left to guard and wait for it to end."""
    assert guardian.stdin is not None
    guardian.stdin.close()
    guardian.wait()


def main() -> None:
    """Wait for the owner's end, then remove what it left."""
    directory = Path(sys.argv[1])
    while os.read(0, 1):
        pass
    try:
        if directory.is_dir():
            remove_leftover(directory)
    except InUse:  # removed and made again by another run meanwhile
        sys.exit(1)


if __name__ == "__main__":
    main()
