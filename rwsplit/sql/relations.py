"""Relations PostgreSQL brings along: which of them answer differently on each node or in each session.

Catalogs proper (pg_class, pg_type...) are replicated like any table, so psql's `\\d` may run on a replica.
Statistics, locks, slots and settings are views over one node's memory: asked through rwsplit, which stands for
the primary, they must come from the primary. pg_cursors and its like are views over one session.

Not here: what a name of the user's own stands for (a view, a temporary or unlogged table); that
needs the catalog of the database.
"""

from __future__ import annotations

import re
from typing import Final

from rwsplit.sql.statement import PrimaryOnly

_SESSION: Final = frozenset(
    {"pg_cursors", "pg_prepared_statements", "pg_backend_memory_contexts"},
)
_NODE: Final = frozenset(
    {
        "pg_aios",
        "pg_file_settings",
        "pg_hba_file_rules",
        "pg_ident_file_mappings",
        "pg_locks",
        "pg_prepared_xacts",
        "pg_replication_origin_status",
        "pg_replication_slots",
        "pg_sequences",
        "pg_settings",
        "pg_shmem_allocations",
        "pg_shmem_allocations_numa",
    }
)
_TEMPORARY: Final = re.compile(r"pg_temp(_[0-9]+)?(\.|\Z)")
_NODE_PREFIXES: Final = ("pg_stat_", "pg_statio_")


def is_catalog(relation: str) -> bool:
    """Say whether *relation* (`name` or `schema.name`) is PostgreSQL's own."""
    schema, _, name = relation.rpartition(".")
    return schema in {"pg_catalog", "information_schema"} or (
        not schema and name.startswith("pg_")
    )


def is_temporary(relation: str) -> bool:
    """Say whether *relation* names the session's temporary schema."""
    return _TEMPORARY.match(relation) is not None


def relation_needs(relation: str) -> PrimaryOnly | None:
    """Return why *relation* may not be read on any replica, None where nothing is known against it."""
    schema, _, name = relation.rpartition(".")
    if is_temporary(relation):
        return PrimaryOnly.SESSION_STATE
    if schema not in {"", "pg_catalog"}:
        return None
    if name in _SESSION:
        return PrimaryOnly.SESSION_STATE
    if name in _NODE or name.startswith(_NODE_PREFIXES):
        return PrimaryOnly.NEEDS_PRIMARY
    return None
