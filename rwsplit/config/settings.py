"""Settings: the model seen as a flat list of `section.name` paths, with what each may hold.

The loader's "did you mean", `SHOW CONFIG`, `rwsplit config get`, the comparison at a reload and the
reference are all views of these lists, so that a setting added to the model appears in every one.
Nodes, rules and overrides repeat; a path such as `nodes.NAME.weight` stands for all of them.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Final, get_args, get_origin

import attrs

from rwsplit.config.model import (
    Address,
    Bytes,
    Config,
    NodeConfig,
    OverrideConfig,
    RuleConfig,
    Seconds,
)
from rwsplit.config.units import format_duration, format_size

#: Never shown, whatever asks.
SECRETS: Final = frozenset({"monitor.password"})

#: Not written by an operator.
INTERNAL: Final = frozenset({"path"})


@attrs.frozen
class Setting:
    """One key of the YAML."""

    path: str
    type: Any
    """As in the model, without `| None`."""
    section: type
    """The class of the model it belongs to."""
    default: Any
    """`attrs.NOTHING` where it must be given."""

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.path.rpartition(".")[2]


@cache
def fields(section: type) -> tuple[attrs.Attribute[Any], ...]:
    """Return the fields of *section* with their types as objects."""
    attrs.resolve_types(section, include_extras=True)
    return tuple(attrs.fields(section))


def bare_type(kind: Any) -> Any:
    """Return *kind* without its `| None`."""
    if isinstance(kind, UnionType) or "Union" in str(get_origin(kind)):
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


@cache
def all_settings() -> tuple[Setting, ...]:
    """Return every setting, in the model's order."""
    return tuple(_walk(Config, ""))


def values(config: Config) -> dict[str, str]:
    """Return every effective setting of *config* as the YAML would write it; secrets as `****`."""
    found: dict[str, str] = {}
    for setting in all_settings():
        if setting.section is NodeConfig:
            continue
        value: Any = config
        for part in setting.path.split("."):
            value = getattr(value, part)
        found[setting.path] = (
            "****" if setting.path in SECRETS and value else render(value, setting)
        )
    for node in config.nodes:
        found[f"nodes.{node.name}"] = _render_node(node)
    return found


def render(value: Any, setting: Setting | None = None) -> str:
    """Return *value* as the YAML would write it; None as nothing."""
    kind = setting.type if setting else None
    if value is None:
        return ""
    if kind is Seconds:
        return format_duration(value)
    if kind is Bytes:
        return format_size(value)
    if isinstance(value, tuple) and value and isinstance(value[0], OverrideConfig):
        return f"{{{', '.join(map(_render_override, value))}}}"
    if isinstance(value, tuple):
        texts = [render(part) for part in value]
        return texts[0] if len(texts) == 1 and kind == tuple[Address, ...] else _brackets(texts)
    return _render_one(value)


def _walk(section: type, prefix: str) -> list[Setting]:
    found = []
    for field in fields(section):
        path, kind = prefix + field.name, bare_type(field.type)
        if path in INTERNAL:
            continue
        if kind == tuple[NodeConfig, ...]:
            found += [s for s in _walk(NodeConfig, f"{path}.NAME.") if s.name != "name"]
        elif attrs.has(kind):
            found += _walk(kind, f"{path}.")
        else:
            found.append(Setting(path, kind, section, field.default))
    return found


def _render_node(node: NodeConfig) -> str:
    address = render(Address(host=node.host, port=node.port))
    extra = f" weight {node.weight}" if node.weight != 1 else ""
    return address + extra + (" backup" if node.backup else "")


def _render_override(override: OverrideConfig) -> str:
    kind: type = type(override)
    texts = []
    for field in fields(kind):
        value = getattr(override, field.name)
        if field.name != "name" and value is not None:
            is_duration = bare_type(field.type) is Seconds
            text = format_duration(value) if is_duration else _render_one(value)
            texts.append(f"{field.name}: {text}")
    return f"{override.name}: {{{', '.join(texts)}}}"


def _render_one(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Enum():
            return str(value.value)
        case Address(host=host, port=port):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case RuleConfig():
            given = attrs.asdict(value, filter=lambda _, part: part is not None)
            return "{" + ", ".join(f"{name}: {part}" for name, part in given.items()) + "}"
        case _:
            return str(value)


def _brackets(texts: list[str]) -> str:
    return f"[{', '.join(texts)}]"
