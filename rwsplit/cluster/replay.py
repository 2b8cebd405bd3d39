"""Replay: what keeps a replica from replaying at once what it has received, by its own words.

It may be paused (by an operator, or by PostgreSQL itself, which says so in its log), or told to wait so long with each
commit. Such a replica streams and is healthy, but its answers, and what it knows of roles and privileges, are old.
"""

from __future__ import annotations

from typing import Final

import attrs

#: Asks a node for one text, as `read_replay` takes it.
QUERY: Final = """
SELECT pg_catalog.concat_ws(
    ' ',
    CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused()::int ELSE 0 END,
    setting,
    pg_catalog.current_setting(name)
)
FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'recovery_min_apply_delay'
"""
#: How a delay is ended.
_WITHOUT_DELAY: Final = "ALTER SYSTEM SET recovery_min_apply_delay = 0; SELECT pg_reload_conf()"


@attrs.frozen
class Replay:
    """How a node replays; a primary replays nothing, and nothing keeps it from that."""

    paused: bool = False
    delay: float = 0.0
    """Seconds by which it replays commits later, at least (recovery_min_apply_delay)."""
    delay_words: str = "0"
    """The same as PostgreSQL writes it."""

    def held_up(self) -> tuple[str, str] | None:
        """Return why it has not replayed all that it has received, and what to do about it on that node, in words.

        None: it is nothing but slow.
        """
        if self.paused:
            return "its replay is paused", "SELECT pg_wal_replay_resume()"
        if self.delay:
            return f"it has recovery_min_apply_delay = {self.delay_words}", _WITHOUT_DELAY
        return None


def read_replay(text: str) -> Replay:
    """Return what the answer to QUERY says; of an empty one that nothing is known to hold it up."""
    if not text:
        return Replay()
    paused, milliseconds, words = text.split(" ", 2)
    return Replay(paused == "1", int(milliseconds) / 1000, words)
