"""Headline: what the command line says first of which node takes the writes, and what is left to do about it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rwsplit.cli.units import shown_bytes, shown_seconds
from rwsplit.lsn import LSN, parse_lsn

#: Reasons of *no writes* for which a replica may be promoted.
PROMOTE: Final = {"AWAITS_PRIMARY", "NO_PRIMARY"}
#: Refusals of replicas that receive nothing, or not from the primary.
ASTRAY: Final = {"NO_SOURCE", "OTHER_SOURCE", "OTHER_TIMELINE"}
PRESENT: Final = {"up", "suspect", "frozen"}
COUNTS: Final = {2: "TWO", 3: "THREE", 4: "FOUR"}


def headlines(found: Mapping[str, Any]) -> list[str]:
    """Return the lines about the writes of the status *found*; none where all is well."""
    if found["primary"] is not None:
        return _second_primaries(found)
    seconds, writes = found.get("no_primary_seconds"), found.get("waiting_writes", 0)
    since = "" if seconds is None else f" for {shown_seconds(seconds)}"
    wait = f"{writes} writes wait" if writes != 1 else "1 write waits"
    why, way_out = _why(found), None
    if found.get("no_writes") in PROMOTE:
        way_out = _promotion(found)
    # Why it is so stands below what to do about it, or in its place.
    lines = [f"NO PRIMARY{since}: {wait}. {way_out or why or ''}".rstrip(". ")]
    return [*lines, why] if way_out and why else lines


def _why(found: Mapping[str, Any]) -> str | None:
    """Return why no node takes writes: rwsplit cannot tell which one may, or an operator has taken it away."""
    if "no_writes" in found:
        return str(found["no_writes_detail"])
    for node in found["nodes"]:
        if node["role"] == "primary" and node["admin_state"] != "attached":
            name, state = node["name"], node["admin_state"]
            return (
                f"Node {name}, the primary, is {state}  ->  rwsplit node promote NAME, or "
                f"rwsplit node attach {name}"
            )
    return None


def is_second_primary(node: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Tell whether *node* says it is the primary while another one is."""
    leads = found["primary"]
    is_primary = node["role"] == "primary" and node["health"] in PRESENT
    return is_primary and leads is not None and node["name"] != leads


def left_to_do(found: Mapping[str, Any], promoted: str) -> list[str]:
    """Return what the status *found* leaves to do by hand now that the node called *promoted* is the primary."""
    lines = []
    newest = max((node["timeline"] or 0 for node in found["nodes"]), default=0)
    for node in found["nodes"]:
        name, is_primary = node["name"], node["role"] == "primary"
        if name == promoted:
            continue
        if is_primary and node["health"] in PRESENT:
            lines.append(f"node {name} is an old primary: stop it and rebuild it (pg_rewind)")
        elif is_primary:
            lines.append(
                f"node {name} was the primary: rebuild it (pg_rewind) before it comes back"
            )
        elif node["refusal"] in ASTRAY or (node["timeline"] or newest) < newest:
            lines.append(
                f"node {name} does not follow {promoted} yet: if that stays so, set its primary_conninfo"
            )
    return lines


def _second_primaries(found: Mapping[str, Any]) -> list[str]:
    others = [node for node in found["nodes"] if is_second_primary(node, found)]
    if not others:
        return []
    leader = next(node for node in found["nodes"] if node["name"] == found["primary"])
    count = COUNTS.get(len(others) + 1, str(len(others) + 1))
    told = "; ".join(_told_of(node, leader) for node in others)
    them = "it" if len(others) == 1 else "them"
    return [
        f"{count} PRIMARIES: writes go to {leader['name']} (timeline {leader['timeline']}); {told}: "
        f"stop {them} and rebuild {them}"
    ]


def _told_of(node: Mapping[str, Any], leader: Mapping[str, Any]) -> str:
    """Return what is wrong with *node*, which says it is the primary beside the *leader*."""
    timeline, newest = node["timeline"], leader["timeline"]
    if timeline is not None and newest is not None and timeline < newest:
        return f"{node['name']} (timeline {timeline}) is an old one"
    return f"{node['name']} is refused ({node['refusal_detail']})"


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
        f"{name} is {shown_bytes(ends[best] - end)} behind it"
        for name, end in ends.items()
        if end < ends[best]
    )
    others = f" ({behind})" if behind else ""
    return f"Most advanced replica: {best}{others}  ->  rwsplit node promote {best}"


def _end(node: Mapping[str, Any]) -> LSN | None:
    """Return up to where *node* has WAL."""
    known = [parse_lsn(node[name]) for name in ("lsn", "received_lsn") if node[name]]
    return max(known, default=None)
