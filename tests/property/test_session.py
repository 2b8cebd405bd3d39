"""Sessions share servers, and nobody can tell.

Every client has two lives: one with a server to itself (a model of PostgreSQL), one as a session whose units
go to whichever shared server comes, through `compose` and the response queue. What it reads must be the same
in both. The relay's part is written out below in its simplest form.

Two more properties: a client's bytes mean the same however they are cut, and no bytes make a session stumble.
"""

from __future__ import annotations

from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import event, example, given, settings

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.protocol.looks import Look
from rwsplit.protocol.responses import Owed, What, sqlstate
from rwsplit.session.chunk import Chunk, ChunkKind
from rwsplit.session.input import HELD
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import NONE
from rwsplit.session.prepared import Prepared
from rwsplit.session.session import Session
from rwsplit.session.teaching import ServerState, compose, unlearn
from rwsplit.session.unit import Kind, Unit
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.functions import FunctionBook
from tests.support import frames
from tests.support.frames import FLUSH, SYNC, TERMINATE
from tests.support.model_server import ModelServer

TEXTS = (
    "select 1",
    "select 2",
    "select 3",
    "select 'at_bind'",
    "select 'at_execute'",
    "select * from later",
)
BROKEN = TEXTS[-1]
NAMES = ("", "a", "b", "c")


def knowledge() -> Knowledge:
    functions = FunctionBook((), ())
    return Knowledge(StatementCache(functions, size=1000), functions)


class Client:
    """An application in both its lives."""

    def __init__(self, shared: Knowledge, broken: set[str]) -> None:
        self.session = Session(shared, user="app", database="app", parameters=NONE)
        self.own_server = ModelServer(broken)
        self.sent = b""
        self.in_flight = False


class SharedServer:
    """A server of the pool, with the relay's bookkeeping."""

    def __init__(self, broken: set[str], *, is_lane: bool) -> None:
        self.state = ServerState()
        self.model = ModelServer(broken)
        self.is_lane = is_lane

    def takes(self, unit: Unit, limit: int) -> None:
        """Queue *unit*, as the dispatcher does."""
        piece, state = unit.piece, self.state
        if self.is_lane:
            state.unnamed = None
        unit.guarded = True
        unit.lessons = []
        unit.steps = compose(
            state,
            piece.parts,
            piece.needs,
            piece.plan,
            unit.lessons,
            unnamed=piece.unnamed,
            limit=limit,
        )
        if piece.unnamed_parse is not None:
            state.unnamed = piece.unnamed_parse
        if unit.kind is Kind.SIMPLE:
            state.unnamed = None
        state.responses.owed.append(unit)
        if piece.litter is not None:
            state.out.append(frame(codes.CLOSE, b"S" + piece.litter + b"\0") + SYNC)
            state.responses.owed.append(Owed(None))

    def answers(self, limit: int) -> None:
        """Work off what is queued, and sort the answers as the relay does."""
        again = []
        sent = self.model.answers(b"".join(self.state.out))
        self.state.out.clear()
        for what, owed, _ in self.state.responses.receive(sent):
            if not isinstance(owed, Unit) or what is What.PARTIAL:
                continue
            assert owed.session is not None
            if what is What.FAILED:
                self.state.unnamed = None
                unlearn(self.state, owed.lessons, owed.done)
                continue
            if owed.error is not None:
                if sqlstate(owed.error) == b"26000" and owed.piece.needs and not owed.restarts:
                    again.append(owed)
                    continue
                owed.deliver()
            owed.settle_names()
        assert not self.state.responses.owed
        self.check()
        for unit in again:  # it relied on a stranger's Parse that failed
            unit.restart()
            self.takes(unit, limit)
        if again:
            self.answers(limit)

    def check(self) -> None:
        """What is known of it is what it knows; it may know more if that is on record."""
        known = {p.name.decode(): p.query.decode() for p in self.state.known}
        if self.state.unsure:
            assert known.items() <= self.model.named.items()
        else:
            assert known == self.model.named
        if self.state.unnamed is not None:
            assert self.state.unnamed.query.decode() == self.model.unnamed


class Act(NamedTuple):
    """One client sends one unit to one server; None as *sent*: the server answers."""

    client: int
    server: int
    sent: bytes | None


names = st.sampled_from(NAMES)
texts = st.sampled_from(TEXTS)
uses = st.one_of(
    st.builds(lambda name: frames.bind(name) + frames.execute(), names),
    st.builds(lambda name: frames.describe(name) + frames.bind(name), names),
    st.builds(frames.describe, names),
    st.just(frames.describe_portal() + frames.execute()),
    st.builds(frames.parse, names, texts),
    st.builds(frames.close, names),
)
units = st.one_of(
    st.builds(lambda said: b"".join(said) + SYNC, st.lists(uses, max_size=6)),
    st.builds(frames.query, texts),
)
acts = st.builds(
    Act, st.integers(0, 2), st.integers(0, 1), st.one_of(units, units, units, st.none())
)


def verdicts(answer: bytes) -> list[tuple[int, bytes]]:
    """Return an answer's messages; of an error only what a driver looks at, its SQLSTATE."""
    found = []
    while answer:
        end = 1 + int.from_bytes(answer[1:5], "big")
        payload = answer[5:end]
        if answer[:1] == b"E":
            state = next(field[1:] for field in payload.split(b"\0") if field[:1] == b"C")
            payload = state
        found.append((answer[0], payload))
        answer = answer[end:]
    return found


@settings(deadline=None)  # the first texts are parsed
@given(acts=st.lists(acts, max_size=40), limit=st.integers(1, 4), heals=st.integers(0, 40))
@example(
    acts=[
        Act(0, 0, frames.parse("", BROKEN) + frames.parse("", "select 1") + SYNC),
        Act(0, 0, frames.bind("") + frames.execute() + SYNC),
    ],
    limit=1,
    heals=1,
)
def test_a_session_on_shared_servers_reads_what_it_would_read_from_its_own(
    acts: list[Act], limit: int, heals: int
) -> None:
    broken = {BROKEN}
    shared = knowledge()
    clients = [Client(shared, broken) for _ in range(3)]
    servers = [SharedServer(broken, is_lane=True), SharedServer(broken, is_lane=False)]
    waiting: list[list[Client]] = [[], []]

    def settle(number: int) -> None:
        servers[number].answers(limit)
        for client in waiting[number]:
            read = b"".join(client.session.sink)
            client.session.sink.clear()
            assert verdicts(read) == verdicts(client.own_server.answers(client.sent))
            client.in_flight = False
        waiting[number].clear()

    for moment, (who, where, sent) in enumerate(acts):
        if moment == heals:
            settle(0)
            settle(1)
            broken.clear()
        client, server = clients[who], servers[where]
        if sent is None or client.in_flight or (waiting[where] and not server.is_lane):
            settle(where)
            if sent is None or client.in_flight:
                continue
        client.session.receive(sent)
        unit = client.session.pending.popleft()
        assert isinstance(unit, Unit)
        assert not client.session.pending
        client.sent, client.in_flight = sent, True
        server.takes(unit, limit)
        waiting[where].append(client)
    settle(0)
    settle(1)


# However a client's bytes are cut...

#: By name, since Hypothesis writes down what it tries.
LONG = {
    f"{kind} of {size}": build("x" * size)
    for size in (70_000, 300_000, 600_000)
    for kind, build in {
        "query": lambda text: frames.query(f"select '{text}'"),
        "parse": lambda text: frames.parse("a", f"select '{text}'"),
        "unnamed parse": lambda text: frames.parse("", f"select '{text}'"),
        "bind": lambda text: frames.bind("a", value=text.encode()) + frames.execute(),
        "unnamed bind": lambda text: frames.bind("", value=text.encode()) + frames.execute(),
        "binds": lambda text: frames.bind("a") * (len(text) // 13),
        "copy": lambda text: frames.copy_data(text.encode()),
    }.items()
}
client_messages = st.one_of(
    units,
    units,
    st.lists(uses, max_size=3).map(b"".join),
    st.sampled_from(
        [FLUSH, SYNC, TERMINATE, frames.COPY_DONE, frames.call(2078), frames.copy_data(b"1\n")]
    ),
    st.sampled_from(sorted(LONG)),
)


class Facts(NamedTuple):
    """What a client's bytes amount to."""

    sent: bytes
    kinds: list[str]
    may_write: bool


def facts(session: Session) -> Facts:
    """Return what is pending, without regard to what is a unit and what continues one."""
    sent = b""
    kinds = []
    may_write = False
    for item in session.pending:
        piece = item.piece if isinstance(item, Unit) else item
        for part in piece.parts:
            sent += part.parse(part.name) if isinstance(part, Prepared) else part
        if isinstance(item, Unit):
            kinds.append(item.kind.value)
        elif item.kind is ChunkKind.TERMINATE:
            kinds.append("goodbye")
        may_write = may_write or bool(piece.script and piece.script.may_write)
    return Facts(sent, kinds, may_write)


def is_held(item: Unit | Chunk) -> bool:
    return isinstance(item, Chunk) and item.kind is ChunkKind.HELD


def settle(session: Session) -> None:
    """Let everything be answered that has been received."""
    while session.input.frame_state == HELD:
        for item in session.pending:
            if isinstance(item, Unit):
                item.settle_names()
        session.names.unsettled.clear()
        answered = [item for item in session.pending if not is_held(item)]
        session.pending.clear()
        session.resume()
        session.pending.extendleft(reversed(answered))


def told(data: bytes, cuts: list[int]) -> tuple[Session, Facts | None]:
    session = Session(knowledge(), user="app", database="app", parameters=NONE)
    places = sorted({cut % len(data) for cut in cuts} - {0}) if data else []
    try:
        for start, end in zip([0, *places], [*places, len(data)], strict=True):
            if end > start:
                session.receive(data[start:end])
                settle(session)
    except ProtocolViolation:
        return session, None
    return session, facts(session)


@given(
    messages=st.lists(client_messages, max_size=8),
    cuts=st.lists(st.integers(0, 5_000_000), max_size=10),
)
@settings(deadline=None)  # half a megabyte in pieces
@example(messages=[frames.query("copy t from stdin"), "copy of 300000"], cuts=[100_000])
def test_a_clients_bytes_mean_the_same_however_they_are_cut(
    messages: list[bytes | str], cuts: list[int]
) -> None:
    data = b"".join(LONG[said] if isinstance(said, str) else said for said in messages) + SYNC

    _, whole = told(data, [])
    cut, pieces = told(data, cuts)

    assert pieces == whole
    assert not cut.is_mid_frame


@given(
    messages=st.lists(st.one_of(uses, units), max_size=6),
    cuts=st.lists(st.integers(0, 1000), max_size=10),
)
def test_short_units_are_the_same_in_every_respect_however_they_are_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    def spelled(session: Session) -> list[object]:
        found: list[object] = []
        for item in session.pending:
            piece = item.piece if isinstance(item, Unit) else item
            raw = b"".join(
                part.parse(part.name) if isinstance(part, Prepared) else part
                for part in piece.parts
            )
            found.append(
                (
                    type(item),
                    raw,
                    piece.plan and [type(s) if isinstance(s, Look) else s for s in piece.plan],
                    [p.name for p in piece.needs],
                    piece.unnamed and piece.unnamed.query,
                    piece.unnamed_parse and piece.unnamed_parse.query,
                    [(name, p.name) for name, p in piece.taught],
                    piece.litter,
                    piece.script and piece.script.statements,
                    isinstance(item, Unit) and (item.executes, item.row_limit, item.size_in),
                    isinstance(item, Chunk) and item.kind,
                )
            )
        return found

    whole, _ = told(b"".join(messages), [])
    cut, _ = told(b"".join(messages), cuts)

    assert spelled(cut) == spelled(whole)
    assert cut.names.keys() == whole.names.keys()


# Whatever a client sends...


@given(
    before=st.lists(st.one_of(units, uses), max_size=2),
    junk=st.binary(max_size=80),
    cuts=st.lists(st.integers(0, 200), max_size=4),
)
def test_random_bytes_from_a_client_are_a_violation_or_nothing(
    before: list[bytes], junk: bytes, cuts: list[int]
) -> None:
    _, found = told(b"".join(before) + junk, cuts)
    event("a violation" if found is None else "something")


@given(
    sent=st.lists(
        st.builds(
            frames.message, st.sampled_from(sorted("QPBDECSHFXdcf")), st.binary(max_size=12)
        ),
        max_size=8,
    ),
    cuts=st.lists(st.integers(0, 200), max_size=4),
)
def test_messages_of_any_content_are_a_violation_or_something(
    sent: list[bytes], cuts: list[int]
) -> None:
    _, found = told(b"".join(sent), cuts)
    event("a violation" if found is None else "something")
