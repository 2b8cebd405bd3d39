"""Scripts of hypothesis's, thousands a run: through rwsplit every answer is PostgreSQL's.

The scripts are the same in every run, unless RWSPLIT_SCRIPTS says how many are wanted (`make soak`): then they are others each
time. A failure prints the script as Python, and a blob for `reproduce_failure`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.proxy import Proxy
from tests.support.script_strategies import alone, together
from tests.support.scripts import SYNC, Script, Step, parse, query
from tests.support.twins import Twins

pytestmark = pytest.mark.integration

SOAKING = "RWSPLIT_SCRIPTS" in os.environ
WANTED = int(os.environ.get("RWSPLIT_SCRIPTS", "400"))
#: Two servers a node, so that sessions meet on them; reads wait for replicas, or they would all run on the primary.
SHARED = {"pool": {"size": 2}, "consistency": {"wait": "100ms"}}


def scripted(share: float) -> settings:
    return settings(
        max_examples=round(WANTED * share),
        derandomize=not SOAKING,
        database=None,
        deadline=None,
        print_blob=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def twins(
    local_binaries: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Twins]:
    directory = tmp_path_factory.mktemp("twins")
    two_phases = {"max_prepared_transactions": "20"}
    with (
        EmbeddedCluster(replicas=2, postgres=local_binaries, settings=two_phases) as cluster,
        Proxy(cluster, directory, SHARED) as proxy,
        Twins(cluster, proxy) as twins,
    ):
        yield twins
        print(
            f"{twins.scripts} scripts, {twins.messages} messages, {twins.ours.frames} answers, "
            f"{twins.excused} scripts that differ as intended"
        )


@scripted(0.8)
@given(script=alone)
def test_a_session_is_answered_as_by_postgresql(twins: Twins, script: Script):
    twins.compare(script)


@scripted(0.2)
@given(script=together)
def test_two_sessions_that_share_servers_do_not_meet(twins: Twins, script: Script):
    twins.compare(script)


@pytest.mark.parametrize("text", ["execute a; select 1", "select 1; deallocate a"])
def test_a_name_that_a_string_of_several_statements_misses_is_excused(twins: Twins, text: str):
    before = twins.excused
    twins.compare(Script((Step((parse("select 5", "a"), SYNC, query(text))),)))
    assert twins.excused == before + 1


def test_when_all_is_said_nothing_is_left(twins: Twins):
    twins.forget()

    def is_idle() -> bool:
        return all(row["state"] == "idle" for row in twins.proxy.console("SHOW SERVERS"))

    assert wait_until(is_idle, timeout=10), twins.proxy.console("SHOW SERVERS")
    assert twins.ours.locks() == []
    for word in ("server_violation", "Traceback"):
        assert word not in twins.proxy.log()
