"""What an operator is told of a promotion that takes too long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from rwsplit.admin.operator import OperationRefused
from rwsplit.app.promoting import PROMOTE_TIMEOUT, Promotion
from rwsplit.config.model import AuthConfig, Config, NodeConfig
from rwsplit.errors import NodeUnreachable
from rwsplit.server.demands import Demands
from rwsplit.server.endpoint import Endpoint


class SlowReplica:
    """A link to a replica that is still replaying when the time to promote it is over."""

    async def ask(self, _question: bytes) -> tuple[bytes]:
        return (b"f",)


async def test_a_replica_that_is_slow_to_promote_is_to_be_waited_for():
    board = cast("Any", SimpleNamespace(config=Config()))
    promotion = Promotion("pg1", board, lambda _: 0, force=False)

    with pytest.raises(OperationRefused) as refused:
        await promotion._tell(cast("Any", SlowReplica()))

    assert str(refused.value) == (
        f"node pg1 was told to promote and did not within {PROMOTE_TIMEOUT} s; it does when it has replayed what it "
        "has received, so wait for it (rwsplit status) and promote no other"
    )


async def test_a_promotion_demands_of_a_node_what_probes_demand(monkeypatch):
    """A node that asks for md5 is told nothing, where `auth.server_require_auth` says so."""
    auth = AuthConfig(server_require_auth="scram-sha-256")
    config = Config(nodes=(NodeConfig(name="pg1", host="h"),), auth=auth)
    board = cast("Any", SimpleNamespace(config=config))
    promotion = Promotion("pg1", board, lambda _: 0, force=False)
    demands = []

    async def dial(endpoint: Endpoint, **_: object) -> None:
        demands.append(endpoint.demands)
        raise NodeUnreachable("no")

    monkeypatch.setattr("rwsplit.monitor.caller.dial", dial)
    with pytest.raises(NodeUnreachable):
        await promotion._ask(cast("Any", SimpleNamespace(name="pg1")), "select 1")

    assert demands == [Demands.from_config(auth)]
