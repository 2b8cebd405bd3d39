"""Nothing is searched for garbage while a catalog is composed; afterwards it is as it was."""

from __future__ import annotations

import gc
import threading

import pytest

from rwsplit.monitor.collector import undisturbed


def test_nothing_is_searched_during_the_block():
    with undisturbed():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failure_ends_it_too():
    with pytest.raises(KeyError), undisturbed():
        raise KeyError
    assert gc.isenabled()


def test_blocks_of_several_threads_may_overlap():
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with undisturbed():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    with undisturbed():
        thread.start()
        assert entered.wait(10)
    assert not gc.isenabled()  # the other one is still at it
    leave.set()
    thread.join(10)
    assert gc.isenabled()
