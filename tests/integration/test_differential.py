"""Scripts of hypothesis's, thousands a run: through rwsplit every answer is PostgreSQL's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support.proxy import Proxy
from tests.support.script_strategies import alone, together
from tests.support.scripts import Script
from tests.support.twins import Twins

pytestmark = pytest.mark.integration

#: `make soak` asks for more, and for other ones each time.
WANTED = int(os.environ.get("RWSPLIT_SCRIPTS", "2000"))
SOAKING = "RWSPLIT_SCRIPTS" in os.environ


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
        Proxy(
            cluster, directory, {"pool": {"size": 2}, "consistency": {"wait": "2s"}}
        ) as proxy,
        Twins(cluster, proxy) as twins,
    ):
        yield twins
        print(
            f"{twins.scripts} scripts, {twins.messages} messages said, {twins.ours.frames} compared"
        )


@scripted(0.8)
@given(script=alone)
def test_a_session_is_answered_as_by_postgresql(twins: Twins, script: Script):
    twins.compare(script)


@scripted(0.25)
@given(script=together)
def test_two_sessions_that_share_servers_do_not_meet(twins: Twins, script: Script):
    twins.compare(script)
