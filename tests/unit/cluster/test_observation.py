"""Observations are plain values."""

from __future__ import annotations

from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation
from rwsplit.lsn import LSN


def test_equal_looks_are_equal():
    looks = [
        Observation(
            role=Role.PRIMARY,
            timeline=1,
            lsn=LSN(1000),
            system_identifier="7",
            server_version="16.4",
        )
        for _ in range(2)
    ]

    assert looks[0] == looks[1]
    assert looks[0].replay_age is None
