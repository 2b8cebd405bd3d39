"""The rules find each kind of violation in a history written by hand, and accept its sound sibling."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.guarantees.history import Event, Level, Outcome, Read, Write
from tests.support.guarantees.rules import Rule, violations


def wrote(
    session: int, at: float, *entries: tuple[int, int], told: str = "acknowledged"
) -> Write:
    """A write of *session* from *at* to *at* + 1."""
    return Write(session, entries, at, at + 1, Outcome(told))


def read(
    session: int,
    at: float,
    values: dict[int, int],
    *,
    level: Level | None = None,
    transaction: int | None = None,
    uncommitted: dict[int, int] | None = None,
    node: str = "",
) -> Read:
    """A read of *session* from *at* to *at* + 1."""
    return Read(session, values, at, at + 1, level, transaction, uncommitted or {}, node)


def rules(history: Sequence[Event], level: Level = Level.SESSION) -> list[Rule]:
    return [violation.rule for violation in violations(history, level)]


#: What is broken, a history that breaks it, and one that differs in the least and breaks nothing.
BROKEN = [
    (
        Rule.READ_YOUR_WRITES,
        [wrote(1, 0, (0, 1)), read(1, 2, {0: 0})],
        [wrote(1, 0, (0, 1)), read(2, 2, {0: 0})],
    ),
    (
        Rule.READ_YOUR_WRITES,
        [wrote(1, 0, (0, 1)), read(1, 2, {0: 0})],
        [wrote(1, 0, (0, 1), told="unknown"), read(1, 2, {0: 0})],
    ),
    (
        Rule.MONOTONIC_READS,
        [wrote(2, 0, (0, 1)), read(1, 2, {0: 1}), read(1, 4, {0: 0})],
        [wrote(2, 0, (0, 1)), read(1, 2, {0: 1}), read(3, 4, {0: 0})],
    ),
    (
        Rule.MONOTONIC_WRITES,
        [wrote(2, 0, (0, 1)), wrote(2, 2, (1, 1)), read(1, 4, {1: 1}), read(1, 6, {0: 0})],
        [wrote(2, 0, (0, 1)), wrote(3, 2, (1, 1)), read(1, 4, {1: 1}), read(1, 6, {0: 0})],
    ),
    (
        Rule.WRITES_FOLLOW_READS,
        [
            wrote(3, 0, (0, 1)),
            read(2, 2, {0: 1}),
            wrote(2, 4, (1, 1)),
            read(1, 6, {1: 1}),
            read(1, 8, {0: 0}),
        ],
        [
            wrote(3, 0, (0, 1)),
            wrote(2, 4, (1, 1)),
            read(2, 5.5, {0: 1}),
            read(1, 6, {1: 1}),
            read(1, 8, {0: 0}),
        ],
    ),
    (
        Rule.TORN_TRANSACTION,
        [wrote(2, 0, (0, 1), (1, 1)), read(1, 2, {0: 1, 1: 0})],
        [wrote(2, 0, (0, 1)), wrote(2, 2, (1, 1)), read(1, 4, {0: 1, 1: 0})],
    ),
    (
        Rule.REPEATABLE_READ,
        [
            wrote(2, 0, (0, 1)),
            read(1, 0, {0: 0}, transaction=7),
            read(1, 2, {0: 1}, transaction=7),
        ],
        [wrote(2, 0, (0, 1)), read(1, 0, {0: 0}), read(1, 2, {0: 1})],
    ),
    (
        Rule.TORN_TRANSACTION,
        [
            wrote(2, 0, (0, 1), (1, 1)),
            read(1, 0, {0: 0}, transaction=7),
            read(1, 2, {1: 1}, transaction=7),
        ],
        [wrote(2, 0, (0, 1), (1, 1)), read(1, 0, {0: 0}), read(1, 2, {1: 1})],
    ),
    (
        Rule.OWN_TRANSACTION,
        [read(1, 0, {0: 0}, uncommitted={0: 1})],
        [read(1, 0, {0: 1}, uncommitted={0: 1})],
    ),
    (
        Rule.NEVER_COMMITTED,
        [wrote(2, 0, (0, 1), told="failed"), read(1, 2, {0: 1})],
        [wrote(2, 0, (0, 1), told="unknown"), read(1, 2, {0: 1})],
    ),
]


@pytest.mark.parametrize(("rule", "broken", "sound"), BROKEN)
def test_a_violation_is_found_and_its_sound_sibling_accepted(
    rule: Rule, broken: list[Event], sound: list[Event]
):
    found = violations(broken)
    assert rule in {violation.rule for violation in found}
    assert str(found[0])
    assert rules(sound) == []


def test_real_time_order_is_demanded_at_level_cluster_only():
    history = [wrote(2, 0, (0, 1)), read(1, 2, {0: 0})]

    assert rules(history, Level.CLUSTER) == [Rule.REAL_TIME_ORDER]
    assert rules(history, Level.SESSION) == []
    assert rules(history, Level.EVENTUAL) == []


@pytest.mark.parametrize("began", [0.5, 1.0])
def test_a_read_that_began_before_the_write_was_acknowledged_may_miss_it(began: float):
    assert rules([wrote(2, 0, (0, 1)), read(1, began, {0: 0})], Level.CLUSTER) == []


def test_a_read_that_asks_for_more_is_judged_by_what_it_asks_for():
    history = [wrote(2, 0, (0, 1)), read(1, 2, {0: 0}, level=Level.CLUSTER)]

    assert rules(history, Level.SESSION) == [Rule.REAL_TIME_ORDER]


def test_a_read_below_the_level_is_not_judged_and_binds_nobody():
    written = [wrote(2, 0, (0, 1)), wrote(1, 2, (1, 1))]
    below = read(1, 4, {0: 1, 1: 0}, level=Level.EVENTUAL)
    after = read(1, 6, {0: 0, 1: 1})

    assert rules([*written, below, after]) == []
    assert rules([*written, below._replace(level=None), after]) == [
        Rule.READ_YOUR_WRITES,
        Rule.MONOTONIC_READS,
    ]


def test_nor_does_what_it_saw_bind_those_who_read_a_later_write_of_its_session():
    history = [
        wrote(3, 0, (0, 1)),
        read(2, 2, {0: 1}, level=Level.EVENTUAL),
        wrote(2, 4, (1, 1)),
        read(1, 6, {1: 1}),
        read(1, 8, {0: 0}),
    ]

    assert rules(history) == []


def test_causality_reaches_across_sessions_that_never_met():
    history = [
        wrote(1, 0, (0, 1)),
        read(2, 2, {0: 1}),
        wrote(2, 4, (1, 1)),
        read(3, 6, {1: 1}),
        wrote(3, 8, (2, 1)),
        read(4, 10, {2: 1}),
        read(4, 12, {0: 0}),
    ]

    assert rules(history) == [Rule.WRITES_FOLLOW_READS]


def test_a_transaction_that_is_seen_in_two_reads_is_two_writes():
    history = [wrote(2, 0, (0, 1), (1, 1)), read(1, 2, {0: 1}), read(1, 4, {1: 0})]

    assert rules(history) == [Rule.MONOTONIC_WRITES]


def test_what_a_transaction_has_overwritten_itself_was_never_there():
    write = wrote(2, 0, (0, 1), (0, 2))

    assert rules([write, read(1, 2, {0: 2})]) == []
    assert rules([write, read(1, 2, {0: 1})]) == [Rule.NEVER_COMMITTED]


def test_what_a_transaction_has_not_committed_binds_nobody():
    history = [read(1, 0, {0: 5}, uncommitted={0: 5}), read(1, 2, {0: 0})]

    assert rules(history) == []


@pytest.mark.parametrize(
    ("told", "first", "then", "broken"),
    [
        (9.0, "replica1", "primary", False),
        (3.5, "replica1", "primary", True),  # the writer knew
        (9.0, "primary", "primary", True),
        (9.0, "replica1", "replica2", True),
    ],
)
def test_the_primary_may_miss_what_a_replica_has_shown_until_its_writer_knows(
    told: float, first: str, then: str, broken: bool
):
    write = Write(2, ((0, 1), (1, 1)), 0, told)
    history = [write, read(1, 2, {0: 1}, node=first), read(1, 4, {0: 0}, node=then)]
    assert rules(history) == ([Rule.MONOTONIC_READS] if broken else [])
