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
            "the primary a (timeline 2) is not up, and is awaited",
        ),
        (
            NoWrites(Doubt.OTHER_CLUSTER, claims=("a",)),
            "every node that is up belongs to another cluster than the one known before; "
            f"a says to be the primary; {WAY_OUT}",
        ),
        (
            NoWrites(Doubt.AWAITS_TIMELINE, None, 2, ("b",)),
            "no node that is up is the primary of timeline 2, the newest that was seen; "
            f"b says to be the primary; {WAY_OUT}",
        ),
        (
            NoWrites(Doubt.SPLIT_BRAIN, claims=("a", "b")),
            f"{Doubt.SPLIT_BRAIN.value}; a and b say to be the primary; {WAY_OUT}",
        ),
    ],
)
def test_it_is_told_with_what_to_do(no_writes: NoWrites, sentence: str):
    assert str(no_writes) == sentence
