"""Why a node may not answer a read."""

from __future__ import annotations

import pytest

from rwsplit.cluster.eligibility import (
    refuse_admin,
    refuse_health,
    refuse_lag,
    refuse_role,
    refuse_source,
)
from rwsplit.cluster.node import (
    NEVER,
    AdminState,
    Banned,
    Down,
    Frozen,
    Health,
    Refusal,
    Role,
    Suspect,
    Up,
)
from rwsplit.cluster.observation import Source


@pytest.mark.parametrize(
    ("admin", "refusal"),
    [
        (AdminState.ATTACHED, None),
        (AdminState.DRAINING, Refusal.DRAINING),
        (AdminState.DETACHED, Refusal.DETACHED),
    ],
)
def test_what_the_operator_wants(admin: AdminState, refusal: Refusal | None):
    assert refuse_admin(admin) is refusal


@pytest.mark.parametrize(
    ("health", "refusal"),
    [
        (Up(), None),
        (Suspect(since=1.0), Refusal.SUSPECT),
        (Frozen(since=1.0, until=2.0, strikes=1), Refusal.FROZEN),
        (Banned(reason="lost", until=1.0, strikes=1), Refusal.BANNED),
        (Down(since=1.0, reason="refused"), Refusal.DOWN),
    ],
)
def test_whether_it_answers(health: Health, refusal: Refusal | None):
    assert refuse_health(health) is refusal


@pytest.mark.parametrize(
    ("role", "on_timeline", "refusal"),
    [
        (Role.REPLICA, True, None),
        (Role.REPLICA, False, Refusal.OTHER_TIMELINE),
        (Role.PRIMARY, True, Refusal.NOT_A_REPLICA),
        (Role.PRIMARY, False, Refusal.OTHER_TIMELINE),
        (Role.UNKNOWN, False, Refusal.NOT_A_REPLICA),
    ],
)
def test_what_it_is(role: Role, on_timeline: bool, refusal: Refusal | None):
    assert refuse_role(role, on_timeline=on_timeline) is refusal


def test_a_node_of_another_cluster_is_nothing_else():
    assert refuse_role(Role.REPLICA, ours=False, on_timeline=True) is Refusal.OTHER_CLUSTER


def test_a_rival_is_not_the_primary():
    refusal = refuse_role(Role.PRIMARY, on_timeline=True, rival=True)
    assert refusal is Refusal.NOT_THE_PRIMARY


@pytest.mark.parametrize(
    ("source", "strays", "sourceless_for", "refusal"),
    [
        (Source.STREAM, False, 0.0, None),
        (Source.STREAM, True, 0.0, Refusal.OTHER_SOURCE),
        (Source.NONE, False, 10.0, None),
        (Source.NONE, False, 10.1, Refusal.NO_SOURCE),
        (Source.ARCHIVE, False, 99.0, None),
        (Source.UNSEEN, False, 99.0, None),
    ],
)
def test_where_its_wal_comes_from(source, strays, sourceless_for, refusal):
    found = refuse_source(source, strays=strays, sourceless_for=sourceless_for, patience=10.0)
    assert found is refusal


@pytest.mark.parametrize(
    ("fresh_until", "staleness", "lag_bytes", "max_lag_bytes", "refusal"),
    [
        (NEVER, float("inf"), None, None, Refusal.UNKNOWN_FRESHNESS),
        (90.0, 10.0, 5000, None, None),
        (90.0, 10.1, 0, None, Refusal.LAGGING),
        (90.0, 1.0, 1000, 1000, None),
        (90.0, 1.0, 1001, 1000, Refusal.LAGGING),
        (90.0, 1.0, None, 1000, Refusal.LAGGING),
    ],
)
def test_how_old_its_data_may_be(
    fresh_until: float,
    staleness: float,
    lag_bytes: int | None,
    max_lag_bytes: int | None,
    refusal: Refusal | None,
):
    found = refuse_lag(
        fresh_until, staleness, lag_bytes, max_lag=10.0, max_lag_bytes=max_lag_bytes
    )

    assert found is refusal
