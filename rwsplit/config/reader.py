"""Reader: from a tree of plain values to the model's classes, recording everything that is wrong.

cattrs dispatches on the model's types. Its own treatment of classes stops at a class's first invalid
value, so sections have a hook of ours: it records what is wrong with one setting, goes on with its
default, and so the later settings, and the checks between settings, still have their say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import attrs
import cattrs

from rwsplit.config.checks import Problem
from rwsplit.config.model import (
    Address,
    Bytes,
    Config,
    NodeConfig,
    OverrideConfig,
    PoolConfig,
    Seconds,
)
from rwsplit.config.scalars import (
    Invalid,
    address,
    boolean,
    choice,
    duration,
    expected,
    nearest,
    shortened,
    shown,
    size,
    text,
    whole_number,
)
from rwsplit.config.settings import all_settings, bare_type, fields

#: Problems after which reading stops.
MOST_PROBLEMS: Final = 100


class _Unusable(Exception):
    """A value that was reported and has no default to go on with."""


class _Hopeless(Exception):
    """There are more than MOST_PROBLEMS: probably another file was meant."""


class Reader:
    """One reading: where it stands in the tree, and what it has found wrong so far."""

    def __init__(self, base: Path) -> None:
        self.problems: list[Problem] = []
        self._base = base
        self._path: list[str] = []
        self._converter = converter = cattrs.Converter(detailed_validation=False)
        converter.register_structure_hook_func(lambda kind: kind is Seconds, duration)
        converter.register_structure_hook_func(lambda kind: kind is Bytes, size)
        converter.register_structure_hook(bool, boolean)
        converter.register_structure_hook(int, whole_number)
        converter.register_structure_hook(str, text)
        converter.register_structure_hook_func(_is_enum, choice)
        converter.register_structure_hook(Path, self._file)
        converter.register_structure_hook(Address, address)
        converter.register_structure_hook_func(_is_section, self._section)
        converter.register_structure_hook_func(_is_tuple, self._sequence)

    def read_config(self, tree: Any) -> Config:
        """Return *tree* as a configuration, with defaults for what is missing or was reported."""
        try:
            config: Config = self._read(Config, tree)
        except Invalid as exc:
            self.report(str(exc))
            return Config()
        except _Unusable:
            return Config()
        except _Hopeless:
            self.problems.append(("", f"has more than {MOST_PROBLEMS} problems; these first"))
            return Config()
        return config

    def report(self, sentence: str) -> None:
        """Record a problem of the present place."""
        if len(self.problems) >= MOST_PROBLEMS:
            raise _Hopeless
        path = "".join(part if part[0] == "[" else f".{part}" for part in self._path)
        self.problems.append((path.removeprefix("."), sentence))

    def _read(self, kind: Any, value: Any) -> Any:
        return self._converter.structure(value, bare_type(kind))

    @contextmanager
    def _at(self, part: str) -> Iterator[None]:
        """Stand at *part* of the present place; a ValueError inside is reported there."""
        self._path.append(part)
        try:
            yield
        except ValueError as exc:
            self.report(str(exc))
        finally:
            self._path.pop()

    def _section(self, value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Invalid(expected("settings, one `name: value` a line", value))
        known = {field.name: field for field in fields(kind) if field.name != "path"}
        given: dict[str, Any] = {}
        for key, part in value.items():
            field = known.get(key)
            with self._at(_label(key)):
                if field is None:
                    siblings = [name for name in known if name != "name" or kind not in _NAMED]
                    raise Invalid(_unknown(_label(key), siblings, top=kind is Config))
                if part is not None:
                    given[field.name] = self._value(field, part)
        lost = [
            field.name
            for field in known.values()
            if field.default is attrs.NOTHING and field.name not in given
        ]
        for name in lost:
            if name not in value:
                with self._at(name):
                    self.report("is required")
        if lost:
            raise _Unusable
        return kind(**given)

    def _value(self, field: attrs.Attribute[Any], part: Any) -> Any:
        made = self._read(field.type, part)
        if field.validator is not None:
            field.validator(None, field, made)
        return made

    def _sequence(self, value: Any, kind: Any) -> Any:
        element = get_args(kind)[0]
        if element is NodeConfig:
            return self._nodes(value)
        if element in _NAMED:
            return self._overrides(value, element)
        if isinstance(value, str) or (element is Address and isinstance(value, int)):
            value = [value]
        if not isinstance(value, list):
            raise Invalid(expected("a list", value))
        made = []
        for number, part in enumerate(value):
            with self._at(f"[{number}]"):
                try:
                    made.append(self._read(element, part))
                except _Unusable:
                    continue
        return tuple(made)

    def _nodes(self, value: Any) -> tuple[NodeConfig, ...]:
        if not isinstance(value, Mapping):
            raise Invalid(expected("nodes, one `name: host:port` a line", value))
        made = []
        names = _Names()
        for name, part in value.items():
            with self._at(_label(name)):
                try:
                    made.append(self._node(names.take(name), part))
                except _Unusable:
                    continue
        return tuple(made)

    def _overrides(self, value: Any, kind: type[OverrideConfig]) -> tuple[OverrideConfig, ...]:
        if not isinstance(value, Mapping):
            raise Invalid(expected("settings by name, one `name: {...}` a line", value))
        made: list[OverrideConfig] = []
        names = _Names()
        for name, part in value.items():
            with self._at(_label(name)):
                if not isinstance(part, Mapping):
                    raise Invalid(expected("settings, one `name: value` a line", part))
                if "name" in part:
                    raise Invalid("its name is the key, not a setting")
                try:
                    made.append(self._read(kind, {**part, "name": names.take(name)}))
                except _Unusable:
                    continue
        return tuple(made)

    def _node(self, name: str, part: Any) -> NodeConfig:
        if not isinstance(part, Mapping):
            where = address(part, Address, port=5432)
            return NodeConfig(name=name, host=where.host, port=where.port)
        if "name" in part:
            with self._at("name"):
                self.report("is the key above, not a setting")
        node: NodeConfig = self._read(NodeConfig, {**part, "name": name})
        return node

    def _file(self, value: Any, _: Any) -> Path:
        name = text(value, str)
        if not name:
            raise Invalid(expected("a path", value))
        try:
            return self._base / Path(name).expanduser()
        except RuntimeError as exc:
            raise Invalid(f"{shown(value)}: {exc}") from None


class _Names:
    """The names in one mapping; the keys `1` and `"1"` differ but are the same name."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, key: Any) -> str:
        """Return *key* as a name. Raises Invalid: it is not a name, or the mapping has that name already."""
        name = text(key, str)
        if name in self._taken:
            raise Invalid("is here twice, in two spellings")
        self._taken.add(name)
        return name


def _label(key: Any) -> str:
    """Return *key*, any YAML value, as a part of a setting's path."""
    return shortened(key) or "''" if isinstance(key, str) else shown(key)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _is_section(kind: Any) -> bool:
    return kind is not Address and isinstance(kind, type) and attrs.has(kind)


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _unknown(key: str, siblings: list[str], *, top: bool) -> str:
    """Return the sentence about an unknown *key*; it may be misspelt, or belong to another section."""
    elsewhere = sorted(
        s.path for s in all_settings() if key in {s.name, s.path.replace(".", "_")}
    )
    if key not in siblings and key in _PGBOUNCER:
        return f"unknown setting; did you mean {_PGBOUNCER[key]}?"
    if elsewhere and "NAME" not in elsewhere[0]:
        return f"unknown setting; did you mean {elsewhere[0]}?"
    if meant := nearest(key, siblings):
        return f"unknown setting{meant}"
    return "unknown setting" if top else f"unknown setting; known are {', '.join(siblings)}"


#: Sections whose `name` is the key they are found under.
_NAMED = {
    NodeConfig,
    *(
        get_args(bare_type(field.type))[0]
        for field in fields(PoolConfig)
        if get_origin(field.type) is tuple
    ),
}

#: Names of PgBouncer's that ours are not simply the path of.
_PGBOUNCER = {
    "default_pool_size": "pool.size",
    "min_pool_size": "pool.min_size",
    "reserve_pool_size": "pool.reserve_size",
    "reserve_pool_timeout": "pool.reserve_timeout",
    "max_db_connections": "pool.databases.NAME.max_db_connections",
    "max_db_client_connections": "pool.databases.NAME.max_db_client_connections",
    "max_user_connections": "pool.users.NAME.max_user_connections",
    "max_user_client_connections": "pool.users.NAME.max_user_client_connections",
}
