"""Explaining: where a statement would go now, and why not elsewhere (`admin.operator.Explanation`)."""

from __future__ import annotations

from rwsplit.admin.operator import Explanation
from rwsplit.cluster.node import AdminState, NodeView, Refusal, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.routing import policy
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Verb


def explanation(view: ClusterView, script: Script, *, in_transaction: bool) -> Explanation:
    """Return where *script* would go, sent outside a transaction or *in_transaction*, with the nodes as in *view*."""
    route = _route(script, in_transaction=in_transaction)
    refusals = {node.name: _refusal(node, view, route) for node in view.nodes}
    chosen = next((name for name, refusal in refusals.items() if refusal is None), None)
    if chosen is None and route.target is Target.REPLICA and view.primary is not None:
        route = route._replace(target=Target.PRIMARY, reason=RouteReason.NO_FRESH_REPLICA)
        chosen = view.primary.name
    return Explanation(script=script, route=route, node=chosen, refusals=refusals)


def _route(script: Script, *, in_transaction: bool) -> Route:
    route = policy.route_facts(script)
    if script.hints is not None:
        route = policy.route_hints(script, script.hints) or route
    single = script.single
    begins = single is not None and single.verb is Verb.BEGIN
    if in_transaction and not begins:
        return Route(Target.PRIMARY, RouteReason.IN_TRANSACTION)
    return route


def _refusal(node: NodeView, view: ClusterView, route: Route) -> Refusal | None:
    """Return why *node* may not answer what goes *route*; None: it may."""
    if route.target is Target.REPLICA:
        return Refusal.NOT_A_REPLICA if node is view.primary else node.refusal
    if route.target is Target.NODE:
        usable = isinstance(node.health, Up) and node.admin is AdminState.ATTACHED
        named = None if usable else node.refusal
        return named if node.name == route.node else Refusal.NOT_NAMED
    if node is view.primary:
        return None
    return node.refusal or Refusal.NOT_THE_PRIMARY
