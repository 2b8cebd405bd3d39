"""The scripts of the differential tests while the replicas lose half of rwsplit's connections every 20 to 40 ms.

Every answer is PostgreSQL's. A session may end with the server it is bound to (`tests.support.ends`); then nothing that was
not answered has happened. Others read all the time, outside transactions, and never notice.

The scripts, and what is terminated when, come from a seed, which is printed; what is under way when a connection ends does not. So
nothing is shrunk, and a failure shows the script as Python and what differs. RWSPLIT_FIRE_SCRIPTS says how many are played in each
test (`make soak`), RWSPLIT_FIRE_SEED which.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.fire import ColdFire, Fire
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.script_strategies import under_fire
from tests.support.scripts import Script
from tests.support.tight import TightClients
from tests.support.twins_under_fire import TwinsUnderFire

pytestmark = pytest.mark.integration

SOAKING = "RWSPLIT_FIRE_SCRIPTS" in os.environ
WANTED = int(os.environ.get("RWSPLIT_FIRE_SCRIPTS", "40"))
SEED = int(os.environ.get("RWSPLIT_FIRE_SEED", secrets.randbelow(10**6) if SOAKING else 8))
#: Seconds after which no more scripts are played, unless a number is asked for.
SECONDS = 20.0
#: Two servers a node, so that sessions meet on them; reads wait for replicas, or they would all run on the primary.
SHARED: dict[str, Any] = {"pool": {"size": 2}, "consistency": {"wait": "100ms"}}
#: One, so that it is shared; two sessions would need two on the primary.
LANES: dict[str, Any] = {**SHARED, "pool": {"size": 1, "lane_depth": 8}}
#: Sessions that read beside the scripts.
READERS = 4
#: Terminations there must be for each script, and units run again for ten terminations: else nothing was hit.
#: A frozen replica is rarely used.
LEAST: Mapping[type[Fire], tuple[float, float]] = {Fire: (1.0, 1.0), ColdFire: (0.1, 1.0)}


@pytest.fixture(scope="module")
def two_phase_cluster(local_binaries: Path | None) -> Iterator[EmbeddedCluster]:
    two_phases = {"max_prepared_transactions": "20"}
    with EmbeddedCluster(replicas=3, postgres=local_binaries, settings=two_phases) as running:
        yield running


@contextmanager
def reading(proxy: Proxy, database: str) -> Iterator[TightClients]:
    """Let clients read in *database* for the length of the block."""
    over = threading.Event()
    with TightClients(proxy, READERS, database=database) as clients:

        def run() -> None:
            while not over.is_set():
                clients.run(0.1)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield clients
        finally:
            over.set()
            thread.join(30)
            assert not thread.is_alive(), clients.longest


def count_of(proxy: Proxy, metric: str) -> int:
    lines = [str(row["metrics"]).split() for row in proxy.console("SHOW METRICS")]
    [value] = [line[1] for line in lines if line[0] == metric]
    return round(float(value))


@pytest.mark.parametrize(
    ("kind", "settled"),
    [(Fire, SHARED), (Fire, LANES), (ColdFire, SHARED)],
    ids=["", "lanes", "frozen"],
)
def test_no_answer_is_wrong_and_no_session_ends_that_need_not(
    two_phase_cluster: EmbeddedCluster,
    make_proxy: MakeProxy,
    request: pytest.FixtureRequest,
    kind: type[Fire],
    settled: Mapping[str, Any],
):
    proxy = make_proxy(two_phase_cluster, settled)
    name = f"fire{request.node.callspec.id}"
    failures: list[str] = []
    begin = time.monotonic()

    def play(script: Script) -> None:
        if not SOAKING and time.monotonic() - begin > SECONDS:
            return
        # Nothing is raised: hypothesis would play it again, and another thing would be met.
        try:
            found = twins.difference(script)
        except (AssertionError, OSError) as error:
            found = repr(error)
        if found is not None:
            failures.append(f"{script}\n{found}")

    scripts = under_fire(1) if settled is LANES else under_fire(1, 1, 1, 2)
    wanted = settings(
        max_examples=WANTED,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    with (
        TwinsUnderFire(two_phase_cluster, proxy, name) as twins,
        reading(proxy, twins.ours.database) as clients,
        kind(two_phase_cluster.replicas, twins.ours.database, "app", seed=SEED) as fire,
    ):
        seed(SEED)(wanted(given(script=scripts)(play)))()
        terminated = fire.terminated.total()
        retries = count_of(proxy, "rwsplit_retries_total")
        shared = count_of(proxy, "rwsplit_shared_units_total")
        print(
            f"seed {SEED}: {twins.scripts} scripts in {time.monotonic() - begin:.0f} s; "
            f"terminated {dict(fire.terminated)} in {fire.volleys} volleys, spared {dict(fire.spared)}; "
            f"{retries} units run again, {shared} on lanes; ended {dict(twins.ended)}, {twins.excused} that differ as intended; "
            f"read {dict(clients.reads)}, longest {clients.longest:.2f} s"
        )

    assert not failures, f"{len(failures)} of {twins.scripts}, seed {SEED}:\n" + "\n\n".join(
        failures
    )
    assert not clients.errors
    assert twins.ended.total() < twins.scripts / 3, "most scripts must be played to their end"
    least_terminated, least_retries = LEAST[kind]
    assert terminated > least_terminated * twins.scripts
    assert retries > least_retries * terminated / 10
    assert settled is not LANES or shared > twins.scripts
    assert fire.spared["rwsplit"] > 0  # it has seen the probes
    assert fire.spared["walreceiver"] > 0
    for word in ("server_violation", "Traceback"):
        assert word not in proxy.log()


def test_what_is_under_fire_is_neither_a_probe_nor_a_stranger(
    two_phase_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(two_phase_cluster, SHARED)
    with (
        proxy.connect() as client,
        two_phase_cluster.replicas[0].connect("app") as stranger,
        Fire(two_phase_cluster.replicas, "app", "app", seed=SEED) as fire,
    ):
        for _ in range(10):
            client.execute("select 1")
        assert wait_until(lambda: fire.terminated.total() > 0, timeout=10)
        assert stranger.execute("select 1").fetchone() == (1,)
        assert wait_until(lambda: fire.spared["rwsplit"] > 0, timeout=10)
    assert "node_down" not in proxy.log()
    assert "node_banned" not in proxy.log()
