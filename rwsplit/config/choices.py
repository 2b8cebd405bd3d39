"""Choices: the settings whose value is one word of a few. An enum's values are the words of the YAML."""

from __future__ import annotations

from enum import Enum


class Balance(Enum):
    """How a replica is chosen among the eligible ones."""

    LEAST_CONNECTIONS = "least-connections"
    ROUND_ROBIN = "round-robin"
    RANDOM = "random"


class Transactions(Enum):
    """Where a transaction runs that may write."""

    LATE = "late"
    PRIMARY = "primary"


class ReadsOnPrimary(Enum):
    """Whether the primary answers reads."""

    FALLBACK = "fallback"
    SHARE = "share"
    NEVER = "never"


class PoolMode(Enum):
    """When a session gives back its server; PgBouncer's three."""

    TRANSACTION = "transaction"
    SESSION = "session"
    STATEMENT = "statement"


class ConsistencyLevel(Enum):
    """What a read sees at least."""

    EVENTUAL = "eventual"
    SESSION = "session"
    CLUSTER = "cluster"


class AuthType(Enum):
    """How clients prove who they are."""

    SCRAM = "scram-sha-256"
    MD5 = "md5"
    PASSWORD = "password"  # noqa: S105 - the method's name
    TRUST = "trust"


class SslMode(Enum):
    """libpq's sslmode."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"
