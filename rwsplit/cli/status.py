"""`rwsplit status`: every node in one table, why it may not read, and who is connected."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rwsplit.cli.headline import headlines, is_second_primary
from rwsplit.cli.options import ConfigFile, Json, Url
from rwsplit.cli.proxy import Connection, Place, ProxyError, Row, connected, find_proxy, rows
from rwsplit.cli.units import shown_bytes

INTERVAL = 1.0
#: Pools whose logins are refused that are listed.
SHOWN = 5
COLOURS = {
    "up": "green",
    "suspect": "yellow",
    "frozen": "red",
    "banned": "yellow",
    "down": "red",
}
#: Items of SHOW CLUSTER that are there only while there is something to say, and what reads them.
SAID_IF_SO: Mapping[str, Callable[[str], str | float | int]] = {
    "no_writes": str,
    "no_writes_detail": str,
    "no_primary_seconds": float,
    "waiting_writes": int,
    "warning": str,
}

Status = dict[str, Any]
"""What `--json` prints; docs/operations.md."""


def status(
    url: Url = None,
    config: ConfigFile = None,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second.")] = False,
) -> None:
    """Show the nodes: role, health, lag, traffic, and why one gets no reads."""
    place = find_proxy(url, config)
    with connected(place) as connection:
        found = None if watch else read_status(connection)
    if found is None:
        _watch(place, as_json=as_json)
    elif as_json:
        print(json.dumps(found, indent=2))
    else:
        Console().print(render_status(found, place))


def read_status(connection: Connection) -> Status:
    """Return the status of the rwsplit behind *connection*."""
    (version,) = rows(connection, "SHOW VERSION")
    nodes = [_node(row) for row in rows(connection, "SHOW NODES")]
    refused = [_refused(row) for row in rows(connection, "SHOW POOLS") if row["refused"]]
    lists = {row["list"]: row["items"] for row in rows(connection, "SHOW LISTS")}
    items = {row["item"]: row["value"] for row in rows(connection, "SHOW CLUSTER")}
    return {
        "version": version["version"],
        "primary": items["primary"],
        **{
            item: read(items[item])
            for item, read in SAID_IF_SO.items()
            if _is_said(items, item)
        },
        "nodes": nodes,
        "refused_pools": refused,
        "clients": {
            "connected": lists["used_clients"],
            "waiting": lists["waiting_clients"],
        },
        "servers": {
            "active": lists["used_servers"],
            "idle": lists["free_servers"],
        },
    }


def _is_said(items: Mapping[str, str | None], item: str) -> bool:
    """Tell whether there is something to say of *item*: writes wait for a primary only while there is none."""
    if item == "waiting_writes" and items["primary"] is not None:
        return False
    return items[item] is not None


def render_status(
    found: Status, place: Place, rates: Mapping[str, float] | None = None
) -> RenderableType:
    """Return *found* for a terminal of 80 columns; with *rates* reads per second instead of reads.

    Why a node gets no reads stands below the table: the numbers are what matters most, and a column
    would be cut first.
    """
    clients, servers = found["clients"], found["servers"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("node", "role", "health", "admin"):
        table.add_column(name, no_wrap=True)
    for name in ("lag", "stale", "LSN", "busy", "reads" if rates is None else "reads/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for node in found["nodes"]:
        table.add_row(*_cells(node, rates))
    reasons = [
        Text(f"{node['name']} gets no reads: {why}", style="yellow")
        for node in found["nodes"]
        if (why := why_not(node)) and not is_second_primary(node, found)
    ]
    if "warning" in found:
        reasons.append(Text(f"warning: {found['warning']}", style="yellow"))
    return Group(
        Text(f"{found['version']} at {place.shown}"),
        *(Text(f"!! {line}", style="bold red") for line in headlines(found)),
        table,
        *reasons,
        *(Text(text, style="yellow") for text in _refusals(found["refused_pools"])),
        Text(
            f"{clients['connected']} clients ({clients['waiting']} waiting), "
            f"{servers['active'] + servers['idle']} servers ({servers['active']} active)"
        ),
    )


def why_not(node: Mapping[str, Any]) -> str:
    """Return why *node* gets no reads, `LAGGING 12.3 s > 10 s`; nothing for the primary as such."""
    if node["eligible"] or (node["role"] == "primary" and node["refusal"] == "NOT_A_REPLICA"):
        return ""
    return f"{node['refusal']} {node['refusal_detail'] or ''}".rstrip()


def _refusals(pools: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each of the first pools whose node refuses their logins."""
    lines = [
        f"{pool['node']} refuses {pool['user']} in {pool['database']}: {pool['refused']}, "
        f"for {pool['refused_for_seconds']:.1f} s"
        for pool in pools[:SHOWN]
    ]
    if len(pools) > SHOWN:
        lines.append(f"... and {len(pools) - SHOWN} more: SHOW POOLS")
    return lines


def _refused(row: Row) -> dict[str, Any]:
    """Return what a row of SHOW POOLS says of a node that refuses logins, under the names of the JSON."""
    return {
        "node": row["node"],
        "database": row["database"],
        "user": row["user"],
        "refused": row["refused"],
        "refused_for_seconds": row["refused_for"],
        "retry_in_seconds": row["retry_in"],
    }


def _cells(node: Mapping[str, Any], rates: Mapping[str, float] | None) -> list[str | Text]:
    lag = node["lag_bytes"]
    staleness = node["staleness_seconds"]
    replica = node["role"] == "replica"
    reads = str(node["reads"]) if rates is None else f"{rates.get(node['name'], 0.0):.0f}"
    return [
        node["name"],
        node["role"],
        Text(node["health"], style=COLOURS.get(node["health"], "")),
        node["admin_state"],
        shown_bytes(lag) if replica and lag is not None else "-",
        f"{staleness:.2f} s" if replica and staleness is not None else "-",
        node["lsn"] or "-",
        str(node["in_flight"]),
        reads,
    ]


def _node(row: Row) -> dict[str, Any]:
    """Return a row of SHOW NODES under the names of the JSON."""
    node = dict(row)
    node["name"] = node.pop("node")
    node["staleness_seconds"] = node.pop("staleness")
    return {"name": node.pop("name"), **node}


class Look:
    """Looks at one rwsplit again and again, also after a restart of it; two looks give reads per second."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._before: Status | None = None
        self._since = 0.0

    def read(self) -> Status:
        """Return the status now. Raises ProxyError: rwsplit cannot be asked."""
        with connected(self._place) as connection:
            return read_status(connection)

    def render(self) -> RenderableType:
        """Return the table now, or why rwsplit cannot be asked."""
        try:
            return self.table(self.read())
        except ProxyError as exc:
            self._before = None
            return Text(f"{exc}; trying again", style="bold red")

    def table(self, found: Status) -> RenderableType:
        """Return *found* with the reads per second since the look before."""
        now = time.monotonic()
        per_second = rates(self._before, found, now - self._since)
        self._before, self._since = found, now
        return render_status(found, self._place, per_second)


def rates(before: Status | None, after: Status, seconds: float) -> dict[str, float]:
    """Return the reads per second of each node between two looks."""
    if before is None or seconds <= 0:
        return {}
    old = {node["name"]: node["reads"] for node in before["nodes"]}
    return {
        node["name"]: max(0, node["reads"] - old.get(node["name"], 0)) / seconds
        for node in after["nodes"]
    }


def _watch(place: Place, *, as_json: bool) -> None:
    """Look every second until Ctrl-C, also while rwsplit is restarted."""
    pause = threading.Event()
    look = Look(place)
    with suppress(KeyboardInterrupt):
        if as_json:
            while True:
                _print_json(look)
                pause.wait(INTERVAL)
        with Live(auto_refresh=False) as live:
            while True:
                live.update(look.render(), refresh=True)
                pause.wait(INTERVAL)


def _print_json(look: Look) -> None:
    """Print the status as one line; that rwsplit cannot be asked is no line of it."""
    try:
        print(json.dumps(look.read()), flush=True)
    except ProxyError as exc:
        print(f"rwsplit: {exc}; trying again", file=sys.stderr, flush=True)
