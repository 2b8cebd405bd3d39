"""The real PostgreSQL clusters tests run against.

`cluster` is one primary and three replicas for the whole session: leave its nodes running and
attached. `fragile_cluster` is another one whose nodes may be killed, paused or promoted; it is
repaired after each test. `make_cluster` starts one more with the settings a test needs. `proxy` is
rwsplit in front of `cluster`; `make_proxy` starts one with settings in front of any cluster.

A test marked `both_binaries` runs once on the chosen PostgreSQL and, when that is the wheel's,
once more on the system's where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.postgres import system_directory
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.proxy import Proxy

DOCKER: Final = Path("docker")
"""Stands for `--postgres docker` where a directory of binaries is expected."""

MakeCluster = Callable[..., EmbeddedCluster]
MakeProxy = Callable[..., Proxy]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "both_binaries: runs on the wheel's PostgreSQL and on the system's"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tell `postgres_binaries` which PostgreSQL a test runs on."""
    if "postgres_binaries" not in metafunc.fixturenames:
        return
    chosen = [metafunc.config.getoption("postgres")]
    if metafunc.definition.get_closest_marker("both_binaries") and chosen == ["wheel"]:
        chosen.append("system")
    identifiers = [name if len(chosen) > 1 else pytest.HIDDEN_PARAM for name in chosen]
    metafunc.parametrize(
        "postgres_binaries", chosen, ids=identifiers, indirect=True, scope="session"
    )


@pytest.fixture(scope="session")
def postgres_binaries(request: pytest.FixtureRequest) -> Path | None:
    """The directory of the binaries this test runs on; None means the wheel's."""
    match request.param:
        case "wheel":
            return None
        case "system":
            directory = system_directory()
            if directory is None:
                pytest.skip("this system has no PostgreSQL server of its own")
            return directory
        case "docker":
            return DOCKER
        case named:
            return Path(named)


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, postgres_binaries: Path | None
) -> Iterator[ReachableCluster[Any]]:
    """A primary and three replicas, shared by the whole session; do not break it.

    It is an EmbeddedCluster, or a ContainerCluster with `--postgres docker`.
    """
    if postgres_binaries is DOCKER:
        yield request.getfixturevalue("container_cluster")
        return
    with EmbeddedCluster(replicas=3, postgres=postgres_binaries) as running:
        yield running


@pytest.fixture(scope="session")
def container_cluster(request: pytest.FixtureRequest) -> Iterator[ReachableCluster[Any]]:
    """The same in containers; skipped with the reason where no container engine answers."""
    from tests.support.containers import ContainerCluster, engine_problem  # slow to import

    if problem := engine_problem():
        pytest.skip(problem)
    with ContainerCluster(request.config.getoption("postgres_image")) as running:
        yield running


@pytest.fixture(scope="session")
def local_binaries(postgres_binaries: Path | None) -> Path | None:
    """As `postgres_binaries`, for what only processes of this machine can do."""
    if postgres_binaries is DOCKER:
        pytest.skip("works on processes, not on containers")
    return postgres_binaries


@pytest.fixture(scope="session")
def shared_fragile_cluster(local_binaries: Path | None) -> Iterator[EmbeddedCluster]:
    """What `fragile_cluster` repairs; not for tests."""
    with EmbeddedCluster(replicas=3, postgres=local_binaries) as running:
        yield running


@pytest.fixture
def fragile_cluster(shared_fragile_cluster: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """A primary and three replicas that may be killed, paused, promoted; repaired afterwards."""
    yield shared_fragile_cluster
    shared_fragile_cluster.repair()


@pytest.fixture
def make_cluster(local_binaries: Path | None) -> Iterator[MakeCluster]:
    """Start clusters with the arguments of EmbeddedCluster; they end with the test."""
    started: list[EmbeddedCluster] = []

    def start(**options: Any) -> EmbeddedCluster:
        made = EmbeddedCluster(**{"postgres": local_binaries, **options})
        started.append(made)
        made.start()
        return made

    yield start
    for made in started:
        made.stop()


@pytest.fixture
def make_proxy(tmp_path: Path) -> Iterator[MakeProxy]:
    """Start proxies with the arguments of `Proxy`; they end with the test."""
    started: list[Proxy] = []

    def start(
        cluster: ReachableCluster[Any],
        settings: Mapping[str, Any] | None = None,
        *,
        measured: bool = True,
        nodes_up: bool = True,
    ) -> Proxy:
        made = Proxy(cluster, tmp_path, settings, measured=measured)
        made.start(nodes_up=nodes_up)
        started.append(made)
        return made

    yield start
    for made in started:
        print(
            f"--- rwsplit on port {made.port} ---\n{made.log_tail()}"
        )  # shown if the test failed
        made.stop()


@pytest.fixture(scope="session")
def proxy(
    cluster: EmbeddedCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy with the default settings in front of `cluster`, shared; leave it as it is."""
    with Proxy(cluster, tmp_path_factory.mktemp("proxy")) as running:
        yield running
