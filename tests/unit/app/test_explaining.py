"""EXPLAIN ROUTE names the node that would answer, and why the others would not."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.app.explaining import explanation
from rwsplit.cluster.node import Refusal
from rwsplit.cluster.view import ClusterView
from rwsplit.routing.route import RouteReason, Target
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from tests.support.operator import NODES

PRIMARY, FRESH, LAGGING, _ = NODES
VIEW = ClusterView(nodes=NODES, primary=PRIMARY, replicas=(FRESH,))
WITHOUT_REPLICAS = ClusterView(nodes=(PRIMARY, LAGGING), primary=PRIMARY, replicas=())


#: No primary to write to.
HEADLESS = attrs.evolve(VIEW, primary=None)

LOCKED_OUT = {
    "primary": None,
    "replica1": Refusal.NOT_THE_PRIMARY,
    "replica2": Refusal.LAGGING,
    "replica3": Refusal.DOWN,
}
READERS = {**LOCKED_OUT, "primary": Refusal.NOT_A_REPLICA, "replica1": None}
NONE_NAMED = dict.fromkeys(LOCKED_OUT, Refusal.NOT_NAMED)


@pytest.mark.parametrize(
    ("text", "view", "target", "reason", "node", "refusals"),
    [
        ("select 1", VIEW, Target.REPLICA, RouteReason.READ, "replica1", READERS),
        (
            "select 1",
            WITHOUT_REPLICAS,
            Target.PRIMARY,
            RouteReason.NO_FRESH_REPLICA,
            "primary",
            {"primary": Refusal.NOT_A_REPLICA, "replica2": Refusal.LAGGING},
        ),
        ("delete from t", VIEW, Target.PRIMARY, RouteReason.MAY_WRITE, "primary", LOCKED_OUT),
        (
            "delete from t",
            HEADLESS,
            Target.PRIMARY,
            RouteReason.MAY_WRITE,
            None,
            {**LOCKED_OUT, "primary": Refusal.NOT_A_REPLICA},
        ),
        (
            "/* rwsplit: node=replica1 */ select 1",
            VIEW,
            Target.NODE,
            RouteReason.HINT,
            "replica1",
            {**NONE_NAMED, "replica1": None},
        ),
        (
            "/* rwsplit: node=replica3 */ select 1",
            VIEW,
            Target.NODE,
            RouteReason.HINT,
            None,
            {**NONE_NAMED, "replica3": Refusal.DOWN},
        ),
    ],
)
def test_it_says_where_a_statement_would_go_and_why_nowhere_else(
    text: str,
    view: ClusterView,
    target: Target,
    reason: RouteReason,
    node: str | None,
    refusals: dict[str, Refusal | None],
):
    script = parse(text.encode(), FunctionBook())

    found = explanation(view, script, in_transaction=False)

    assert found.script is script
    assert (found.route.target, found.route.reason) == (target, reason)
    assert found.node == node
    assert found.refusals == refusals


@pytest.mark.parametrize(
    ("text", "reason"),
    [("select 1", RouteReason.IN_TRANSACTION), ("begin", RouteReason.TRANSACTION)],
)
def test_in_a_transaction_only_another_begin_is_judged_by_itself(
    text: str, reason: RouteReason
):
    found = explanation(VIEW, parse(text.encode(), FunctionBook()), in_transaction=True)

    assert (found.route.target, found.route.reason) == (Target.PRIMARY, reason)
    assert found.node == "primary"
