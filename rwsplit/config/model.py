"""The configuration as frozen values. Names that PgBouncer also has are PgBouncer's.

Durations are seconds, sizes bytes; the YAML writes `250ms`, `5s`, `64kB`. Every attribute's docstring
is the manual: `docs/configuration.md` is generated from this file.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import attrs


class Balance(Enum):
    """How a replica is chosen among the eligible ones."""

    LEAST_CONNECTIONS = "least-connections"
    ROUND_ROBIN = "round-robin"
    RANDOM = "random"


class ReadsOnPrimary(Enum):
    """Whether the primary answers reads."""

    FALLBACK = "fallback"
    SHARE = "share"
    NEVER = "never"


class ConsistencyLevel(Enum):
    """What a read sees at least."""

    EVENTUAL = "eventual"
    SESSION = "session"


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


@attrs.frozen(kw_only=True)
class Address:
    """A TCP address."""

    host: str
    port: int = 5432


@attrs.frozen(kw_only=True)
class NodeConfig:
    """One PostgreSQL instance. Its role is discovered."""

    name: str
    host: str
    port: int = 5432
    weight: int = 1
    """Share of the reads relative to the other replicas; 0 takes none."""
    backup: bool = False
    """Takes reads only when no other replica is eligible."""


@attrs.frozen(kw_only=True)
class MonitorConfig:
    """How nodes are watched."""

    user: str = "rwsplit"
    """The role that probes; needs no privilege beyond LOGIN."""
    password: str | None = attrs.field(default=None, repr=False)
    password_file: Path | None = None
    database: str = "postgres"
    interval: float = 0.1
    """Time between two probes of a node."""
    timeout: float = 2.0
    """A probe that takes longer counts as failed."""
    rise: int = 2
    """Successful probes in a row that bring a node up."""
    fall: int = 3
    """Failed probes in a row that take a node down."""


@attrs.frozen(kw_only=True)
class FunctionsConfig:
    """Patterns (`app.report_*`) of functions whose effect rwsplit should not guess."""

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class RuleConfig:
    """One routing rule; every given condition must hold (patterns with `*`), the first match wins."""

    to: str
    """`primary`, `replica` or `node:NAME`."""
    user: str | None = None
    database: str | None = None
    application_name: str | None = None
    table: str | None = None
    function: str | None = None


@attrs.frozen(kw_only=True)
class RoutingConfig:
    """Which node answers a statement."""

    balance: Balance = Balance.LEAST_CONNECTIONS
    reads_on_primary: ReadsOnPrimary = ReadsOnPrimary.FALLBACK
    functions: FunctionsConfig = attrs.field(factory=FunctionsConfig)
    rules: tuple[RuleConfig, ...] = ()
    slow_start: float = 0.0
    """Time over which a node that came back grows to its full weight."""


@attrs.frozen(kw_only=True)
class ConsistencyConfig:
    """How old an answer may be."""

    level: ConsistencyLevel = ConsistencyLevel.SESSION
    max_lag: float = 10.0
    """A replica staler than this gets no reads."""
    max_lag_bytes: int | None = None
    """A replica further behind than this gets no reads."""
    wait: float = 0.0
    """How long a read may wait for a fresh replica before it goes to the primary."""


@attrs.frozen(kw_only=True)
class PoolConfig:
    """Limits of one pool: the servers of one (node, database, user)."""

    size: int = 20
    min_size: int = 0
    lane_depth: int = 0
    """Short reads of known shapes that may be pipelined on one shared server; 0 turns sharing off."""
    query_wait_timeout: float = 120.0
    """How long a statement may wait for a server before it is refused."""
    server_lifetime: float = 3600.0
    """A server older than this is closed when it is next idle."""
    server_idle_timeout: float = 600.0
    """A server idle for longer than this is closed, down to min_size."""
    server_connect_timeout: float = 5.0


@attrs.frozen(kw_only=True)
class LimitsConfig:
    """Limits of the whole process."""

    max_client_conn: int = 10_000
    client_login_timeout: float = 60.0
    shutdown_timeout: float = 30.0
    """How long a graceful shutdown waits for running transactions."""
    max_prepared_statements: int = 200
    """Prepared statements kept per server, least recently used first out."""
    statement_cache_size: int = 10_000
    """Statements and shapes whose facts are remembered."""


@attrs.frozen(kw_only=True)
class TlsConfig:
    """TLS on both sides; PgBouncer's names."""

    client_tls_sslmode: SslMode = SslMode.DISABLE
    client_tls_cert_file: Path | None = None
    client_tls_key_file: Path | None = None
    client_tls_ca_file: Path | None = None
    server_tls_sslmode: SslMode = SslMode.PREFER
    server_tls_ca_file: Path | None = None
    server_tls_cert_file: Path | None = None
    server_tls_key_file: Path | None = None


@attrs.frozen(kw_only=True)
class AuthConfig:
    """How clients log in."""

    type: AuthType = AuthType.SCRAM


@attrs.frozen(kw_only=True)
class UsersConfig:
    """Who may log in."""

    file: Path | None = None
    """A PgBouncer-style userlist: `"name" "password | md5... | SCRAM-SHA-256$..."` a line."""


@attrs.frozen(kw_only=True)
class AdminConfig:
    """Who may operate rwsplit through the console."""

    users: tuple[str, ...] = ()
    state_file: Path | None = None
    """Where detached nodes are remembered; default: the configuration's name with `.state`."""


@attrs.frozen(kw_only=True)
class LogConfig:
    """What is logged."""

    level: str = "info"
    format: str = "console"
    """`console` or `json`."""


@attrs.frozen(kw_only=True)
class Config:
    """Everything rwsplit was told."""

    listen: tuple[Address, ...] = (Address(host="127.0.0.1", port=6432),)
    nodes: tuple[NodeConfig, ...] = ()
    monitor: MonitorConfig = attrs.field(factory=MonitorConfig)
    routing: RoutingConfig = attrs.field(factory=RoutingConfig)
    consistency: ConsistencyConfig = attrs.field(factory=ConsistencyConfig)
    pool: PoolConfig = attrs.field(factory=PoolConfig)
    limits: LimitsConfig = attrs.field(factory=LimitsConfig)
    auth: AuthConfig = attrs.field(factory=AuthConfig)
    users: UsersConfig = attrs.field(factory=UsersConfig)
    tls: TlsConfig = attrs.field(factory=TlsConfig)
    admin: AdminConfig = attrs.field(factory=AdminConfig)
    log: LogConfig = attrs.field(factory=LogConfig)
    path: Path | None = None
    """The file it was read from."""
