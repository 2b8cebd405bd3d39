"""Startup parameters: seen on every node, put back by RESET, and PostgreSQL's own errors for wrong ones."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, say
from tests.support.messages import FLUSH, SYNC, bind, execute, parse, query
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient, error_fields, rows

pytestmark = pytest.mark.integration

EVERYWHERE = ("primary", "replica1", "replica2", "replica3")
UNSTABLE = {"in_hot_standby", "default_transaction_read_only"}

SETS: list[dict[str, str]] = [
    {},
    {"TimeZone": "Asia/Tokyo"},
    {"options": "-c search_path=foo,pg_catalog -c work_mem=7MB --enable-seqscan=off"},
    {"options": r"-c my.own=a\ b"},
    {"options": "-c timezone=UTC -c datestyle=sql"},
    {"client_encoding": "latin1", "DateStyle": "german"},
    {"application_name": "täst 'quoted' \\"},
    {"IntervalStyle": "iso_8601", "extra_float_digits": "3"},
    {"statement_timeout": "12345", "my.own": "it's"},
]


def log_in(port: int, cluster: ReachableCluster[Any], parameters: dict[str, str]) -> RawClient:
    client = RawClient(port)
    wanted: dict[str, Any] = {"user": "app", "database": "app", **parameters}
    try:
        client.log_in(password=cluster.passwords["app"], **wanted)
    except BaseException:
        client.close()
        raise
    return client


def ask(client: RawClient, text: str) -> list[tuple[bytes | None, ...]]:
    """Run *text*; keep what is reported of parameters meanwhile."""
    answer = client.query(text)
    for frame in answer:
        if frame.code == b"S":
            name, value, _ = frame.payload.split(b"\0")
            client.parameters[name.decode()] = value.decode()
    return rows(answer)


@pytest.mark.parametrize("parameters", SETS)
def test_what_is_reported_and_shown_is_as_on_a_direct_connection(
    cluster: ReachableCluster[Any], proxy: Proxy, parameters: dict[str, str]
):
    names = ["client_encoding", "application_name", "search_path", "work_mem", "TimeZone"]
    names += ["DateStyle", "IntervalStyle", "enable_seqscan", "extra_float_digits", "my.own"]
    names += ["statement_timeout"]
    # PostgreSQL never forgets the name of a custom parameter: reset, it is empty instead of unknown.
    values = ", ".join(f"nullif(current_setting('{name}', true), '')" for name in names)
    with (
        log_in(cluster.primary.port, cluster, parameters) as direct,
        log_in(proxy.port, cluster, parameters) as ours,
    ):
        stable = {n: v for n, v in ours.parameters.items() if n not in UNSTABLE}
        wanted = {n: v for n, v in direct.parameters.items() if n not in UNSTABLE}
        assert stable == wanted
        expected = ask(direct, f"select {values}")
        for node in EVERYWHERE:
            assert ask(ours, f"/* rwsplit: node={node} */ select {values}") == expected
        assert ask(ours, "show search_path") == ask(direct, "show search_path")


@pytest.mark.parametrize(
    "parameters",
    [
        {"TimeZone": "Nowhere"},
        {"nosuch": "1"},
        {"client_encoding": "nosuch"},
        {"options": "-c nosuch=1"},
        {"options": "-c work_mem=much"},
        {"options": "--nosuch"},
        {"options": "-z"},
        {"database": "nosuch"},
    ],
)
def test_wrong_ones_are_postgresqls_own_error(
    cluster: ReachableCluster[Any], proxy: Proxy, parameters: dict[str, str]
):
    def refusal(port: int) -> str:
        with pytest.raises(AssertionError) as raised:
            log_in(port, cluster, parameters)
        return str(raised.value)

    assert refusal(proxy.port) == refusal(cluster.primary.port)


@pytest.mark.parametrize(
    "statements",
    [
        [
            "set timezone='UTC'",
            "reset timezone",
            "show timezone",
            "reset all",
            "show search_path",
        ],
        ["set search_path=x", "set search_path to default", "show search_path", "discard all"],
        ["reset all", "show search_path", "show timezone", "discard all", "show datestyle"],
        ["set work_mem=1234", "reset all", "show timezone", "show work_mem"],
        [
            *("begin", "set timezone='UTC'", "reset timezone", "show timezone", "rollback"),
            *("show timezone", "begin", "select 1/0", "reset timezone", "rollback"),
        ],
        ["set timezone='UTC'", "begin", "reset timezone", "rollback", "show timezone"],
        ["listen x", "reset datestyle", "show datestyle", "discard all", "show datestyle"],
    ],
)
def test_reset_leads_back_to_what_was_asked_for_at_startup(
    cluster: ReachableCluster[Any], proxy: Proxy, statements: list[str]
):
    parameters = {
        "TimeZone": "Asia/Tokyo",
        "options": "-c search_path=foo,pg_catalog -c datestyle=german",
    }
    with (
        log_in(cluster.primary.port, cluster, parameters) as direct,
        log_in(proxy.port, cluster, parameters) as ours,
    ):
        for statement in [*statements, "select 1"]:
            assert ask(ours, statement) == ask(direct, statement), statement
        for name in ("TimeZone", "DateStyle"):
            assert ours.parameters[name] == direct.parameters[name]


def run(text: str, name: str = "") -> bytes:
    return parse(text, name) + bind(name) + execute()


@pytest.mark.parametrize(
    "pieces",
    [
        [["discard all"], ["set {}", "select 1/0"]],
        [["discard all", "set {}"], ["select 1/0"]],
        [["discard all", "set {}", "select 1/0"], []],
        [["discard all"], ["begin", "set {}"]],
        [["discard all"], ["begin", "set {}", "select 1/0"]],
        [["discard all", "begin"], ["set {}", "commit"]],
        [["discard all"], ["set {}"]],
        [["reset all"], ["set {}", "select 1/0"]],
        [["set {}"], ["select 1/0", "discard all"]],
    ],
)
@pytest.mark.parametrize(
    ("change", "startup"),
    [
        ("search_path = public", {"options": "-c search_path=behind,pg_catalog"}),
        ("timezone = 'America/Lima'", {"TimeZone": "Asia/Tokyo"}),
        ("client_encoding = utf8", {"client_encoding": "latin1"}),
        ("work_mem = '5MB'", {"options": "-c work_mem=7MB"}),
    ],
)
def test_what_a_discard_all_in_an_open_unit_puts_back_stays_so_whatever_fails_behind_it(
    cluster: ReachableCluster[Any],
    proxy: Proxy,
    pieces: list[list[str]],
    change: str,
    startup: dict[str, str],
):
    first, second = (b"".join(run(text.format(change)) for text in each) for each in pieces)
    name = change.partition(" ")[0]
    steps = (
        say(query("set work_mem = '9MB'")),
        say(first, FLUSH, second, SYNC),
        say(query("rollback")),
        say(query(f"show {name}")),
        say(query(f"select current_setting('{name}') from pg_catalog.pg_class limit 1")),
    )
    compare = Differential(cluster, proxy)
    direct, ours = (compare.play(side, steps, startup) for side in ("direct", "rwsplit"))
    # A value that does not last may be reported meanwhile.
    assert [without_reports(each) for each in ours] == [
        without_reports(each) for each in direct
    ]


def without_reports(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.code != b"S"]


@pytest.mark.parametrize(
    "texts",
    [
        ["reset all", "insert into placed values (1)"],
        ["select 1", "reset search_path", "insert into placed values (2)", "reset all"],
        ["reset all", "set search_path to public", "insert into placed values (3)"],
        ["reset all", "insert into placed values (4)", "select 1/0"],
        ["begin", "reset all", "insert into placed values (5)", "rollback"],
        ["reset all", "begin", "insert into placed values (6)"],
        ["discard all", "begin", "insert into placed values (7)"],
        ["discard all", "insert into placed values (8)", "begin", "set work_mem = '1MB'"],
        ["set search_path to public", "discard all"],
        ["discard all", "select 1"],
        ["discard all", "begin", "select 1"],
        ["reset all", "begin", "select 1"],
        ["discard all", "select 1/0"],
    ],
)
def test_what_follows_a_reset_in_a_pipeline_has_what_was_asked_for_at_startup(
    cluster: ReachableCluster[Any], proxy: Proxy, texts: list[str]
):
    with cluster.primary.connect("app", "app") as admin:
        admin.execute("create schema behind")
        admin.execute("create table behind.placed (a int)")
        admin.execute("create table public.placed (a int)")
        cluster.wait_until_replayed()
        try:
            compare = Differential(cluster, proxy)
            for named in (False, True):
                pipeline = b"".join(
                    run(text, f"s{number}" if named else "")
                    for number, text in enumerate(texts)
                )
                compare(
                    say(query("set work_mem = '9MB'")),
                    say(pipeline, SYNC),
                    say(query("rollback")),
                    say(query("show search_path")),
                    say(query("show work_mem")),
                    # On a replica, unless it has written.
                    say(
                        query(
                            "select current_setting('work_mem') from pg_catalog.pg_class limit 1"
                        )
                    ),
                    parameters={"options": "-c search_path=behind,pg_catalog -c work_mem=7MB"},
                )
            for schema in ("behind", "public"):
                rows = admin.execute(f"select count(*), count(distinct a) from {schema}.placed")  # type: ignore[arg-type]
                [(number, different)] = rows
                assert number == 4 * different  # as often directly as through rwsplit
        finally:
            admin.execute("drop schema behind cascade")
            admin.execute("drop table public.placed")
            cluster.wait_until_replayed()


@pytest.mark.parametrize(
    "reset", ["reset all", "reset standard_conforming_strings", "discard all"]
)
def test_a_session_with_strings_of_old_keeps_what_it_asked_for_at_startup(
    cluster: ReachableCluster[Any], proxy: Proxy, reset: str
):
    options = "-c standard_conforming_strings=off -c escape_string_warning=off"
    Differential(cluster, proxy)(
        say(query(r"select 'a\'b'")),
        say(query(reset)),
        say(query("show timezone")),
        say(query("show standard_conforming_strings")),
        say(query(r"select 'a\'b'")),
        parameters={"TimeZone": "Asia/Tokyo", "options": options},
    )


RUN = bind() + execute()


@pytest.mark.parametrize(
    ("begin", "text"),
    [
        ("select 1", "reset all"),
        ("select 1", "reset timezone"),
        ("select 1", "discard all"),
        ("begin", "reset all"),
        ("begin", "reset timezone"),
    ],
)
@pytest.mark.parametrize(
    "rest",
    [
        (RUN + FLUSH, SYNC),
        (FLUSH, RUN + SYNC),
        (RUN + execute() + FLUSH, SYNC),  # it is run, and then cannot be run again
        (RUN, query("select 1")),
    ],
    ids=["flushed", "run behind a Flush", "failed", "ended by a Query"],
)
def test_a_reset_in_an_open_unit_leads_back_to_what_was_asked_for_at_startup(
    cluster: ReachableCluster[Any],
    proxy: Proxy,
    begin: str,
    text: str,
    rest: tuple[bytes, ...],
):
    def told(port: int) -> object:
        with log_in(port, cluster, {"TimeZone": "America/Lima"}) as client:
            client.query("set timezone = 'Asia/Tokyo'")
            client.query(begin)
            client.send(parse(text) + rest[0])
            client.send(rest[1])
            client.frames_until(b"Z")
            shown = [rows(client.query("show timezone")) for _ in range(2)]
            client.query("rollback")
            shown.append(rows(client.query("show timezone")))
            return shown, client.parameters["TimeZone"]

    assert told(proxy.port) == told(cluster.primary.port)


@pytest.mark.parametrize("text", ["reset all", "reset timezone"])
def test_what_an_open_unit_resets_is_not_restored_where_it_is_set_or_rolled_back(
    cluster: ReachableCluster[Any], proxy: Proxy, text: str
):
    resets = parse(text) + RUN
    sets = "set timezone = 'Europe/Paris'"
    for unit in (
        resets + FLUSH + parse(sets) + RUN + SYNC,
        resets + query(sets),
        resets
        + parse("select set_config('timezone', 'Europe/Paris', false)")
        + FLUSH
        + RUN
        + SYNC,
        resets + query("rollback"),
        query(f"begin; {text}; rollback"),
        query("begin") + resets + FLUSH + parse("rollback") + RUN + SYNC,
        query("begin") + resets + FLUSH + parse("set local timezone = 'UTC'") + RUN + SYNC,
    ):
        Differential(cluster, proxy)(
            say(query("set timezone = 'Africa/Cairo'")),
            say(unit),
            say(query("show timezone")),
            say(query("rollback")),
            say(query("show timezone")),
            parameters={"TimeZone": "Asia/Tokyo"},
        )


@pytest.mark.parametrize(
    "text", ["reset all; select 1/0", "select 1; reset all; select nowhere"]
)
def test_a_reset_that_fails_leaves_what_was_set(
    cluster: ReachableCluster[Any], proxy: Proxy, text: str
):
    Differential(cluster, proxy)(
        say(query("set timezone = 'UTC'")),
        say(query(text)),
        say(query("show timezone")),
        say(query("begin"), query(text), query("rollback")),
        say(query("show timezone")),
        parameters={"TimeZone": "Asia/Tokyo"},
    )


def test_set_local_and_set_undone_by_rollback(proxy: Proxy):
    with proxy.connect(options="-c work_mem=7MB") as connection:
        with connection.transaction():
            connection.execute("set local work_mem = '5MB'")
            assert connection.execute("show work_mem").fetchone() == ("5MB",)
        assert connection.execute("show work_mem").fetchone() == ("7MB",)
        with connection.transaction(force_rollback=True):
            connection.execute("set work_mem = '9MB'")
        assert connection.execute("show work_mem").fetchone() == ("7MB",)
        connection.execute("set work_mem = '9MB'")
        for _ in range(6):
            assert connection.execute("show work_mem").fetchone() == ("9MB",)


def test_settings_of_the_role_hold(cluster: ReachableCluster[Any], proxy: Proxy):
    with cluster.primary.connect("app") as admin:
        admin.execute("alter role app set my.role_setting = 'of the role'")
        cluster.wait_until_replayed()
        try:
            # A database of its own: what is known of `app` in `app` need not be fresh.
            with proxy.connect("postgres") as connection:
                for node in EVERYWHERE:
                    found = connection.execute(
                        f"/* rwsplit: node={node} */ select current_setting('my.role_setting', true)"
                    ).fetchone()
                    assert found == ("of the role",)
        finally:
            admin.execute("alter role app reset all")
            cluster.wait_until_replayed()


def test_text_in_another_encoding_comes_and_goes_intact(proxy: Proxy):
    with proxy.connect(client_encoding="latin1") as connection:
        assert connection.execute("select 'Grüße'").fetchone() == ("Grüße",)
        assert connection.execute("select %s::text || 'ß'", ("ä",)).fetchone() == ("äß",)
    with proxy.connect(client_encoding="sjis") as connection:
        # 0x5c, a backslash in ASCII, is the second byte of this character.
        assert connection.execute("select '表' || %s::text", ("表",)).fetchone() == ("表表",)


def test_a_wrong_byte_in_a_query_is_postgresqls_error(
    cluster: ReachableCluster[Any], proxy: Proxy
):
    def answer(port: int) -> dict[str, str]:
        with log_in(port, cluster, {}) as client:
            client.send(b"Q" + (13 + 4).to_bytes(4, "big") + b"select '\xff\xfe\x80'\0"[:13])
            return error_fields(client.frames_until(b"E")[-1].payload)

    text = b"select '\xff\xfe\x80'\0"
    assert len(text) == 13
    assert answer(proxy.port) == answer(cluster.primary.port)


def test_an_unknown_user_is_refused_before_postgresql_is_asked(proxy: Proxy):
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            f"postgresql://nobody:x@{proxy.host}:{proxy.port}/app", connect_timeout=5
        )
