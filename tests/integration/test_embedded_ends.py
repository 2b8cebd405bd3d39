"""However the process that owns an embedded cluster ends, nothing of the cluster stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.directory import remove_leftovers
from rwsplit.embedded.postgres import EmbeddedError, wheel_directory
from rwsplit.embedded.processes import wait_until, working_in
from tests.support.postgres import MakeCluster

pytestmark = pytest.mark.integration

OWN = """
import sys
import tempfile
from rwsplit.embedded.cluster import EmbeddedCluster
with EmbeddedCluster(replicas=1) as cluster:
    print(cluster.directory, cluster._guardian.pid, flush=True)
    sys.stdin.read()
"""
START_ONLY = """
from rwsplit.embedded.cluster import EmbeddedCluster
EmbeddedCluster(replicas=1, progress=lambda step: print(step, flush=True)).start()
"""


class Owner:
    """A process of its own that owns a cluster."""

    def __init__(self, temporary: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": os.fspath(temporary)},
        )
        assert self.process.stdout is not None
        directory, guardian = self.process.stdout.readline().split()
        self.directory, self.guardian = Path(directory), int(guardian)

    def end(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)
        self.process.communicate()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary directory the servers' account can pass through (tmp_path is closed to it)."""
    with tempfile.TemporaryDirectory(prefix="rwsplit-test-") as path:
        Path(path).chmod(0o711)
        yield Path(path)


@pytest.fixture
def owner(temporary: Path) -> Iterator[Owner]:
    started = Owner(temporary)
    yield started
    started.end(signal.SIGKILL)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_owner_ends_the_cluster(owner: Owner, signum: signal.Signals):
    assert len(working_in(owner.directory)) > 2

    owner.end(signum)

    assert wait_until(lambda: not owner.directory.exists(), timeout=15)
    assert working_in(owner.directory) == []


def test_the_end_of_the_block_ends_the_cluster(owner: Owner):
    owner.process.communicate("")

    assert owner.process.returncode == 0
    assert not owner.directory.exists()


def test_a_program_that_forgets_to_stop_leaves_nothing(temporary: Path):
    subprocess.run(
        [sys.executable, "-c", START_ONLY],
        check=True,
        capture_output=True,
        env={**os.environ, "TMPDIR": os.fspath(temporary)},
    )

    assert wait_until(lambda: list(temporary.iterdir()) == [], timeout=15)


def test_what_a_killed_guardian_leaves_the_next_start_removes(owner: Owner, temporary: Path):
    os.kill(owner.guardian, signal.SIGKILL)
    owner.end(signal.SIGKILL)
    assert len(working_in(owner.directory)) > 2

    assert remove_leftovers(temporary) == [owner.directory]

    assert working_in(owner.directory) == []
    assert not owner.directory.exists()


def test_a_start_that_fails_leaves_nothing_and_quotes_postgresql(temporary: Path):
    wanted = temporary / "cluster"
    cluster = EmbeddedCluster(replicas=0, directory=wanted, settings={"shared_buffers": "much"})

    with pytest.raises(EmbeddedError, match='invalid value for parameter "shared_buffers"'):
        cluster.start()

    assert not wanted.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another account")
def test_a_directory_the_servers_may_not_enter_is_refused_by_name(tmp_path: Path):
    tmp_path.chmod(0o700)
    cluster = EmbeddedCluster(replicas=0, directory=tmp_path / "cluster")

    with pytest.raises(EmbeddedError, match="may not enter"):
        cluster.start()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.both_binaries
def test_ssl_works_where_postgresql_has_it_and_is_refused_in_words_where_not(
    make_cluster: MakeCluster, postgres_binaries: Path | None
):
    if postgres_binaries is None:
        with pytest.raises(EmbeddedError, match="built without OpenSSL"):
            make_cluster(replicas=1, ssl=True)
        return

    running = make_cluster(replicas=1, ssl=True)
    for node in running.nodes.values():
        with node.connect(
            sslmode="verify-full", sslrootcert=str(running.certificate_authority)
        ) as connection:
            assert connection.pgconn.ssl_in_use


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers under another account")
def test_root_can_use_binaries_nobody_else_can_read(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
):
    wheel = wheel_directory()
    if wheel is None:
        pytest.skip("the wheel is not installed")
    package = wheel.parents[1]
    closed = temporary / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(wheel.parent, closed / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, closed / libraries.name, symlinks=True)
    monkeypatch.setattr("rwsplit.embedded.readable_copy.CACHE", temporary / "cache")

    with EmbeddedCluster(
        replicas=1,
        postgres=closed / package.name / "pginstall",
        directory=temporary / "cluster",
    ) as cluster:
        assert cluster.replicas[0].query("select 1") == [(1,)]
