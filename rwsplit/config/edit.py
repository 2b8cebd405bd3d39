"""Edit: change one setting in the operator's file and leave everything else as it was written.

Comments, order and quoting survive (ruamel.yaml's round trip). The new text is read as the whole
configuration before the file is touched, and replaces it by a rename, so that neither a refused
value nor a crash can leave half a file. A running rwsplit prepares the new configuration before it
writes the file (`Edit`), and restores the file byte for byte if applying the configuration fails.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import MutableMapping
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from rwsplit.config.document import MOST_DEPTH, not_understood, read_document, yaml_problem
from rwsplit.config.loader import as_text, parse, read_raw
from rwsplit.config.model import Address, Config
from rwsplit.config.scalars import Invalid, address, shown
from rwsplit.errors import ConfigError


@attrs.frozen
class Edit:
    """A file with one setting changed, before and after; nothing is written yet."""

    path: Path
    old: bytes
    new: bytes
    config: Config
    """The configuration of the new text."""

    def write(self) -> None:
        """Replace the file. Raises ConfigError: it cannot be written, and is unchanged."""
        _replace(self.path, self.new)

    def take_back(self) -> None:
        """Put the file back to what it was. Raises ConfigError: it cannot be written."""
        _replace(self.path, self.old)


def set_value(path: Path, setting: str, text: str) -> Config:
    """Write *text*, a YAML value, as the *setting* (`consistency.max_lag`) of the file *path*.

    Return the configuration the file now holds.

    Raises:
        ConfigError: the file cannot be read or written, or would have problems; it is unchanged.
    """
    edit = edit_value(path, setting, text)
    edit.write()
    return edit.config


def edit_value(path: Path, setting: str, text: str) -> Edit:
    """Return what `set_value` would write.

    Raises:
        ConfigError: the file cannot be read, or would have problems.
    """
    try:
        path = path.resolve()
    except (OSError, RuntimeError) as exc:
        raise ConfigError([f"{path}: cannot be read: {exc}"]) from None
    raw = read_raw(path)
    new = edited(as_text(raw, path), setting, text, path=path)
    return Edit(path, raw, new.encode(), parse(new, path=path))


def edited(document: str, setting: str, text: str, *, path: Path | None = None) -> str:
    """Return the YAML *document* with *setting* changed to the YAML value *text*.

    Raises:
        ConfigError: one of them is not YAML, or the setting's place is taken by something else.
    """
    try:
        return _edited(document, setting, text, path)
    except ConfigError:
        raise
    except Exception as exc:
        raise not_understood(exc, setting) from exc


def _edited(document: str, setting: str, text: str, path: Path | None) -> str:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.max_depth = MOST_DEPTH
    read_document(document, path)
    try:
        tree, indent, offset = load_yaml_guess_indent(document, yaml=yaml)
    except YAMLError as exc:
        raise yaml_problem(exc, path) from None
    try:
        read_document(text)
        value = YAML().load(text)
    except (YAMLError, ConfigError):
        raise ConfigError([f"{setting}: not a YAML value: {shown(text)}"]) from None
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


def _replace(path: Path, data: bytes) -> None:
    """Replace the file *path* by *data* at once, with the same mode, owner and group. Raises ConfigError."""
    try:
        status = path.stat()
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
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
