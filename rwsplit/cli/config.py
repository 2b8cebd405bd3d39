"""`rwsplit config`: the settings in force, or those of a file; change one and reload."""

from __future__ import annotations

import difflib
import json
from typing import Annotated

import typer

from rwsplit.app.preparation import prepare
from rwsplit.cli.completion import setting_paths
from rwsplit.cli.options import ConfigFile, Json, Url
from rwsplit.cli.proxy import (
    ProxyError,
    Unreachable,
    ask,
    default_file,
    find_proxy,
    operate,
    place_from_file,
)
from rwsplit.config.edit import edit_value
from rwsplit.config.loader import parse, read_text
from rwsplit.config.settings import values
from rwsplit.errors import RwsplitError

app = typer.Typer(
    no_args_is_help=True,
    help="Show settings, or change one and reload.",
    epilog="Examples:  rwsplit config show   |   rwsplit config set consistency.max_lag 5s",
)

PathArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH", help="Such as consistency.max_lag.", autocompletion=setting_paths
    ),
]


@app.command(
    epilog="Examples:  rwsplit config show   |   rwsplit config show -c rwsplit.yaml --json"
)
def show(url: Url = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show every setting: in force in the running rwsplit, or of the file of -c."""
    settings = _settings(url, config)
    if as_json:
        print(json.dumps(settings, indent=2))
    else:
        for path, value in settings.items():
            print(f"{path}: {value}".rstrip())


@app.command(epilog="Example:  rwsplit config get consistency.max_lag")
def get(path: PathArgument, url: Url = None, config: ConfigFile = None) -> None:
    """Print one setting."""
    settings = _settings(url, config)
    if path not in settings:
        close = difflib.get_close_matches(path, settings, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise RwsplitError(f"there is no setting {path}{meant}")
    print(settings[path])


@app.command(
    "set",
    epilog="Examples:  rwsplit config set consistency.max_lag 5s   |   "
    "rwsplit config set admin.users '\\[alice, bob]' -c rwsplit.yaml",
)
def set_setting(
    path: PathArgument,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="As in YAML: 5s, 64kB, \\[a, b].")
    ],
    url: Url = None,
    config: ConfigFile = None,
) -> None:
    """Change one setting in the file, keeping its comments, and reload the running rwsplit."""
    file = config or (None if url else default_file())
    if file is None:
        for notice in operate(find_proxy(url), "SET " + _checked(path) + " = %s", [value]):
            print(notice)
        return
    edit = edit_value(file, path, value)
    prepare(edit.config)  # a value that a reload would refuse is not written
    edit.write()
    print(f"{path} is {value} in {file}")
    try:
        place = place_from_file(file)
        notices = operate(place, "RELOAD")
    except Unreachable as exc:
        print(f"not reloaded: {exc}")
        return
    except ProxyError as exc:
        raise RwsplitError(f"the file is changed, but not in force: {exc}") from None
    for notice in notices:
        print(notice)


def _settings(url: str | None, config: ConfigFile) -> dict[str, str]:
    if config is not None:
        return values(parse(read_text(config), path=config, files=False))
    place = find_proxy(url)
    return {row["key"]: row["value"] or "" for row in ask(place, "SHOW CONFIG")}


def _checked(path: str) -> str:
    """Return *path* if it cannot be more than a path in a console command."""
    if not path.replace(".", "").replace("_", "").replace("-", "").isalnum():
        raise RwsplitError(f"not a setting's path: {path!r}")
    return path
