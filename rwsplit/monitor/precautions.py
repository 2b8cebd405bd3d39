"""Precautions: with which parameters rwsplit's own sessions begin, in databases of whoever.

The monitor's role sees more than others (pg_monitor), and the owner of a database decides what sessions there begin with: a
search path that leads to a view called `pg_settings`, an isolation level that a replica refuses. A startup parameter
beats ALTER DATABASE and ALTER ROLE. It is the second line: the first is that no query of ours needs a search path
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
    """Return the startup parameter `options` of a session that reads, and whose statements take so many seconds at most.

    *search_path* None: what the database says, which is then what is asked for.
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
