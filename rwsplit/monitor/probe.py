"""Probe: one look at one node, over a link that is kept.

The question is prepared when the link is opened and its bytes are built once, so a look is one write
and one read here, and there neither parsing nor planning. A look takes `monitor.timeout` at most,
connecting included; then its link is closed.

What a monitor role needs: LOGIN. One thing is better with `pg_monitor` (or `pg_read_all_stats`):
the timeline of a replica. `pg_stat_wal_receiver.received_tli` is hidden from others, and without it
the control file must do, which mentions a new timeline only when the replica writes its next
restartpoint or flushes a page. That may take up to `checkpoint_timeout` after a promotion; until
then the replica is refused as OTHER_TIMELINE, for it cannot prove the contrary.

With it, too, a probe sees whom a replica follows, and since when a primary's timeline has run. What led to that timeline is in a file
only a superuser may read, or a role with EXECUTE on `pg_read_file(text)`; else it stays unknown. The role must not be a
superuser: code that a hostile database makes its sessions run would have all rights (`precautions`, `system_catalogs`).

The timeline of a replica is the highest that any of these sources mentions: the receiver streams a
newer one only if the replica's own position lies on it, and in recovery it never goes back while the
node runs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import attrs
import trio

from rwsplit.cluster.descent import Fork, parse_history
from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation, Place, Source
from rwsplit.config.model import AuthConfig, MonitorConfig, NodeConfig, TlsConfig
from rwsplit.lsn import normalise_insert_lsn, parse_lsn
from rwsplit.monitor.caller import Caller
from rwsplit.monitor.link import Link, ProbeFailed, Row, question
from rwsplit.monitor.precautions import startup_options
from rwsplit.protocol import frontend
from rwsplit.protocol.fields import text_of

_IDENTITY: Final = """
select pg_catalog.current_setting('server_version'),
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_block_size'))::int,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))::int,
       (select system_identifier::pg_catalog.text from pg_catalog.pg_control_system()),
       pg_catalog.host(pg_catalog.inet_server_addr()),
       pg_catalog.inet_server_port(),
       pg_catalog.current_setting('restore_command', true),
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
                                     operator(pg_catalog.-) pg_catalog.pg_postmaster_start_time()),
       pg_catalog.has_function_privilege('pg_catalog.pg_ls_waldir()', 'execute'),
       pg_catalog.has_function_privilege('pg_catalog.pg_read_file(pg_catalog.text)', 'execute')
"""

#: The position is read before the timeline: a replica that moves on in between has still replayed
#: that position on both. `greatest` ignores what is null: no receiver, or no right to see it.
_LOOK: Final = """
select in_recovery,
       case when in_recovery then pg_catalog.pg_last_wal_replay_lsn()
            else pg_catalog.pg_current_wal_insert_lsn() end::pg_catalog.text,
       case when in_recovery
            then greatest((select received_tli from pg_catalog.pg_stat_wal_receiver),
                          (select timeline_id from pg_catalog.pg_control_checkpoint()),
                          (select min_recovery_end_timeline from pg_catalog.pg_control_recovery()))
            else ('x' operator(pg_catalog.||)
                  pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8)
                 )::bit(32)::int end,
       case when in_recovery
            then pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
                                               operator(pg_catalog.-) pg_catalog.pg_last_xact_replay_timestamp())
       end,
       case when in_recovery then pg_catalog.pg_last_wal_receive_lsn() end::pg_catalog.text,
       case when in_recovery
            then (select pg_catalog.concat(status, ' ', sender_port, ' ', sender_host)
                    from pg_catalog.pg_stat_wal_receiver)
       end,
       pg_catalog.pg_conf_load_time()::pg_catalog.text
  from pg_catalog.pg_is_in_recovery() as in_recovery
"""

#: Since when the timeline of a primary has run, and what led there; each only with the right to ask.
_PROMOTED: Final = """
select pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() operator(pg_catalog.-) modification)
  from pg_catalog.pg_ls_waldir() where name operator(pg_catalog.=) '{file}'
"""
_HISTORY: Final = "select pg_catalog.pg_read_file('pg_wal/{file}')"

#: Names of one address.
_LOCAL: Final = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}

_NAME: Final = "look"
_ASK_LOOK: Final = frontend.bind("", _NAME) + frontend.execute() + frontend.sync()
_ASK_IDENTITY: Final = frontend.parse(_NAME, _LOOK) + question(_IDENTITY)


class Identity(NamedTuple):
    """What cannot change while a connection lives, but for *restore_command*."""

    server_version: str
    wal_block_size: int
    wal_segment_size: int
    system_identifier: str
    place: Place | None = None
    """Where the node itself sees that it was reached."""
    has_archive: bool = False
    uptime: float | None = None
    may_list_wal: bool = False
    may_read_files: bool = False

    @classmethod
    def from_row(cls, row: Row) -> Identity:
        """Read the answer to `_IDENTITY`. Raises ValueError if it is none."""
        version, block_size, segment_size, system_identifier = (
            value or b"" for value in row[:4]
        )
        host, port, archive, uptime, may_list, may_read = (*row[4:], *(None,) * 6)[:6]
        return cls(
            text_of(version),
            int(block_size),
            int(segment_size),
            text_of(system_identifier),
            place=None if host is None or port is None else (text_of(host), int(port)),
            has_archive=bool(archive),
            uptime=None if uptime is None else float(uptime),
            may_list_wal=may_list == b"t",
            may_read_files=may_read == b"t",
        )


@attrs.frozen
class Past:
    """What led to the timeline a primary is on."""

    timeline: int
    history: tuple[Fork, ...] | None = None
    promoted_at: float | None = None


def startup_parameters(monitor: MonitorConfig) -> dict[str, str]:
    """Return how a probe introduces itself, beyond its user and its database."""
    return {
        "application_name": "rwsplit monitor",
        "options": startup_options(statement_timeout=monitor.timeout),
    }


class Probe:
    """Looks at one node, over one link at a time."""

    def __init__(
        self,
        node: NodeConfig,
        monitor: MonitorConfig,
        tls: TlsConfig,
        auth: AuthConfig | None = None,
    ) -> None:
        self._caller = Caller(node, monitor, tls, auth or AuthConfig())
        self._host = _LOCAL.get(node.host, node.host)
        self._monitor = monitor
        self.timeout = monitor.timeout
        """Seconds a look may take."""
        self._link: Link | None = None
        self._identity = Identity("", 0, 0, "")
        self._timeline = 0
        """The highest seen over this link."""
        self._past: Past | None = None
        self._places: frozenset[Place] = frozenset()
        self._started_at: float | None = None
        self._loaded: bytes | None = None
        """When the node's process at the end of this link has read its configuration."""
        self._reloads = 0

    async def look(self) -> Observation:
        """Look at the node once; connect first if need be.

        Raises:
            ProbeFailed: it did not answer, or not in time.
            OutOfFiles: there is no descriptor for a connection; the node is not at fault.
        """
        deadline = trio.current_time() + self.timeout
        try:
            with trio.fail_after(self.timeout):
                link = self._link
                if link is None or link.is_closed:
                    link = await self._connect()
                look = self._observe(await link.ask(_ASK_LOOK))
                if not look.examined:
                    self._past = await self._read_past(link, look.timeline)
                    look = self._with_past(look)
                return look
        except ProbeFailed as exc:
            exc.overdue = trio.current_time() - deadline
            raise
        except trio.TooSlowError as exc:
            failure = self.too_late()
            failure.overdue = trio.current_time() - deadline
            raise failure from exc
        except (ValueError, ArithmeticError) as exc:
            raise _nonsense(exc) from exc

    async def ask_once(self, query: str) -> Row:
        """Return the row that answers *query* over the link of the last look; empty if the node refuses it.

        Raises:
            ProbeFailed: it did not answer, or not in time.
        """
        assert self._link is not None
        try:
            with trio.fail_after(self.timeout):
                return await _ask(self._link, query)
        except trio.TooSlowError as exc:
            raise self.too_late() from exc

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
            raise ProbeFailed("takes no question", lost=True, silent=True)

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

        Without a link rwsplit would not notice that the node restarts, and replays from further back.
        """
        self.close()
        return ProbeFailed(f"no answer in {self.timeout:g} s", lost=True, silent=True)

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
        link = await self._caller.call(startup_parameters(self._monitor))
        try:
            self._identity = Identity.from_row(await link.ask(_ASK_IDENTITY))
        except BaseException:
            link.close()
            raise
        self._link, self._timeline, self._past = link, 0, None
        known = self._identity
        self._started_at = None if known.uptime is None else trio.current_time() - known.uptime
        places = {
            (self._host, self._caller.endpoint.port),
            (link.host, self._caller.endpoint.port),
            known.place,
        }
        self._places = frozenset(place for place in places if place is not None and place[0])
        self._loaded = None  # each of a node's processes has a moment of its own
        return link

    async def _read_past(self, link: Link, timeline: int) -> Past:
        """Return what led to *timeline*, as far as the monitor's role may see it."""
        if timeline == 1:
            return Past(1, ())
        history, promoted_at = None, None
        file = f"{timeline:08X}.history"
        if self._identity.may_list_wal:
            row = await _ask(link, _PROMOTED.format(file=file))
            if row and row[0] is not None:
                promoted_at = trio.current_time() - float(row[0])
        if self._identity.may_read_files:
            row = await _ask(link, _HISTORY.format(file=file))
            if row and row[0] is not None:
                history = parse_history(text_of(row[0]))
        return Past(timeline, history, promoted_at)

    def _with_past(self, look: Observation) -> Observation:
        past = self._past
        if look.role is Role.REPLICA:
            return look
        if past is None or past.timeline != look.timeline:
            return attrs.evolve(look, examined=False)
        return attrs.evolve(
            look, examined=True, history=past.history, promoted_at=past.promoted_at
        )

    def _observe(self, row: Row) -> Observation:
        more = (None, b"  ", None)[len(row) - 4 :]
        in_recovery, position, timeline, age, received, receiver, loaded = (*row, *more)
        if position is None:
            raise ProbeFailed("has not replayed anything yet", lost=False)

        if loaded != self._loaded:
            self._reloads += self._loaded is not None
            self._loaded = loaded
        lsn = parse_lsn(text_of(position))
        role = Role.REPLICA if in_recovery == b"t" else Role.PRIMARY
        if role is Role.PRIMARY:
            lsn = normalise_insert_lsn(
                lsn,
                block_size=self._identity.wal_block_size,
                segment_size=self._identity.wal_segment_size,
            )
        self._timeline = max(self._timeline, int(timeline or 0))
        source, upstream = Source.UNSEEN, None
        if role is Role.REPLICA:
            source, upstream = self._source(receiver)
        look = Observation(
            role=role,
            timeline=self._timeline,
            lsn=lsn,
            system_identifier=self._identity.system_identifier,
            server_version=self._identity.server_version,
            reloads=self._reloads,
            replay_age=None if age is None else float(age),
            received=None if received is None else parse_lsn(text_of(received)),
            source=source,
            upstream=upstream,
            places=self._places,
            started_at=self._started_at,
        )
        return self._with_past(look)

    def _source(self, receiver: bytes | None) -> tuple[Source, Place | None]:
        """Read what a replica says of its walreceiver: status, port and host; None: it has none."""
        if receiver is None:
            return (Source.ARCHIVE if self._identity.has_archive else Source.NONE), None
        status, port, host = text_of(receiver).split(" ", 2)
        if not status:
            return Source.UNSEEN, None
        if status != "streaming" or not port:
            return Source.NONE, None
        return Source.STREAM, (_LOCAL.get(host, host), int(port))


async def _ask(link: Link, query: str) -> Row:
    """Return the answer to *query*, empty if it is refused. Raises ProbeFailed: the link is closed."""
    try:
        return await link.ask(question(query))
    except ProbeFailed as exc:
        if exc.lost:
            raise
        return ()


def _nonsense(exc: Exception) -> ProbeFailed:
    return ProbeFailed(f"its answer makes no sense: {exc}", lost=False)
