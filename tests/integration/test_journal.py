"""Parameters of sessions that share servers: to each client it is as if it had PostgreSQL to itself."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import HIDDEN, Differential, say
from tests.support.messages import SYNC, bind, execute, parse, query, statement
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient, error_fields, rows

pytestmark = pytest.mark.integration

NAMES = (
    *("search_path", "TimeZone", "DateStyle", "work_mem", "statement_timeout", "role"),
    *("default_transaction_isolation", "default_transaction_read_only", "client_encoding"),
    *("session_authorization", "application_name", "IntervalStyle", "lock_timeout"),
)
#: PostgreSQL never forgets the name of a custom parameter: reset, it is empty instead of unknown.
STATE = (
    "select current_user, session_user, {}, nullif(current_setting('my.own', true), '')".format(
        ", ".join(f"current_setting('{name}')" for name in NAMES)
    )
)
LOCAL = (*NAMES[:5], "my.own")


@pytest.fixture(scope="module")
def roles(cluster: ReachableCluster[Any]) -> Iterator[list[str]]:
    names = [f"journal_{number}" for number in range(5)]
    with cluster.primary.connect("app") as connection:
        for name in names:
            connection.execute(f"create role {name}")
            connection.execute(f"grant {name} to app")
    cluster.wait_until_replayed()
    yield names
    with cluster.primary.connect("app") as connection:
        for name in names:
            connection.execute(f"drop role {name}")


@pytest.fixture(scope="module", params=[1, 2, 4])
def narrow(
    request: pytest.FixtureRequest,
    cluster: ReachableCluster[Any],
    tmp_path_factory: pytest.TempPathFactory,
    roles: list[str],
) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp("journal")
    with Proxy(cluster, directory, {"pool": {"size": request.param}}) as running:
        yield running


SETS = (
    *("set timezone = 'utc'", "set time zone 'Asia/Tokyo'", "set timezone to default"),
    *('set search_path = a, "B", public', "set schema 'x'", "set work_mem = '3 MB'"),
    *("set work_mem = 1234", "set work_mem = much", "set nosuch = 1", "set my.own = 'it''s'"),
    *("set my.own = 'Grüße'", "set datestyle = sql, dmy", "set datestyle = german"),
    *("set session characteristics as transaction read only", "set role journal_1"),
    *("set session characteristics as transaction read write", "set role journal_2"),
    *("set default_transaction_isolation = 'repeatable read'", "set role none", "reset role"),
    *("set role nosuch", "set session authorization app", "set session authorization default"),
    *("set client_encoding = latin1", "set names 'utf8'", "set application_name = 'täst'"),
    *(
        "set intervalstyle = iso_8601",
        "set lock_timeout = '1min'",
        "set statement_timeout = 60000",
    ),
    *("select set_config('timezone', 'America/Lima', false)", "reset timezone", "reset all"),
    *("select set_config('my.own', 'set', false)", "select set_config('my.own', 'l', true)"),
    *("select set_config('work_mem', 'much', false)", "reset my.own", "discard all"),
    *("set local timezone = 'UTC'", "set local my.own = 'local'", "set local role journal_3"),
    *(
        "set work_mem = '5MB'; select 1; set my.own = 'both'",
        "set timezone = 'UTC'; select 1/0",
    ),
    *("update pg_settings set setting = 'UTC' where name = 'TimeZone'", "discard plans"),
    *("begin; set timezone = 'Europe/Paris'; rollback", "begin; set my.own = 'kept'; commit"),
    *("set transaction read only", "set transaction_isolation = 'repeatable read'"),
)
BLOCKS = (
    *("begin", "begin read only", "commit", "rollback", "savepoint s", "rollback to s"),
    *("release s", "select 1/0", "commit and chain", "begin isolation level repeatable read"),
)


def answer(client: RawClient, message: bytes) -> list[Frame]:
    client.send(message)
    found = client.frames_until(b"Z")
    return [f for f in found if not (f.code == b"S" and f.payload.startswith(HIDDEN))]


@pytest.mark.parametrize("seed", range(4))
def test_sessions_that_share_servers_are_answered_as_by_servers_of_their_own(
    cluster: ReachableCluster[Any], narrow: Proxy, seed: int
):
    chosen = random.Random(seed)
    size = 5
    parameters: list[dict[str, str]] = [
        {},
        {"TimeZone": "asia/tokyo", "options": "-c search_path=foo,pg_catalog"},
        {"options": "-c my.own=start -c work_mem=7MB"},
        {"DateStyle": "german", "client_encoding": "latin1"},
        {},
    ]
    with ExitStack() as stack:
        pairs = []
        for number in range(size):
            pair = []
            for port in (cluster.primary.port, narrow.port):
                client = stack.enter_context(RawClient(port))
                wanted: dict[str, Any] = {
                    "user": "app",
                    "database": "app",
                    **parameters[number],
                }
                client.log_in(password=cluster.passwords["app"], **wanted)
                pair.append(client)
            pairs.append(pair)
        busy: int | None = None  # the one in a transaction: it has a server
        said: list[tuple[int, str]] = []
        for _ in range(120):
            number = chosen.randrange(size) if busy is None else busy
            kind = chosen.random()
            text = chosen.choice(SETS if kind < 0.45 else BLOCKS if kind < 0.7 else (STATE,))
            extended = ";" not in text and chosen.random() < 0.4
            message = statement(text) + SYNC if extended else query(text)
            said.append((number, text))
            direct, ours = (answer(client, message) for client in pairs[number])
            if ours != direct:
                mine = [text for who, text in said if who == number]
                pytest.fail(f"client {number}\n{mine}\ndirect: {direct}\nours:   {ours}")
            busy = number if ours[-1].payload != b"I" else None
        if busy is not None:
            for client in pairs[busy]:
                answer(client, query("rollback"))
        for number, pair in enumerate(pairs):
            direct, ours = (answer(client, query(STATE)) for client in pair)
            assert ours == direct, (number, said)


@pytest.fixture
def two(cluster: ReachableCluster[Any], make_proxy: Any, roles: list[str]) -> Proxy:
    """A proxy with two servers a node."""
    proxy: Proxy = make_proxy(cluster, {"pool": {"size": 2}})
    return proxy


def test_a_set_in_a_pipeline_holds_for_what_follows(cluster: ReachableCluster[Any], two: Proxy):
    compare = Differential(cluster, two)
    compare(
        say(
            query("set timezone = 'Asia/Tokyo'"),
            query("show timezone"),
            query("reset timezone"),
        ),
        say(query("show timezone")),
        say(
            *(statement("set work_mem = '3MB'"), SYNC, statement("show work_mem"), SYNC),
            *(statement("set work_mem = 'much'"), SYNC, statement("show work_mem"), SYNC),
        ),
        say(parse("set my.own = 'again'", "s"), SYNC),
        say(query("show work_mem"), query("show my.own")),
        say(bind("s"), execute(), SYNC),
        say(query("select current_setting('my.own')")),
        say(query("reset my.own"), query("select current_setting('my.own', true)")),
        say(bind("s"), execute(), SYNC, bind("s"), execute(), SYNC),
        say(query("select current_setting('my.own')")),
        say(parse("set timezone = 'UTC'"), bind(), execute(), parse("selec"), SYNC),
        say(query("show timezone")),
    )


def test_a_reported_parameter_is_reported_when_its_client_changes_it_and_only_then(
    two: Proxy, cluster: ReachableCluster[Any]
):
    compare = Differential(cluster, two)
    with two.connect(options="-c timezone=Asia/Tokyo"), two.connect() as other:
        other.execute("set timezone = 'Europe/Rome'")
        compare(
            say(query("set timezone = 'America/Lima'")),
            *(say(query(f"select {n}")) for n in range(5)),
            say(query("begin")),
            say(query("set timezone = 'UTC'")),
            say(query("savepoint s")),
            say(query("set timezone = 'Asia/Tokyo'")),
            say(query("rollback to s")),
            say(query("rollback")),
            say(query("select 1")),
        )


def test_a_role_that_is_gone_is_an_error_and_nobody_else_is_asked_in_its_place(
    two: Proxy, cluster: ReachableCluster[Any]
):
    with cluster.primary.connect("app") as admin:
        admin.execute("create role journal_gone")
        admin.execute("grant journal_gone to app")
        cluster.wait_until_replayed()
        with two.connect(prepare_threshold=None) as one, two.connect() as other:
            one.execute("set role journal_gone")
            assert one.execute("select current_user").fetchone() == ("journal_gone",)
            for connection in (other, other):
                connection.execute("create temp table made (a int)")
                connection.execute("discard all")
            admin.execute("drop role journal_gone")
            cluster.wait_until_replayed()
            # Some server still acts as it; on all others it cannot be taken on any more.
            for _ in range(3):
                other.execute("begin; select 1; commit")
            for _ in range(4):
                try:
                    [who] = one.execute("select session_user, current_user")
                except psycopg.Error:
                    continue
                assert who[1] != "app"
            one.execute("reset role")
            assert one.execute("select current_user").fetchone() == ("app",)


def test_a_role_not_replayed_yet_is_asked_for_on_the_primary(
    two: Proxy, cluster: ReachableCluster[Any]
):
    for replica in cluster.replicas:
        replica.query("select pg_wal_replay_pause()")
    try:
        with cluster.primary.connect("app") as admin, two.connect() as connection:
            admin.execute("create role journal_new")
            admin.execute("grant journal_new to app")
            connection.execute("set role journal_new")
            for _ in range(4):
                # `consistency: eventual` lets a read go to a replica that does not know the role.
                found = connection.execute(
                    "/* rwsplit: consistency=eventual */ select current_user"
                ).fetchone()
                assert found == ("journal_new",)
            connection.execute("reset role")
            admin.execute("drop role journal_new")
    finally:
        for replica in cluster.replicas:
            replica.query("select pg_wal_replay_resume()")
        cluster.wait_until_replayed()


def test_a_tiny_statement_timeout_hits_only_its_own_session(two: Proxy):
    with two.connect() as hurried, two.connect(options="-c timezone=Asia/Tokyo") as other:
        for _ in range(10):
            hurried.execute("set statement_timeout = 1")
            with pytest.raises(psycopg.errors.QueryCanceled):
                hurried.execute("select pg_sleep(1)")
            assert other.execute("show timezone").fetchone() == ("Asia/Tokyo",)
            with other.transaction():
                assert other.execute("show statement_timeout").fetchone() == ("0",)
            hurried.execute("set statement_timeout = 0")


def test_a_cancel_request_never_hits_the_question(two: Proxy):
    with two.connect() as connection:
        for number in range(20):
            connection.cancel_safe(timeout=5)
            connection.execute(f"set my.own = '{number}'")
            connection.cancel_safe(timeout=5)
            found = connection.execute("select current_setting('my.own')").fetchone()
            assert found == (str(number),)


def test_a_session_goes_on_setting_and_reading_without_a_primary(
    fragile_cluster: EmbeddedCluster, make_proxy: Any
):
    proxy = make_proxy(fragile_cluster)
    with proxy.connect() as connection:
        connection.execute("set my.own = 'before'")
        connection.execute("select 1")
        fragile_cluster.primary.kill()
        connection.execute("set my.own = 'after'")
        for _ in range(5):
            found = connection.execute("select current_setting('my.own')").fetchone()
            assert found == ("after",)


def test_a_read_only_transaction_takes_the_parameters_along(
    two: Proxy, cluster: ReachableCluster[Any]
):
    compare = Differential(cluster, two)
    compare(
        say(query("set role journal_3")),
        say(query("set timezone = 'Asia/Tokyo'")),
        say(query("begin read only")),
        say(query("select current_user, current_setting('timezone')")),
        say(query("select pg_advisory_xact_lock(1)")),
        say(query("select current_user, current_setting('timezone')")),
        say(query("set timezone = 'UTC'")),
        say(query("commit")),
        say(query("select current_user, current_setting('timezone')")),
        say(query("select set_config('a.' || 'b', 'x', false)")),
        say(query("select current_user, current_setting('a.b')")),
    )


def test_text_in_an_encoding_chosen_later_is_not_misread(two: Proxy):
    with two.raw() as client:
        client.query("set client_encoding = sjis")
        # 0x5c, a backslash in ASCII, is the second byte of this character.
        client.send(b"Q" + (4 + 19).to_bytes(4, "big") + b"select '\x95\x5c' || 'x'\0"[:19])
        found = client.frames_until(b"Z")
        assert b"E" not in b"".join(f.code for f in found), found


def test_nothing_of_a_serializable_session_goes_to_a_replica(two: Proxy):
    with two.connect() as connection:

        def reads_from_a_replica() -> bool:
            connection.execute("select 1")
            route = connection.execute("show rwsplit.last_route").fetchone()
            return "replica" in str(route)

        connection.execute("set default_transaction_isolation = serializable")
        for _ in range(5):
            assert not reads_from_a_replica()
        with connection.transaction():
            assert connection.execute("show transaction_isolation").fetchone() == (
                "serializable",
            )
        connection.execute("reset default_transaction_isolation")

        assert wait_until(reads_from_a_replica, timeout=5)


def test_the_settings_of_a_client_that_dies_are_nobodys(two: Proxy):
    with two.raw() as client:
        client.send(query("set timezone = 'Asia/Tokyo'"), query("set work_mem = '3MB'"))
    with ExitStack() as stack:
        for _ in range(2):
            later = stack.enter_context(two.connect())
            later.execute("begin")
            assert later.execute("show work_mem").fetchone() == ("4MB",)


def test_parameters_of_a_session_leave_errors_to_postgresql(
    two: Proxy, cluster: ReachableCluster[Any]
):
    with two.raw() as client:
        [error] = [f for f in client.query("set role nosuch") if f.code == b"E"]
        assert error_fields(error.payload)["C"] == "22023"
        assert rows(client.query("select current_user")) == [(b"app",)]


# Fifty at once...


class Life:
    """One client with a role, a search path, a time zone of its own and more, and what it has seen."""

    ZONES = ("Asia/Tokyo", "America/Lima", "Europe/Rome", "UTC", "Africa/Cairo")
    QUESTION = (
        "select current_user::text, current_setting('search_path'), "
        "current_setting('TimeZone'), current_setting('my.number')"
    )
    LOCKS = (
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
    )

    def __init__(self, proxy: Proxy, number: int, role: str) -> None:
        self.proxy, self.number, self.role = proxy, number, role
        self.zone = self.ZONES[number // 5 % 5]
        self.failures: list[str] = []

    def live(self) -> None:
        """Do this and that; note what is not as it must be."""
        chosen = random.Random(self.number)
        kinds = (self.transaction, self.table, self.lock, self.statement, self.write, self.read)
        with self.proxy.connect(prepare_threshold=0) as self.client:
            self.client.execute(f"set search_path = path_{self.number}")  # type: ignore[arg-type]
            self.client.execute(f"set timezone = '{self.zone}'")  # type: ignore[arg-type]
            self.client.execute(f"set role {self.role}")  # type: ignore[arg-type]
            self.ask(
                f"select set_config('my.number', '{self.number}', false)", str(self.number)
            )
            for _ in range(12):
                chosen.choice(kinds)()

    def ask(self, text: Any, *wanted: object, **options: Any) -> None:
        """Note if the answer to *text* is not the one row *wanted*."""
        found = self.client.execute(text, **options).fetchall()
        if found != [wanted]:
            self.failures.append(f"{self.number}: {text} gave {found}")

    def read(self, hint: str = "") -> None:
        wanted = (self.role, f"path_{self.number}", self.zone, str(self.number))
        self.ask(hint + self.QUESTION, *wanted)

    def write(self) -> None:
        self.read("/* rwsplit: primary */ ")

    def transaction(self) -> None:
        with self.client.transaction():
            self.read()

    def table(self) -> None:
        self.client.execute("create temp table mine as select %s::int as n", (self.number,))
        self.read()
        self.ask("select n from pg_temp.mine", self.number)
        self.client.execute("drop table pg_temp.mine")

    def lock(self) -> None:
        self.ask(f"select true from pg_advisory_lock({self.number})", True)
        self.read()
        self.ask(self.LOCKS, 1)
        self.ask(f"select pg_advisory_unlock({self.number})", True)

    def statement(self) -> None:
        self.client.execute(f"prepare mine as select {self.number}", prepare=False)  # type: ignore[arg-type]
        self.ask("execute mine", self.number, prepare=False)
        self.read()
        self.client.execute("deallocate mine", prepare=False)


@pytest.mark.parametrize("depth", [0, 8])
def test_nobody_ever_sees_what_another_has(
    cluster: ReachableCluster[Any], make_proxy: Any, roles: list[str], depth: int
):
    """Each of 50 clients has a role, a path, a zone, a statement, a table, a lock; there are 4 servers a node."""
    proxy = make_proxy(cluster, {"pool": {"size": 4, "lane_depth": depth}})
    lives = [Life(proxy, number, roles[number % 5]) for number in range(50)]
    threads = [threading.Thread(target=life.live) for life in lives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert [failure for life in lives for failure in life.failures] == []


def test_very_many_parameters_follow_their_session(cluster: ReachableCluster[Any], two: Proxy):
    """More than PostgreSQL shows or sets in one row."""
    count = 1800
    with two.connect() as connection:
        connection.execute(
            ";".join(f"set custom.x{number} = {number}" for number in range(count))  # type: ignore[arg-type]
        )
        connection.execute("set rwsplit.route = 'primary'")
        shown = "select current_setting('custom.x0'), current_setting('custom.x1799')"
        assert connection.execute(shown).fetchone() == ("0", "1799")
        connection.execute("set rwsplit.route = 'replica'")
        assert connection.execute(shown).fetchone() == ("0", "1799")
