"""What a promotion would lose."""

from __future__ import annotations

from rwsplit.cluster.losses import losses
from rwsplit.lsn import LSN


def told(
    mine: int, other: int, *, primary: str | None = "a", last: int | None = None
) -> list[str]:
    ends = {"b": LSN(mine), "c": LSN(other)}
    return [
        str(loss)
        for loss in losses("b", ends, primary=primary, last=None if last is None else LSN(last))
    ]


def test_the_most_advanced_loses_nothing():
    assert told(1000, 1000) == []
    assert told(1000, 999, last=1040) == []


def test_what_another_replica_has_is_lost():
    assert told(1000, 76000) == ["node b lacks 75000 bytes of WAL that c has (up to 0/128E0)"]


def test_what_the_old_primary_was_seen_to_have_is_lost():
    assert told(1000, 1000, last=1041) == [
        "node b lacks 41 bytes of WAL that node a, the old primary, was seen to have (up to 0/411)"
    ]
    assert told(1000, 1000, primary=None, last=1041) == []


def test_both_are_told():
    assert len(told(1000, 2000, last=3000)) == 2
