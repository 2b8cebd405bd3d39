"""A run of tests that is interrupted - by Ctrl-C, by the SIGTERM that `make` passes on, or killed - leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rwsplit.embedded.processes import wait_until, working_in

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
#: A test that waits with a cluster and a rwsplit in front of it, and says which process that is.
WAITING = """
import os, signal
from pathlib import Path

def test_waits(proxy):
    Path(os.environ["STARTED"]).write_text(f"{proxy.pid}\\n")
    signal.pause()
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for temporary files that the account of the servers may enter, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_stops_what_it_started(place: Path, signum: signal.Signals):
    test, started = place / "test_waiting.py", place / "started"
    test.write_text(WAITING)
    words = ["-q", "-p", "tests.conftest", "-c", "pyproject.toml", "--rootdir", ".", str(test)]
    environment = {**os.environ, "TMPDIR": str(place), "STARTED": str(started)}
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_until(
            lambda: (
                run.poll() is not None
                or (started.exists() and started.read_text().endswith("\n"))
            ),
            timeout=60,
        )
        assert run.poll() is None, run.communicate()[0].decode()
        proxy = int(started.read_text())
        assert is_running(proxy)
        assert working_in(place)

        os.killpg(run.pid, signum)
        output, _ = run.communicate(timeout=60)
        if signum != signal.SIGKILL:
            assert run.returncode == pytest.ExitCode.INTERRUPTED, output.decode()
        # The guardian and the warden end with the run, not before it.
        assert wait_until(lambda: not is_running(proxy) and not working_in(place), timeout=15)
    finally:
        run.kill()
        run.wait()
