"""Headline: what the command line says first of who takes the writes, and what is left to do about it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rwsplit.lsn import LSN, parse_lsn

#: Reasons of *no writes* for which a replica may be promoted.
PROMOTE: Final = {"AWAITS_PRIMARY", "NO_PRIMARY"}
#: Refusals of replicas that receive nothing, or not from the primary.
ASTRAY: Final = {"NO_SOURCE", "OTHER_SOURCE", "OTHER_TIMELINE"}
PRESENT: Final = {"up", "suspect", "frozen"}


def headlines(found: Mapping[str, Any]) -> list[str]:
    """Return the lines about the writes of the status *found*; none where all is well."""
    lines = []
    if "no_writes" in found:
        waiting = found["clients"]["waiting"]
        waits = f" ({waiting} clients wait)" if waiting else ""
        lines.append(f"no writes: {found['no_writes_detail']}{waits}")
        if found["no_writes"] in PROMOTE and (advice := _promotion(found)):
            lines.append(advice)
    return [*lines, *_second_primaries(found)]


def is_second_primary(node: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Tell whether *node* says it is the primary while another one is."""
    leads = found["primary"]
    is_primary = node["role"] == "primary" and node["health"] in PRESENT
    return is_primary and leads is not None and node["name"] != leads


def left_to_do(found: Mapping[str, Any], promoted: str) -> list[str]:
    """Return what the status *found* leaves to do by hand now that the node called *promoted* is the primary."""
    lines = []
    for node in found["nodes"]:
        name, is_primary = node["name"], node["role"] == "primary"
        if name == promoted:
            continue
        if is_primary and node["health"] in PRESENT:
            lines.append(f"{name} is an old primary: stop it and rebuild it (pg_rewind)")
        elif is_primary:
            lines.append(f"{name} was the primary: rebuild it (pg_rewind) before it comes back")
        elif node["refusal"] in ASTRAY:
            lines.append(
                f"{name} does not follow {promoted} yet: if that stays so, set its primary_conninfo"
            )
    return lines


def _second_primaries(found: Mapping[str, Any]) -> list[str]:
    others = [node for node in found["nodes"] if is_second_primary(node, found)]
    if not others:
        return []
    leader = next(node for node in found["nodes"] if node["name"] == found["primary"])
    told = "; ".join(f"{node['name']} is {node['refusal_detail']}" for node in others)
    names = " and ".join(node["name"] for node in others)
    return [
        f"several primaries: writes go to {leader['name']} (timeline {leader['timeline']}); {told}: "
        f"stop {names} and rebuild"
    ]


def _promotion(found: Mapping[str, Any]) -> str | None:
    """Return which replica has received most, how far the others are behind it, and how it is promoted."""
    candidates = [
        node
        for node in found["nodes"]
        if node["role"] == "replica"
        and node["health"] in PRESENT
        and node["admin_state"] == "attached"
        and node["refusal"] != "OTHER_CLUSTER"
        and _end(node) is not None
    ]
    if not candidates:
        return None
    newest = max(node["timeline"] or 0 for node in candidates)
    ends = {
        node["name"]: _end(node) or LSN(0)
        for node in candidates
        if (node["timeline"] or 0) == newest  # positions on others say nothing
    }
    best = max(ends, key=lambda name: ends[name])
    behind = ", ".join(
        f"{name} is {ends[best] - end} bytes behind it"
        for name, end in ends.items()
        if end < ends[best]
    )
    others = f" ({behind})" if behind else ""
    return f"most advanced replica: {best}{others}  ->  rwsplit node promote {best}"


def _end(node: Mapping[str, Any]) -> LSN | None:
    """Return up to where *node* has WAL."""
    known = [parse_lsn(node[name]) for name in ("lsn", "received_lsn") if node[name]]
    return max(known, default=None)
