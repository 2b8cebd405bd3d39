"""The sentences of doubt."""

from __future__ import annotations

import pytest

from rwsplit.cluster.doubt import WAY_OUT, Doubt, NoWrites


@pytest.mark.parametrize(
    ("no_writes", "sentence"),
    [
        (NoWrites(Doubt.NO_PRIMARY), "no node is a primary"),
        (
            NoWrites(Doubt.AWAITS_PRIMARY, "a", 2),
            "node a, the primary of timeline 2, is not up; rwsplit waits for it",
        ),
        (
            NoWrites(Doubt.OTHER_CLUSTER, claims=("a",)),
            "every node that is up belongs to another cluster than the one known before; "
            f"node a says it is the primary; {WAY_OUT}",
        ),
        (
            NoWrites(Doubt.AWAITS_TIMELINE, None, 2, ("b",)),
            "no node that is up is the primary of timeline 2, the newest that was seen; "
            f"node b says it is the primary; {WAY_OUT}",
        ),
        (
            NoWrites(Doubt.SPLIT_BRAIN, claims=("a", "b")),
            f"{Doubt.SPLIT_BRAIN.value}; nodes a and b each say they are the primary; {WAY_OUT}",
        ),
    ],
)
def test_it_is_told_with_what_to_do(no_writes: NoWrites, sentence: str):
    assert str(no_writes) == sentence
