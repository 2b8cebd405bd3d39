"""Reload: everything but `listen` changes without a restart, and a broken file changes nothing."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import Load, where
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration


def hup(proxy: Proxy) -> str:
    """Send SIGHUP; return what rwsplit logged about it."""
    before = len(proxy.log())
    proxy.signal(signal.SIGHUP)
    assert wait_until(lambda: "reload" in proxy.log()[before:], timeout=5), proxy.log_tail()
    return proxy.log()[before:]


def without(section: str, text: str) -> list[str]:
    """Return the lines of the YAML *text* but for those of *section*: a long path has a line of its own."""
    lines, is_in_section = [], False
    for line in text.splitlines():
        if not line.startswith((" ", "}")):
            is_in_section = line.startswith(f"{section}:")
        if not is_in_section:
            lines.append(line)
    return lines


def setting(proxy: Proxy, name: str) -> str:
    return str({row["key"]: row["value"] for row in proxy.console("SHOW CONFIG")}[name])


def test_a_hangup_takes_changes_over_under_load(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with Load(proxy, where, clients=6) as load:
        for number in range(1, 5):
            proxy.write_config(
                {
                    "consistency": {"max_lag": f"{number}s"},
                    "pool": {"size": number},
                    "routing": {"balance": ("round-robin", "random")[number % 2]},
                    "monitor": {"interval": f"{50 * number}ms"},
                }
            )
            assert "reloaded" in hup(proxy)
            load.go_on(100)
        assert setting(proxy, "pool.size") == "4"
        assert wait_until(
            lambda: all(row["servers"] <= 4 for row in proxy.nodes().values()), timeout=5
        )
    assert not load.errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes: [", "line"),
        ("no_such_section: 1", "no_such_section"),
        ("pool: {size: 0}", "pool.size"),
        ("pool: {siez: 4}", "size"),
        ("users: {file: /nowhere/at/all}", "/nowhere/at/all"),
        ("tls: {client_tls_sslmode: require}", "client_tls"),
        ("tls: {client_tls_sslmode: require, client_tls_cert_file: /nowhere, client_tls_key_file: /nowhere}", "/nowhere"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_whole_and_everything_goes_on(
    cluster: EmbeddedCluster, proxy: Proxy, text: str, said: str
):
    good = proxy.config_path.read_text()
    lines = without(text.partition(":")[0], good)
    proxy.config_path.write_text(
        "consistency: {max_lag: 77s}\n" + text + "\n" + "\n".join(lines) + "\n"
    )
    try:
        with proxy.connect() as client:
            logged = hup(proxy)
            assert "reload_refused" in logged
            assert said in logged
            assert "Traceback" not in logged
            with pytest.raises(psycopg.Error, match=said):
                proxy.console("RELOAD")
            assert client.execute("select 1").fetchone() == (1,)
        assert setting(proxy, "consistency.max_lag") != "77s"
        with proxy.connect() as newcomer:
            assert newcomer.execute("select 1").fetchone() == (1,)
    finally:
        proxy.config_path.write_text(good)
    assert "reloaded" in hup(proxy)


def test_listen_is_the_one_thing_that_cannot_change(cluster: EmbeddedCluster, proxy: Proxy):
    good = proxy.config_path.read_text()
    proxy.config_path.write_text(good.replace(str(proxy.port), "1", 1))
    try:
        assert "listen" in hup(proxy)
        with proxy.connect() as client:
            assert client.execute("select 1").fetchone() == (1,)
    finally:
        proxy.config_path.write_text(good)


def test_nodes_come_go_and_change_places(cluster: EmbeddedCluster, make_proxy: MakeProxy):
    proxy = make_proxy(cluster)
    all_nodes = dict(proxy.settings["nodes"])
    with Load(proxy, where, clients=6) as load:
        proxy.settings["nodes"] = {
            name: all_nodes[name] for name in ("replica3", "primary", "replica1")
        }
        proxy.reload()
        assert set(proxy.nodes()) == {"replica3", "primary", "replica1"}
        assert wait_until(lambda: set(load.answered(60)) == {"replica1", "replica3"}, timeout=5)

        proxy.settings["nodes"] = dict(reversed(all_nodes.items()))
        proxy.reload()
        assert wait_until(
            lambda: set(load.answered(60)) == {"replica1", "replica2", "replica3"}, timeout=10
        )
        assert all(row["in_flight"] < 7 for row in proxy.nodes().values())
    assert not load.errors
    assert wait_until(
        lambda: all(row["in_flight"] == 0 for row in proxy.nodes().values()), timeout=5
    )


def test_a_name_that_moves_to_another_address_is_another_node(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    nodes = proxy.settings["nodes"]
    with proxy.connect() as client, Load(proxy, where, clients=4) as load:
        assert set(load.answered(60)) == {"replica1", "replica2", "replica3"}
        proxy.settings["nodes"] = {
            "primary": nodes["primary"],
            "replica1": nodes["replica2"],
        }
        proxy.reload()
        assert wait_until(lambda: set(load.answered(40)) == {"replica2"}, timeout=5)
        assert where(client) == "replica2"
    assert not load.errors


def test_every_other_setting_is_in_force_after_a_reload(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, tmp_path: Path
):
    proxy = make_proxy(cluster)
    with proxy.connect() as client:
        assert str(where(client)).startswith("replica")

        proxy.reload({"routing": {"rules": [{"user": "app", "to": "primary"}]}})
        assert where(client) == "primary"
        proxy.reload({"routing": {"rules": [], "reads_on_primary": "share"}})
        # By turns: a session moves when the primary owes the more reads.
        assert wait_until(lambda: "primary" in {where(client) for _ in range(80)}, timeout=20)
        proxy.reload({"routing": {"reads_on_primary": "fallback"}})

        proxy.reload({"limits": {"max_client_conn": 1}})
        with pytest.raises(psycopg.OperationalError, match="max_client_conn"):
            proxy.connect()
        proxy.reload({"limits": {"max_client_conn": 100}})

        proxy.reload({"pool": {"query_wait_timeout": "300ms", "size": 1}})
        with proxy.connect() as holder:
            holder.execute("begin")
            holder.execute("lock table pg_am in access share mode")
            with pytest.raises(psycopg.Error, match="query_wait_timeout"):
                client.execute("create temp table t (n int)")
        proxy.reload({"pool": {"size": 10, "server_lifetime": "100ms"}})

        proxy.reload({"log": {"level": "error"}})
        quiet = len(proxy.log())
        proxy.reload({"log": {"level": "info", "format": "json"}})
        proxy.console("DETACH NODE replica1")
        proxy.console("ATTACH NODE replica1")
        assert wait_until(lambda: '"event": "node_admin_changed"' in proxy.log(), timeout=5)
        assert "[info" not in proxy.log()[quiet:]

        remembered = tmp_path / "elsewhere.state"
        proxy.reload({"admin": {"state_file": str(remembered)}})
        proxy.console("DETACH NODE replica1")
        assert "replica1" in remembered.read_text()
        proxy.console("ATTACH NODE replica1")

        proxy.reload({"auth": {"type": "password"}})
        with proxy.connect() as newcomer:
            assert newcomer.execute("select 1").fetchone() == (1,)

        proxy.reload({"admin": {"users": ["postgres", "app"]}})
        with psycopg.connect(
            proxy.dsn("rwsplit", "app"), autocommit=True, cursor_factory=psycopg.ClientCursor
        ) as console:
            assert console.execute("SHOW VERSION").fetchall()


def told_by(proxy: Proxy, command: str) -> list[str]:
    """Return the notices that come with the answer to a console *command*."""
    notices: list[str] = []
    with psycopg.connect(
        proxy.dsn("rwsplit", "postgres"), autocommit=True, application_name="a person"
    ) as console:
        console.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
        console.execute(command.encode())
    return notices


def test_a_change_on_the_console_leaves_a_line_with_who_and_from_where(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"log": {"format": "json"}})
    told_by(proxy, "DETACH NODE replica1")
    told_by(proxy, "ATTACH NODE replica1")
    told_by(proxy, "SET log.level = 'error'")
    lines = [json.loads(line) for line in proxy.log().splitlines() if line.startswith("{")]
    said = [line for line in lines if line["event"] == "console_command"]
    assert [(line["command"], line["changes"]) for line in said] == [
        ("DETACH NODE replica1", ["replica1: attached -> detached"]),
        ("ATTACH NODE replica1", ["replica1: detached -> attached"]),
        ("SET log.level", ["log.level: info -> error"]),
    ]
    assert {(line["user"], line["application"]) for line in said} == {("postgres", "a person")}
    assert all(line["peer"].startswith("127.0.0.1:") for line in said)


def test_users_come_go_and_change_their_passwords(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with proxy.connect() as client:
        entries = proxy.userlist.read_text()
        cluster.primary.query("create role newcomer login password 'secret'")
        try:
            cluster.wait_until_replayed()
            url = proxy.dsn().replace(f"app:{cluster.passwords['app']}@", "newcomer:secret@")
            with pytest.raises(psycopg.OperationalError, match="authentication failed"):
                psycopg.connect(url)
            proxy.userlist.write_text(entries + '"newcomer" "secret"\n')
            assert told_by(proxy, "RELOAD") == ["users: added: newcomer"]
            with psycopg.connect(url) as newcomer:
                assert newcomer.execute("select current_user").fetchone() == ("newcomer",)

            proxy.userlist.write_text(entries + '"newcomer" "unfinished\n')
            with pytest.raises(psycopg.Error):
                proxy.console("RELOAD")
            with psycopg.connect(url) as newcomer:
                newcomer.execute("select 1")

            proxy.userlist.write_text(entries)
            assert "users: removed: newcomer" in hup(proxy)
            with pytest.raises(psycopg.OperationalError, match="authentication failed"):
                psycopg.connect(url)
            assert client.execute("select 1").fetchone() == (1,)
        finally:
            proxy.userlist.write_text(entries)
            began = time.monotonic()
            while time.monotonic() - began < 5:
                try:
                    cluster.primary.query("drop role newcomer")
                    break
                except psycopg.Error:
                    continue


def test_config_set_of_the_console_writes_the_file_and_is_in_force(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    proxy.console("SET consistency.max_lag = '3s'")
    assert setting(proxy, "consistency.max_lag") == "3s"
    assert "max_lag: 3s" in proxy.config_path.read_text()
    before = proxy.config_path.read_text()
    with pytest.raises(psycopg.Error, match=r"pool\.size"):
        proxy.console("SET pool.size = 'many'")
    assert proxy.config_path.read_text() == before
