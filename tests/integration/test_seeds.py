"""The seed of random(), which even DISCARD ALL keeps, is nobody's but the session's that has set it."""

from __future__ import annotations

from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.postgres import MakeProxy

pytestmark = pytest.mark.integration

#: Ways to set it to one half.
SEED = [
    ["select setseed(0.5)"],
    ["set seed = 0.5"],
    ["begin", "set local seed = 0.5", "commit"],
    ["begin", "set seed to 0.5", "rollback"],
    ["select set_config('seed', '0.5', false)"],
    ["select set_config('seed', '0.5', true)"],
    ["do $$begin perform setseed(0.5); end$$"],
    ["do $$begin set local seed = 0.5; end$$"],
    ["select set_config('se' || 'ed', '0.5', false)"],
    ["do $$begin execute format('set %I to 0.5', 'seed'); end$$"],
    ["prepare p(text) as select set_config($1, '0.5', false)", "execute p('seed')"],
    ["select setseed(0.5)", "discard all"],
    ["select setseed(0.5)", "reset all"],
]


@pytest.mark.parametrize("texts", SEED, ids="; ".join)
def test_the_next_session_cannot_be_foretold(
    cluster: ReachableCluster[Any], make_proxy: MakeProxy, texts: list[str]
):
    with cluster.primary.connect("app", "app") as direct:
        direct.execute("select setseed(0.5)")
        foretold = {direct.execute("select random()").fetchone() for _ in range(20)}
    proxy = make_proxy(cluster, {"pool": {"size": 1}})
    with proxy.connect() as client:
        for text in texts:
            client.execute(text)  # type: ignore[arg-type]  # they are literals
    for _ in range(5):
        with proxy.connect() as other:
            found = other.execute("/* rwsplit: primary */ select random()").fetchone()
            assert found not in foretold
