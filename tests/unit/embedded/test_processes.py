from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rwsplit.embedded.processes import children_of, end_all, send, stop, wait_until, working_in


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process called postgres that works in `tmp_path / "data"` (it is sleep by another name)."""
    (tmp_path / "data").mkdir()
    program = tmp_path / "postgres"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    with subprocess.Popen([program, "60"], cwd=tmp_path / "data") as process:
        assert wait_until(lambda: working_in(tmp_path / "data") == [process.pid], timeout=5)
        yield process
        process.kill()


def test_a_process_is_found_by_the_directory_it_works_in(
    postgres: subprocess.Popen[bytes], tmp_path: Path
):
    assert working_in(tmp_path) == [postgres.pid]
    (tmp_path / "other").mkdir()
    assert working_in(tmp_path / "other") == []


def test_a_program_that_is_not_postgresql_is_never_found(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as bystander:
        assert working_in(tmp_path) == []
        bystander.kill()


def test_a_zombie_does_not_count(postgres: subprocess.Popen[bytes], tmp_path: Path):
    postgres.kill()

    assert wait_until(lambda: working_in(tmp_path) == [], timeout=5)


@pytest.mark.parametrize("before", [signal.SIGCONT, signal.SIGSTOP])
def test_ending_all_ends_a_process_even_when_it_is_stopped(
    postgres: subprocess.Popen[bytes], tmp_path: Path, before: signal.Signals
):
    postgres.send_signal(before)

    assert end_all(tmp_path)

    assert postgres.wait(timeout=5) == -signal.SIGQUIT


def test_ending_all_where_nothing_works_is_done_at_once(tmp_path: Path):
    assert end_all(tmp_path, patience=60)


def test_a_signal_to_a_process_that_is_gone_is_no_error():
    with subprocess.Popen(["true"]) as process:
        process.wait()

    send([process.pid], signal.SIGTERM)


def test_children_are_found_by_their_parent():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in children_of(os.getpid())
        child.communicate(b"\n")
    assert child.pid not in children_of(os.getpid())


def test_a_stopped_process_has_no_child_that_is_not_stopped_too():
    with subprocess.Popen(["sh", "-c", "while :; do sleep 0.001; done"]) as parent:
        for _ in range(20):
            stopped = stop(parent.pid)

            assert stopped == [parent.pid, *children_of(parent.pid)]
            send(reversed(stopped), signal.SIGCONT)
        parent.kill()


def test_waiting_says_whether_it_came_true():
    assert wait_until(lambda: True, timeout=0)
    assert not wait_until(lambda: False, timeout=0)
