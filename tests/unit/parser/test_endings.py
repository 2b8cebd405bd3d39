"""Why a process ended says whether the text it was reading may be tried again."""

from __future__ import annotations

import signal

import pytest

from rwsplit.parser.endings import (
    CONVICTED,
    MOST_SUSPECTS,
    OUT_OF_MEMORY,
    Ending,
    Suspects,
    ending_of,
)


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (-signal.SIGPROF, Ending.OVERRAN),
        (OUT_OF_MEMORY, Ending.NO_MEMORY),
        (-signal.SIGKILL, Ending.DIED),
        (-signal.SIGSEGV, Ending.DIED),
        (0, Ending.DIED),
        (1, Ending.DIED),
        (None, Ending.DIED),
    ],
)
def test_the_exit_status_says_why_it_ended(status: int | None, ending: Ending):
    assert ending_of(status) is ending


@pytest.mark.parametrize("ending", [Ending.OVERRAN, Ending.NO_MEMORY])
def test_a_text_that_took_too_much_is_not_tried_again(ending: Ending):
    suspects = Suspects()
    assert not suspects.include(b"a")
    assert suspects.are_to_include(b"a", ending)
    assert suspects.include(b"a")
    assert not suspects.include(b"b")


@pytest.mark.parametrize("ending", [Ending.DIED, Ending.SILENT, Ending.BROKEN])
def test_a_text_that_was_only_there_is_tried_again_a_few_times(ending: Ending):
    suspects = Suspects()
    for _ in range(CONVICTED - 1):
        assert not suspects.are_to_include(b"a", ending)
        assert not suspects.include(b"a")
    assert suspects.are_to_include(b"a", ending)
    assert suspects.include(b"a")


def test_a_text_that_was_read_after_all_is_no_suspect_any_more():
    suspects = Suspects()
    for _ in range(CONVICTED - 1):
        suspects.are_to_include(b"a", Ending.DIED)
    suspects.acquit(b"a")
    assert not suspects.are_to_include(b"a", Ending.DIED)


def test_suspects_are_bounded():
    suspects = Suspects()
    for number in range(MOST_SUSPECTS + 1):
        suspects.are_to_include(b"%d" % number, Ending.OVERRAN)
    assert not suspects.include(b"0")
    assert suspects.include(b"1")
