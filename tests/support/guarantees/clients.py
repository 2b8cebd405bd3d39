"""Concurrent clients of one rwsplit: threads that run their programs until told to stop, and keep the history.

A client whose connection is lost notes what it does not know, and goes on in a new session. Errors that a program provokes are part
of it; all others are *troubles*, for the test to judge.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple

from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.guarantees.account import Account, Rows
from tests.support.guarantees.history import Event, Level, Read, Write
from tests.support.guarantees.ledger import Misbooking, misbookings
from tests.support.guarantees.programs import REGISTERS, Burst, Program, Style
from tests.support.guarantees.statements import (
    LEDGER,
    PREPARE,
    SCHEMA,
    TABLE,
    WAYS_TO_READ,
    WAYS_TO_WRITE,
    End,
    Reading,
    Resolve,
    Writing,
)
from tests.support.guarantees.wording import encoded, named, query
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient, error_fields, message, rows

#: Seconds any answer may take.
PATIENCE: Final = 30.0
#: SQLSTATEs that programs provoke: division by zero and what it fails, serialization failures, and what statements
#: say that are cut off from a BEGIN, a DECLARE or a PREPARE TRANSACTION which failed.
PROVOKED: Final = frozenset({"22012", "25P02", "40001", "25001", "25P01", "34000", "42704"})


#: Bursts a trouble shows.
REMEMBERED: Final = 10
#: What a READ ONLY transaction says of a write.
REFUSED: Final = "25006"

#: What a transaction hears that ends with its replica.
LOSSES: Final = frozenset({"57P01", "57P02", "57P03", "08006", "08003", "25P03", "57P05"})


class Trouble(NamedTuple):
    """An error that no program provokes; *sqlstate* is empty where the connection was lost without a word."""

    session: int
    sqlstate: str
    text: str
    said: str
    is_bound: bool
    """It happened in a transaction that was READ ONLY, or had a snapshot: it ends with its replica."""
    before: tuple[str, ...] = ()
    """What the client said before, each after its session's number and transaction status."""

    @property
    def is_excused(self) -> bool:
        """Whether the loss of a replica explains it."""
        return (self.is_bound and self.sqlstate in LOSSES) or "node=" in self.said


#: Seconds between writes of anybody. At level CLUSTER every write keeps all reads on the primary for a while, and hides
#: an earlier one that rwsplit has not noticed; so they must be rare.
PACES: Final = {
    Level.EVENTUAL: (0.0, 0.0, 0.0, 0.02, 0.1),
    Level.SESSION: (0.0, 0.0, 0.0, 0.02, 0.1),
    Level.CLUSTER: (0.0, 0.5, 0.6, 0.7),
}


class Pace:
    """Says when it is time to write, to one client at a time."""

    def __init__(self, gaps: Sequence[float], seed: int) -> None:
        self._gaps = gaps
        self._chance = random.Random(seed)
        self._next = 0.0
        self._lock = threading.Lock()

    def is_time(self) -> bool:
        """Return whether the client that asks may write now; then it is a while until the next may."""
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return False
            self._next = now + self._chance.choice(self._gaps)
            return True


class ConnectionLost(Exception):
    """The session is over; what was under way may have happened."""


class Sessions:
    """Clients of *proxy* that make a history until the block is left."""

    def __init__(
        self,
        proxy: Proxy,
        *,
        clients: int = 12,
        seed: int = 0,
        level: Level = Level.SESSION,
        two_phases: bool = False,
    ) -> None:
        self.proxy = proxy
        self.seed = seed
        self.level = level
        self.numbers = itertools.count(1)
        """Of sessions."""
        self.stopping = threading.Event()
        self.pace = Pace(PACES[level], seed)
        self._clients = [
            Client(self, Program(number, clients, seed, two_phases=two_phases))
            for number in range(clients)
        ]
        self._two_phases = two_phases

    def __enter__(self) -> Sessions:
        with self.proxy.connect() as connection:
            connection.execute(SCHEMA)
            connection.execute(
                f"insert into {TABLE} select n, 0 from generate_series(0, %s) n",
                (len(self._clients) * REGISTERS - 1,),
            )
        self.proxy.cluster.wait_until_replayed(only=self._replaying())
        assert wait_until(self._is_known, timeout=PATIENCE), (
            "rwsplit does not learn the functions"
        )
        for client in self._clients:
            client.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the clients, each after its episode."""
        self.stopping.set()
        for client in self._clients:
            client.join(PATIENCE + 5)
        alive = sum(client.is_alive() for client in self._clients)
        assert not alive, f"{alive} of {len(self._clients)} clients hang"
        for client in self._clients:
            if client.bug is not None:
                raise client.bug

    # -- what came of it ---------------------------------------------------------------------------

    def history(self) -> list[Event]:
        """Return what has happened so far."""
        return [event for client in self._clients for event in client.events()]

    def reads(self) -> int:
        """Return the number of reads so far."""
        return sum(isinstance(event, Read) for event in self.history())

    def go_on(self, events: int, *, timeout: float = 30.0) -> None:
        """Block until *events* more have happened."""
        wanted = len(self.history()) + events
        assert wait_until(lambda: len(self.history()) >= wanted, timeout=timeout), (
            self.troubles[-3:]
        )

    @property
    def troubles(self) -> list[Trouble]:
        """Return the errors nobody provoked."""
        return [trouble for client in self._clients for trouble in list(client.troubles)]

    def read_on(self) -> Counter[str]:
        """Return how many reads each node has answered."""
        return Counter(event.node for event in self.history() if isinstance(event, Read))

    def misbookings(self, primary: EmbeddedNode) -> list[Misbooking]:
        """Return where the ledger on *primary* and the history differ."""
        for [name] in primary.query("select gid from pg_prepared_xacts where database = 'app'"):
            with primary.connect("app") as connection:
                connection.execute(f"rollback prepared '{name}'")
        booked = primary.query(
            f"select register, value, count(*) from {LEDGER} group by register, value",
            database="app",
        )
        return misbookings(
            self.history(), {(register, value): times for register, value, times in booked}
        )

    def summary(self) -> str:
        """Return what was done, in one line."""
        history = self.history()
        writes = Counter(event.outcome.value for event in history if isinstance(event, Write))
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(writes.items()))
        on = ", ".join(f"{node} {count}" for node, count in sorted(self.read_on().items()))
        errors = Counter(trouble.sqlstate or trouble.text for trouble in self.troubles)
        return f"seed {self.seed}: {self.reads()} reads ({on}), writes {told}; troubles: {dict(errors)}"

    def _is_known(self) -> bool:
        """Return whether rwsplit knows what the functions do; until then their callers would be pinned."""
        with self.proxy.raw() as wire:
            wire.query(WAYS_TO_READ["function"](0).sql)
            wire.query(WAYS_TO_WRITE["function"](-1, 0).sql)
            return rows(wire.query("show rwsplit.pinned")) == [(b"no",)]

    def _replaying(self) -> list[object]:
        return [
            node
            for node in self.proxy.cluster.replicas
            if node.query(
                "select 1 where not pg_is_wal_replay_paused() "
                "and current_setting('recovery_min_apply_delay') = '0'"
            )
        ]


class Client(threading.Thread):
    """One of them."""

    def __init__(self, sessions: Sessions, program: Program) -> None:
        super().__init__(daemon=True)
        self.troubles: list[Trouble] = []
        self.bug: Exception | None = None
        """What went wrong in here, not in rwsplit."""
        self._sessions = sessions
        self._program = program
        self._accounts: list[Account] = []
        self._dialogue: deque[str] = deque(maxlen=REMEMBERED)

    def events(self) -> list[Event]:
        """Return what its sessions have learned so far."""
        return [event for account in list(self._accounts) for event in list(account.events)]

    def run(self) -> None:
        """Run sessions until told to stop."""
        while not self._sessions.stopping.is_set():
            account = Account(next(self._sessions.numbers), self._sessions.level)
            self._accounts.append(account)
            try:
                self._run(account)
            except (ConnectionLost, OSError, EOFError) as lost:
                account.lost(time.monotonic())
                self._trouble(account, getattr(lost, "sqlstate", ""), repr(lost))
                self._sessions.stopping.wait(0.05)
            except Exception as bug:
                self.bug = bug
                raise

    def _run(self, account: Account) -> None:
        try:
            wire = self._sessions.proxy.raw(timeout=PATIENCE)
        except AssertionError as refused:
            raise ConnectionLost(f"login: {refused}") from None
        with wire:
            self._prepare(wire, prepares=self._program.begin_session())
            for _ in range(self._program.length()):
                may_write = self._sessions.pace.is_time()
                for burst in self._program.episode(may_write=may_write):
                    self._say(wire, account, burst)
                self._tidy(wire, account)
                if self._sessions.stopping.is_set():
                    break
            wire.send(message(b"X"))

    def _prepare(self, wire: RawClient, *, prepares: bool) -> None:
        wire.send(named())
        answers = [wire.frames_until(b"Z")]
        for text in PREPARE if prepares else ():
            wire.send(query(text))
            answers.append(wire.frames_until(b"Z"))
        found = query(
            f"select gid from pg_prepared_xacts where starts_with(gid, '{self._program.prefix}')"
        )
        wire.send(found)
        answers.append(wire.frames_until(b"Z"))
        for [name] in rows(answers[-1]):
            assert name is not None
            wire.send(query(f"rollback prepared '{name.decode()}'"))
            answers.append(wire.frames_until(b"Z"))
        for frame in itertools.chain.from_iterable(answers):
            if frame.code == b"E":
                raise ConnectionLost(str(error_fields(frame.payload)))

    def _tidy(self, wire: RawClient, account: Account) -> None:
        """End what an episode has left because something in it failed."""
        if account.status != b"I":
            self._say(wire, account, Burst(Style.STRING, (End("rollback"),)))
        if account.prepared:
            resolve = Resolve(f"rollback prepared '{account.prepared}'", commits=False)
            self._say(wire, account, Burst(Style.STRING, (resolve,)))

    # -- one burst ---------------------------------------------------------------------------------

    def _say(self, wire: RawClient, account: Account, burst: Burst) -> None:
        if burst.pause:
            self._sessions.stopping.wait(burst.pause)
        data = encoded(burst)
        said = str(burst)
        is_open = burst.style is Style.FLUSH
        account.sending(burst.units, time.monotonic(), is_open=is_open, said=said)
        self._dialogue.append(f"{account.session} {account.status.decode()} {said}")
        wire.send(data)
        found: list[Frame] = []
        while not account.is_answered:
            frame = wire.frame()
            if frame.code in b"Dd":
                found.append(frame)
            else:
                self._answered(wire, account, frame, found, said)
                found = [] if frame.code in b"CEZ" else found

    def _answered(
        self, wire: RawClient, account: Account, frame: Frame, found: list[Frame], said: str
    ) -> None:
        now = time.monotonic()
        match frame.code:
            case b"C":
                read = _rows(found) if isinstance(account.awaited, Reading) else ()
                account.done(frame.payload[:-1].decode(), read, now)
            case b"E":
                self._failed(account, error_fields(frame.payload), said, now)
            case b"Z":
                account.ready(frame.payload, now)
            case b"G":
                writing = account.awaited
                assert isinstance(writing, Writing)
                wire.send(message(b"d", writing.data), message(b"c"))
            case _:
                pass

    def _failed(self, account: Account, fields: dict[str, str], said: str, now: float) -> None:
        code = fields["C"]
        if fields["S"] == "FATAL":
            lost = ConnectionLost(f"{fields['M']} ({said})")
            lost.sqlstate = code  # type: ignore[attr-defined]
            raise lost
        failing = account.failed(now)
        if code not in PROVOKED and not (code == REFUSED and account.reads_only):
            self._trouble(account, code, f"{fields['M']} ({failing})", said)

    def _trouble(self, account: Account, sqlstate: str, text: str, said: str = "") -> None:
        self.troubles.append(
            Trouble(
                account.session, sqlstate, text, said, account.is_bound, tuple(self._dialogue)
            )
        )


def _rows(found: list[Frame]) -> Rows:
    if found and found[0].code == b"d":
        lines = (frame.payload.decode().rstrip("\n").split("\t") for frame in found)
        return [(int(register), int(value), node) for register, value, node in lines]
    return [
        (int(register), int(value), node.decode())
        for register, value, node in rows(found)
        if register is not None and value is not None and node is not None
    ]
