"""What a history of timelines proves."""

from __future__ import annotations

import pytest

from rwsplit.cluster.descent import Descent, Fork, descent, parse_history
from rwsplit.lsn import LSN

FILE = """
1\t0/3000148\tno recovery target specified

# a comment
2\t0/5000000\tbefore 2026-01-01
"""
ONE, TWO = Fork(1, LSN(0x3000148)), Fork(2, LSN(0x5000000))


def test_a_history_file_is_read():
    assert parse_history(FILE) == (ONE, TWO)
    assert parse_history("") == ()


@pytest.mark.parametrize("text", ["1", "one 0/1 x", "1 here x"])
def test_what_is_no_history_file_is_an_error(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - whose words do not matter
        parse_history(text)


@pytest.mark.parametrize(
    ("history", "timeline", "before", "history_before", "found"),
    [
        (None, 2, 1, (), Descent.UNKNOWN),
        ((ONE,), 2, 1, (), Descent.DESCENDS),
        ((ONE,), 2, 1, None, Descent.DESCENDS),
        ((ONE, TWO), 3, 2, (ONE,), Descent.DESCENDS),
        ((ONE, TWO), 3, 2, (Fork(1, LSN(7)),), Descent.DIVERGED),
        ((ONE,), 3, 2, (ONE,), Descent.DIVERGED),
        ((ONE,), 2, 2, (ONE,), Descent.DESCENDS),
        ((ONE,), 2, 2, (Fork(1, LSN(7)),), Descent.DIVERGED),
        ((ONE,), 2, 2, None, Descent.DESCENDS),
    ],
)
def test_a_timeline_descends_from_what_its_history_names(
    history, timeline, before, history_before, found
):
    assert descent(history, timeline, before, history_before) is found
