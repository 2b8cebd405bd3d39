"""Probe: one look at one node, over a link that is kept.

The question is prepared when the link is opened and its bytes are built once, so a look is one write
and one read here, and there neither parsing nor planning. A look takes `monitor.timeout` at most,
connecting included; then its link is closed.

What a monitor role needs: LOGIN. One thing is better with `pg_monitor` (or `pg_read_all_stats`):
the timeline of a replica. `pg_stat_wal_receiver.received_tli` is hidden from others, and without it
the control file must do, which mentions a new timeline only when the replica writes its next
restartpoint or flushes a page. That may take up to `checkpoint_timeout` after a promotion; until
then the replica is refused as OTHER_TIMELINE, for it cannot prove the contrary.

The timeline of a replica is the highest that any of these sources mentions: the receiver streams a
newer one only if the replica's own position lies on it, and in recovery it never goes back while the
node runs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import trio

from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation
from rwsplit.config.model import MonitorConfig, NodeConfig, TlsConfig
from rwsplit.errors import NodeError, NodeUnreachable, ServerRefused
from rwsplit.lsn import normalise_insert_lsn, parse_lsn
from rwsplit.monitor.link import Link, ProbeFailed, Row
from rwsplit.protocol import frontend
from rwsplit.protocol.fields import text_of
from rwsplit.server.authentication import INVALID_PASSWORD
from rwsplit.server.credentials import Credentials, Plain
from rwsplit.server.dialer import dial
from rwsplit.server.endpoint import Endpoint
from rwsplit.server.stream import WireStream

_IDENTITY: Final = """
select current_setting('server_version'),
       pg_size_bytes(current_setting('wal_block_size'))::int,
       pg_size_bytes(current_setting('wal_segment_size'))::int,
       (select system_identifier::text from pg_control_system())
"""

#: The position is read before the timeline: a replica that moves on in between has still replayed
#: that position on both. `greatest` ignores what is null: no receiver, or no right to see it.
_LOOK: Final = """
select in_recovery,
       case when in_recovery then pg_last_wal_replay_lsn()
            else pg_current_wal_insert_lsn() end::text,
       case when in_recovery
            then greatest((select received_tli from pg_stat_wal_receiver),
                          (select timeline_id from pg_control_checkpoint()),
                          (select min_recovery_end_timeline from pg_control_recovery()))
            else ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int end,
       case when in_recovery
            then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8
       end
  from pg_is_in_recovery() as in_recovery
"""

_NAME: Final = "look"
_ASK_LOOK: Final = frontend.bind("", _NAME) + frontend.execute() + frontend.sync()
_ASK_IDENTITY: Final = (
    frontend.parse(_NAME, _LOOK)
    + frontend.parse("", _IDENTITY)
    + frontend.bind("", "")
    + frontend.execute()
    + frontend.sync()
)


class Identity(NamedTuple):
    """What cannot change while a connection lives."""

    server_version: str
    wal_block_size: int
    wal_segment_size: int
    system_identifier: str

    @classmethod
    def from_row(cls, row: Row) -> Identity:
        """Read the answer to `_IDENTITY`. Raises ValueError if it is none."""
        version, block_size, segment_size, system_identifier = (value or b"" for value in row)
        return cls(
            text_of(version), int(block_size), int(segment_size), text_of(system_identifier)
        )


def startup_parameters(monitor: MonitorConfig) -> dict[str, str]:
    """Return how a probe introduces itself, beyond its user and its database."""
    milliseconds = max(1, round(monitor.timeout * 1000))
    return {
        "application_name": "rwsplit monitor",
        "options": f"-c statement_timeout={milliseconds} -c default_transaction_read_only=on",
    }


class Probe:
    """Looks at one node, over one link at a time."""

    def __init__(self, node: NodeConfig, monitor: MonitorConfig, tls: TlsConfig) -> None:
        self._endpoint = Endpoint.from_config(node, tls)
        self._monitor = monitor
        self.timeout = monitor.timeout
        """Seconds a look may take."""
        self._credentials = Credentials(monitor.user, Plain(b""))
        self._link: Link | None = None
        self._identity = Identity("", 0, 0, "")
        self._timeline = 0
        """The highest seen over this link."""

    async def look(self) -> Observation:
        """Look at the node once; connect first if need be.

        Raises:
            ProbeFailed: it did not answer, or not in time.
        """
        try:
            with trio.fail_after(self.timeout):
                link = self._link
                if link is None or link.is_closed:
                    link = await self._connect()
                return self._observe(await link.ask(_ASK_LOOK))
        except trio.TooSlowError as exc:
            raise self.too_late() from exc
        except (ValueError, ArithmeticError) as exc:
            raise _nonsense(exc) from exc

    def fileno(self) -> int:
        """Return the file descriptor of the link, -1 if there is none."""
        return -1 if self._link is None else self._link.fileno()

    def ask(self) -> None:
        """Begin a look over the link there is; `answer` ends it. Raises ProbeFailed."""
        assert self._link is not None
        try:
            whole = self._link.send(_ASK_LOOK) == len(_ASK_LOOK)
        except OSError:
            return  # the node has left, and may have said why: that is still to be read
        if not whole:
            self.close()
            raise ProbeFailed("takes no question", lost=True)

    def answer(self) -> Observation | None:
        """Return what the look has seen, None while its answer is incomplete. Raises ProbeFailed."""
        assert self._link is not None
        row = self._link.receive()
        try:
            return None if row is None else self._observe(row)
        except (ValueError, ArithmeticError) as exc:
            raise _nonsense(exc) from exc

    def too_late(self) -> ProbeFailed:
        """Give up the link, whose answer would come too late, and return the failure that is.

        Without a link nobody would notice that the node restarts, and replays from further back.
        """
        self.close()
        return ProbeFailed(f"no answer in {self.timeout:g} s", lost=True)

    async def rest(self) -> None:
        """Block until the node says something unasked, or ends the link; for ever if there is none."""
        if self._link is None or self._link.is_closed:
            await trio.sleep_forever()
        else:
            await self._link.wait_unasked()

    def close(self) -> None:
        """Give up the link; the next look makes a new one."""
        if self._link is not None:
            self._link.close()

    async def _connect(self) -> Link:
        """Log in, learn what cannot change, and prepare the question; all or nothing is kept."""
        link = Link(await self._dial())
        try:
            self._identity = Identity.from_row(await link.ask(_ASK_IDENTITY))
        except BaseException:
            link.close()
            raise
        self._link, self._timeline = link, 0
        return link

    async def _dial(self) -> WireStream:
        credentials = self._read_credentials()
        try:
            dialed = await dial(
                self._endpoint,
                database=self._monitor.database,
                user=self._monitor.user,
                parameters=startup_parameters(self._monitor),
                credentials=credentials,
                timeout=self._monitor.timeout,
            )
        except ServerRefused as exc:
            reason = self._without_address(exc)
            if credentials is None and exc.server_sqlstate == INVALID_PASSWORD:
                reason = "asks for a password, and monitor.password is not set"
            raise ProbeFailed(reason, lost=True) from exc
        except NodeUnreachable as exc:
            raise ProbeFailed(self._without_address(exc), lost=True) from exc
        return WireStream(dialed.wire, dialed.unread)

    def _read_credentials(self) -> Credentials | None:
        """Return what the monitor's role logs in with; a file is read anew for each connection.

        While the password is the same so are the credentials: they keep what SCRAM has made of it,
        which takes milliseconds, and a node that refuses it is asked again all the time.
        """
        password, path = self._monitor.password, self._monitor.password_file
        if not password and path is not None:
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as exc:
                reason = f"monitor.password_file: cannot be read: {exc}"
                raise ProbeFailed(reason, lost=True) from exc
            password = text.partition("\n")[0].rstrip("\r")
        secret = Plain((password or "").encode())
        if self._credentials.secret != secret:
            self._credentials = Credentials(self._monitor.user, secret)
        return self._credentials if password else None

    def _without_address(self, exc: NodeError) -> str:
        """Return what *exc* says but for the address, which everybody shows beside it."""
        return str(exc).removeprefix(f"{self._endpoint}: ")

    def _observe(self, row: Row) -> Observation:
        in_recovery, position, timeline, age = row
        if position is None:
            raise ProbeFailed("has not replayed anything yet", lost=False)

        lsn = parse_lsn(text_of(position))
        role = Role.REPLICA if in_recovery == b"t" else Role.PRIMARY
        if role is Role.PRIMARY:
            lsn = normalise_insert_lsn(
                lsn,
                block_size=self._identity.wal_block_size,
                segment_size=self._identity.wal_segment_size,
            )
        self._timeline = max(self._timeline, int(timeline or 0))
        return Observation(
            role=role,
            timeline=self._timeline,
            lsn=lsn,
            system_identifier=self._identity.system_identifier,
            server_version=self._identity.server_version,
            replay_age=None if age is None else float(age),
        )


def _nonsense(exc: Exception) -> ProbeFailed:
    return ProbeFailed(f"its answer makes no sense: {exc}", lost=False)
