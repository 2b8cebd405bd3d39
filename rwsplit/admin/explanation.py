"""Explanation: the answer to EXPLAIN ROUTE as rows of (kind, name, value, detail).

Kind `statement` is what was found out about the text, `route` where it would go now and why, `node` whether
each node may answer it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from rwsplit.admin.operator import Explanation, Operator, describe_refusal
from rwsplit.admin.table import Table, columns

COLUMNS: Final = columns("kind name value detail")

Row = tuple[str, str, str | None, str | None]


def explanation_table(explanation: Explanation, operator: Operator) -> Table:
    """Return *explanation* as the console shows it."""
    return Table(
        COLUMNS,
        [*_statement(explanation), *_route(explanation), *_nodes(explanation, operator)],
    )


def _statement(explanation: Explanation) -> Iterator[Row]:
    script = explanation.script
    statements = script.statements
    yield "statement", "verb", ", ".join(each.verb.value for each in statements), None
    if script.primary_only:
        yield "statement", "primary_only", script.primary_only.name, script.primary_only.value
    yield "statement", "may_write", str(script.may_write).lower(), None
    if script.state:
        yield "statement", "state", script.state.name, script.state.value
    for name in ("functions", "tables"):
        if found := sorted({word for each in statements for word in getattr(each, name)}):
            yield "statement", name, ", ".join(found), None
    if script.hints:
        for name, asked in attrs.asdict(script.hints).items():
            if asked not in (None, ()):
                shown = "; ".join(asked) if isinstance(asked, tuple) else str(asked)
                yield "statement", f"hint {name}", shown, None


def _route(explanation: Explanation) -> Iterator[Row]:
    route = explanation.route
    yield "route", "target", route.target.value, None
    yield "route", "reason", route.reason.name, route.reason.value
    yield "route", "node", explanation.node, None


def _nodes(explanation: Explanation, operator: Operator) -> Iterator[Row]:
    view = operator.view
    for node in view.nodes:
        refusal = explanation.refusals.get(node.name, node.refusal)
        if refusal is None:
            yield "node", node.name, "eligible", None
        else:
            detail = describe_refusal(refusal, node, view, operator.config, operator.now)
            yield "node", node.name, refusal.name, detail
