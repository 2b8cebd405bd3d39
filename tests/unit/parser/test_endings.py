"""Why a process ended says whether the text it was reading may be tried again."""

from __future__ import annotations

import signal

import pytest

from rwsplit.parser.endings import (
    CONVICTED,
    MOST_SUSPECTS,
    OUT_OF_MEMORY,
    RETRIAL,
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
        (-signal.SIGSEGV, Ending.STUMBLED),
        (-signal.SIGABRT, Ending.STUMBLED),
        (0, Ending.DIED),
        (1, Ending.DIED),
        (None, Ending.DIED),
    ],
)
def test_the_exit_status_says_why_it_ended(status: int | None, ending: Ending):
    assert ending_of(status) is ending


@pytest.mark.parametrize("ending", [Ending.OVERRAN, Ending.NO_MEMORY, Ending.STUMBLED])
def test_a_text_that_is_to_blame_is_not_tried_again(ending: Ending):
    suspects = Suspects()
    assert not suspects.include(b"a", 0.0)
    assert suspects.are_to_include(b"a", ending, 0.0)
    assert suspects.include(b"a", 1e9)
    assert suspects.include_for_good(b"a")
    assert not suspects.include(b"b", 0.0)


@pytest.mark.parametrize("ending", [Ending.DIED, Ending.SILENT, Ending.BROKEN])
def test_a_text_that_was_only_there_is_left_alone_for_a_while(ending: Ending):
    suspects = Suspects()
    for _ in range(CONVICTED - 1):
        assert not suspects.are_to_include(b"a", ending, 0.0)
        assert not suspects.include(b"a", 0.0)
    assert suspects.are_to_include(b"a", ending, 10.0)
    assert suspects.include(b"a", 10.0 + RETRIAL - 1)
    assert not suspects.include_for_good(b"a")
    assert not suspects.include(b"a", 10.0 + RETRIAL)
    assert suspects.are_to_include(b"a", ending, 100.0)  # one trial is enough then
    assert not suspects.include(b"a", 100.0 + RETRIAL)


def test_who_was_to_blame_once_stays_so():
    suspects = Suspects()
    suspects.are_to_include(b"a", Ending.OVERRAN, 0.0)
    assert suspects.are_to_include(b"a", Ending.DIED, 1.0)
    assert suspects.include_for_good(b"a")


def test_a_text_that_was_read_after_all_is_no_suspect_any_more():
    suspects = Suspects()
    for _ in range(CONVICTED - 1):
        suspects.are_to_include(b"a", Ending.DIED, 0.0)
    suspects.acquit(b"a")
    assert not suspects.are_to_include(b"a", Ending.DIED, 0.0)


def test_suspects_are_bounded():
    suspects = Suspects()
    for number in range(MOST_SUSPECTS + 1):
        suspects.are_to_include(b"%d" % number, Ending.OVERRAN, 0.0)
    assert not suspects.include(b"0", 0.0)
    assert suspects.include(b"1", 0.0)
