"""Headcount: how many clients each database and each user has, from their welcome to their end."""

from __future__ import annotations

from collections import Counter

from rwsplit.config.model import PoolConfig
from rwsplit.config.overrides import limit


class Headcount:
    """Counts clients by database and by user."""

    def __init__(self) -> None:
        self.databases: Counter[str] = Counter()
        self.users: Counter[str] = Counter()

    def enter(self, database: str, user: str) -> None:
        """Count a client in."""
        self.databases[database] += 1
        self.users[user] += 1

    def leave(self, database: str, user: str) -> None:
        """Count a client out."""
        for counter, name in ((self.databases, database), (self.users, user)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    def refusal(self, config: PoolConfig, database: str, user: str) -> str | None:
        """Return why one more client of *user* for *database* is too many, None if it is not."""
        most = limit(config.databases, database, "max_db_client_connections")
        if 0 < most <= self.databases[database]:
            return (
                f'too many connections for database "{database}"'
                f" (max_db_client_connections = {most})"
            )
        most = limit(config.users, user, "max_user_client_connections")
        if 0 < most <= self.users[user]:
            return (
                f'too many connections for user "{user}" (max_user_client_connections = {most})'
            )
        return None
