"""A turn of the loop does so much for one client, and what is left over waits for the next."""

from __future__ import annotations

import select

import pytest

from rwsplit.relay import slices
from rwsplit.relay.client import Client
from rwsplit.relay.dispatch import MOST_LISTED
from rwsplit.relay.outboxes import HIGH_WATER
from rwsplit.relay.slices import HEAVY_FOR, MOST_PENDING, SLICE, TURN
from rwsplit.session.inband_settings import InBandSettings
from tests.support import frames
from tests.support.memory_relay import ANSWER, MemoryRelay, MemoryWire, wire_of

SYNCED = frames.message("1") + frames.ready()
BEGUN = frames.message("C", b"BEGIN\0") + frames.ready()
#: Work that may be done over the bound of a turn: what was begun in it is ended.
BEYOND = SLICE


def new_shapes(count: int) -> bytes:
    """Return so many statements nobody has seen before."""
    return b"".join(frames.query(f"select a{n}, b{n} from t{n}") for n in range(count))


def play_out(rig: MemoryRelay, answer: bytes = ANSWER, *, most: int = 10_000) -> int:
    """Take turns, with answers to all that is sent, until nothing is left over; return how many."""
    for turn in range(most):
        busy = rig.busy()
        if not busy and not rig.relay.driver.pressed:
            return turn
        if busy:
            rig.answer(busy, answer)
        else:
            rig.relay.turn([])
    raise AssertionError("there is no end to it")


def sent_to(client: Client) -> list[bytes]:
    """Record from now on what is sent to *client*."""
    found = wire_of(client).log = []
    return found


def test_no_turn_does_more_than_it_may_whatever_one_client_sends():
    rig = MemoryRelay(1)
    [client] = rig.clients
    rig.say(client, new_shapes(1000))
    effort = rig.relay.effort
    rig.turn_clients([client])
    assert effort.words <= TURN + BEYOND
    assert effort.parses < 100
    most = 0
    while rig.relay.driver.pressed or rig.busy():
        before = effort.words
        busy = rig.busy()
        rig.answer(busy, ANSWER)
        most = max(most, effort.words - before)
    assert most <= TURN + 2 * BEYOND
    assert effort.parses == 1000
    assert client.statements == 1000
    assert client.is_idle


def test_a_bystander_is_served_in_the_turn_in_which_it_asks():
    rig = MemoryRelay(2)
    flood, bystander = rig.clients
    rig.say(flood, new_shapes(1000))
    rig.turn_clients([flood])
    assert rig.relay.driver.pressed
    rig.ask(bystander, b"select 1")
    rig.turn_clients([bystander])
    assert bystander.in_flight == 1
    assert flood.statements < 100


@pytest.mark.parametrize("shapes", [8, 100])
def test_a_light_client_does_not_wait_for_a_slice_of_each_heavy_one(shapes: int):
    """Each of sixteen sends so many new shapes whenever its socket is looked at: within a slice, or beyond it."""
    rig = MemoryRelay(17)
    *heavy, bystander = rig.clients
    effort = rig.relay.effort

    def turn_all() -> int:
        """Take a turn in which every client has something to read, the bystander's behind all others'; return its work."""
        for number, client in enumerate(heavy):
            if wire_of(client).incoming is None:
                names = (f"{number}_{effort.parses}_{n}" for n in range(shapes))
                rig.say(client, b"".join(frames.query(f"select a{n}, b{n}") for n in names))
        before = effort.words
        rig.turn_clients([client for client in rig.clients if not client.paused])
        return effort.words - before

    while len(rig.relay.slices.heavy) < len(heavy):
        turn_all()
    for _ in range(20):
        rig.ask(bystander, b"select 1")
        work = turn_all()
        assert bystander.in_flight == 1
        assert work <= TURN + BEYOND
        while rig.busy():
            rig.answer(rig.busy(), ANSWER)
        assert bystander.is_idle


@pytest.fixture
def heavy_one() -> tuple[MemoryRelay, Client]:
    """A relay with one client, which is heavy."""
    rig = MemoryRelay(1)
    [client] = rig.clients
    rig.say(client, new_shapes(100))
    rig.relay.driver.press()
    rig.turn_clients([client])
    play_out(rig)
    assert client in rig.relay.slices.heavy
    return rig, client


def test_a_client_is_heavy_only_for_a_while(heavy_one: tuple[MemoryRelay, Client]):
    rig, client = heavy_one
    assert rig.now < rig.relay.slices.heavy[client] <= rig.now + HEAVY_FOR
    rig.now += HEAVY_FOR
    rig.ask(client, b"select 1")
    rig.relay.driver.press()
    rig.turn_clients([client])
    assert client.in_flight == 1
    assert not rig.relay.slices.heavy


def test_a_client_that_has_gone_is_heavy_no_more(heavy_one: tuple[MemoryRelay, Client]):
    rig, client = heavy_one
    rig.say(client, b"")
    rig.turn_clients([client])
    assert client.closed
    assert not rig.relay.slices.heavy


def test_clients_with_work_left_over_take_turns():
    rig = MemoryRelay(3)
    for client in rig.clients:
        rig.say(client, new_shapes(600))
    rig.turn_clients(rig.clients)
    spread = 0
    while rig.relay.driver.pressed or rig.busy():
        rig.answer(rig.busy(), ANSWER)
        done = [client.statements for client in rig.clients]
        if max(done) < 600:
            spread = max(spread, max(done) - min(done))
    assert spread <= 100
    assert [client.statements for client in rig.clients] == [600] * 3


def test_answers_come_in_order_whatever_the_slices():
    rig = MemoryRelay(1)
    [client] = rig.clients
    client.set_in_band(InBandSettings(route="primary"))
    told = sent_to(client)
    count = 3 * MOST_PENDING
    rig.say(client, b"".join(frames.query(f"insert into t values ({n})") for n in range(count)))
    rig.turn_clients([client])
    answered = 0
    while rig.relay.driver.pressed or rig.busy():
        for server in rig.busy():
            # One at a time, each recognizable.
            data = b"".join(
                frames.message("C", b"INSERT %d\0" % (answered + n)) + frames.ready()
                for n in range(7)
            )
            few = min(7, server.owed_count)
            ends = [i for i in range(len(data)) if data.startswith(frames.ready(), i)]
            answered += few
            rig.turn_servers([(server, data[: ends[few - 1] + len(frames.ready())])])
        if not rig.busy():
            rig.relay.turn([])
    assert answered == count
    expected = b"".join(
        frames.message("C", b"INSERT %d\0" % n) + frames.ready() for n in range(count)
    )
    assert b"".join(told) == expected


def test_what_waits_for_its_slice_is_bounded():
    """Syncs are five bytes, and what stands for one of them a hundred times that."""
    rig = MemoryRelay(1)
    [client] = rig.clients
    rig.say(client, frames.query("select pg_sleep(1)") + frames.SYNC * 50_000)
    most = 0
    rig.turn_clients([client])
    for _ in range(1000):
        if not rig.relay.driver.pressed:
            break
        rig.relay.turn([])
        most = max(most, len(client.pending))
    assert most <= MOST_PENDING + SLICE
    assert not rig.relay.driver.pressed  # it waits for its answer: there is nothing to do
    assert client.paused
    assert client.in_flight > 0


def test_the_rest_is_looked_at_when_what_came_before_is_answered():
    rig = MemoryRelay(1)
    [client] = rig.clients
    client.set_in_band(InBandSettings(route="primary"))
    rig.say(client, frames.query("select pg_sleep(1)") + frames.SYNC * 2000)
    rig.turn_clients([client])
    for _ in range(5000):
        if not (rig.busy() or rig.relay.driver.pressed):
            break
        busy = rig.busy()
        rig.turn_servers([(s, frames.ready() * s.owed_count) for s in busy])
    assert client.statements == 2001
    assert client.is_idle
    assert not client.paused


def test_the_end_of_the_stream_is_heeded_behind_all_that_was_sent_before():
    rig = MemoryRelay(1)
    [client] = rig.clients
    wire = wire_of(client)
    rig.say(client, new_shapes(400) + frames.TERMINATE)
    rig.turn_clients([client])
    ended = False
    for _ in range(5000):
        if client.closed:
            break
        if wire.incoming is None and not ended and not client.paused:
            wire.incoming, ended = b"", True
        rig.relay.turn(
            [(client.fd, select.EPOLLIN | select.EPOLLRDHUP)] if not client.paused else []
        )
        if rig.busy():
            rig.answer(rig.busy(), ANSWER)
    assert client.closed
    assert client.statements == 400


def test_half_a_frame_behind_a_slice_is_awaited():
    rig = MemoryRelay(1)
    [client] = rig.clients
    last = frames.query("select last from t")
    rig.say(client, new_shapes(300) + last[:-3])
    rig.turn_clients([client])
    play_out(rig)
    assert client.statements == 300
    assert not client.paused
    rig.say(client, last[-3:])
    rig.turn_clients([client])
    play_out(rig)
    assert client.statements == 301


def test_a_unit_that_takes_several_slices_is_one_unit():
    rig = MemoryRelay(1)
    [client] = rig.clients
    count = 2 * SLICE
    messages = b"".join(frames.parse(f"s{n}", f"select {n}") for n in range(count))
    rig.say(client, messages + frames.SYNC)
    rig.turn_clients([client])
    for _ in range(100):
        if rig.busy():
            break
        rig.relay.turn([])
    [server] = rig.busy()
    assert server.owed_count == 1
    assert len(client.names) == count


def test_a_client_that_does_not_read_is_not_asked_for_more():
    """A transaction without a statement is answered here, and no server's outbox holds it up."""
    rig = MemoryRelay(1)
    [client] = rig.clients
    wire = wire_of(client)

    class Stuck(type(wire)):  # type: ignore[misc]
        __slots__ = ()
        wants_write = True

        def send(self, data: bytes | bytearray | memoryview) -> int:
            return 0

    wire.__class__ = Stuck
    for _ in range(3000):
        if not client.paused and wire.incoming is None:
            rig.say(client, (frames.query("begin") + frames.query("commit")) * 200)
        rig.turn_clients([] if client.paused else [client])
    assert sum(map(len, client.sink)) < 2 * HIGH_WATER
    assert client.is_stuffed

    class Free(type(wire).__mro__[1]):  # type: ignore[misc]
        __slots__ = ()

    wire.__class__ = Free
    rig.relay.turn([(client.fd, select.EPOLLOUT)])
    assert not client.is_stuffed
    play_out(rig)
    assert not client.paused


def test_a_turn_that_has_no_time_left_puts_sockets_off_and_forgets_none():
    rig = MemoryRelay(30)
    for client in rig.clients:
        rig.say(client, new_shapes(100))
    before = rig.relay.effort.words
    rig.turn_clients(rig.clients)
    assert rig.relay.effort.words - before <= TURN + 2 * BEYOND
    play_out(rig)
    assert [client.statements for client in rig.clients] == [100] * 30


@pytest.mark.parametrize("closes", [False, True])
def test_a_client_that_goes_while_it_has_work_left_over_is_forgotten(closes: bool):
    rig = MemoryRelay(1)
    [client] = rig.clients
    rig.say(client, new_shapes(1000))
    rig.turn_clients([client])
    if closes:
        rig.relay.fail_client(client, frames.error("57P01"))
    else:
        rig.relay.turn([(client.fd, select.EPOLLHUP)])
    play_out(rig)
    assert client.closed
    assert not len(rig.relay.slices)
    assert rig.relay.effort.parses < 200


def test_a_session_that_waits_in_the_middle_of_its_slices_goes_on_later():
    """Names that are not settled hold it up; what is behind them keeps its place."""
    rig = MemoryRelay(1)
    [client] = rig.clients
    client.set_in_band(InBandSettings(route="primary"))
    one = frames.parse("a", "select 1") + frames.SYNC + frames.close("a") + frames.SYNC
    rig.say(client, one * 400)
    rig.turn_clients([client])
    for _ in range(20_000):
        busy = rig.busy()
        if not busy and not rig.relay.driver.pressed:
            break
        if busy:
            rig.reply(busy)
        else:
            rig.relay.turn([])
    assert client.statements == 800
    assert client.is_idle
    assert b"a" not in client.names


def test_what_is_left_over_survives_the_loss_of_servers():
    rig = MemoryRelay(1)
    [client] = rig.clients
    rig.say(client, new_shapes(300))
    rig.turn_clients([client])
    lost = 0
    for turn in range(10_000):
        busy = rig.busy()
        if not (busy or rig.relay.driver.pressed):
            break
        if busy and turn % 7 == 0 and lost < 20:
            rig.relay.lose_server(busy[0], None)
            rig.relay.outboxes.flush()
            lost += 1
        elif busy:
            rig.answer(busy, ANSWER)
        else:
            rig.relay.turn([])
    assert lost >= 3
    assert client.statements == 300
    assert not client.paused


class BufferedWire(MemoryWire):
    """Has decrypted more than one read returns, as TLS does: epoll tells nothing of that."""

    __slots__ = ("pieces",)

    def __init__(self, number: int, pieces: list[bytes]) -> None:
        super().__init__(number)
        self.pieces = pieces

    @property
    def has_pending(self) -> bool:  # type: ignore[override]
        return bool(self.pieces)

    def recv(self) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else None


def test_what_tls_has_decrypted_already_waits_for_the_next_turn_too():
    rig = MemoryRelay(1)
    [client] = rig.clients
    client.wire = BufferedWire(client.fd, [new_shapes(10) for _ in range(40)])
    rig.turn_clients([client])
    assert rig.relay.driver.pressed
    assert rig.relay.effort.words <= TURN + BEYOND
    play_out(rig)
    assert client.statements == 400
    assert not client.paused


def test_so_does_what_a_server_has_sent():
    rig = MemoryRelay(1)
    [reader] = rig.clients
    rig.ask(reader, b"select 1")
    rig.turn_clients([reader])
    [server] = rig.busy()
    rows = frames.row("x" * 1000) * 60
    pieces = [ANSWER[:34], *[rows] * 100, ANSWER[-20:]]
    server.wire = BufferedWire(server.fd, pieces)
    turns = 0
    rig.relay.turn([(server.fd, select.EPOLLIN)])
    while rig.relay.driver.pressed:
        turns += 1
        rig.relay.turn([])
    assert turns >= 10
    assert reader.statements == 1


def test_servers_that_flood_do_not_keep_a_turn_from_all_others():
    """They use up each turn; whose socket was put off begins the next."""
    rig = MemoryRelay(40)
    bystander, *readers = rig.clients
    for reader in readers:
        rig.ask(reader, b"select 1")
    rig.turn_clients(readers)
    play_servers = rig.busy()
    assert len(play_servers) > 20
    rows = frames.row("x" * 1000) * 60
    for turn in range(12):
        for server in play_servers:
            wire_of(server).incoming = (ANSWER[:34] if turn == 0 else b"") + rows
        events = [(server.fd, select.EPOLLIN) for server in play_servers]
        if turn >= 1 and wire_of(bystander).incoming is None and not bystander.in_flight:
            rig.ask(bystander, b"select 2")
        if wire_of(bystander).incoming is not None:
            events.append((bystander.fd, select.EPOLLIN))
        rig.relay.turn(events)
    assert bystander.in_flight == 1


def test_a_long_turn_is_logged_with_whose_it_was(monkeypatch: pytest.MonkeyPatch):
    rig = MemoryRelay(2)
    flood, other = rig.clients
    said: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(
        slices,
        "_log",
        type(
            "Log",
            (),
            {"warning": staticmethod(lambda event, **fields: said.append((event, fields)))},
        ),
    )
    rig.say(flood, new_shapes(300))
    rig.ask(other, b"select 1")
    rig.relay.clock = iter([10.0, *([10.4] * 10_000)]).__next__
    rig.turn_clients([other, flood])
    [(event, fields)] = said
    assert event == "long_turn"
    assert fields["session"] == flood.pid
    assert (fields["database"], fields["user"]) == ("app", "app")
    assert fields["seconds"] == pytest.approx(0.4)
    assert fields["parses"]
    assert rig.relay.slices.longest == pytest.approx(0.4)


def test_what_a_server_is_taught_for_one_client_counts():
    """Each question for its statements may have its server learn all of them anew: others are served in between."""
    rig = MemoryRelay(1)
    [client] = rig.clients
    client.set_in_band(InBandSettings(route="primary"))
    parses = b"".join(frames.parse(f"s{n}", f"select {n}") for n in range(MOST_LISTED))
    rig.say(client, parses + frames.SYNC)
    rig.turn_clients([client])
    while rig.busy() or rig.relay.driver.pressed:
        if rig.busy():
            rig.reply(rig.busy())
        else:
            rig.relay.turn([])
    assert len(client.names) == MOST_LISTED
    for server in rig.relay.servers.values():
        server.known.clear()  # as others of its pool, which have been taught nothing yet

    before = rig.relay.effort.words
    rig.say(client, frames.query("select name from pg_prepared_statements") * 50)
    rig.turn_clients([client])
    assert client.in_flight == 1, "what one has a server learn need not be learnt for the next"
    assert rig.relay.effort.words - before > MOST_LISTED


def test_answers_let_no_more_through_than_a_slice():
    rig = MemoryRelay(1)
    [client] = rig.clients
    rig.say(client, frames.query("insert into t values (1)") * 2000)
    rig.turn_clients([client])
    [server] = rig.busy()
    for _ in range(5):
        wire_of(server).log = sent = []
        rig.answer([server], frames.complete("INSERT 0 1") + frames.ready())
        assert 0 < b"".join(sent).count(b"insert") <= slices.SLICES * SLICE / slices.UNIT + 2
