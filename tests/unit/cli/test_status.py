"""`rwsplit status`."""

from __future__ import annotations

import json

import attrs
import pytest

from rwsplit.cli import status
from rwsplit.cli.proxy import Unreachable, place_from_url
from rwsplit.cli.status import Look, rates, read_status
from rwsplit.cluster.doubt import Doubt, NoWrites
from rwsplit.cluster.node import AdminState, Refusal, Role
from rwsplit.lsn import LSN
from tests.support.operator import NODES, NOW, Refusing


def test_the_table_says_who_is_what_and_why_one_gets_no_reads(run, url):
    result = run("status")
    assert result.exit_code == 0
    title, header, *lines = result.stdout.splitlines()
    assert title.startswith("rwsplit 0.1.0 at 127.0.0.1:")
    assert header.split() == [
        "node",
        "role",
        "health",
        "admin",
        "lag",
        "stale",
        "LSN",
        "busy",
        "reads",
    ]
    assert [line.split()[:4] for line in lines[:4]] == [
        ["primary", "primary", "up", "attached"],
        ["replica1", "replica", "up", "attached"],
        ["replica2", "replica", "up", "attached"],
        ["replica3", "unknown", "down", "attached"],
    ]
    assert lines[2].split()[4:] == ["16.0", "MB", "12.30", "s", "0/2000000", "0", "0"]
    assert [line.rstrip() for line in lines[4:]] == [
        "replica2 gets no reads: LAGGING 12.3 s > 10 s",
        "replica3 gets no reads: DOWN connection refused",
        "1 clients (1 waiting), 4 servers (1 active)",
    ]


def test_a_terminal_of_80_columns_cuts_nothing(run, url, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "\N{HORIZONTAL ELLIPSIS}" not in run("status").stdout


def test_json_is_what_the_documentation_says(run, url):
    result = run("status", "--json")
    found = json.loads(result.stdout)
    assert sorted(found) == [
        "clients",
        "nodes",
        "primary",
        "refused_pools",
        "servers",
        "version",
    ]
    assert found["refused_pools"] == []
    assert found["primary"] == "primary"
    assert found["clients"] == {"connected": 1, "waiting": 1}
    assert found["servers"] == {"active": 1, "idle": 3}
    assert found["nodes"][2] == {
        "name": "replica2",
        "host": "127.0.0.1",
        "port": 5003,
        "role": "replica",
        "health": "up",
        "health_detail": None,
        "admin_state": "attached",
        "eligible": False,
        "refusal": "LAGGING",
        "refusal_detail": "12.3 s > 10 s",
        "lag_bytes": 0x1000060,
        "lag_seconds": 12.3,
        "staleness_seconds": 12.3,
        "lsn": "0/2000000",
        "received_lsn": None,
        "timeline": 1,
        "in_flight": 0,
        "servers": 0,
        "reads": 0,
        "writes": 0,
        "weight": 1,
        "backup": False,
        "server_version": None,
    }


def test_pools_whose_logins_a_node_refuses_are_named(run, url, operator, monkeypatch):
    monkeypatch.setattr(operator, "pools", Refusing().pools)
    line = 'replica1 refuses alice in app: database "app" does not exist (3D000), for 1.2 s'
    assert line in run("status").stdout.splitlines()
    assert json.loads(run("status", "--json").stdout)["refused_pools"] == [
        {
            "node": "replica1",
            "database": "app",
            "user": "alice",
            "refused": 'database "app" does not exist (3D000)',
            "refused_for_seconds": 1.235,
            "retry_in_seconds": 0.1,
        }
    ]

    monkeypatch.setattr(operator, "pools", lambda: list(Refusing().pools()) * 8)
    shown = run("status").stdout.splitlines()
    assert shown.count(line) == status.SHOWN
    assert "... and 3 more: SHOW POOLS" in shown


def test_a_detached_primary_says_so(run, url, operator):
    operator.replace(
        attrs.evolve(NODES[0], admin=AdminState.DETACHED, refusal=Refusal.DETACHED)
    )
    operator.view = attrs.evolve(operator.view, primary=None, no_primary_since=NOW - 3)
    shown = " ".join(run("status").stdout.split())
    assert "DETACHED detached by an operator" in shown
    assert (
        "!! NO PRIMARY for 3 s: 4 writes wait. Node primary, the primary, is detached -> "
        "rwsplit node promote NAME, or rwsplit node attach primary node role"
    ) in shown


def test_why_there_are_no_writes_is_said(run, url, operator):
    old = attrs.evolve(NODES[0], refusal=Refusal.OTHER_TIMELINE, doubt=Doubt.OBSOLETE)
    operator.replace(old)
    operator.view = attrs.evolve(
        operator.view,
        primary=None,
        no_writes=NoWrites(Doubt.AWAITS_PRIMARY, "pg9", 2, ("primary",)),
        no_primary_since=NOW - 12.3,
        unsaved="the disk is full",
    )

    shown = " ".join(run("status").stdout.split())
    assert (
        "!! NO PRIMARY for 12 s: 4 writes wait. Most advanced replica: replica1 (replica2 is 16.0 MB behind it) -> "
        "rwsplit node promote replica1 !! node pg9, the primary of timeline 2, is not up; rwsplit waits for it; "
        "node primary says it is the primary; if another node is to be the primary: rwsplit node accept NAME node role"
    ) in shown
    assert "primary gets no reads: OTHER_TIMELINE an old primary" in shown
    assert "warning: the disk is full" in shown
    found = json.loads(run("status", "--json").stdout)
    assert found["primary"] is None
    assert found["no_writes"] == "AWAITS_PRIMARY"
    assert found["warning"] == "the disk is full"
    assert (found["no_primary_seconds"], found["waiting_writes"]) == (12.3, 4)


def test_a_second_primary_is_said_before_the_table_and_what_to_do_with_it(run, url, operator):
    second = attrs.evolve(
        NODES[1], role=Role.PRIMARY, refusal=Refusal.OTHER_TIMELINE, doubt=Doubt.OBSOLETE
    )
    operator.replace(second)
    leader = attrs.evolve(NODES[0], timeline=2)
    operator.replace(leader)
    operator.view = attrs.evolve(operator.view, primary=leader)

    shown = " ".join(run("status").stdout.split())
    assert (
        "!! TWO PRIMARIES: writes go to primary (timeline 2); replica1 (timeline 1) is an old one: stop it and "
        "rebuild it node role"
    ) in shown
    assert "replica1 gets no reads" not in shown


def test_what_a_replica_has_received_and_not_replayed_counts_for_a_promotion(
    run, url, operator
):
    operator.replace(attrs.evolve(NODES[2], received=LSN(0x3000100)))
    operator.view = attrs.evolve(
        operator.view, primary=None, no_writes=NoWrites(Doubt.NO_PRIMARY)
    )
    shown = " ".join(run("status").stdout.split())
    assert "replica2 (replica1 is 160 B behind it) -> rwsplit node promote replica2" in shown


class Twice:
    """A pause that lets one more look happen, and then is interrupted."""

    def __init__(self) -> None:
        self.pauses = 0

    def wait(self, _: float) -> None:
        self.pauses += 1
        if self.pauses == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("option", ["--json", "--url"])
def test_watch_looks_again_until_it_is_interrupted(run, url, monkeypatch, option):
    monkeypatch.setattr(status.threading, "Event", Twice)
    result = run("status", "--watch", *(["--json"] if option == "--json" else ["--url", url]))
    assert result.exit_code == 0
    if option == "--json":
        assert [json.loads(line)["primary"] for line in result.stdout.splitlines()] == [
            "primary",
            "primary",
        ]
    else:
        assert "reads/s" in result.stdout


def test_two_looks_give_reads_per_second():
    before = {"nodes": [{"name": "a", "reads": 10}, {"name": "b", "reads": 10}]}
    after = {"nodes": [{"name": "a", "reads": 30}, {"name": "b", "reads": 0}]}
    assert rates(before, after, 2.0) == {"a": 10.0, "b": 0}
    assert rates(None, after, 2.0) == {}


def test_a_look_at_nothing_is_nothing(url):
    assert Look(place_from_url(url)).render() is not None
    nothing = Look(place_from_url("postgresql://admin@127.0.0.1:1")).render()
    assert "cannot connect to rwsplit at 127.0.0.1:1" in str(nothing)


class Restart(Twice):
    """A pause in which rwsplit goes away and, a pause later, is there again."""

    real = staticmethod(read_status)
    away = False

    def wait(self, pause: float) -> None:
        Restart.away = self.pauses == 0
        if self.pauses < 2:
            self.pauses += 1
            return
        raise KeyboardInterrupt

    @classmethod
    def read(cls, connection):
        if cls.away:
            raise Unreachable("lost rwsplit at 127.0.0.1:6432: terminated")
        return cls.real(connection)


@pytest.mark.parametrize("option", ["--json", "--watch"])
def test_watch_outlives_a_restart_of_rwsplit(run, url, monkeypatch, option):
    """It ended with the error of the connection it had."""
    monkeypatch.setattr(Restart, "away", False)
    monkeypatch.setattr(status.threading, "Event", Restart)
    monkeypatch.setattr(status, "read_status", Restart.read)
    result = run("status", "--watch", option)
    assert result.exit_code == 0
    if option == "--json":
        assert "lost rwsplit at 127.0.0.1:6432: terminated; trying again" in result.stderr
        assert len(result.stdout.splitlines()) == 2
    else:  # where there is no terminal only the last table is printed
        assert "reads/s" in result.stdout
