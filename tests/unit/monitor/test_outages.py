"""What the log says of nodes that fail, from which an operator must see why; more of it in test_board.py."""

from __future__ import annotations

import attrs

from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Source
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
    running,
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


def test_a_replica_that_receives_from_nobody_is_told_and_when_it_is_fresh_again(
    clock: Clock, log: LogCapture
):
    board = running(clock)
    log.entries.clear()

    def go_on(source: Source) -> None:
        for _ in range(15):
            clock.now += 1.0
            for _ in range(2):
                board.observed("pg0", look(Role.PRIMARY), clock.now - 0.01)
                board.observed("pg1", attrs.evolve(look(), source=source), clock.now)

    go_on(Source.NONE)
    assert log.entries == [
        {
            "event": "replica_refused",
            "log_level": "warning",
            "node": "pg1",
            "refusal": "NO_SOURCE",
            "reason": "receiving no WAL",
            "timeline": 1,
        }
    ]
    go_on(Source.STREAM)
    assert [e["event"] for e in log.entries] == ["replica_refused", "replica_accepted"]


def test_a_replica_that_lags_never_seems_to_lag_longer_than_its_answers_are_old(
    clock: Clock, log: LogCapture
):
    board = running(clock)
    log.entries.clear()
    clock.now += 3.0
    board.observed("pg0", look(Role.PRIMARY, 9000), clock.now)
    clock.now += 10.5
    board.observed("pg1", attrs.evolve(look(lsn=8000), replay_age=3600.0), clock.now)

    (entry,) = [e for e in log.entries if e.get("node") == "pg1"]
    assert entry["event"] == "replica_lagging"
    assert entry["lag_seconds"] == entry["staleness_seconds"]
