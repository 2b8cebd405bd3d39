"""PROMOTE NODE: it asks everything that speaks against it first, and loses nothing without a word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rwsplit.cli.commands import app
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from rwsplit.lsn import parse_lsn
from tests.support.copies import address, another_cluster
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

FUNCTION = "execute on function pg_promote"


@pytest.fixture
def broken(fragile_cluster: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """A cluster whose nodes may be promoted by rwsplit, with a table."""
    primary = fragile_cluster.primary
    primary.query(f"grant {FUNCTION} to rwsplit")  # type: ignore[arg-type]
    primary.query(
        "create table if not exists ledger (n int primary key, filler text)", database="app"
    )
    primary.query("grant all on ledger to app", database="app")
    primary.query("truncate ledger", database="app")
    fragile_cluster.wait_until_replayed()
    yield fragile_cluster
    for node in fragile_cluster.replicas:
        node.configure({"recovery_min_apply_delay": "0"})
        if node.pid is not None and node.query("select pg_is_in_recovery()") == [(True,)]:
            node.query("select pg_wal_replay_resume()")


def cut_off(node: EmbeddedNode) -> None:
    """Let *node* receive nothing any more."""
    with node.connect() as connection:
        connection.execute("alter system set primary_conninfo = ''")
        connection.execute("select pg_reload_conf()")
    assert wait_until(
        lambda: node.query("select count(*) from pg_stat_wal_receiver") == [(0,)], timeout=10
    )


def fill(proxy: Proxy, rows: int = 100) -> None:
    with proxy.connect() as client:
        client.execute(
            "insert into ledger select n, repeat('x', 700) from generate_series(1, %s) n",
            (rows,),
        )


def count(node: EmbeddedNode) -> int:
    [(rows,)] = node.query("select count(*) from ledger", database="app")
    return int(rows)


def die(broken: EmbeddedCluster, proxy: Proxy) -> None:
    """Let the primary die once its last position was sampled."""
    [(position,)] = broken.primary.query("select pg_current_wal_flush_lsn()::text")
    assert wait_until(
        lambda: parse_lsn(proxy.nodes()["primary"]["lsn"]) >= parse_lsn(position), timeout=10
    )
    broken.primary.kill()
    assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "down", timeout=10)


def test_a_replica_that_is_behind_is_not_promoted_and_the_most_advanced_is_named(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    behind, ahead, other = broken.replicas
    proxy = make_proxy(broken)
    cut_off(behind)
    cut_off(other)
    fill(proxy)
    assert wait_until(lambda: count(ahead) == 100, timeout=10)
    ahead.query("select pg_wal_replay_pause()")  # what it has received counts
    die(broken, proxy)

    for command in ("PROMOTE NODE replica1", "PROMOTE replica1"):
        with pytest.raises(psycopg.Error) as refused:
            proxy.console(command)  # type: ignore[arg-type]
        said = str(refused.value)
        found = re.search(r"node replica1 lacks (\d+) bytes of WAL that replica2 has", said)
        assert found
        assert int(found[1]) > 70_000
        assert "promote replica2, which is the most advanced" in said
        assert "rwsplit node promote replica1 --force" in said
    assert behind.query("select pg_is_in_recovery()") == [(True,)]

    words = ["node", "promote", "replica1", "--force", "-c", str(proxy.config_path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    lost, promoted = lines[0], next(line for line in lines if "is the primary (" in line)
    left = [line for line in lines if line.startswith("still to do: ")]
    assert (
        "node primary was the primary: rebuild it (pg_rewind) before it comes back" in left[0]
    )
    assert "replica2 does not follow replica1 yet" in left[1]
    assert re.search(r"lacks \d+ bytes of WAL that replica2 has .*that is lost", lost)
    assert re.fullmatch(
        r"replica1 is the primary \(timeline 2\), writes resumed after \d+\.\d s", promoted
    )
    assert count(behind) == 0
    with proxy.connect() as client:
        client.execute("insert into ledger values (0)")
    assert count(behind) == 1


def best_of(broken: EmbeddedCluster) -> str:
    """Return the replica that has received most."""

    def end(node: EmbeddedNode) -> int:
        [(position,)] = node.query(
            "select (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::int8"
        )
        return int(position)

    return max(broken.replicas, key=end).name


def test_what_only_the_dead_primary_was_seen_to_have_is_said(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken)
    for node in broken.replicas:
        cut_off(node)
    fill(proxy)
    die(broken, proxy)
    proxy.stop()  # it is known after a restart, too
    proxy.start(nodes_up=False)
    assert wait_until(
        lambda: all(proxy.nodes()[node.name]["health"] == "up" for node in broken.replicas),
        timeout=10,
    )

    words = ["node", "promote", best_of(broken), "-c", str(proxy.config_path)]
    result = CliRunner().invoke(app, words)

    assert result.exit_code == 0, result.output
    found = re.search(
        r"lacks (\d+) bytes of WAL that node primary, the old primary, was seen to have .*that is lost",
        result.output,
    )
    assert found
    assert int(found[1]) > 70_000


def test_a_delayed_replica_replays_what_it_has_received_and_loses_nothing(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    delayed = broken.replicas[0]
    proxy = make_proxy(broken)
    delayed.configure({"recovery_min_apply_delay": "10min"})
    fill(proxy)
    broken.wait_until_replayed(only=broken.replicas[1:])
    assert count(delayed) == 0
    die(broken, proxy)

    proxy.console("PROMOTE NODE replica1")

    assert count(delayed) == 100


def test_privileges_are_asked_before_the_primary_must_be_drained(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken)
    broken.primary.query(f"revoke {FUNCTION} from rwsplit")  # type: ignore[arg-type]
    broken.wait_until_replayed()

    with pytest.raises(psycopg.Error, match="GRANT EXECUTE ON FUNCTION pg_promote TO rwsplit"):
        proxy.console("PROMOTE NODE replica1")

    broken.primary.query(f"grant {FUNCTION} to rwsplit")  # type: ignore[arg-type]
    broken.wait_until_replayed()
    with pytest.raises(
        psycopg.Error, match="node primary, the primary, is still up: drain it first"
    ):
        proxy.console("PROMOTE NODE replica1 FORCE")


def test_what_cannot_become_the_primary_is_refused_in_words(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    with another_cluster(broken) as stranger:
        stranger.stop()
        (stranger.data / "standby.signal").touch()
        stranger.start()
        proxy = make_proxy(broken, {"nodes": {"stranger": address(stranger)}}, nodes_up=False)
        assert wait_until(
            lambda: proxy.nodes()["stranger"]["refusal"] == "OTHER_CLUSTER", timeout=10
        )
        with pytest.raises(psycopg.Error, match="another cluster"):
            proxy.console("PROMOTE NODE stranger FORCE")

    proxy.console("DETACH NODE replica1")
    with pytest.raises(psycopg.Error, match="rwsplit node attach replica1"):
        proxy.console("PROMOTE NODE replica1")
    broken.replicas[1].kill()
    assert wait_until(lambda: proxy.nodes()["replica2"]["health"] == "down", timeout=10)
    with pytest.raises(psycopg.Error, match="replica2 is not up"):
        proxy.console("PROMOTE NODE replica2")


def test_a_replica_left_on_an_old_timeline_is_not_promoted_lightly(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken)
    broken.primary.kill()
    broken.replicas[0].promote()
    assert wait_until(
        lambda: proxy.nodes()["replica2"]["refusal"] == "OTHER_TIMELINE", timeout=10
    )
    broken.replicas[0].kill()
    assert wait_until(lambda: proxy.nodes()["replica1"]["health"] == "down", timeout=10)

    with pytest.raises(psycopg.Error, match="on another timeline than the primary"):
        proxy.console("PROMOTE NODE replica2")

    proxy.console("PROMOTE NODE replica2 FORCE")
    with proxy.connect() as client:
        client.execute("insert into ledger values (1)")
    assert count(broken.replicas[1]) == 1


def test_a_primary_that_answers_again_is_not_abandoned(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken, {"monitor": {"rise": 200}})  # it is not up for long
    broken.primary.kill()
    assert wait_until(lambda: proxy.nodes()["primary"]["health"] == "down", timeout=10)
    broken.primary.start()

    with pytest.raises(
        psycopg.Error, match="node primary, the primary, answers again; nothing was promoted"
    ):
        proxy.console("PROMOTE NODE replica1")

    assert broken.replicas[0].query("select pg_is_in_recovery()") == [(True,)]


def test_status_says_since_when_there_is_no_primary_how_many_writes_wait_and_whom_to_promote(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken, {"admin": {"state_file": "/nowhere/rwsplit.state"}})
    die(broken, proxy)
    with proxy.connect() as writer, proxy.connect() as reader:
        assert reader.execute("select count(*) from ledger").fetchone() == (0,)
        writer.pgconn.send_query(b"insert into ledger values (1)")

        def shown() -> str:
            words = ["status", "-c", str(proxy.config_path)]
            return " ".join(CliRunner().invoke(app, words).output.split())

        wanted = r"!! NO PRIMARY for \d+ s: 1 write waits\. Most advanced replica: (replica\d)"
        assert wait_until(lambda: re.search(wanted, shown()), timeout=10), shown()
        assert "!! node primary, the primary of timeline 1, is not up" in shown()

        words = ["node", "promote", best_of(broken), "-c", str(proxy.config_path)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        assert re.search(
            rf"{words[2]} is the primary \(timeline 2\), writes resumed after", result.output
        )
        # A restart would wait for the old primary again: so it is said that nothing is saved.
        assert re.search("not saved; .* after a restart .*: admin.state_file", result.output)
        done = writer.pgconn.get_result()
        assert done is not None
        assert writer.pgconn.get_result() is None
        assert done.command_status == b"INSERT 0 1"


def grant_behind(broken: EmbeddedCluster, hold: Callable[[EmbeddedNode], None]) -> None:
    """Let the right to promote be granted after *hold* keeps the first replica from replaying."""
    broken.primary.query(f"revoke {FUNCTION} from rwsplit")  # type: ignore[arg-type]
    broken.wait_until_replayed()
    hold(broken.replicas[0])
    broken.primary.query(f"grant {FUNCTION} to rwsplit")  # type: ignore[arg-type]
    broken.wait_until_replayed(only=broken.replicas[1:])


def paused(node: EmbeddedNode) -> None:
    node.query("select pg_wal_replay_pause()")


def delayed(node: EmbeddedNode) -> None:
    node.configure({"recovery_min_apply_delay": "10min"})


@pytest.mark.parametrize("is_up", [True, False])
@pytest.mark.parametrize(
    ("hold", "cause", "remedy"),
    [
        (paused, "its replay is paused", "SELECT pg_wal_replay_resume()"),
        (
            delayed,
            "it has recovery_min_apply_delay = 10min",
            "ALTER SYSTEM SET recovery_min_apply_delay = 0; SELECT pg_reload_conf()",
        ),
    ],
)
def test_a_grant_that_a_replica_has_not_replayed_is_not_asked_for_again(
    broken: EmbeddedCluster,
    make_proxy: MakeProxy,
    hold: Any,
    cause: str,
    remedy: str,
    is_up: bool,
):
    proxy = make_proxy(broken)
    grant_behind(broken, hold)
    if not is_up:
        die(broken, proxy)
    replica = broken.replicas[0]

    with pytest.raises(psycopg.Error) as refused:
        proxy.console("PROMOTE NODE replica1")

    said = str(refused.value)
    granted_at = "primary" if is_up else "replica2"
    assert (
        f"rwsplit may promote on {granted_at}, but node replica1 has not replayed that" in said
    )
    assert f"{cause}; on replica1: {remedy}, then promote it again" in said
    assert "GRANT" not in said
    assert replica.query("select pg_is_in_recovery()") == [(True,)]
    if is_up:
        return

    for statement in remedy.split("; "):  # as said
        replica.query(statement)  # type: ignore[arg-type]
    assert wait_until(
        lambda: (
            replica.query(
                "select has_function_privilege('rwsplit', 'pg_promote(boolean, integer)', 'execute')"
            )
            == [(True,)]
        ),
        timeout=10,
    )
    proxy.console("PROMOTE NODE replica1")
    assert replica.query("select pg_is_in_recovery()") == [(False,)]
    replica.query("alter system reset all")


def test_without_a_primary_nothing_can_be_granted(
    broken: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(broken)
    broken.primary.query(f"revoke {FUNCTION} from rwsplit")  # type: ignore[arg-type]
    broken.wait_until_replayed()
    die(broken, proxy)

    with pytest.raises(psycopg.Error) as refused:
        proxy.console("PROMOTE NODE replica1")

    assert "GRANT" not in str(refused.value)
    assert "a superuser can promote it there: SELECT pg_promote()" in str(refused.value)
