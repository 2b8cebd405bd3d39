"""A minute of random histories at every level, while replicas are late, paused, restarted, killed and taken away.

RWSPLIT_GUARANTEES_SECONDS and RWSPLIT_GUARANTEES_SEED make it longer and other (`make soak`). Nothing about a run but its programs
and faults comes from the seed: the threads do not meet again as they did. So a failure prints what the sessions concerned did.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.guarantees.clients import Sessions
from tests.support.guarantees.faults import Faults, delayed
from tests.support.guarantees.history import Level
from tests.support.guarantees.report import misbooking_report, report, trouble_report
from tests.support.guarantees.rules import violations
from tests.support.postgres import MakeProxy

pytestmark = pytest.mark.integration

SOAKING = "RWSPLIT_GUARANTEES_SECONDS" in os.environ
SECONDS = float(os.environ.get("RWSPLIT_GUARANTEES_SECONDS", "60"))
SEED = int(
    os.environ.get("RWSPLIT_GUARANTEES_SEED", secrets.randbelow(10**6) if SOAKING else 8)
)
#: Reads a run has at least; a slow machine gets five times as long for them.
READS = round(50_000 * min(SECONDS / 60, 1))
#: A `node=` hint for a node that is down is an error after this long.
SETTINGS = {"pool": {"query_wait_timeout": "5s"}}


@pytest.fixture(scope="module")
def two_phase_cluster(local_binaries: Path | None) -> Iterator[EmbeddedCluster]:
    two_phases = {"max_prepared_transactions": "50"}
    with EmbeddedCluster(replicas=3, postgres=local_binaries, settings=two_phases) as running:
        yield running


def observed(
    cluster: EmbeddedCluster,
    make_proxy: MakeProxy,
    level: Level,
    settings: Mapping[str, Any],
) -> Sessions:
    """Return the sessions of a run at *level*, ended."""
    proxy = make_proxy(
        cluster,
        {**SETTINGS, **settings, "consistency": {"level": level.name.lower()}},
        measured=False,
    )
    with (
        Sessions(proxy, seed=SEED, level=level, two_phases=True) as sessions,
        delayed(cluster.replicas[2], "300ms"),
        Faults(proxy, seed=SEED) as faults,
    ):
        over = time.monotonic() + SECONDS
        assert wait_until(
            lambda: time.monotonic() > over and sessions.reads() >= READS,
            timeout=5 * SECONDS,
        ), sessions.summary()
    print(f"{level.name}: {sessions.summary()}; faults {dict(faults.happened)}")
    return sessions


@pytest.mark.parametrize("level", [Level.SESSION, Level.CLUSTER])
def test_no_read_is_older_than_its_level_allows_and_no_write_is_lost_or_doubled(
    two_phase_cluster: EmbeddedCluster, make_proxy: MakeProxy, level: Level
):
    sessions = observed(two_phase_cluster, make_proxy, level, {})

    found = violations(sessions.history(), level)
    assert not found, report(sessions, found)
    misbooked = sessions.misbookings(two_phase_cluster.primary)
    assert not misbooked, misbooking_report(misbooked)
    unexpected = [trouble for trouble in sessions.troubles if not trouble.is_excused]
    assert not unexpected, trouble_report(unexpected)
    assert {"primary", "replica1", "replica2", "replica3"} <= sessions.read_on().keys()


def test_at_level_eventual_violations_are_found(
    two_phase_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        two_phase_cluster, {**SETTINGS, "consistency": {"level": "eventual"}}, measured=False
    )
    with (
        Sessions(proxy, seed=SEED, level=Level.EVENTUAL, two_phases=True) as sessions,
        delayed(two_phase_cluster.replicas[2], "300ms"),
        Faults(proxy, seed=SEED),
    ):
        assert wait_until(
            lambda: bool(violations(sessions.history(), Level.SESSION)), timeout=SECONDS
        ), sessions.summary()
    assert not violations(sessions.history(), Level.EVENTUAL)
    assert not sessions.misbookings(two_phase_cluster.primary)
