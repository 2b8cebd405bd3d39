"""What a server, or the session that has it, is about ends when its timer says so; in time that is only said to pass."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.config.model import PoolConfig
from rwsplit.exchange.lease import CLOSED
from rwsplit.exchange.waits import Waiting
from rwsplit.relay.relay import Relay
from rwsplit.relay.standing import TIMERS, Standing, Timer, standing
from rwsplit.server.server import Server
from rwsplit.session.unit import CancelReason
from tests.support import frames
from tests.support.memory_relay import ANSWER, MemoryRelay, wire_of

SET = "select set_config('a.b', '1', false)"


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[Server]:
    """The servers that cancel requests were sent to."""
    sent: list[Server] = []
    monkeypatch.setattr(Relay, "start_task", lambda self, task, server: sent.append(server))
    return sent


class Rig(MemoryRelay):
    """A relay whose pools are configured as a test says, and whose time passes when it says so."""

    def __init__(self, clients: int = 1, **settings: float) -> None:
        super().__init__(clients)
        pool = PoolConfig(**settings)  # type: ignore[arg-type]
        self.relay.reconfigure(attrs.evolve(self.relay.config, pool=pool), self.relay.chooser)
        self.pass_time(0.0)

    def pass_time(self, seconds: float) -> None:
        """Let *seconds* pass, and look each second and at the end."""
        end = self.now + seconds
        while self.now < end:
            self.look(min(1.0, end - self.now))
        self.look(0.0)

    def look(self, after: float) -> None:
        self.now += after
        self.relay.now = self.now
        self.relay.deadlines.look(self.now)
        self.relay.outboxes.flush()

    def says(self, messages: bytes) -> Server:
        """Have the only client send *messages*; return the server that owes something then."""
        self.say(self.clients[0], messages)
        self.turn_clients(self.clients[:1])
        [server] = self.busy()
        return server

    def begins(self) -> Server:
        """Have the only client begin a transaction on the primary; return its server."""
        server = self.says(frames.query("begin isolation level serializable"))
        self.turn_servers([(server, frames.complete("BEGIN") + frames.ready("T"))])
        assert standing(server) is Standing.IN_TRANSACTION
        return server

    def asks_by_flush(self) -> Server:
        """Have the only client run a write, and say Flush; return its server, which has answered it."""
        server = self.says(
            frames.parse("", "insert into t values (1)")
            + frames.bind()
            + frames.execute()
            + frames.FLUSH
        )
        answer = frames.PARSE_COMPLETE + frames.BIND_COMPLETE + frames.complete("INSERT 0 1")
        self.turn_servers([(server, answer)])
        return server

    @property
    def heard(self) -> bytes:
        """What the only client was sent last."""
        return wire_of(self.clients[0]).sent

    @property
    def is_over(self) -> bool:
        """Whether the session of the only client has ended."""
        return self.clients[0].closed


# Flush without Sync...


def test_a_session_that_says_flush_and_nothing_more_idles_in_a_transaction():
    rig = Rig(idle_transaction_timeout=10)
    server = rig.asks_by_flush()
    assert standing(server) is Standing.UNFINISHED
    rig.pass_time(9)
    assert not rig.is_over

    rig.pass_time(2)

    assert b"25P03" in rig.heard
    assert rig.is_over
    assert server.lease == CLOSED, (
        "the rest will not come, and nobody else may have it like this"
    )


def test_outside_a_transaction_it_is_idle_as_well():
    rig = Rig(client_idle_timeout=10)
    server = rig.asks_by_flush()
    rig.pass_time(12)
    assert b"57P05" in rig.heard
    assert rig.is_over
    assert server.lease == CLOSED


@pytest.mark.usefixtures("cancelled")
def test_one_that_goes_on_does_not_idle():
    rig = Rig(idle_transaction_timeout=10, client_idle_timeout=10, query_timeout=10)
    server = rig.asks_by_flush()
    for _ in range(5):
        rig.pass_time(8)
        rig.say(rig.clients[0], frames.bind() + frames.execute() + frames.FLUSH)
        rig.turn_clients(rig.clients)
        rig.turn_servers([(server, frames.BIND_COMPLETE + frames.complete("INSERT 0 1"))])
    assert not rig.is_over


def test_a_statement_behind_a_flush_has_all_its_time(cancelled: list[Server]):
    rig = Rig(query_timeout=10)
    server = rig.asks_by_flush()
    rig.pass_time(60)
    rig.say(rig.clients[0], frames.bind() + frames.execute() + frames.FLUSH)
    rig.turn_clients(rig.clients)
    assert standing(server) is Standing.RUNNING
    rig.pass_time(9)
    assert cancelled == []
    rig.pass_time(2)
    assert cancelled == [server]


def test_statements_in_one_pipeline_have_their_time_each(cancelled: list[Server]):
    """No look finds the server without work, as the next one is said as soon as the last is answered."""
    rig = Rig(query_timeout=10)
    one = frames.bind() + frames.execute() + frames.FLUSH
    answer = frames.BIND_COMPLETE + frames.complete("INSERT 0 1")
    server = rig.says(frames.parse("", "insert into t values (1)") + one)
    rig.turn_servers([(server, frames.PARSE_COMPLETE)])
    for _ in range(8):
        rig.pass_time(4)
        assert not cancelled
        rig.turn_servers([(server, answer)])
        rig.says(one)
    rig.pass_time(8)
    assert not cancelled

    rig.pass_time(4)

    assert cancelled == [server]


def test_so_has_one_that_ends_with_its_sync(cancelled: list[Server]):
    rig = Rig(query_timeout=10)
    server = rig.asks_by_flush()
    rig.pass_time(8)
    rig.say(rig.clients[0], frames.bind() + frames.execute() + frames.SYNC)
    rig.turn_clients(rig.clients)
    rig.pass_time(9)
    assert cancelled == []
    rig.pass_time(2)
    assert cancelled == [server]


def test_what_runs_is_not_idle():
    rig = Rig(idle_transaction_timeout=10, client_idle_timeout=10)
    server = rig.says(
        frames.parse("", "insert into t values (1)")
        + frames.bind()
        + frames.execute()
        + frames.FLUSH
    )
    assert standing(server) is Standing.RUNNING
    rig.pass_time(100)
    assert not rig.is_over


def half_a_query() -> bytes:
    whole = frames.query("insert into t values ('" + 1_100_000 * "x" + "')")
    return whole[:-100]


@pytest.mark.parametrize(
    ("setting", "code"),
    [("idle_transaction_timeout", b"25P03"), ("client_idle_timeout", b"57P05")],
)
def test_a_session_that_says_half_a_message_idles(setting: str, code: bytes):
    rig = Rig(**{setting: 10.0})
    server = rig.says(half_a_query())
    assert standing(server) is Standing.UNFINISHED
    rig.pass_time(12)
    assert code in rig.heard
    assert server.lease == CLOSED


def test_half_a_message_is_not_sent_for_longer_than_a_statement_may_run(
    cancelled: list[Server],
):
    rig = Rig(query_timeout=10)
    server = rig.says(half_a_query())
    rig.pass_time(11)
    assert cancelled == [server]
    rig.pass_time(6)
    assert b"57014" in rig.heard
    assert rig.is_over
    assert server.lease == CLOSED


def test_one_that_sends_it_slowly_does_not():
    rig = Rig(idle_transaction_timeout=10)
    rig.says(half_a_query())
    for _ in range(10):
        rig.pass_time(8)
        rig.say(rig.clients[0], b"x")
        rig.turn_clients(rig.clients)
    assert not rig.is_over


def test_a_server_that_takes_nothing_is_not_the_clients_fault():
    rig = Rig(idle_transaction_timeout=10)
    for server in rig.relay.servers.values():
        wire_of(server).room = 1000
    server = rig.says(half_a_query())
    assert standing(server) is Standing.RUNNING
    rig.pass_time(100)
    assert not rig.is_over


def test_a_copy_behind_a_slow_trigger_is_not_idle():
    rig = Rig(idle_transaction_timeout=10, client_idle_timeout=10)
    server = rig.says(frames.query("copy t from stdin"))
    rig.turn_servers([(server, frames.COPY_IN)])
    rig.say(rig.clients[0], frames.copy_data(b"1\n"))
    rig.turn_clients(rig.clients)
    assert standing(server) is Standing.RUNNING
    rig.pass_time(1000)
    assert not rig.is_over


# Transactions...


def test_a_transaction_that_takes_too_long_ends_its_session(cancelled: list[Server]):
    rig = Rig(transaction_timeout=60)
    server = rig.begins()
    for _ in range(5):
        rig.pass_time(11)
        rig.ask(rig.clients[0], b"select 1")
        rig.turn_clients(rig.clients)
        rig.turn_servers([(server, ANSWER[:-1] + b"T")])
    assert not rig.is_over
    rig.pass_time(6)

    assert b"25P04" in rig.heard
    assert b"transaction_timeout is 60 s" in rig.heard
    assert rig.is_over
    assert cancelled == []
    assert standing(server) is Standing.CLEANING, "it is rolled back"


def test_the_statement_that_runs_in_it_is_cancelled(cancelled: list[Server]):
    rig = Rig(transaction_timeout=60)
    server = rig.begins()
    rig.ask(rig.clients[0], b"update t set a = 1")
    rig.turn_clients(rig.clients)
    rig.pass_time(61)
    assert b"25P04" in rig.heard
    assert cancelled == [server]
    assert standing(server) is Standing.ABANDONED


def test_so_is_one_that_has_just_begun(cancelled: list[Server]):
    rig = Rig(transaction_timeout=60)
    server = rig.begins()
    rig.pass_time(59)
    rig.ask(rig.clients[0], b"update t set a = 1")
    rig.turn_clients(rig.clients)
    rig.pass_time(2)
    assert b"25P04" in rig.heard
    assert cancelled == [server]


def test_a_session_that_waits_itself_does_not_idle():
    rig = Rig(2, idle_transaction_timeout=10, size=1)
    waiting, idling = rig.clients
    for server in list(rig.relay.servers.values()):
        if len(server.pool.servers) > 1:
            rig.relay.close_server(server)
    rig.ask(waiting, b"begin")
    rig.turn_clients([waiting])
    rig.ask(waiting, b"select 1")
    rig.turn_clients([waiting])
    [replica] = rig.busy()
    rig.turn_servers(
        [(replica, frames.complete("BEGIN") + frames.ready("T") + ANSWER[:-1] + b"T")]
    )
    rig.ask(idling, b"begin isolation level serializable")
    rig.turn_clients([idling])
    [primary] = rig.busy()
    rig.turn_servers([(primary, frames.complete("BEGIN") + frames.ready("T"))])
    rig.pass_time(8)
    rig.ask(waiting, b"update t set a = 1")
    rig.turn_clients([waiting])
    assert waiting.waits_for is Waiting.SERVER
    assert waiting.server is replica

    rig.pass_time(20)
    assert not waiting.closed
    assert idling.closed


def test_a_statement_outside_a_transaction_is_one(cancelled: list[Server]):
    rig = Rig(transaction_timeout=60)
    server = rig.says(frames.query("update t set a = 1"))
    rig.pass_time(59)
    assert not rig.is_over
    rig.pass_time(2)
    assert b"25P04" in rig.heard
    assert cancelled == [server]


def test_one_transaction_after_the_other_is_not_a_long_one():
    rig = Rig(transaction_timeout=60)
    server = rig.begins()
    for end in ("commit and chain", "commit; begin", "rollback and chain"):
        rig.pass_time(40)
        rig.ask(rig.clients[0], end.encode())
        rig.turn_clients(rig.clients)
        complete = frames.complete("COMMIT") * end.count(";")
        rig.turn_servers([(server, complete + frames.complete("BEGIN") + frames.ready("T"))])
    assert not rig.is_over
    rig.pass_time(61)
    assert rig.is_over


def test_going_back_to_a_savepoint_begins_nothing_anew():
    rig = Rig(transaction_timeout=60)
    server = rig.begins()
    rig.pass_time(40)
    rig.ask(rig.clients[0], b"rollback to a")
    rig.turn_clients(rig.clients)
    rig.turn_servers([(server, frames.complete("ROLLBACK") + frames.ready("T"))])
    rig.pass_time(21)
    assert rig.is_over


def test_a_transaction_that_is_nowhere_takes_its_time_as_well():
    rig = Rig(transaction_timeout=60)
    rig.ask(rig.clients[0], b"begin")
    rig.turn_clients(rig.clients)
    assert rig.busy() == []
    rig.pass_time(59)
    assert not rig.is_over
    rig.pass_time(62)  # all clients are looked at when one can be due
    assert b"25P04" in rig.heard


def test_a_copy_and_an_open_unit_take_their_time_too(cancelled: list[Server]):
    rig = Rig(transaction_timeout=60)
    server = rig.asks_by_flush()
    rig.pass_time(61)
    assert b"25P04" in rig.heard
    assert server.lease == CLOSED
    assert cancelled == [server]


# What rwsplit parses for a session...


def executes_by_name(rig: Rig) -> Server:
    """Have the only client prepare a statement and EXECUTE it on a server that does not know it; return that."""
    server = rig.says(frames.parse("s", "insert into t values (1)") + frames.SYNC)
    rig.turn_servers([(server, frames.PARSE_COMPLETE + frames.ready())])
    for server in list(rig.relay.servers.values()):
        server.forget()
    server = rig.says(frames.query("execute s"))
    assert len(server.responses.owed) == 2
    return server


def test_it_may_wait_for_locks_as_long_as_the_statement_itself():
    rig = Rig(query_wait_timeout=60)
    server = executes_by_name(rig)
    assert standing(server) is Standing.RUNNING
    rig.pass_time(1000)
    assert not rig.is_over
    assert server.lease != CLOSED


def test_it_is_cancelled_as_the_statement_would_be(cancelled: list[Server]):
    rig = Rig(query_timeout=60)
    server = executes_by_name(rig)
    rig.pass_time(61)
    assert cancelled == [server]
    rig.turn_servers(
        [
            (
                server,
                frames.error("57014") + frames.ready() + frames.error("26000") + frames.ready(),
            )
        ]
    )
    assert b"canceling statement due to query_timeout" in rig.heard
    assert rig.heard.endswith(frames.ready())
    assert not rig.is_over
    assert not rig.busy()


def test_left_behind_it_is_not_waited_for_for_ever(cancelled: list[Server]):
    rig = Rig(query_timeout=60)
    server = executes_by_name(rig)
    rig.relay.loss.client_gone(rig.clients[0])
    assert standing(server) is Standing.ABANDONED
    rig.pass_time(61)
    assert cancelled == [server]


# What rwsplit itself asks...


def test_a_server_that_does_not_do_what_rwsplit_asks_is_given_up():
    rig = Rig(query_wait_timeout=60)
    server = rig.begins()
    rig.relay.loss.client_gone(rig.clients[0])
    assert standing(server) is Standing.CLEANING
    rig.pass_time(59)
    assert server.lease != CLOSED
    rig.pass_time(2)
    assert server.lease == CLOSED
    assert rig.busy() == []


def test_a_session_whose_server_does_not_is_told():
    rig = Rig(query_wait_timeout=60)
    server = rig.says(frames.query(SET))
    rig.turn_servers([(server, ANSWER)])
    assert standing(server) is Standing.PREPARING, "it is asked what that has made of them"
    rig.pass_time(62)
    assert b"08006" in rig.heard
    assert b"within query_wait_timeout (60 s)" in rig.heard
    assert server.lease == CLOSED


def test_each_question_has_all_the_time():
    rig = Rig(query_wait_timeout=60)
    for _ in range(5):
        server = rig.says(frames.query(SET))
        rig.turn_servers([(server, ANSWER)])
        assert standing(server) is Standing.PREPARING
        rig.pass_time(50)
        value = frames.message("D", b"\0\2\0\0\0\4UTF8\0\0\0\x0231")
        rig.turn_servers(
            [(server, frames.COLUMNS + value + frames.complete() + frames.ready())]
        )
        while rig.busy():
            [server] = rig.busy()
            rig.turn_servers([(server, frames.complete("SET") + frames.ready())])
    assert not rig.is_over


def test_without_a_timeout_it_is_waited_for():
    rig = Rig(query_wait_timeout=0)
    server = rig.begins()
    rig.relay.loss.client_gone(rig.clients[0])
    rig.pass_time(1000)
    assert standing(server) is Standing.CLEANING


# What a client leaves behind...


def test_a_read_nobody_waits_for_is_cancelled_and_its_server_not_waited_for_for_ever(
    cancelled: list[Server],
):
    rig = Rig(query_wait_timeout=60)
    server = rig.says(frames.query("select 1"))
    rig.relay.loss.client_gone(rig.clients[0])
    assert cancelled == [server]
    assert standing(server) is Standing.ABANDONED
    rig.pass_time(59)
    assert server.lease != CLOSED
    rig.pass_time(2)
    assert server.lease == CLOSED


def test_a_write_nobody_waits_for_runs_to_its_end(cancelled: list[Server]):
    rig = Rig(query_wait_timeout=60)
    server = rig.says(frames.query("update t set a = 1"))
    rig.relay.loss.client_gone(rig.clients[0])
    rig.pass_time(1000)
    assert cancelled == []
    assert standing(server) is Standing.ABANDONED
    rig.turn_servers([(server, frames.complete("UPDATE 1") + frames.ready())])
    assert standing(server) is Standing.POOLED


def test_but_not_for_longer_than_a_transaction_may_take(cancelled: list[Server]):
    rig = Rig(transaction_timeout=60)
    server = rig.says(frames.query("update t set a = 1"))
    rig.relay.loss.client_gone(rig.clients[0])
    rig.pass_time(61)
    assert cancelled == [server]
    [unit] = server.responses.owed
    assert unit.cancelled is CancelReason.TRANSACTION_TIMEOUT  # type: ignore[attr-defined]
    rig.pass_time(10)
    assert cancelled == [server]


def test_a_session_ends_once_however_many_timers_are_due(cancelled: list[Server]):
    rig = Rig(transaction_timeout=10, idle_transaction_timeout=10, client_idle_timeout=10)
    rig.asks_by_flush()
    rig.now += 20
    rig.pass_time(15)
    assert rig.is_over
    assert rig.relay.counters.timeouts == 1


# All of them...


def test_every_standing_has_a_timer_and_every_timer_is_seen_to():
    assert set(Standing) <= set(TIMERS)
    checked = set(MemoryRelay(0).relay.deadlines.server_timers.checks)
    elsewhere = {
        *(Timer.PIN_IDLE, Timer.FRESHNESS, Timer.SILENCE, Timer.SERVER_IDLE, Timer.SERVER_AGE),
        *(Timer.CANCEL, Timer.PARSING),
    }
    assert checked | elsewhere == {timer for timers in TIMERS.values() for timer in timers}
