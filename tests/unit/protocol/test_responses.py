"""A server answers; each unit's sink gets what its client asked for, and nothing else."""

from __future__ import annotations

import struct
from collections import deque

import pytest

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.protocol.looks import Look, Overheard, Shape
from rwsplit.protocol.responses import (
    FORWARD,
    HOLD_LIMIT,
    MESSAGE_LIMIT,
    SWALLOW,
    UNTOLD,
    Owed,
    ResponseQueue,
    Step,
    What,
    is_fatal,
    is_stale_plan,
    ran_nothing,
    sqlstate,
)
from tests.support.frames import (
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    COLUMNS,
    COPY_IN,
    COPY_OUT,
    NO_DATA,
    PARAMETERS,
    PARSE_COMPLETE,
    complete,
    copy_data,
    error,
    message,
    notice,
    notification,
    parameter,
    ready,
    row,
    text,
)

ANSWER = COLUMNS + row() + complete() + ready()


class Server:
    """One server's answers, sorted; units are owed in the order they are asked for."""

    def __init__(self) -> None:
        self.queue = ResponseQueue()
        self.happened: list[tuple[What, Owed | None, bytes | int]] = []

    def owes(
        self, *steps: Step, guarded: bool = False, swallowed: bool = False
    ) -> tuple[Owed, list[bytes]]:
        sink: list[bytes] = []
        owed = Owed(None if swallowed else sink, guarded=guarded)
        if steps:
            owed.steps = deque(steps)
        self.queue.owed.append(owed)
        return owed, sink

    def sends(self, *chunks: bytes) -> list[What]:
        """Return what the *chunks*, received one by one, amount to."""
        events = [event for chunk in chunks for event in self.queue.receive(chunk)]
        self.happened += events
        return [what for what, _, _ in events]

    @property
    def violation(self) -> bytes:
        """Why what it has sent last is one."""
        what, _, value = self.happened[-1]
        assert what is What.VIOLATION
        assert isinstance(value, bytes)
        return value


def told(sink: list[bytes]) -> bytes:
    return b"".join(sink)


@pytest.fixture
def server() -> Server:
    return Server()


# Forwarding...


def test_an_answer_is_forwarded_whole_and_in_one_piece(server: Server) -> None:
    unit, sink = server.owes()

    assert server.sends(ANSWER) == [What.DONE]
    assert sink == [ANSWER]
    assert server.happened == [(What.DONE, unit, codes.IDLE)]
    assert unit.size == len(ANSWER)
    assert unit.forwarded
    assert not server.queue.owed


def test_the_transaction_status_comes_with_the_end(server: Server) -> None:
    server.owes()
    server.owes()

    server.sends(complete("BEGIN") + ready("T") + error() + ready("E"))

    assert [value for what, _, value in server.happened if what is What.DONE] == [
        codes.IN_TRANSACTION,
        codes.FAILED,
    ]


def test_answers_of_several_units_go_to_each_in_turn(server: Server) -> None:
    _, first = server.owes()
    _, second = server.owes()
    _, third = server.owes(swallowed=True)
    _, fourth = server.owes()
    end = complete("SET") + ready()

    assert server.sends(ANSWER + ANSWER + end + end) == [What.DONE] * 4
    assert (told(first), told(second), told(third), told(fourth)) == (ANSWER, ANSWER, b"", end)


def test_what_has_come_of_an_answer_is_forwarded_before_its_end(server: Server) -> None:
    unit, sink = server.owes()

    assert server.sends(COLUMNS + row() + row()[:3]) == [What.PARTIAL]
    assert told(sink) == COLUMNS + row()
    assert server.sends(row()[3:] + complete() + ready()) == [What.DONE]
    assert told(sink) == COLUMNS + row() + row() + complete() + ready()
    assert unit.size == len(told(sink))


def test_a_swallowed_unit_leaves_no_trace_however_it_is_cut(server: Server) -> None:
    unit, sink = server.owes(swallowed=True)
    long = row("x" * HOLD_LIMIT)

    server.sends(COLUMNS + long[:100], long[100:5000], long[5000:] + complete() + ready())

    assert sink == []
    assert server.happened[-1] == (What.DONE, unit, codes.IDLE)


def test_a_row_of_any_size_passes_through_as_it_comes(server: Server) -> None:
    _, sink = server.owes()
    long = row("x" * (3 * HOLD_LIMIT))

    assert server.sends(COLUMNS + long[:100]) == [What.PARTIAL]
    assert told(sink) == COLUMNS + long[:100]
    assert server.sends(long[100:200]) == [What.PARTIAL]
    assert told(sink) == COLUMNS + long[:200]
    assert server.sends(long[200:] + complete() + ready()) == [What.DONE]
    assert told(sink) == COLUMNS + long + complete() + ready()


def test_a_short_row_that_is_cut_is_held_until_it_is_whole(server: Server) -> None:
    _, sink = server.owes()

    assert server.sends(row()[:7]) == []
    assert sink == []
    assert server.sends(row()[7:]) == [What.PARTIAL]
    assert told(sink) == row()


def test_bytes_of_a_closing_server_are_forgotten(server: Server) -> None:
    server.owes()
    server.sends(row()[:7])

    server.queue.discard_input()

    assert server.sends(row()) == [What.PARTIAL]


def test_a_client_that_leaves_in_the_middle_of_a_long_row_hears_nothing_more(
    server: Server,
) -> None:
    unit, sink = server.owes()
    long = row("x" * (2 * HOLD_LIMIT))
    server.sends(long[:100])

    unit.sink = None
    server.sends(long[100:] + complete() + ready())

    assert told(sink) == long[:100]


# Swallowing and making up...


def test_the_answer_to_a_parse_sent_ahead_is_swallowed(server: Server) -> None:
    unit, sink = server.owes(SWALLOW)
    asked = BIND_COMPLETE + COLUMNS + row() + complete() + ready()

    server.sends(PARSE_COMPLETE + asked)

    assert told(sink) == asked
    assert unit.done == 1
    assert unit.steps is None


def test_a_swallowed_answer_in_the_middle_leaves_what_surrounds_it(server: Server) -> None:
    unit, sink = server.owes(FORWARD, SWALLOW, FORWARD, FORWARD)

    server.sends(BIND_COMPLETE + CLOSE_COMPLETE + PARSE_COMPLETE + row() + complete() + ready())

    assert told(sink) == BIND_COMPLETE + PARSE_COMPLETE + row() + complete() + ready()
    assert unit.done == 4


def test_an_answer_is_made_up_where_it_belongs(server: Server) -> None:
    unit, sink = server.owes(FORWARD, PARSE_COMPLETE, FORWARD, FORWARD)

    server.sends(CLOSE_COMPLETE + BIND_COMPLETE + row() + complete() + ready())

    assert told(sink) == (
        CLOSE_COMPLETE + PARSE_COMPLETE + BIND_COMPLETE + row() + complete() + ready()
    )
    assert unit.done == 4
    assert unit.size == len(told(sink))


@pytest.mark.parametrize("guarded", [False, True])
def test_a_unit_may_be_made_up_of_nothing_else(server: Server, guarded: bool) -> None:
    _, sink = server.owes(PARSE_COMPLETE, CLOSE_COMPLETE, guarded=guarded)

    assert server.sends(ready()) == [What.DONE]
    assert told(sink) == PARSE_COMPLETE + CLOSE_COMPLETE + ready()


def test_answers_are_made_up_behind_the_last_real_one(server: Server) -> None:
    _, sink = server.owes(FORWARD, PARSE_COMPLETE)

    server.sends(CLOSE_COMPLETE + ready())

    assert told(sink) == CLOSE_COMPLETE + PARSE_COMPLETE + ready()


def test_nothing_is_made_up_for_a_client_that_is_gone(server: Server) -> None:
    unit, sink = server.owes(PARSE_COMPLETE, FORWARD, PARSE_COMPLETE, swallowed=True)

    server.sends(BIND_COMPLETE + ready())

    assert sink == []
    assert unit.done == 3


def test_an_answer_made_up_in_front_of_a_row_that_passes_through_comes_first(
    server: Server,
) -> None:
    _, sink = server.owes(PARSE_COMPLETE, FORWARD)
    long = row("x" * (2 * HOLD_LIMIT))

    server.sends(long[:100], long[100:] + complete() + ready())

    assert told(sink) == PARSE_COMPLETE + long + complete() + ready()


def test_the_parameters_of_a_described_statement_do_not_end_its_step(server: Server) -> None:
    _, sink = server.owes(FORWARD, SWALLOW, FORWARD)

    server.sends(PARAMETERS + NO_DATA + PARSE_COMPLETE + BIND_COMPLETE + ready())

    assert told(sink) == PARAMETERS + NO_DATA + BIND_COMPLETE + ready()


def test_a_long_answer_that_ends_a_step_is_awaited_whole(server: Server) -> None:
    _, sink = server.owes(SWALLOW, FORWARD)
    columns = message("T", bytes(2 * HOLD_LIMIT))

    assert server.sends(PARSE_COMPLETE + columns[:20_000]) == []
    assert server.sends(columns[20_000:] + ready()) == [What.DONE]
    assert told(sink) == columns + ready()


def test_steps_are_counted_for_a_client_that_is_gone(server: Server) -> None:
    unit, _ = server.owes(FORWARD, FORWARD, FORWARD, swallowed=True)

    server.sends(PARSE_COMPLETE + BIND_COMPLETE + error() + ready())

    assert unit.done == 2
    assert unit.failed


def test_an_open_unit_whose_steps_are_through_takes_more(server: Server) -> None:
    unit, sink = server.owes(FORWARD)
    server.sends(PARSE_COMPLETE)
    assert unit.steps is None

    unit.steps = deque()
    server.sends(BIND_COMPLETE)

    assert told(sink) == PARSE_COMPLETE + BIND_COMPLETE
    assert unit.done == 2


# Errors...


def test_an_error_leaves_at_once_and_voids_the_steps_behind_it(server: Server) -> None:
    unit, sink = server.owes(SWALLOW, FORWARD, PARSE_COMPLETE, SWALLOW)

    assert server.sends(PARSE_COMPLETE + error()) == [What.FAILED]
    assert told(sink) == error()
    assert unit.failed
    assert unit.done == 1
    assert server.sends(ready()) == [What.DONE]
    assert told(sink) == error() + ready()


def test_answers_made_up_for_messages_before_the_failed_one_come_before_the_error(
    server: Server,
) -> None:
    _, sink = server.owes(FORWARD, PARSE_COMPLETE, FORWARD)

    server.sends(CLOSE_COMPLETE + error() + ready())

    assert told(sink) == CLOSE_COMPLETE + PARSE_COMPLETE + error() + ready()


def test_an_error_in_the_middle_of_a_string_follows_the_results_before_it(
    server: Server,
) -> None:
    unit, sink = server.owes()

    assert server.sends(COLUMNS + row() + complete() + error() + ready()) == [
        What.FAILED,
        What.DONE,
    ]
    assert told(sink) == COLUMNS + row() + complete() + error() + ready()
    assert server.happened[0] == (What.FAILED, unit, error())


def test_an_error_while_nothing_is_owed_is_fatal(server: Server) -> None:
    goodbye = error("57P01", severity="FATAL")

    assert server.sends(goodbye) == [What.FATAL]
    assert server.happened == [(What.FATAL, None, goodbye)]


def test_nothing_counts_behind_the_error_of_what_everything_behind_it_relies_on() -> None:
    class Ahead(Owed):
        vital = True

    server = Server()
    ahead = Ahead(None)
    server.queue.owed.append(ahead)
    unit, sink = server.owes(guarded=True)
    server.sends(error("42501") + ready() + ANSWER)
    assert server.happened == [(What.FAILED, ahead, error("42501"))]
    assert (sink, unit.kept, ahead.failed) == ([], None, True)
    assert list(server.queue.owed) == [ahead, unit]


def test_a_unit_may_word_its_errors_itself(server: Server) -> None:
    class Translated(Owed):
        def reword(self, frame: bytes) -> bytes:
            return error(said="nein")

    sink: list[bytes] = []
    server.queue.owed.append(Translated(sink))

    server.sends(BIND_COMPLETE + error() + ready())

    assert told(sink) == BIND_COMPLETE + error(said="nein") + ready()


# Guarded units...


def test_the_answer_to_a_guarded_unit_is_forwarded_when_it_is_whole(server: Server) -> None:
    unit, sink = server.owes(guarded=True)

    assert server.sends(COLUMNS, row()[:4], row()[4:]) == []
    assert sink == []
    assert not unit.forwarded
    assert server.sends(complete() + ready()) == [What.DONE]
    assert told(sink) == ANSWER


def test_a_guarded_unit_that_answers_much_is_forwarded_as_it_comes(server: Server) -> None:
    unit, sink = server.owes(guarded=True)
    rows = [row("x" * 1000) for _ in range(40)]

    events = server.sends(COLUMNS, *rows, complete() + ready())

    assert events.count(What.PARTIAL) == len(rows) - HOLD_LIMIT // 1000
    assert told(sink) == COLUMNS + b"".join(rows) + complete() + ready()
    assert unit.forwarded


def test_what_a_guarded_unit_keeps_is_bounded_in_the_middle_of_a_long_row(
    server: Server,
) -> None:
    unit, sink = server.owes(guarded=True)
    long = row("x" * (4 * HOLD_LIMIT))

    assert server.sends(long[:100]) == []
    assert server.sends(long[100 : HOLD_LIMIT + 200]) == [What.PARTIAL]
    assert told(sink) == long[: HOLD_LIMIT + 200]
    assert unit.forwarded


def test_an_error_that_may_heal_is_handed_over_with_the_unit(server: Server) -> None:
    unit, sink = server.owes(guarded=True)
    refusal = error("25006")

    assert server.sends(refusal + ready()) == [What.FAILED, What.DONE]
    assert sink == []
    assert unit.error == refusal


def test_an_error_that_did_not_heal_brings_the_answers_before_it_along(server: Server) -> None:
    unit, sink = server.owes(SWALLOW, PARSE_COMPLETE, guarded=True)
    canceled = error("57014")

    server.sends(PARSE_COMPLETE + BIND_COMPLETE, COLUMNS + row(), canceled + notice(), ready())
    assert sink == []

    unit.deliver()

    assert told(sink) == (
        PARSE_COMPLETE + BIND_COMPLETE + COLUMNS + row() + canceled + notice() + ready()
    )
    assert unit.error is None


@pytest.mark.parametrize(
    "refusal",
    [
        error("42601", routine="scanner_yyerror"),
        error("42601", routine="plpgsql_yyerror"),
        error("25P03", severity="FATAL"),
    ],
)
def test_an_error_that_cannot_heal_leaves_at_once_with_what_was_kept(
    server: Server, refusal: bytes
) -> None:
    unit, sink = server.owes(guarded=True)

    assert server.sends(BIND_COMPLETE, refusal) == [What.FAILED]
    assert told(sink) == BIND_COMPLETE + refusal
    assert unit.error is None
    assert unit.forwarded


@pytest.mark.parametrize(
    "refusal",
    [
        error("22P02"),
        error("42501"),
        error("42601", routine="transformSetOperationTree"),
        error("57P01", severity="FATAL"),
    ],
)
def test_nearly_any_error_may_come_of_the_server_it_met(server: Server, refusal: bytes) -> None:
    unit, sink = server.owes(guarded=True)

    assert server.sends(BIND_COMPLETE, refusal) == [What.FAILED]
    assert sink == []
    assert unit.error == refusal


def test_an_error_behind_something_forwarded_cannot_heal(server: Server) -> None:
    unit, sink = server.owes(guarded=True)
    rows = row("x" * HOLD_LIMIT)

    server.sends(rows, error("40001") + ready())

    assert unit.error is None
    assert told(sink) == rows + error("40001") + ready()


def test_a_goodbye_behind_a_kept_error_takes_the_error_along(server: Server) -> None:
    unit, sink = server.owes(guarded=True)

    goodbye = error("XX001", severity="FATAL")
    server.sends(error("40001"), goodbye)

    assert told(sink) == error("40001") + goodbye
    assert unit.error is None


def test_delivering_to_a_client_that_is_gone_is_harmless(server: Server) -> None:
    unit, sink = server.owes(guarded=True)
    server.sends(error("25006"))

    unit.sink = None
    unit.deliver()

    assert sink == []
    assert unit.kept is None


def test_steps_of_a_guarded_unit_are_counted_once_however_the_answer_is_cut(
    server: Server,
) -> None:
    unit, sink = server.owes(FORWARD, SWALLOW, FORWARD, guarded=True)

    server.sends(PARSE_COMPLETE, CLOSE_COMPLETE[:2], CLOSE_COMPLETE[2:], BIND_COMPLETE)

    assert unit.done == 3
    server.sends(ready())
    assert told(sink) == PARSE_COMPLETE + BIND_COMPLETE + ready()


# COPY...


def test_a_copy_in_is_told_at_once(server: Server) -> None:
    unit, sink = server.owes(guarded=True)

    assert server.sends(COPY_IN) == [What.COPY_IN]
    assert told(sink) == COPY_IN
    assert server.happened == [(What.COPY_IN, unit, 0)]
    assert server.sends(complete("COPY 3") + ready()) == [What.DONE]


def test_a_copy_out_flows_through(server: Server) -> None:
    _, sink = server.owes()
    answer = COPY_OUT + copy_data(b"1\n") + message("c") + complete("COPY 1") + ready()

    assert server.sends(answer) == [What.DONE]
    assert told(sink) == answer


# Messages at any time...


def test_a_notice_belongs_to_the_running_unit(server: Server) -> None:
    _, first = server.owes()
    _, second = server.owes(SWALLOW)

    server.sends(notice() + ANSWER + notice() + PARSE_COMPLETE + BIND_COMPLETE + ready())

    assert told(first) == notice() + ANSWER
    assert told(second) == notice() + BIND_COMPLETE + ready()


def test_a_notice_while_nothing_is_owed_goes_to_the_holder_or_nowhere(server: Server) -> None:
    assert server.sends(notice()) == []

    server.queue.owner = holder = []

    assert server.sends(notice()) == [What.ASYNC]
    assert holder == [notice()]


def test_a_notification_goes_to_the_holder_whoever_is_answered(server: Server) -> None:
    _, sink = server.owes()
    server.queue.owner = holder = []
    news = notification("jobs", "1")

    assert server.sends(COLUMNS + news + row()) == [What.ASYNC, What.PARTIAL]
    assert holder == [news]
    assert told(sink) == COLUMNS + row()


def test_a_notification_to_the_one_who_is_answered_comes_in_order(server: Server) -> None:
    _, sink = server.owes()
    server.queue.owner = sink

    server.sends(row() + notification("jobs") + complete() + ready())

    assert told(sink) == row() + notification("jobs") + complete() + ready()


def test_a_notification_names_its_sender_by_the_pid_clients_know(server: Server) -> None:
    _, sink = server.owes()
    server.queue.owner = sink
    server.queue.shown_pid = {1234: 99}.__getitem__

    server.sends(frame(codes.NOTIFICATION, (1234).to_bytes(4, "big") + b"jobs\0x\0") + ready())

    renamed = frame(codes.NOTIFICATION, (99).to_bytes(4, "big") + b"jobs\0x\0")
    assert told(sink) == renamed + ready()


def test_a_notification_nobody_listens_to_is_dropped(server: Server) -> None:
    _, sink = server.owes()

    server.sends(row() + notification("jobs") + complete() + ready())

    assert told(sink) == row() + complete() + ready()


def test_a_parameter_is_reported_to_whom_it_belongs(server: Server) -> None:
    _, swallowed = server.owes(swallowed=True)
    _, sink = server.owes()
    zone = parameter("TimeZone", "UTC")

    server.sends(zone + complete("SET") + ready() + zone + complete("SET") + ready())

    assert swallowed == []
    assert told(sink) == zone + complete("SET") + ready()


@pytest.mark.parametrize("name", ["in_hot_standby", "default_transaction_read_only"])
def test_a_client_does_not_see_on_which_node_it_is(server: Server, name: str) -> None:
    _, sink = server.owes()

    server.sends(COLUMNS + parameter(name, "on") + row() + complete() + ready())

    assert told(sink) == ANSWER


def test_parameters_put_back_are_reported_though_the_rest_of_the_answer_is_swallowed(
    server: Server,
) -> None:
    unit, _ = server.owes(swallowed=True)
    unit.reports = heard = []

    server.sends(row() + complete() + parameter("TimeZone", "UTC") + ready())

    assert told(heard) == parameter("TimeZone", "UTC")
    assert server.happened[0][:2] == (What.ASYNC, unit)


def test_a_hidden_parameter_is_not_reported_either(server: Server) -> None:
    unit, _ = server.owes(swallowed=True)
    unit.reports = heard = []

    server.sends(complete() + parameter("in_hot_standby", "off") + ready())

    assert heard == []


# What no PostgreSQL server sends...


@pytest.mark.parametrize(
    "sent", [ready(), row(), complete(), PARSE_COMPLETE, COPY_IN, message("R", b"\0\0\0\0")]
)
def test_answers_nobody_asked_for_are_a_violation(server: Server, sent: bytes) -> None:
    assert server.sends(sent)[-1] is What.VIOLATION


@pytest.mark.parametrize("sent", [message("R", bytes(4)), message("W", bytes(3)), message("@")])
def test_messages_that_have_no_place_in_an_answer_are_a_violation(
    server: Server, sent: bytes
) -> None:
    server.owes()

    assert server.sends(sent) == [What.VIOLATION]
    assert b"not expected" in server.violation


@pytest.mark.parametrize("payload", [b"", b"II"])
def test_an_end_without_one_transaction_status_is_a_violation(
    server: Server, payload: bytes
) -> None:
    server.owes()

    assert server.sends(message("Z", payload)) == [What.VIOLATION]


@pytest.mark.parametrize("code", ["D", "E", "Z"])
def test_an_impossible_length_is_a_violation(server: Server, code: str) -> None:
    server.owes()

    assert server.sends(code.encode() + struct.pack("!I", 3)) == [What.VIOLATION]
    assert b"invalid message length" in server.violation


def test_a_message_that_must_be_understood_may_not_be_of_any_size(server: Server) -> None:
    server.owes()
    assert server.sends(b"S" + struct.pack("!I", MESSAGE_LIMIT)) == []
    server.queue.discard_input()

    assert server.sends(b"S" + struct.pack("!I", MESSAGE_LIMIT + 1)) == [What.VIOLATION]
    assert b"bytes" in server.violation


@pytest.mark.parametrize("code", ["N", "E"])
def test_a_long_message_that_nobody_is_to_get_is_a_violation(server: Server, code: str) -> None:
    """A server that nobody uses has no reason to say so much."""
    long = code.encode() + struct.pack("!I", MESSAGE_LIMIT + 1)
    assert server.sends(long + bytes(HOLD_LIMIT)) == [What.VIOLATION]


def test_behind_what_others_rely_on_a_long_error_is_one_too(server: Server) -> None:
    class Vital(Owed):
        vital = True

    server.queue.owed.append(Vital(None))
    long = b"E" + struct.pack("!I", MESSAGE_LIMIT + 1)
    assert server.sends(long + bytes(HOLD_LIMIT)) == [What.VIOLATION]


LONG_ERROR = message("E", b"SERROR\0VERROR\0C25006\0M" + b"x" * (2 * MESSAGE_LIMIT) + b"\0\0")
LONG_NOTICE = message(
    "N", b"SNOTICE\0VNOTICE\0C00000\0M" + b"x" * (2 * MESSAGE_LIMIT) + b"\0\0"
)


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1000, 8192, 65536, 1 << 30])
@pytest.mark.parametrize("guarded", [False, True])
def test_a_long_error_is_passed_on_as_it_comes(
    server: Server, size: int, guarded: bool
) -> None:
    unit, sink = server.owes(guarded=guarded)
    answer = COLUMNS + row() + LONG_ERROR
    happened = []
    for piece in in_pieces(answer + ready(), size):
        happened += server.sends(piece)
        assert len(server.queue._rest) <= HOLD_LIMIT
    assert [what for what in happened if what is not What.PARTIAL] == [What.FAILED, What.DONE]
    if size < 1 << 30:  # else it came whole, and may heal
        assert unit.error is None
    else:
        assert (unit.error is not None) == guarded
        unit.deliver()
    assert told(sink) == answer + ready()
    assert unit.failed
    assert unit.failed_at == len(COLUMNS + row())
    assert sqlstate(failure(server)) == b"25006"


def failure(server: Server) -> bytes:
    [found] = [value for what, _, value in server.happened if what is What.FAILED]
    assert isinstance(found, bytes)
    return found


def test_nothing_is_missing_of_a_frame_that_has_come(server: Server) -> None:
    server.owes()
    said = error() + ready()
    assert server.sends(said[:7]) == []
    assert server.queue.missing > 0
    assert server.sends(said[7 : len(error())]) == [What.FAILED]
    assert server.queue.missing == 0


def test_a_long_error_keeps_its_words(server: Server) -> None:
    class Reworded(Owed):
        def reword(self, frame: bytes) -> bytes:
            raise AssertionError("its length has been told")

    sink: list[bytes] = []
    server.queue.owed.append(Reworded(sink))
    for piece in in_pieces(LONG_ERROR + ready(), 20_000):
        server.sends(piece)
    assert told(sink) == LONG_ERROR + ready()


@pytest.mark.parametrize("look", [Look, Overheard])
@pytest.mark.parametrize("kind", ["E", "N"])
def test_a_long_message_within_a_describe_is_not_held(
    server: Server, look: type[Look], kind: str
) -> None:
    unit, sink = server.owes(look(lambda _: None), FORWARD)
    long = LONG_ERROR if kind == "E" else LONG_NOTICE
    shape = PARAMETERS + COLUMNS
    rest = ready() if kind == "E" else shape + BIND_COMPLETE + ready()
    for piece in in_pieces(long + rest, 20_000):
        server.sends(piece)
        assert len(server.queue._rest) <= 20_000
        assert not server.queue._more
    assert unit.failed == (kind == "E")
    is_told = kind == "N" and look is Overheard
    assert told(sink) == long + (rest if kind == "E" or is_told else BIND_COMPLETE + ready())


@pytest.mark.parametrize("size", [1000, 65536])
def test_behind_a_long_error_the_rest_of_its_unit_is_void(server: Server, size: int) -> None:
    unit, sink = server.owes(SWALLOW, FORWARD, b"made up", FORWARD)
    after, other = server.owes()
    said = PARSE_COMPLETE + BIND_COMPLETE + LONG_ERROR + ready() + ANSWER
    for piece in in_pieces(said, size):
        server.sends(piece)
    assert told(sink) == BIND_COMPLETE + b"made up" + LONG_ERROR + ready()
    assert told(other) == ANSWER
    assert (unit.failed, after.failed) == (True, False)


@pytest.mark.parametrize("size", [1000, 65536])
def test_a_long_error_that_nobody_asked_for_is_swallowed(server: Server, size: int) -> None:
    unit, _ = server.owes(swallowed=True)
    for piece in in_pieces(LONG_ERROR + ready(), size):
        server.sends(piece)
    assert unit.failed
    assert not server.queue.owed


@pytest.mark.parametrize("size", [1000, 65536])
@pytest.mark.parametrize("steps", [(), (SWALLOW, b"made up", FORWARD)])
def test_a_long_notice_is_passed_on_as_it_comes(
    server: Server, size: int, steps: tuple[Step, ...]
) -> None:
    _, sink = server.owes(*steps)
    begins, ends = (PARSE_COMPLETE, BIND_COMPLETE) if steps else (COLUMNS, row())
    for piece in in_pieces(begins + LONG_NOTICE + ends + complete() + ready(), size):
        server.sends(piece)
    expected = LONG_NOTICE + b"made up" + ends if steps else begins + LONG_NOTICE + ends
    assert told(sink) == expected + complete() + ready()


@pytest.mark.parametrize("size", [1000, 65536])
def test_a_long_row_passes_whatever_is_to_be_swallowed_before_it(
    server: Server, size: int
) -> None:
    _, sink = server.owes(SWALLOW, FORWARD)
    long = row("x" * (2 * MESSAGE_LIMIT))
    for piece in in_pieces(PARSE_COMPLETE + long + complete() + ready(), size):
        server.sends(piece)
    assert told(sink) == long + complete() + ready()


def test_what_came_before_a_violation_is_told_first(server: Server) -> None:
    unit, sink = server.owes()

    assert server.sends(ready() + ready()) == [What.DONE, What.VIOLATION]
    assert server.happened[0][1] is unit
    assert told(sink) == ready()


# SQLSTATE...


def test_the_sqlstate_of_an_error_is_found() -> None:
    assert sqlstate(error("40P01")) == b"40P01"


@pytest.mark.parametrize(
    "frame", [message("E", b"\0"), message("E", b"SERROR\0Mno\0\0"), message("E", b"SERROR")]
)
def test_an_error_without_a_sqlstate_is_an_internal_error(frame: bytes) -> None:
    assert sqlstate(frame) == b"XX000"


def test_an_error_says_whether_the_connection_ends() -> None:
    assert is_fatal(error(severity="FATAL"))
    assert is_fatal(error(severity="PANIC"))
    assert not is_fatal(error())


def test_an_error_says_whether_ddl_made_a_prepared_statement_stale() -> None:
    routine = message("E", b"SERROR\0C0A000\0Mno\0RRevalidateCachedQuery\0\0")

    assert is_stale_plan(routine)
    assert not is_stale_plan(error("0A000"))


def test_a_row_that_looks_like_the_end_of_an_answer_is_not_taken_for_it():
    queue = ResponseQueue()
    owed = Owed([])
    queue.owed.append(owed)
    row = message("D", ready()) + ready()
    assert not queue.takes_whole(owed, row[:-6])
    assert list(queue.owed) == [owed]
    assert queue.takes_whole(owed, row)
    assert not queue.owed


def test_a_notification_between_two_units_comes_from_the_process_its_sender_was_told():
    queue = ResponseQueue()
    queue.owner = []
    queue.shown_pid = lambda pid: pid + 1
    sent = message("A", struct.pack("!I", 41) + b"news\0hello\0")
    [(what, owed, _)] = queue.receive(sent)
    assert (what, owed) == (What.ASYNC, None)
    assert queue.owner == [message("A", struct.pack("!I", 42) + b"news\0hello\0")]


def test_a_notification_between_two_units_that_nobody_listens_to_is_dropped():
    queue = ResponseQueue()
    assert queue.receive(message("A", struct.pack("!I", 41) + b"news\0hello\0")) == []


def test_a_call_of_a_function_there_is_none_of_has_run_nothing() -> None:
    refusal = error("42883", routine="ParseFuncOrColumn")
    assert ran_nothing(refusal)
    assert not ran_nothing(error("42883", routine="array_eq"))
    assert not ran_nothing(refusal[:-1] + text("WPL/pgSQL function f() line 1") + b"\0")


def test_what_rwsplit_asks_itself_is_looked_at_and_swallowed():
    server, seen = Server(), []
    look = Look(seen.append)
    unit, sink = server.owes(FORWARD, look, FORWARD)

    assert server.sends(PARSE_COMPLETE + PARAMETERS) == []
    assert server.sends(COLUMNS) == [What.PARTIAL]
    assert seen == [look]
    assert look.shape is not None
    assert server.sends(BIND_COMPLETE + ready()) == [What.DONE]
    assert b"".join(sink) == PARSE_COMPLETE + BIND_COMPLETE + ready()
    assert (unit.done, unit.told) == (3, 2)


def test_a_look_may_be_last_and_its_parameters_many():
    server, seen = Server(), []
    look = Look(seen.append)
    _, sink = server.owes(look)
    many = message("t", (10_000).to_bytes(2, "big") + bytes(40_000))

    for at in range(0, len(many), 10_000):
        assert server.sends(many[at : at + 10_000]) == []
    assert server.sends(NO_DATA + ready()) == [What.PARTIAL, What.DONE]

    assert sink == [ready()]
    assert look.shape == Shape(many[5:], b"")


@pytest.mark.parametrize("columns", [COLUMNS, NO_DATA])
def test_what_the_client_asks_itself_is_overheard_and_it_hears_it(
    server: Server, columns: bytes
) -> None:
    seen: list[Look] = []
    heard = Overheard(seen.append)
    unit, sink = server.owes(FORWARD, heard, FORWARD)
    answer = PARSE_COMPLETE + PARAMETERS + columns

    server.sends(answer[:-1])
    assert seen == []
    server.sends(answer[-1:])
    assert seen == [heard]
    assert heard.shape is not None
    assert bool(heard.shape.columns) is (columns == COLUMNS)
    assert (unit.done, unit.told) == (2, 2)

    assert server.sends(BIND_COMPLETE + ready())[-1] is What.DONE
    assert told(sink) == answer + BIND_COMPLETE + ready()


# Where the client has said Flush and rwsplit has said Sync...


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_the_end_of_a_unit_that_its_client_has_not_asked_for_is_kept_from_it(
    server: Server, guarded: bool, cut: bool
) -> None:
    unit, sink = server.owes(FORWARD, FORWARD, UNTOLD, guarded=guarded)
    _, next_sink = server.owes()
    answer = PARSE_COMPLETE + PARAMETERS + COLUMNS

    data = answer + ready("T") + ANSWER
    server.sends(*([data[i : i + 1] for i in range(len(data))] if cut else [data]))

    assert told(sink) == answer
    assert told(next_sink) == ANSWER
    ends = [event for event in server.happened if event[0] is What.DONE]
    assert ends == [
        (What.DONE, unit, codes.IN_TRANSACTION),
        (What.DONE, server.happened[-1][1], codes.IDLE),
    ]


def test_so_it_is_if_all_of_the_answer_is_made_up(server: Server) -> None:
    _, sink = server.owes(PARSE_COMPLETE, UNTOLD)

    assert server.sends(ready()) == [What.DONE]
    assert told(sink) == PARSE_COMPLETE


@pytest.mark.parametrize("before", [(), (PARSE_COMPLETE,), (SWALLOW,)])
def test_or_if_it_fails(server: Server, before: tuple[Step, ...]) -> None:
    unit, sink = server.owes(*before, FORWARD, FORWARD, UNTOLD)
    made_up = b"".join(step for step in before if isinstance(step, bytes))

    sent = CLOSE_COMPLETE if before == (SWALLOW,) else b""
    assert server.sends(sent + error("42P01") + ready("E")) == [What.FAILED, What.DONE]
    assert told(sink) == made_up + error("42P01")
    assert unit.failed


def test_an_error_that_might_heal_is_kept_without_it(server: Server) -> None:
    unit, sink = server.owes(FORWARD, UNTOLD, guarded=True)

    server.sends(error("42P01") + ready())
    assert sink == []
    unit.deliver()
    assert told(sink) == error("42P01")


def test_how_much_is_missing_of_a_message_is_known_from_its_beginning():
    queue = ResponseQueue()
    queue.owed.append(Owed([]))
    assert queue.missing == 0
    whole = row(100_000 * "x")
    seen = [queue.progress]
    for piece in (COLUMNS, whole[:3], whole[3:5], whole[5:6], whole[6:40_000]):
        queue.receive(piece)
        seen.append(queue.progress)
    assert queue.missing == len(whole) - 40_000
    assert len(set(seen)) == len(seen), "something came each time"
    queue.receive(whole[40_000:])
    assert queue.missing == 0


def test_of_a_message_that_is_held_it_is_known_as_well():
    queue = ResponseQueue()
    queue.owed.append(Owed([]))
    whole = error(said=1000 * "x")
    queue.receive(whole[:4])
    assert queue.missing == 0, "its length has not come"
    queue.receive(whole[4:10])
    assert queue.missing == len(whole) - 10


def test_a_long_message_that_comes_in_pieces_is_put_together_once():
    """Each piece was put behind all before it: of 16 MB in pieces of 64 kB, that is 2 GB copied."""
    queue = ResponseQueue()
    sink: list[bytes] = []
    queue.owed.append(Owed(sink))
    long = message("E", b"SERROR\0C22000\0M" + b"x" * 400_000 + b"\0\0")
    whole = BIND_COMPLETE + long + ready()
    for at in range(0, len(whole), 1000):
        events = queue.receive(whole[at : at + 1000])
        if 1000 < at < len(BIND_COMPLETE + long) - 1000:
            assert events == []
            assert len(queue._rest) <= 1000
    assert b"".join(sink) == whole
    assert not queue.owed


def test_the_header_of_a_message_may_come_in_pieces():
    queue = ResponseQueue()
    sink: list[bytes] = []
    queue.owed.append(Owed(sink))
    whole = message("N", b"SNOTICE\0C00000\0Mhello\0\0") + ready()
    for byte in whole:
        queue.receive(bytes([byte]))
    assert b"".join(sink) == whole
