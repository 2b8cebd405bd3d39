"""Overrides: what holds for one database and user, out of `pool`, `pool.databases` and `pool.users`.

As in PgBouncer, a user's setting overrides its database's, which overrides the global one.
Limits are no settings of a pool: they count what a database or a user has altogether, so the entry called `*`
gives one to each database or user that has no limit of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import attrs

from rwsplit.config.model import OverrideConfig, PoolConfig

#: The name that stands for every other one.
EVERY: Final = "*"
#: Settings of a pool that a database or a user may have for itself.
OVERRIDABLE: Final = tuple(
    field.name for field in attrs.fields(OverrideConfig) if field.name != "name"
)


def pool_config(config: PoolConfig, database: str, user: str) -> PoolConfig:
    """Return the settings of the pools of *user* for *database*."""
    given: dict[str, Any] = {}
    for override in (find(config.databases, database), find(config.users, user)):
        if override is not None:
            values = ((name, getattr(override, name)) for name in OVERRIDABLE)
            given |= {name: value for name, value in values if value is not None}
    return attrs.evolve(config, **given) if given else config


def limit(overrides: Iterable[OverrideConfig], name: str, setting: str) -> int:
    """Return the limit called *setting* of the database or user called *name*; 0: there is none."""
    known = {override.name: getattr(override, setting) for override in overrides}
    found: int | None = known.get(name)
    if found is None:
        found = known.get(EVERY)
    return found or 0


def find(overrides: Iterable[OverrideConfig], name: str) -> OverrideConfig | None:
    """Return the override of the database or user called *name*."""
    return next((o for o in overrides if o.name == name and name != EVERY), None)
