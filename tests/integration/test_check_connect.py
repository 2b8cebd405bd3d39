"""`rwsplit check --connect` against real nodes: whatever is wrong is named in one line."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.ports import free_ports
from rwsplit.embedded.processes import wait_until
from tests.support.postgres import MakeCluster

pytestmark = pytest.mark.integration

Check = Any


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Check a configuration of *nodes* with *monitor*; return the exit status and (verdict, text) by subject."""

    def run(
        cluster: EmbeddedCluster, *, nodes: dict[str, str] | None = None, **monitor: Any
    ) -> tuple[int, dict[str, tuple[str, str]]]:
        cluster.write_userlist(tmp_path / "userlist.txt")
        places = {n.name: f"{n.host}:{n.port}" for n in cluster.nodes.values()}
        login = {"user": "rwsplit", "password": cluster.passwords["rwsplit"]}
        path = tmp_path / "rwsplit.yaml"
        settings = {
            "nodes": places | (nodes or {}),
            "monitor": login | monitor,
            "users": {"file": "userlist.txt"},
        }
        with path.open("w") as file:
            YAML().dump(settings, file)
        done = subprocess.run(
            [sys.executable, "-m", "rwsplit", "check", "-c", path, "--connect"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        lines = [line.split(None, 2) for line in done.stdout.splitlines()]
        return done.returncode, {subject: (verdict, text) for subject, verdict, text in lines}

    return run


def test_a_healthy_cluster_passes(check, cluster):
    status, lines = check(cluster)
    assert status == 0
    assert {verdict for verdict, _ in lines.values()} <= {"ok", "warn"}
    assert list(lines) == [
        *("file", "state", "primary", "replica1", "replica2", "replica3", "promote")
    ]
    assert lines["primary"][1].startswith("primary, timeline ")
    assert lines["replica1"][0] == "ok"


def test_a_monitor_that_is_a_superuser_is_warned_of(check, cluster):
    status, lines = check(cluster, user="postgres", password=cluster.passwords["postgres"])
    assert status == 0
    verdict, text = lines["monitor"]
    assert verdict == "warn"
    assert text.startswith("postgres is a superuser, which the monitor's role must never be")


def test_addresses_that_lead_nowhere_are_told_apart(check, cluster):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        nowhere, mute = free_ports(1)[0], silent.getsockname()[1]
        status, lines = check(
            cluster,
            nodes={
                "wrong_port": f"127.0.0.1:{nowhere}",
                "wrong_name": "no-such-host.invalid:5432",
                "mute": f"127.0.0.1:{mute}",
            },
            timeout="1s",
        )
    assert status == 1
    assert lines["wrong_port"][0] == "FAIL"
    assert f"127.0.0.1:{nowhere}: connection refused: nothing listens" in lines["wrong_port"][1]
    assert "the host name cannot be resolved" in lines["wrong_name"][1]
    assert "no answer" in lines["mute"][1]
    assert lines["replica1"][0] == "ok"


@pytest.mark.parametrize(
    ("monitor", "sentences"),
    [
        (
            {"password": "wrong"},
            ('password authentication failed for user "rwsplit"', "is wrong, or there is no"),
        ),
        (
            {"user": "nobody_here"},
            ('password authentication failed for user "nobody_here"', "there is no such role"),
        ),
        ({"password": ""}, ("asks for a password", "set monitor.password_file")),
        ({"database": "no_such"}, ('database "no_such" does not exist', "monitor.database")),
    ],
)
def test_a_login_that_fails_says_why_at_each_node(check, cluster, monitor, sentences):
    status, lines = check(cluster, **monitor)
    assert status == 1
    for name in cluster.nodes:
        verdict, text = lines[name]
        assert verdict == "FAIL"
        assert all(sentence in text for sentence in sentences), text
    assert "no node that answered is a primary" in lines["cluster"][1]


def test_a_role_without_privileges_is_told_what_to_grant(check, cluster):
    if "plain_monitor" not in cluster.passwords:
        cluster.add_user("plain_monitor", "secret")
        cluster.wait_until_replayed()
    status, lines = check(cluster, user="plain_monitor", password="secret")
    assert status == 0
    assert lines["replica1"][0] == "warn"
    assert "GRANT pg_monitor" in lines["replica1"][1]
    assert lines["promote"][0] == "warn"
    assert "GRANT EXECUTE ON FUNCTION pg_promote TO plain_monitor" in lines["promote"][1]


def test_a_replica_that_does_not_stream_is_named(check, fragile_cluster):
    replica = fragile_cluster.nodes["replica2"]
    replica.query("alter system set primary_conninfo = 'host=127.0.0.1 port=1'")
    replica.query("select pg_reload_conf()")
    try:
        gone = "select 1 from pg_stat_wal_receiver where status = 'streaming'"
        assert wait_until(lambda: replica.query(gone) == [], timeout=20)
        status, lines = check(fragile_cluster)
    finally:
        replica.query("alter system reset primary_conninfo")
        replica.query("select pg_reload_conf()")
    assert status == 1
    assert lines["replica2"][0] == "FAIL"
    assert "not streaming" in lines["replica2"][1]
    assert lines["replica1"][0] == "ok"


def test_a_replica_that_does_not_replay_is_a_warning_that_says_how_to_resume(
    check, fragile_cluster
):
    _, paused, delayed, slower = fragile_cluster.nodes.values()
    paused.query("select pg_wal_replay_pause()")
    delayed.configure({"recovery_min_apply_delay": "10min"})
    slower.configure({"recovery_min_apply_delay": "2s"})
    try:
        status, lines = check(fragile_cluster)
    finally:
        paused.query("select pg_wal_replay_resume()")
        for node in (delayed, slower):
            node.configure({"recovery_min_apply_delay": "0"})
    assert status == 0
    assert lines["replica1"][0] == lines["replica2"][0] == "warn"
    assert "its replay is paused" in lines["replica1"][1]
    assert "SELECT pg_wal_replay_resume()" in lines["replica1"][1]
    assert (
        "recovery_min_apply_delay is 10min there, consistency.max_lag 10 s"
        in lines["replica2"][1]
    )
    assert lines["replica3"][0] == "ok"


def test_nodes_of_another_cluster_and_second_primaries_are_named(
    check, cluster, make_cluster: MakeCluster
):
    stranger = make_cluster(replicas=0).primary
    stranger.passwords["rwsplit"] = cluster.passwords["rwsplit"]
    password = cluster.passwords["rwsplit"]
    stranger.query(f"alter role rwsplit password '{password}'")  # type: ignore[arg-type]
    status, lines = check(cluster, nodes={"stray": f"{stranger.host}:{stranger.port}"})
    assert status == 1
    assert lines["stray"][0] == "FAIL"
    assert "it is a node of another cluster" in lines["stray"][1]


def test_a_state_file_that_cannot_be_written_is_named(check, cluster, tmp_path):
    (tmp_path / "rwsplit.state").mkdir()
    status, lines = check(cluster)
    assert status == 1
    assert lines["state"][0] == "FAIL"
    assert "rwsplit.state" in lines["state"][1]
