"""The configuration as frozen values. Names that PgBouncer also has are PgBouncer's.

Durations are seconds, sizes bytes; the YAML writes `250ms`, `5s`, `64kB`. Every attribute's docstring
is the manual: `docs/configuration.md` is generated from this file.

What a value must be is in `validators.py`, the words a setting may have in `choices.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs

from rwsplit.config.choices import (
    AuthType,
    Balance,
    ConsistencyLevel,
    PoolMode,
    ReadsOnPrimary,
    SslMode,
    Transactions,
)
from rwsplit.config.validators import (
    a_host,
    a_name,
    a_target,
    an_auth_list,
    at_least,
    between,
    more_than,
    not_empty,
    one_of,
    optional,
)

#: Written `250ms`, `5s`, `10m`, `1h` in YAML; the kind is told apart from other numbers by the loader.
Seconds = Annotated[float, "duration"]
#: Written `64kB`, `16MB` in YAML.
Bytes = Annotated[int, "size"]


@attrs.frozen(kw_only=True)
class Address:
    """A TCP address."""

    host: str = attrs.field(validator=a_host)
    port: int = attrs.field(default=5432, validator=between(0, 65535))


@attrs.frozen(kw_only=True)
class NodeConfig:
    """One PostgreSQL instance. Its role is discovered.

    `pg0: 10.0.0.10:5432` is short for `pg0: {host: 10.0.0.10, port: 5432}`.
    """

    name: str = attrs.field(validator=a_name)
    host: str = attrs.field(validator=a_host)
    """A name or an address; a name is resolved again for every connection."""
    port: int = attrs.field(default=5432, validator=between(1, 65535))
    """Its TCP port."""
    weight: int = attrs.field(default=1, validator=at_least(0))
    """Share of the reads relative to the other replicas; 0 takes none."""
    backup: bool = False
    """Takes reads only when no other replica is eligible."""


@attrs.frozen(kw_only=True)
class MonitorConfig:
    """How nodes are watched."""

    user: str = attrs.field(default="rwsplit", validator=not_empty)
    """The role that probes. LOGIN is enough for routing; `pg_monitor` shows which node a replica follows, and EXECUTE on
    `pg_promote` is for `rwsplit node promote`. It must never be a superuser."""
    password: str | None = attrs.field(default=None, repr=False)
    """Its password; `password_file` keeps it out of this file."""
    password_file: Path | None = None
    """A file whose first line is its password; others must not be able to read it (mode 600)."""
    database: str = attrs.field(default="postgres", validator=not_empty)
    """The database the probes connect to; its owner should be a superuser."""
    interval: Seconds = attrs.field(default=0.1, validator=at_least(0.01))
    """Time between two probes of a node."""
    timeout: Seconds = attrs.field(default=2.0, validator=more_than(0))
    """A probe that takes longer counts as failed."""
    rise: int = attrs.field(default=2, validator=at_least(1))
    """Successful probes in a row that bring a node up."""
    fall: int = attrs.field(default=3, validator=at_least(1))
    """Failed probes in a row that take a node down."""
    catalog_interval: Seconds = attrs.field(default=60.0, validator=at_least(0))
    """Time between two readings of what functions and views do, for each database in use; DDL that
    passes through rwsplit is noticed at once, and what it made is known as soon as it has been read. 0 turns it off: functions of your own are unknown."""


@attrs.frozen(kw_only=True)
class FunctionsConfig:
    """Patterns (`app.report_*`) of functions whose effect rwsplit should not guess."""

    reads: tuple[str, ...] = ()
    """Functions that only read, whatever they are declared as: calls may go to a replica."""
    writes: tuple[str, ...] = ()
    """Functions that write, whatever they are declared as: calls go to the primary."""


@attrs.frozen(kw_only=True)
class RuleConfig:
    """In each, every given condition must hold (patterns with `*`); the first rule that matches wins."""

    to: str = attrs.field(validator=a_target)
    """`primary`, `replica` or `node:NAME`."""
    user: str | None = None
    """The user the session logged in as."""
    database: str | None = None
    """The database the session is connected to."""
    application_name: str | None = None
    """What the application calls itself."""
    table: str | None = None
    """A table the statement names, `name` or `schema.name`."""
    function: str | None = None
    """A function the statement calls, `name` or `schema.name`."""


@attrs.frozen(kw_only=True)
class RoutingConfig:
    """Which node answers a statement."""

    balance: Balance = Balance.LEAST_CONNECTIONS
    """How a replica is chosen among the eligible ones, statement by statement."""
    reads_on_primary: ReadsOnPrimary = ReadsOnPrimary.FALLBACK
    """Whether the primary answers reads: only when no replica is eligible, with the replicas, never."""
    transactions: Transactions = Transactions.LATE
    """Where a READ COMMITTED transaction runs: `late` on a replica until its first statement that is not a
    read moves it to the primary, `primary` there from the start."""
    functions: FunctionsConfig = attrs.field(factory=FunctionsConfig)
    rules: tuple[RuleConfig, ...] = ()
    """Where statements go whatever they are; hints beat rules."""
    slow_start: Seconds = attrs.field(default=0.0, validator=at_least(0))
    """Time over which a node that came back grows to its full weight."""


@attrs.frozen(kw_only=True)
class ConsistencyConfig:
    """How old an answer may be."""

    level: ConsistencyLevel = ConsistencyLevel.SESSION
    """What a read sees at least: `eventual` whatever a replica within max_lag has, `session` also
    everything its own session wrote or read before, `cluster` everything that anyone wrote through this
    rwsplit. After a write `cluster` reads on the primary until a replica has proved to have it."""
    max_lag: Seconds = attrs.field(default=10.0, validator=more_than(0))
    """A replica staler than this gets no reads."""
    max_lag_bytes: Bytes | None = attrs.field(default=None, validator=optional(at_least(0)))
    """A replica further behind than this gets no reads; no limit unless given."""
    wait: Seconds = attrs.field(default=0.0, validator=at_least(0))
    """How long a read may wait for a fresh replica before it goes to the primary; and a statement whose hint or
    rule names a node that is down or detached, 2 s at least, before it is refused."""


@attrs.frozen(kw_only=True)
class OverrideConfig:
    """What one database or user has instead of what `pool` says; a user's beats a database's."""

    name: str = attrs.field(validator=not_empty)
    mode: PoolMode | None = None
    """As `pool.mode`; sessions that are there keep theirs when it changes."""
    size: int | None = attrs.field(default=None, validator=optional(at_least(1)))
    """As `pool.size`."""
    min_size: int | None = attrs.field(default=None, validator=optional(at_least(0)))
    """As `pool.min_size`."""
    reserve_size: int | None = attrs.field(default=None, validator=optional(at_least(0)))
    """As `pool.reserve_size`."""
    server_lifetime: Seconds | None = attrs.field(
        default=None, validator=optional(more_than(0))
    )
    """As `pool.server_lifetime`."""
    query_timeout: Seconds | None = attrs.field(default=None, validator=optional(at_least(0)))
    """As `pool.query_timeout`."""
    transaction_timeout: Seconds | None = attrs.field(
        default=None, validator=optional(at_least(0))
    )
    """As `pool.transaction_timeout`."""
    idle_transaction_timeout: Seconds | None = attrs.field(
        default=None, validator=optional(at_least(0))
    )
    """As `pool.idle_transaction_timeout`."""
    client_idle_timeout: Seconds | None = attrs.field(
        default=None, validator=optional(at_least(0))
    )
    """As `pool.client_idle_timeout`."""
    client_write_timeout: Seconds | None = attrs.field(
        default=None, validator=optional(at_least(0))
    )
    """As `pool.client_write_timeout`."""


@attrs.frozen(kw_only=True)
class DatabaseConfig(OverrideConfig):
    """Settings and limits of one database; the limits of the one called `*` hold for all others."""

    max_db_connections: int | None = attrs.field(default=None, validator=optional(at_least(0)))
    """Servers of the database on one node, for all users together; further statements queue. 0: no limit."""
    max_db_client_connections: int | None = attrs.field(
        default=None, validator=optional(at_least(0))
    )
    """Clients of the database; further ones are refused with 53300. 0: no limit."""


@attrs.frozen(kw_only=True)
class UserConfig(OverrideConfig):
    """Settings and limits of one user; the limits of the one called `*` hold for all others."""

    max_user_connections: int | None = attrs.field(
        default=None, validator=optional(at_least(0))
    )
    """Servers of the user on one node, whatever the database; further statements queue. 0: no limit."""
    max_user_client_connections: int | None = attrs.field(
        default=None, validator=optional(at_least(0))
    )
    """Clients of the user; further ones are refused with 53300. 0: no limit."""


@attrs.frozen(kw_only=True)
class PoolConfig:
    """The servers of one (node, database, user), and the sessions that use them. A timeout of 0 is none."""

    mode: PoolMode = PoolMode.TRANSACTION
    """When a session gives back its server: `transaction` when its transaction ends, unless it is pinned;
    `session` when it ends, all its statements run on one server of the primary; `statement` when its
    statement ends, and transactions of several statements are refused with 0A000."""
    size: int = attrs.field(default=20, validator=at_least(1))
    """Servers at most; further statements queue. As many again may be kept by sessions with state in
    their server (LISTEN, temporary tables, ...), so that those do not keep others from working."""
    min_size: int = attrs.field(default=0, validator=at_least(0))
    """Servers kept open once the pool is in use."""
    reserve_size: int = attrs.field(default=0, validator=at_least(0))
    """Servers opened beyond `size` for statements that have waited for `reserve_timeout`; closed when
    no statement waits any more."""
    reserve_timeout: Seconds = attrs.field(default=5.0, validator=at_least(0))
    """How long a statement waits before the reserve is used."""
    lane_depth: int = attrs.field(default=0, validator=at_least(0))
    """Short reads of known shapes that may be pipelined on one shared server; 0 turns sharing off."""
    query_wait_timeout: Seconds = attrs.field(default=120.0, validator=at_least(0))
    """How long a statement may wait for a server before it is refused; 0: as long as it takes. Its client is told
    by a notice after half of that, at most 5 s. Also how long a query of rwsplit's own may take on a server."""
    query_timeout: Seconds = attrs.field(default=0.0, validator=at_least(0))
    """A statement that runs longer is cancelled with 57014."""
    transaction_timeout: Seconds = attrs.field(default=0.0, validator=at_least(0))
    """A client whose transaction, or statement outside a transaction, takes longer is disconnected with 25P04; the transaction is rolled back."""
    idle_transaction_timeout: Seconds = attrs.field(default=0.0, validator=at_least(0))
    """A client that idles longer in a transaction is disconnected with 25P03, the transaction rolled back; so is a client that has
    sent Flush without Sync, or half a message, and sends nothing more."""
    client_idle_timeout: Seconds = attrs.field(default=0.0, validator=at_least(0))
    """A client that idles longer outside a transaction is disconnected with 57P05."""
    client_write_timeout: Seconds = attrs.field(default=600.0, validator=at_least(0))
    """A client that reads nothing of what is sent to it for longer is disconnected with 08006, and its statement cancelled. A client
    that reads slowly is left alone."""
    pin_idle_timeout: Seconds = attrs.field(default=0.0, validator=at_least(0))
    """A session that idles longer gives back the server it keeps for state that no query can show (currval, setseed(),
    LOAD, what an unknown function has done), and loses that state; what can be seen (LISTEN, temporary tables, session
    locks) goes on keeping it. It is told by a warning."""
    server_reset_query: str = attrs.field(default="DISCARD ALL", validator=not_empty)
    """What wipes the state of a session that was pinned, or in session mode, off its server. With less than
    `DISCARD ALL` the next session may find what the one before left."""
    server_lifetime: Seconds = attrs.field(default=3600.0, validator=more_than(0))
    """A server older than this is closed when it is next free."""
    server_idle_timeout: Seconds = attrs.field(default=600.0, validator=at_least(0))
    """A server idle for longer than this is closed, down to min_size."""
    server_connect_timeout: Seconds = attrs.field(default=5.0, validator=more_than(0))
    """Connecting and logging in to a node may take this long."""
    server_silence_timeout: Seconds = attrs.field(default=120.0, validator=at_least(0))
    """A server that cannot be working and sends nothing for longer is closed, its session disconnected with 08006: a server that owes
    an answer on a node that is down, or that stopped in the middle of a long message."""
    databases: tuple[DatabaseConfig, ...] = ()
    """What single databases have instead, by name."""
    users: tuple[UserConfig, ...] = ()
    """What single users have instead, by name."""


@attrs.frozen(kw_only=True)
class LimitsConfig:
    """Limits of the whole process."""

    max_client_conn: int = attrs.field(default=10_000, validator=at_least(1))
    """The most clients that have logged in; further ones are refused with 53300."""
    max_login_conn: int = attrs.field(default=1000, validator=at_least(1))
    """The most clients that have not logged in yet. At this limit the next one waits until one of them logs in, or is dropped:
    after 0.25 s if it has sent nothing, after 2 s if it has not logged in."""
    client_login_timeout: Seconds = attrs.field(default=60.0, validator=more_than(0))
    """A client that has not logged in by then is disconnected, also if the cause is that no node could be asked."""
    shutdown_timeout: Seconds = attrs.field(default=30.0, validator=at_least(0))
    """How long a graceful shutdown waits for running transactions."""
    max_prepared_statements: int = attrs.field(default=200, validator=at_least(1))
    """Prepared statements kept per server, least recently used first out."""
    max_statements_per_client: int = attrs.field(default=10_000, validator=at_least(1))
    """The most prepared statements of a session, with 4 kB of text each on average; one more is refused with 53400. The same number
    limits named portals between two Syncs. Drivers keep some hundreds, at most a thousand or two."""


@attrs.frozen(kw_only=True)
class TcpConfig:
    """How rwsplit notices that the machine at the other end of a connection is gone, for clients and for servers. Changes hold for new connections.
    A 0 in `keepidle`, `keepintvl` or `keepcnt` means the system's value (net.ipv4.tcp_keepalive_time and so on: two hours)."""

    keepalive: bool = True
    """Whether an idle connection is probed, and closed if the other machine does not answer."""
    keepidle: Seconds = attrs.field(default=30.0, validator=between(0, 32_767))
    """Time without traffic before the first probe; whole seconds."""
    keepintvl: Seconds = attrs.field(default=10.0, validator=between(0, 32_767))
    """Time between two probes; whole seconds."""
    keepcnt: int = attrs.field(default=3, validator=between(0, 127))
    """Probes without an answer after which the connection is closed."""
    user_timeout: Seconds = attrs.field(default=0.0, validator=between(0, 2_000_000))
    """A connection is closed if sent data is not acknowledged for that time; 0: the system's value, about 15 minutes.
    Linux also closes connections whose other end is alive but reads nothing: a client that pauses in its result, a server
    that is busy behind a pipeline or a COPY. So it must be longer than any such pause."""
    defer_accept: Seconds = attrs.field(default=45.0, validator=between(0, 32_767))
    """Linux hands rwsplit a client's connection only when the client has sent something, or after about this time; whole seconds,
    0: at once. So connections on which nothing is sent, however many, keep no other client waiting. Changes hold at once."""


@attrs.frozen(kw_only=True)
class TlsConfig:
    """TLS on both sides; PgBouncer's names."""

    client_tls_sslmode: SslMode = SslMode.DISABLE
    """TLS between clients and rwsplit; anything but `disable` needs a certificate and its key."""
    client_tls_cert_file: Path | None = None
    """The certificate (chain) clients are shown, PEM."""
    client_tls_key_file: Path | None = None
    """The key of that certificate, PEM; others must not be able to read it (mode 600)."""
    client_tls_ca_file: Path | None = None
    """Certificates that sign clients' certificates; needed by `verify-ca` and `verify-full`."""
    server_tls_sslmode: SslMode = SslMode.PREFER
    """TLS between rwsplit and the nodes, as libpq's sslmode."""
    server_tls_ca_file: Path | None = None
    """Certificates that sign the nodes' certificates; needed by `verify-ca` and `verify-full`."""
    server_tls_cert_file: Path | None = None
    """The certificate rwsplit shows to the nodes, PEM."""
    server_tls_key_file: Path | None = None
    """The key of that certificate, PEM; others must not be able to read it (mode 600)."""


@attrs.frozen(kw_only=True)
class AuthConfig:
    """How clients log in, and rwsplit to the nodes."""

    type: AuthType = AuthType.SCRAM
    """The method clients must use; `trust` asks for no proof."""
    server_require_auth: str = attrs.field(default="", validator=an_auth_list)
    """The authentication methods a node may ask for, as libpq's `require_auth`: `scram-sha-256`, `"!password,!md5"` (quoted); `none` is a
    node that asks for no proof. If a node asks for another method, the login there is refused. Empty: any method."""
    server_cleartext: bool = False
    """Whether a node that asks for the password itself (`password` in its pg_hba.conf) gets it also over a connection without TLS,
    where others can read it."""


@attrs.frozen(kw_only=True)
class UsersConfig:
    """Who may log in."""

    file: Path | None = None
    """A PgBouncer-style userlist: `"name" "password | md5... | SCRAM-SHA-256$..."` a line; others must not be able to
    read it (mode 600)."""


@attrs.frozen(kw_only=True)
class AdminConfig:
    """Who may operate rwsplit through the console."""

    users: tuple[str, ...] = ()
    """Users who may connect to the database `rwsplit`; they log in as any other user does."""
    state_file: Path | None = None
    """Where detached nodes, what was seen of the cluster, and a secret are remembered; default: the configuration's name with `.state`.
    Only rwsplit needs to read it. Without it whoever tries user names before and after a restart finds out which exist."""


@attrs.frozen(kw_only=True)
class LogConfig:
    """What is logged."""

    level: str = attrs.field(
        default="info", validator=one_of("debug", "info", "warning", "error")
    )
    """The least important events shown: `debug` (every session), `info`, `warning` or `error`."""
    format: str = attrs.field(default="console", validator=one_of("console", "json"))
    """`console` for people, `json` for machines; both to standard error."""


@attrs.frozen(kw_only=True)
class Config:
    """Everything rwsplit was told."""

    listen: tuple[Address, ...] = (Address(host="127.0.0.1", port=6432),)
    """Where clients connect: `127.0.0.1:6432`, `[::1]:6432`, or a list. The one thing a reload
    cannot change."""
    nodes: tuple[NodeConfig, ...] = ()
    monitor: MonitorConfig = attrs.field(factory=MonitorConfig)
    routing: RoutingConfig = attrs.field(factory=RoutingConfig)
    consistency: ConsistencyConfig = attrs.field(factory=ConsistencyConfig)
    pool: PoolConfig = attrs.field(factory=PoolConfig)
    limits: LimitsConfig = attrs.field(factory=LimitsConfig)
    auth: AuthConfig = attrs.field(factory=AuthConfig)
    users: UsersConfig = attrs.field(factory=UsersConfig)
    tls: TlsConfig = attrs.field(factory=TlsConfig)
    tcp: TcpConfig = attrs.field(factory=TcpConfig)
    admin: AdminConfig = attrs.field(factory=AdminConfig)
    log: LogConfig = attrs.field(factory=LogConfig)
    path: Path | None = None
    """The file it was read from."""
