"""`rwsplit explain`: where a statement would go now, and why."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from rwsplit.cli.options import ConfigFile, Json, Url
from rwsplit.cli.proxy import Row, ask, find_proxy

#: The reason of a read that goes to the primary because of the state of the replicas.
SPILLED: Final = "NO_FRESH_REPLICA"

Explanation = dict[str, Any]
"""What `--json` prints; docs/operations.md."""


def explain(
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="The statement, quoted for the shell.")
    ],
    url: Url = None,
    config: ConfigFile = None,
    in_transaction: Annotated[
        bool,
        typer.Option("--in-transaction", help="As if inside a transaction that may write."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show where a statement would go now and why, without running it."""
    place = find_proxy(url, config)
    context = "IN TRANSACTION " if in_transaction else ""
    found = read_explanation(sql, ask(place, f"EXPLAIN ROUTE {context}%s", [sql]))
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)


def read_explanation(sql: str, rows: list[Row]) -> Explanation:
    """Return the rows of EXPLAIN ROUTE under the names of the JSON."""
    facts = {row["name"]: row["value"] for row in rows if row["kind"] == "statement"}
    route = {row["name"]: row["value"] for row in rows if row["kind"] == "route"}
    because = next((row["detail"] for row in rows if row["name"] == "reason"), None)
    nodes = [
        {
            "name": row["name"],
            "eligible": row["value"] == "eligible",
            "refusal": None if row["value"] == "eligible" else row["value"],
            "refusal_detail": row["detail"],
        }
        for row in rows
        if row["kind"] == "node"
    ]
    return {
        "sql": sql,
        "statement": {**facts, "may_write": facts.get("may_write") == "true"},
        "route": {**route, "because": because},
        "nodes": nodes,
    }


def _print(found: Explanation) -> None:
    out = Console(highlight=False, soft_wrap=True)
    route = found["route"]
    node, target = route["node"], route["target"]
    where = f"goes to {node}" if node else "goes nowhere: no node may take it"
    kind = "" if node == target else f" ({target})"  # a node may be called primary
    out.print(f"{where}{kind}: {route['because']}  [{route['reason']}]", markup=False)
    facts = ", ".join(
        f"{name.replace('_', ' ')}: {value}".replace("True", "yes").replace("False", "no")
        for name, value in found["statement"].items()
    )
    out.print(facts, markup=False)
    if route["target"] == "primary" and route["node"] and route["reason"] != SPILLED:
        writes = found["statement"]["may_write"]
        out.print("replicas cannot take writes" if writes else "replicas are not asked")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("node", "may answer", ""):
        table.add_column(name)
    for node in found["nodes"]:
        table.add_row(
            node["name"],
            "yes" if node["eligible"] else node["refusal"],
            node["refusal_detail"] or "",
        )
    out.print(table)
