"""The console and the command line against a running rwsplit with real traffic."""

from __future__ import annotations

import json
import subprocess
import sys

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import Load, where
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy
from tests.support.raw_client import message

pytestmark = pytest.mark.integration


def command(proxy: Proxy, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `rwsplit` *arguments* `--url` this proxy."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "rwsplit",
            *arguments,
            "--url",
            proxy.dsn("rwsplit", "postgres"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_every_view_answers_under_load_with_numbers_that_agree(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    with Load(proxy, where, clients=5) as load:
        load.go_on(200)
        views = [
            name
            for (text,) in [tuple(row.values()) for row in proxy.console("SHOW HELP")]
            if text.startswith("SHOW")
            for name in text.removeprefix("SHOW ").split("|")
        ]
        assert len(views) >= 12
        for view in views:
            assert proxy.console(f"SHOW {view}"), view  # type: ignore[arg-type]

        assert len(proxy.console("SHOW CLIENTS")) == 5
        assert {row["user"] for row in proxy.console("SHOW CLIENTS")} == {"app"}
        assert proxy.nodes()["primary"]["reads"] == 0
    answered = load.done
    assert not load.errors
    assert sum(row["reads"] for row in proxy.nodes().values()) >= answered
    assert wait_until(lambda: proxy.console("SHOW CLIENTS") == [], timeout=5)
    assert all(row["in_flight"] == 0 for row in proxy.nodes().values())
    assert sum(row["servers"] for row in proxy.nodes().values()) == len(
        proxy.console("SHOW SERVERS")
    )
    reasons = {row["reason"]: row["statements"] for row in proxy.console("SHOW ROUTES")}
    ways = ("READ", "WAITED_FOR_REPLICA", "NO_FRESH_REPLICA")
    assert sum(reasons[way] for way in ways) >= answered
    metrics = "\n".join(row["metrics"] for row in proxy.console("SHOW METRICS"))
    assert 'rwsplit_node_up{node="replica1"} 1.0' in metrics


def test_waiting_and_pinned_clients_show(cluster: EmbeddedCluster, make_proxy: MakeProxy):
    proxy = make_proxy(cluster, {"pool": {"size": 1}})
    with proxy.connect() as pinned, proxy.connect() as busy, proxy.raw() as waiting:
        pinned.execute("create temp table t (n int)")
        busy.execute("begin; select pg_current_xact_id()")
        waiting.send(message(b"Q", b"create table never (n int)\0"))
        assert wait_until(
            lambda: {row["state"] for row in proxy.console("SHOW CLIENTS")} >= {"waiting"},
            timeout=5,
        )
        [pool] = [row for row in proxy.console("SHOW POOLS") if row["node"] == "primary"]
        assert pool["cl_waiting"] == 1
        [shown] = [row for row in proxy.console("SHOW CLIENTS") if row["pinned"]]
        assert "temporary table" in shown["pinned"]


def test_only_admins_get_in_and_the_alias_works(cluster: EmbeddedCluster, proxy: Proxy):
    with pytest.raises(psycopg.OperationalError, match="app"):
        psycopg.connect(proxy.dsn("rwsplit", "app"))
    with psycopg.connect(
        proxy.dsn("pgbouncer", "postgres"),
        autocommit=True,
        cursor_factory=psycopg.ClientCursor,
    ) as console:
        assert console.execute("SHOW VERSION").fetchall()


@pytest.mark.parametrize(
    "sql", ["SHOW NOTHING", "DROP TABLE x", "DETACH", "SELECT * FROM t", "SET pool.size = 0"]
)
def test_nonsense_is_refused_in_words_and_the_session_goes_on(proxy: Proxy, sql: str):
    with psycopg.connect(
        proxy.dsn("rwsplit", "postgres"),
        autocommit=True,
        cursor_factory=psycopg.ClientCursor,
    ) as console:
        with pytest.raises(psycopg.Error) as refused:
            console.execute(sql)  # type: ignore[arg-type]
        assert len(str(refused.value)) > 10
        assert console.execute("SHOW VERSION").fetchall()


def test_only_databases_that_there_are_reconnect(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    """Any name was answered with RECONNECT."""
    proxy = make_proxy(fragile_cluster)
    proxy.console("RECONNECT postgres")  # nobody uses it
    for name in ("nosuchdb", "rwsplit", "template0"):
        with pytest.raises(psycopg.errors.InvalidCatalogName) as refused:
            proxy.console(f"RECONNECT {name}")  # type: ignore[arg-type]
        assert f"there is no database {name!r}; the databases are app, postgres" in str(
            refused.value
        )
    done = command(proxy, "console", "RECONNECT nosuchdb")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the databases are app, postgres" in done.stderr

    with proxy.connect() as client:
        client.execute("select 1")
        fragile_cluster.primary.kill()
        proxy.console("RECONNECT app")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as unknown:
            proxy.console("RECONNECT nosuchdb")
    assert "database 'nosuchdb' is not in use, and whether there is one cannot be" in str(
        unknown.value
    )


def test_who_is_no_user_does_not_become_an_admin(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    """It locked everybody out of the console."""
    proxy = make_proxy(cluster)
    with pytest.raises(
        psycopg.Error, match=r"admin\.users: 'nobody_here' is not in .*userlist"
    ):
        proxy.console("SET admin.users = '[nobody_here]'")
    proxy.console("SET admin.users = '[postgres, app]'")
    proxy.write_config({"admin": {"users": ["postgres", "nobody_here"]}})
    with pytest.raises(psycopg.Error, match="nobody_here"):
        proxy.console("RELOAD")
    with pytest.raises(psycopg.Error, match="nobody could log in to the console"):
        proxy.console("SET admin.users = '[]'")


def test_explain_says_node_reason_and_candidates(proxy: Proxy):
    for sql, reason in (
        ("select 1", "READ"),
        ("insert into t values (1)", "MAY_WRITE"),
        ("select nextval('s')", "VOLATILE_FUNCTION"),
        ("select * from t for update", "LOCKS_ROWS"),
    ):
        done = command(proxy, "explain", sql, "--json")
        assert done.returncode == 0, done.stderr
        assert reason in done.stdout
        assert "replica1" in done.stdout


def test_status_and_node_list_agree(proxy: Proxy):
    done = command(proxy, "status", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {node["name"] for node in found["nodes"]} == set(proxy.nodes())
    listed = command(proxy, "node", "list")
    assert listed.returncode == 0, listed.stderr
    for name in proxy.nodes():
        assert name in listed.stdout


def test_a_proxy_that_is_not_there_is_one_sentence(proxy: Proxy):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "rwsplit",
            "status",
            "--url",
            "postgresql://postgres@127.0.0.1:1",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
