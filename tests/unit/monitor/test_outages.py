"""What the log says of nodes that fail, from which an operator must see why; more of it in test_board.py."""

from __future__ import annotations

from rwsplit.monitor.board import Board
from rwsplit.monitor.outages import MOST_CAUSES
from tests.unit.monitor.test_board import (
    Clock,
    LogCapture,
    captured,
    clock,
    configure,
    log,
    look,
)

__all__ = ["captured", "clock", "log"]


def test_a_node_that_is_down_from_the_start_is_told_with_its_cause(
    clock: Clock, log: LogCapture
):
    board = Board(configure(), clock=clock)
    refused = 'password authentication failed for user "rwsplit"'
    for reason in ("connection refused", "connection refused", refused):
        board.failed("pg1", reason, lost=True)
    board.observed("pg1", look(), clock.now)

    told = [(e["event"], e["log_level"], e.get("reason")) for e in log.entries]
    assert told == [
        ("node_down", "warning", "connection refused"),
        ("node_still_down", "warning", refused),
        ("node_up", "warning", None),
    ]


def test_causes_that_never_end_are_not_told_for_ever(clock: Clock, log: LogCapture):
    board = Board(configure(), clock=clock)
    for number in range(100):
        board.failed("pg1", f"no answer in {number} s", lost=True)

    assert len(log.entries) == MOST_CAUSES


def test_a_node_that_is_configured_anew_is_told_anew(clock: Clock, log: LogCapture):
    board = Board(configure(), clock=clock)
    board.failed("pg1", "connection refused", lost=True)
    board.reconfigure(configure("pg0", "pg2"))
    board.reconfigure(configure())
    board.observed("pg1", look(), clock.now)

    assert [(e["event"], e["log_level"]) for e in log.entries] == [
        ("node_down", "warning"),
        ("node_up", "info"),
    ]
