"""Precautions: the startup parameters of rwsplit's own sessions, which make them safe in a hostile database.

The monitor's role has privileges (pg_monitor), and the owner of a database sets the defaults of its sessions: a search path
with a view called `pg_settings` in it, an isolation level that replicas refuse. A startup parameter overrides ALTER
DATABASE and ALTER ROLE. This is the second line of defence; the first is that rwsplit's queries need no search path
(`system_catalogs`).
"""

from __future__ import annotations

from typing import Final

#: The largest value of an integer parameter.
_MOST: Final = 2**31 - 1


def startup_options(
    *,
    statement_timeout: float,
    lock_timeout: float = 1.0,
    search_path: str | None = "pg_catalog",
) -> str:
    """Return the startup parameter `options` of a read-only session whose statements take at most *statement_timeout* seconds.

    *search_path* None leaves the search path to the database, for a session that asks for it.
    """
    settings = {
        "search_path": search_path,
        "default_transaction_read_only": "on",
        "default_transaction_isolation": r"read\ committed",
        "statement_timeout": str(_milliseconds(statement_timeout)),
        "lock_timeout": str(_milliseconds(lock_timeout)),
        "client_min_messages": "error",
    }
    return " ".join(f"-c {name}={value}" for name, value in settings.items() if value)


def _milliseconds(seconds: float) -> int:
    return min(_MOST, max(1, round(seconds * 1000)))
