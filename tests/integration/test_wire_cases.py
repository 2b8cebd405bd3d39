"""The wire: every case that broke another proxy, said to PostgreSQL and to rwsplit; what comes back must be equal.

Each test bears the number of its entry. It runs outside and inside of a transaction, sent at once and one byte at a time,
and in the simple and the extended protocol where it does not choose one. Entries about time, failure, keys, TLS or many clients
are in `tests.support.wire_table`, with the tests that show them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, Step, hang_up, say
from tests.support.messages import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    close_portal,
    close_statement,
    copy_data,
    copy_fail,
    describe_portal,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
    statement,
)
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame
from tests.support.wire_table import ELSEWHERE, ENTRIES, exists, functions

pytestmark = pytest.mark.integration

Play = Callable[..., list[list[Frame]]]
Run = Callable[[str], bytes]
#: OID of pg_catalog.factorial(bigint).
FACTORIAL = 1376
TABLE = "wired"


@pytest.fixture(scope="module")
def narrow(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """One server per node: what is left on it meets the next session."""
    with cluster.primary.connect("app", "app") as connection:
        connection.execute(f"create table {TABLE} (a int)")
        connection.execute(f"insert into {TABLE} values (1), (2), (3)")
        cluster.wait_until_replayed()
        with Proxy(
            cluster, tmp_path_factory.mktemp("narrow"), {"pool": {"size": 1}}
        ) as running:
            yield running
        connection.execute(f"drop table {TABLE}")


@pytest.fixture(params=["at once", "byte by byte"])
def compare(
    cluster: ReachableCluster[Any], narrow: Proxy, request: pytest.FixtureRequest
) -> Differential:
    return Differential(cluster, narrow, bytewise=request.param != "at once")


@pytest.fixture(params=["outside", "inside", "behind a read"])
def play(compare: Differential, request: pytest.FixtureRequest) -> Play:
    """Compare steps outside of a transaction, as the first of one, and in one that has read on a replica."""
    before = {
        "outside": [],
        "inside": [say(query("begin"))],
        "behind a read": [say(query("begin")), say(query(f"select count(*) > 1 from {TABLE}"))],
    }[request.param]

    def compared(*steps: Step, parameters: dict[str, str] | None = None) -> list[list[Frame]]:
        ends = (
            [] if steps[-1].closes else [say(query("rollback")), say(query("select 'after'"))]
        )
        return compare(*before, *steps, *ends, parameters=parameters)[len(before) :]

    return compared


@pytest.fixture(params=["simple", "extended"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return what runs a text, by either protocol."""
    if request.param == "simple":
        return query
    return lambda text: statement(text) + SYNC


def test_01_behind_an_error_everything_is_discarded_until_sync_also_a_query(play: Play):
    play(
        say(statement("select 1/0"), statement("select 2"), SYNC),
        say(statement("selec"), query("select 'skipped'"), FLUSH, SYNC, until=b"Z"),
        say(query("select 3")),
    )


def test_02_an_error_leaves_at_once_not_with_the_sync(play: Play):
    play(say(statement("select nowhere"), FLUSH, until=b"E"), say(statement("select 1"), SYNC))


def test_03_several_units_are_in_flight(play: Play, run: Run):
    play(Step(run("select 1") + run("select 2") + run(f"table {TABLE} limit 1"), b"ZZZ"))


def test_04_each_sync_is_one_implicit_transaction(play: Play):
    write, fails = f"insert into {TABLE} values (4)", "select 1/0"
    play(
        say(statement(write), statement(fails), SYNC, statement("select 1"), SYNC),
        say(query(f"select count(*) from {TABLE} where a = 4")),
    )


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_05_begin_by_one_protocol_and_statements_by_the_other(play: Play, end: str):
    play(
        say(query("begin"), statement("select 1"), SYNC, query(f"table {TABLE}"), query(end)),
        say(statement("begin"), SYNC, query("select 1"), statement(end), SYNC),
        say(query("begin"), statement("select 1/0"), SYNC, query("select 2"), query(end)),
    )


def test_06_terminate_behind_a_request_lets_it_finish(play: Play, run: Run):
    play(hang_up(run("select 1"), run("select 2"), TERMINATE))


@pytest.mark.parametrize("name", ["known", "nobody"])
def test_08_a_lone_describe(play: Play, name: str):
    play(
        say(parse("select $1::int", "known"), SYNC),
        say(describe_statement(name), SYNC),
        say(query("select 1")),
        say(describe_statement(name), FLUSH, SYNC),
    )


@pytest.mark.parametrize("ending", ["deallocate all", "deallocate a", "discard all", ""])
def test_09_what_is_closed_in_a_pipeline_spares_what_is_parsed_later(play: Play, ending: str):
    closes = statement(ending) if ending else close_statement("a")
    play(
        say(parse("select 1", "a"), SYNC),
        say(closes, parse("select 2", "a"), bind("a"), execute(), SYNC),
        say(bind("a"), describe_portal(), execute(), SYNC),
    )


def test_10_a_name_in_use_and_the_unnamed_statement_replaced(play: Play):
    play(
        say(parse("select 1", "a"), parse("select 2"), SYNC),
        say(parse("select 3", "a"), SYNC, parse("select 4"), SYNC),
        say(bind("a"), execute(), bind(), execute(), SYNC),
    )


def test_11_prepare_execute_and_deallocate_of_sql(play: Play, run: Run):
    play(
        *(Step(run(text), b"Z") for text in ("prepare a(int) as select $1", "execute a(1)")),
        say(bind("a", ["2"]), describe_portal(), execute(), SYNC),
        say(parse("select 3", "b"), SYNC),
        *(Step(run(text), b"Z") for text in ("execute b", "deallocate b", "execute b")),
        say(close_statement("a"), SYNC),
        Step(run("execute a(1)"), b"Z"),
    )


def test_12_begin_and_commit_prepared_by_name_are_not_lost(play: Play):
    play(
        say(parse("begin", "b"), parse("commit", "c"), parse("rollback", "r"), SYNC),
        *(say(bind(name), describe_portal(), execute(), SYNC) for name in "rb"),
        say(query(f"insert into {TABLE} values (5)")),
        say(bind("c"), execute(), SYNC),
        say(query(f"delete from {TABLE} where a = 5")),
    )


def test_13_the_unnamed_statement_lives_until_the_next_parse_or_query(play: Play):
    play(
        say(parse("select 1"), SYNC),
        say(SYNC, bind(), execute(), SYNC),
        say(parse("select 2"), SYNC, bind(), execute(), SYNC),
        say(query("select 3"), bind(), execute(), SYNC),
    )


def test_14_portals_suspend_and_go_on(play: Play):
    rows = f"select a from {TABLE} order by a"
    play(
        say(parse(rows), bind(portal="p"), execute("p", limit=1), FLUSH, until=b"s"),
        say(execute("p", limit=1), execute("p"), close_portal("p"), SYNC),
        say(parse(rows), bind(portal="p"), execute("p", limit=1), SYNC),
        say(execute("p"), SYNC),
    )


def test_15_result_formats_and_parameter_types(play: Play):
    number = b"\0\0\0\5"
    play(
        say(parse("select $1, $2", "t", [23, 25]), describe_statement("t"), SYNC),
        say(bind("t", [number, b"x"], formats=[1, 0], results=[1, 0]), execute(), SYNC),
        say(bind("t", [number, b"x"], formats=[1], results=[1]), describe_portal(), SYNC),
        say(bind("t", ["6", None]), execute(), SYNC),
        say(parse("select $1, $2", "u", [20, 25]), describe_statement("u"), SYNC),
    )


COPY = parse(f"copy {TABLE} from stdin") + bind() + describe_portal() + execute()


@pytest.mark.parametrize("ignored", [SYNC, FLUSH, SYNC + SYNC], ids=["sync", "flush", "syncs"])
def test_17_a_sync_within_copy_is_ignored(play: Play, ignored: bytes):
    play(
        say(COPY, ignored, until=b"G"),
        say(copy_data(b"7\n"), COPY_DONE, SYNC),
        say(query(f"delete from {TABLE} where a = 7")),
    )


def test_18_copy_fails_while_the_client_streams(play: Play):
    late = copy_data(b"8\n") * 20 + COPY_DONE
    play(
        say(query(f"copy {TABLE} from stdin"), copy_data(b"x\n"), late, until=b"Z"),
        say(query("rollback")),
        say(COPY, SYNC, copy_data(b"x\n"), late, SYNC, until=b"Z"),
    )


def test_19_copy_ends_as_its_client_says(play: Play):
    play(
        say(query(f"copy {TABLE} from stdin"), until=b"G"),
        say(copy_data(b"9\n"), copy_fail("no more"), until=b"Z"),
        say(query("rollback")),
        say(COPY, FLUSH, until=b"G"),
        say(copy_data(b"9\n"), copy_fail("no more"), SYNC),
        say(query("rollback")),
        say(query(f"copy (select a from {TABLE} where a < 4 order by a) to stdout")),
    )


def test_26_what_a_client_asks_for_when_it_connects(play: Play, run: Run):
    play(
        *(Step(run(f"show {name}"), b"Z") for name in ("work_mem", "datestyle", "timezone")),
        parameters={"options": "-c work_mem=7MB --datestyle=sql", "TimeZone": "America/Lima"},
    )


@pytest.mark.parametrize("change", ["set role pg_monitor", "set session authorization app"])
def test_28_roles_survive_reset_all(play: Play, run: Run, change: str):
    asked = "select current_user, session_user"
    play(*(Step(run(text), b"Z") for text in (change, asked, "reset all", asked, "reset role")))


@pytest.mark.parametrize("undone", ["rollback", "rollback to s", "commit"])
def test_29_set_is_undone_with_its_transaction(play: Play, run: Run, undone: str):
    texts = ("begin", "savepoint s", "set work_mem = '9MB'", undone, "show work_mem")
    play(*(Step(run(text), b"Z") for text in (*texts, "commit", "show work_mem")))


def test_30_set_local(play: Play, run: Run):
    texts = ("begin", "set local work_mem = '9MB'", "show work_mem", "commit", "show work_mem")
    play(*(Step(run(text), b"Z") for text in ("set local timezone = 'UTC'", *texts)))


@pytest.mark.parametrize("local", ["true", "false"])
def test_31_set_config_in_a_select(play: Play, run: Run, local: str):
    sets = f"select pg_catalog.set_config('search_path', '', {local})"
    play(*(Step(run(text), b"Z") for text in (sets, "show search_path", f"table {TABLE}")))


@pytest.mark.parametrize(
    "change",
    [
        "set search_path to pg_catalog, public",
        "set timezone = 'Asia/Tokyo'",
        "set datestyle = 'german'",
        "set statement_timeout = '10s'",
        "set mine.own = 'x'",
        "set default_transaction_isolation = 'repeatable read'",
        "set session characteristics as transaction read only",
    ],
)
def test_33_parameters_of_a_session(play: Play, run: Run, change: str):
    found = re.match(r"set (?:session characteristics as )?(\S+)", change)
    assert found is not None
    name = "default_transaction_read_only" if found[1] == "transaction" else found[1]
    show = f"select current_setting('{name}')"
    play(*(Step(run(text), b"Z") for text in (change, show, "commit", show, "reset all", show)))


@pytest.mark.parametrize(
    "texts",
    [
        ("listen l", "notify l", "unlisten l"),
        ("create temp table t (a int)", "insert into t values (1)", "table t", "drop table t"),
        ("select pg_advisory_lock(7)", "select 1", "select pg_advisory_unlock(7)"),
        (f"declare h cursor with hold for select a from {TABLE} order by a", "fetch h"),
        ("create temp sequence s", "select nextval('s')", "select currval('s'), lastval()"),
        ("prepare a as select 5; prepare b as select 6", "execute a", "execute b"),
        ("load 'plpgsql'", "select 1"),
        ("begin", "select pg_export_snapshot() is not null", "commit"),
    ],
    ids=lambda texts: texts[0].split(" for ")[0],
)
def test_34_state_that_keeps_its_server(play: Play, run: Run, texts: tuple[str, ...]):
    play(*(Step(run(text), b"Z") for text in (*texts, "commit", *texts[1:], "discard all")))


def test_36_notices_belong_to_the_running_unit(play: Play, run: Run):
    raises = "do $$begin raise notice 'n'; raise warning 'w'; end$$"
    play(Step(run("select 1") + run(raises) + run("select 2"), b"ZZZ"))


def test_37_a_server_told_to_end_says_so_once(play: Play):
    play(
        say(query("select 1")), hang_up(query("select pg_terminate_backend(pg_backend_pid())"))
    )


@pytest.mark.parametrize("text", ["", ";", "/* nothing */", "select 1; ; select 2"])
def test_40_empty_queries_and_strings_of_several(play: Play, text: str):
    play(
        say(query(text)),
        say(parse(text), bind(), describe_portal(), execute(), SYNC),
        say(query("select 1; select 1/0; select 2")),
        say(query(text)),
        say(statement(text), SYNC),
    )


def test_41_function_calls(play: Play):
    play(
        say(function_call(FACTORIAL, b"5")),
        say(statement("select 1"), function_call(FACTORIAL, b"6"), SYNC, until=b"ZZ"),
        say(function_call(4_000_000_000)),
    )


def test_every_entry_is_played_here_or_shown_elsewhere():
    here = {int(name[5:7]) for name in functions(Path(__file__)) if name[5:7].isdigit()}
    assert sorted([*here, *ELSEWHERE]) == list(range(1, ENTRIES + 1))


@pytest.mark.parametrize(
    "test", sorted({test for tests in ELSEWHERE.values() for test in tests})
)
def test_what_is_shown_elsewhere_is_there(test: str):
    assert exists(test)
