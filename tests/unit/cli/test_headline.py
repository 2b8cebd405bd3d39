"""What is said first of who takes the writes; what `status` makes of it is in test_status.py."""

from __future__ import annotations

from typing import Any

from rwsplit.cli.headline import headlines, left_to_do


def node(name: str, role: str = "replica", **more: Any) -> dict[str, Any]:
    known = {"health": "up", "admin_state": "attached", "refusal": None, "refusal_detail": None}
    place = {"lsn": "0/1000", "received_lsn": "0/1000", "timeline": 1}
    return {"name": name, "role": role, **known, **place, **more}


def status(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"nodes": nodes, "primary": None, "clients": {"waiting": 0}, **more}


NO_PRIMARY = {
    "no_writes": "AWAITS_PRIMARY",
    "no_writes_detail": "node pg0 is not up",
    "no_primary_seconds": 12.0,
    "waiting_writes": 1,
}


def test_where_all_is_well_nothing_is_said():
    assert headlines(status(node("pg0", "primary"), node("pg1"), primary="pg0")) == []


def test_the_most_advanced_replica_is_one_of_the_newest_timeline_that_may_be_promoted():
    found = status(
        node("pg0", "primary", health="down"),
        node("pg1", received_lsn="0/1400"),
        node("pg2", timeline=2),
        node("pg3", timeline=2, received_lsn="0/1100"),
        node("pg4", timeline=2, received_lsn="0/9000", admin_state="detached"),
        node("pg5", timeline=2, received_lsn="0/9000", health="down"),
        **NO_PRIMARY,
    )
    assert headlines(found) == [
        "NO PRIMARY for 12 s: 1 write waits. Most advanced replica: pg3 (pg2 is 256 B behind it)  ->  "
        "rwsplit node promote pg3",
        "node pg0 is not up",
    ]


def test_a_second_primary_of_another_kind_is_told_with_its_reason():
    reason = "nothing shows that it descends from the primary known before"
    found = status(
        node("pg0", "primary"),
        node("pg1", "primary", timeline=2, refusal_detail=reason),
        node("pg2", "primary", timeline=None, refusal_detail="x"),
        primary="pg0",
    )
    assert headlines(found) == [
        f"THREE PRIMARIES: writes go to pg0 (timeline 1); pg1 is refused ({reason}); "
        "pg2 is refused (x): stop them and rebuild them"
    ]


def test_where_no_replica_is_up_or_promoting_is_not_the_way_out_none_is_named():
    assert headlines(status(node("pg1", health="down"), **NO_PRIMARY)) == [
        "NO PRIMARY for 12 s: 1 write waits. node pg0 is not up"
    ]
    split = {"no_writes": "SPLIT_BRAIN", "no_writes_detail": "several"}
    assert headlines(status(node("pg1"), **split)) == ["NO PRIMARY: 0 writes wait. several"]


def test_what_a_promotion_leaves_to_do_is_said_by_name():
    found = status(
        node("pg0", "primary", health="down"),
        node("pg1", "primary", timeline=2),
        node("pg2", refusal="OTHER_TIMELINE"),
        node("pg3", timeline=2),
        node("pg4", refusal="DETACHED", admin_state="detached"),
        primary="pg1",
    )
    assert left_to_do(found, "pg1") == [
        "node pg0 was the primary: rebuild it (pg_rewind) before it comes back",
        "node pg2 does not follow pg1 yet: if that stays so, set its primary_conninfo",
        "node pg4 does not follow pg1 yet: if that stays so, set its primary_conninfo",
    ]
