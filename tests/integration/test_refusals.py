"""A replica that refuses a login is not the client's business: the next node answers, at last the primary."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from rwsplit.embedded.processes import wait_until
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

Connection = psycopg.Connection[tuple[Any, ...]]
WHERE = "select current_setting('cluster_name')"
REPLICAS = {"replica1", "replica2", "replica3"}


def admin(cluster: EmbeddedCluster, *statements: str, node: EmbeddedNode | None = None) -> None:
    with (node or cluster.primary).connect("postgres") as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


@contextmanager
def replay_paused(nodes: list[EmbeddedNode]) -> Iterator[None]:
    for node in nodes:
        node.query("select pg_wal_replay_pause()")
    try:
        yield
    finally:
        for node in nodes:
            node.query("select pg_wal_replay_resume()")


@pytest.fixture
def behind(fragile_cluster: EmbeddedCluster) -> Iterator[Callable[..., ExitStack]]:
    """Do something on the primary that the replicas do not know of before the test is over."""
    with ExitStack() as stack:

        def act(*before: str, then: tuple[str, ...] = ()) -> ExitStack:
            admin(fragile_cluster, *before)
            fragile_cluster.wait_until_replayed()
            stack.enter_context(replay_paused(fragile_cluster.replicas))
            admin(fragile_cluster, *then)
            return stack

        yield act
    fragile_cluster.wait_until_replayed()


def use(connection: Connection) -> None:
    """Read in every way a session has, as often as there are nodes."""
    for _ in range(4):
        assert connection.execute("select 1").fetchone() == (1,)
        with connection.transaction():
            assert connection.execute("select 2").fetchone() == (2,)
        connection.execute("begin read only")
        assert connection.execute("select 3").fetchone() == (3,)
        connection.execute("commit")
        with connection.pipeline():
            assert connection.execute("select %s::int", (4,)).fetchone() == (4,)
            assert connection.execute("select %s::int", (5,)).fetchone() == (5,)
        assert connection.execute("/* rwsplit: replica */ select 6").fetchone() == (6,)


@pytest.mark.parametrize(
    ("before", "then"),
    [
        pytest.param([], ["create database fresh"], id="a new database"),
        pytest.param(
            ["create role newcomer nologin password 'secret'"],
            ["alter role newcomer login"],
            id="a role that may log in now",
        ),
        pytest.param(
            ["create role newcomer login password 'secret' connection limit 0"],
            ["alter role newcomer connection limit -1"],
            id="a role that had no connection",
        ),
        pytest.param(
            ["create role newcomer login password 'old'"],
            ["alter role newcomer password 'secret'"],
            id="another password",
        ),
        pytest.param(
            [],
            ["create role newcomer login password 'secret'"],
            id="a new role",
        ),
        pytest.param(
            ["create database fresh with allow_connections false"],
            ["alter database fresh with allow_connections true"],
            id="a database that takes connections now",
        ),
        pytest.param(
            [
                "create database fresh",
                "create role newcomer login password 'secret'",
                "revoke connect on database fresh from public",
            ],
            ["grant connect on database fresh to newcomer"],
            id="a privilege to connect",
        ),
    ],
)
def test_what_replicas_do_not_know_yet_the_primary_answers(
    fragile_cluster: EmbeddedCluster,
    make_proxy: MakeProxy,
    behind: Callable[..., ExitStack],
    before: list[str],
    then: list[str],
):
    said = " ".join([*before, *then])
    database = "fresh" if "fresh" in said else "app"
    user = "newcomer" if "newcomer" in said else "app"
    clean = ["drop database if exists fresh with (force)", "drop role if exists newcomer"]
    admin(fragile_cluster, *clean)
    fragile_cluster.passwords["newcomer"] = "secret"
    try:
        proxy = make_proxy(fragile_cluster)
        behind(*before, then=tuple(then))
        with proxy.connect(database, user) as connection:
            use(connection)
            assert connection.execute(WHERE).fetchone() == ("primary",)
        refused = [row for row in proxy.console("SHOW POOLS") if row["refused"]]
        assert {row["node"] for row in refused} == REPLICAS
        assert {(row["database"], row["user"]) for row in refused} == {(database, user)}
        # One line for each node, however often it was asked.
        assert proxy.log().count("pool_refused") == len(REPLICAS)
    finally:
        del fragile_cluster.passwords["newcomer"]
        for node in fragile_cluster.replicas:
            node.query("select pg_wal_replay_resume()")
        admin(fragile_cluster, *clean)


def test_a_pool_that_is_let_in_again_gets_reads_and_the_log_says_so(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, behind: Callable[..., ExitStack]
):
    admin(fragile_cluster, "drop database if exists fresh with (force)")
    proxy = make_proxy(fragile_cluster)
    paused = behind(then=("create database fresh",))
    with proxy.connect("fresh") as connection:
        assert connection.execute(WHERE).fetchone() == ("primary",)
        paused.close()
        assert wait_until(
            lambda: connection.execute(WHERE).fetchone() != ("primary",), timeout=20
        )
    assert "pool_accepted" in proxy.log()
    admin(fragile_cluster, "drop database fresh with (force)")


@contextmanager
def shut_out(node: EmbeddedNode) -> Iterator[None]:
    """Have pg_hba.conf of *node* reject user app."""
    path = node.data / "pg_hba.conf"
    before = path.read_text()

    def write(text: str, *, lets_in: bool) -> None:
        path.write_text(text)
        node.query("select pg_reload_conf()")
        assert wait_until(lambda: is_let_in(node) == lets_in, timeout=10)

    write(f"host app app all reject\n{before}", lets_in=False)
    try:
        yield
    finally:
        write(before, lets_in=True)


def is_let_in(node: EmbeddedNode) -> bool:
    try:
        node.connect("app", "app").close()
    except psycopg.OperationalError:
        return False
    return True


def test_other_rules_on_one_replica_cost_nobody_a_session(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    odd = fragile_cluster.replicas[1]
    proxy = make_proxy(fragile_cluster)
    with shut_out(odd), ExitStack() as stack:
        clients = [stack.enter_context(proxy.connect()) for _ in range(6)]
        for connection in clients:
            use(connection)
        seen: set[object] = set()

        def both_others_answer() -> bool:
            seen.update(connection.execute(WHERE).fetchone() for connection in clients)
            return {("replica1",), ("replica3",)} <= seen

        assert wait_until(both_others_answer, timeout=20)
        assert ("replica2",) not in seen
        # Named by a hint, it says so itself, and the session goes on, also its transaction.
        client = clients[0]
        with pytest.raises(psycopg.errors.InvalidAuthorizationSpecification) as refused:
            client.execute("/* rwsplit: node=replica2 */ select 1")
        assert refused.value.diag.severity == "ERROR"
        assert "replica2" in (refused.value.diag.message_detail or "")
        assert client.execute("select 1").fetchone() == (1,)
        client.execute("begin")
        with pytest.raises(psycopg.errors.InvalidAuthorizationSpecification):
            client.execute("/* rwsplit: node=replica2 */ select 1")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            client.execute("select 1")
        client.execute("rollback")
        assert client.execute("select 1").fetchone() == (1,)


def test_the_primary_has_the_last_word(fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy):
    proxy = make_proxy(fragile_cluster)
    with (
        proxy.connect() as connection,
        shut_out(fragile_cluster.primary),
    ):
        assert connection.execute("select 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba\.conf rejects"):
            connection.execute("create table never (n int)")


def test_where_the_primary_may_not_read_who_waits_is_told_what_replicas_say(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(
        fragile_cluster,
        {"routing": {"reads_on_primary": "never"}, "pool": {"query_wait_timeout": "2s"}},
    )
    with ExitStack() as stack:
        connection = stack.enter_context(proxy.connect())
        rules = stack.enter_context(ExitStack())
        for node in fragile_cluster.replicas:
            rules.enter_context(shut_out(node))
        with pytest.raises(psycopg.errors.CannotConnectNow) as late:
            connection.execute("select 1")
        assert "replica3: refuses the login: pg_hba.conf rejects" in str(late.value)
        proxy.reload({"pool": {"query_wait_timeout": "30s"}})
        got: list[object] = []
        thread = threading.Thread(
            target=lambda: got.append(connection.execute("select 1").fetchone()), daemon=True
        )
        thread.start()
        rules.close()
        thread.join(20)
        assert got == [(1,)]


# Full nodes...


@pytest.fixture
def limited(fragile_cluster: EmbeddedCluster) -> Iterator[str]:
    """A role that may have one connection on each node."""
    admin(fragile_cluster, "drop role if exists limited")
    fragile_cluster.add_user("limited", "secret")
    admin(fragile_cluster, "alter role limited connection limit 1")
    fragile_cluster.wait_until_replayed()
    yield "limited"
    del fragile_cluster.passwords["limited"]
    admin(fragile_cluster, "drop role limited")


def test_readers_do_not_wait_for_a_replica_without_room(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, limited: str
):
    proxy = make_proxy(fragile_cluster)
    full = fragile_cluster.replicas[0]
    slowest: list[float] = []
    errors: list[Exception] = []

    def read() -> None:
        try:
            with proxy.connect("app", limited) as connection:
                for _ in range(30):
                    began = time.monotonic()
                    assert connection.execute(WHERE).fetchone() != ("replica1",)
                    slowest.append(time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says so
            errors.append(error)

    with full.connect("app", limited):
        readers = [threading.Thread(target=read, daemon=True) for _ in range(8)]
        for thread in readers:
            thread.start()
        for thread in readers:
            thread.join(60)
        assert not errors
        assert len(slowest) == 8 * 30
        assert max(slowest) < 3
        assert proxy.nodes()["replica1"]["health"] == "up"

        # A statement that names the node waits, and what it hears is true.
        heard: list[str] = []
        with proxy.connect("app", limited) as connection:
            connection.add_notice_handler(lambda n: heard.append(n.message_primary or ""))
            proxy.reload({"pool": {"query_wait_timeout": "2s"}})
            with pytest.raises(psycopg.errors.TooManyConnections) as late:
                connection.execute("/* rwsplit: node=replica1 */ select 1")
            assert 'too many connections for role "limited"' in str(late.value)
            assert "pool.size" not in str(late.value)
            assert any('too many connections for role "limited"' in text for text in heard)
            assert connection.execute("select 1").fetchone() == (1,)
    with proxy.connect("app", limited) as connection:
        assert wait_until(
            lambda: (
                connection.execute("/* rwsplit: node=replica1 */ select 1").fetchone() == (1,)
            ),
            timeout=20,
        )


def test_a_queue_looks_elsewhere_when_pool_size_is_reached_on_one_replica(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(fragile_cluster, {"pool": {"size": 1}})
    with ExitStack() as stack:
        reader, holder = (stack.enter_context(proxy.connect()) for _ in range(2))
        assert wait_until(lambda: reader.execute(WHERE).fetchone() == ("replica1",), timeout=20)
        done = threading.Event()

        def hold() -> None:
            holder.execute("/* rwsplit: node=replica1 */ select pg_sleep(4)")
            done.set()

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        assert wait_until(lambda: proxy.nodes()["replica1"]["in_flight"] == 1, timeout=5)
        # Its last read was a moment ago, so that for now no other replica is known to be fresh enough.
        for _ in range(5):
            assert reader.execute(WHERE).fetchone() != ("replica1",)
        assert not done.is_set()
        thread.join(20)


def test_reads_that_wait_on_the_primary_return_to_a_replica(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    """No replica could be asked when they came; one can by the time the primary has no server for them."""
    proxy = make_proxy(fragile_cluster, {"pool": {"size": 1}})
    with ExitStack() as stack:
        rules = stack.enter_context(ExitStack())
        for node in fragile_cluster.replicas:
            rules.enter_context(shut_out(node))
        holder, reader = (stack.enter_context(proxy.connect()) for _ in range(2))
        holder.execute("begin")
        holder.execute("lock table pg_am in access share mode")
        got: list[object] = []
        thread = threading.Thread(
            target=lambda: got.append(reader.execute(WHERE).fetchone()), daemon=True
        )
        thread.start()
        assert wait_until(
            lambda: sum(int(row["cl_waiting"]) for row in proxy.console("SHOW POOLS")) == 1,
            timeout=10,
        )
        rules.close()
        thread.join(20)
        assert got
        assert got[0] in {(name,) for name in REPLICAS}
        holder.execute("rollback")


def test_a_login_needs_no_connection_of_its_own_where_it_is_known(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy, limited: str
):
    """The role's one connection of the primary is in use: others of its clients come in all the same."""
    proxy = make_proxy(fragile_cluster)
    with proxy.connect("app", limited) as writer:
        writer.execute("begin")
        writer.execute("lock table pg_am in access share mode")
        with proxy.connect("app", limited, options="-c work_mem=1MB") as reader:
            assert reader.execute("show work_mem").fetchone() == ("1MB",)
        writer.execute("rollback")


def test_status_shows_which_logins_are_refused(
    fragile_cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy: Proxy = make_proxy(fragile_cluster)
    with (
        shut_out(fragile_cluster.replicas[2]),
        proxy.connect() as connection,
    ):
        assert wait_until(
            lambda: (
                connection.execute("select 1").fetchone() == (1,)
                and any(row["refused"] for row in proxy.console("SHOW POOLS"))
            ),
            timeout=10,
        )
        [row] = [row for row in proxy.console("SHOW POOLS") if row["refused"]]
        assert (row["node"], row["database"], row["user"]) == ("replica3", "app", "app")
        assert "28000" in row["refused"]
        assert 'rwsplit_pool_refused{database="app",node="replica3",user="app"} 1.0' in "".join(
            line["metrics"] + "\n" for line in proxy.console("SHOW METRICS")
        )
