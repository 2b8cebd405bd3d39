"""Edit: change one setting in the operator's file and leave everything else as it was written.

Comments, order and quoting survive (ruamel.yaml's round trip). The new text is read as the whole
configuration before the file is touched, and replaces it by a rename, so that neither a refused
value nor a crash can leave half a file.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, MutableMapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from rwsplit.config.loader import parse, read_text, yaml_problem
from rwsplit.config.model import Address, Config
from rwsplit.config.scalars import Invalid, address
from rwsplit.errors import ConfigError


def set_value(
    path: Path,
    setting: str,
    text: str,
    *,
    approve: Callable[[Config], object] | None = None,
) -> Config:
    """Write *text*, a YAML value, as the *setting* (`consistency.max_lag`) of the file *path*.

    Return the configuration the file now holds. What *approve* raises about it leaves the file as it is.

    Raises:
        ConfigError: the file cannot be read or written, or would have problems; it is unchanged.
    """
    path = path.resolve()
    new = edited(read_text(path), setting, text, path=path)
    config = parse(new, path=path)
    if approve is not None:
        approve(config)
    _replace(path, new)
    return config


def edited(document: str, setting: str, text: str, *, path: Path | None = None) -> str:
    """Return the YAML *document* with *setting* changed to the YAML value *text*.

    Raises:
        ConfigError: one of them is not YAML, or the setting's place is taken by something else.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    try:
        tree, indent, offset = load_yaml_guess_indent(document, yaml=yaml)
    except YAMLError as exc:
        raise yaml_problem(exc, path) from None
    try:
        value = YAML().load(text)
    except YAMLError:
        raise ConfigError([f"{setting}: not a YAML value: {text!r}"]) from None
    if tree is None:
        tree = {}
    _assign(tree, setting, value)

    # `offset` is that of the dash within its indentation, as in "  - a".
    if indent is not None:
        yaml.map_indent = indent
    if offset:
        yaml.sequence_indent, yaml.sequence_dash_offset = offset + 2, offset
    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _assign(tree: Any, setting: str, value: Any) -> None:
    *sections, name = setting.split(".")
    if not all([*sections, name]):
        raise ConfigError(
            [f"{setting or 'the path'}: must be a path such as consistency.max_lag"]
        )
    here = tree
    for depth, section in enumerate(sections):
        place = ".".join(sections[: depth + 1])
        if not isinstance(here, MutableMapping):
            raise ConfigError([f"{place}: the file has no settings there"])
        if here.get(section) is None:
            here[section] = {}
        elif place.startswith("nodes.") and isinstance(here[section], str):
            here[section] = _spelt_out(place, here[section])
        here = here[section]
    if not isinstance(here, MutableMapping):
        raise ConfigError([f"{setting}: the file has no settings there"])
    here[name] = value


def _spelt_out(place: str, text: str) -> dict[str, Any]:
    """Return a node's short form as the mapping that has room for more settings."""
    try:
        where = address(text, Address, port=5432)
    except Invalid as exc:
        raise ConfigError([f"{place}: {exc}"]) from None
    return {"host": where.host, "port": where.port}


def _replace(path: Path, text: str) -> None:
    """Replace the file *path* by *text* at once, with the same mode, owner and group."""
    try:
        status = path.stat()
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(stat.S_IMODE(status.st_mode))
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                _chown(name, status)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be written: {exc.strerror}"]) from None


def _chown(name: str, status: os.stat_result) -> None:
    """Give the file *name* the owner and group of *status*."""
    try:
        os.chown(name, status.st_uid, status.st_gid)
    except PermissionError as exc:
        raise PermissionError(
            exc.errno,
            f"it belongs to user {status.st_uid}, group {status.st_gid}, and rwsplit runs as "
            f"user {os.geteuid()}, group {os.getegid()}: chown it to those",
        ) from None
