"""EXECUTE, DEALLOCATE and PREPARE name statements of the protocol: what they mean is known when they run, not when they are parsed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.differential import Differential, say
from tests.support.messages import (
    FLUSH,
    SYNC,
    bind,
    close_statement,
    describe_portal,
    describe_statement,
    execute,
    parse,
    query,
    statement,
)
from tests.support.proxy import Proxy
from tests.support.raw_client import rows

pytestmark = pytest.mark.integration

ONE, TWO = parse("select 1", "p"), parse("select 2 as two, 'x'::text", "p")
FAILS = statement("select 1/0")


@pytest.fixture(scope="module", params=[1, 3], ids=["one server", "three servers"])
def proxy(
    cluster: ReachableCluster[Any],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Proxy]:
    settings = {"pool": {"size": request.param}}
    with Proxy(cluster, tmp_path_factory.mktemp("names"), settings) as running:
        yield running


@pytest.fixture(params=["outside", "inside"])
def play(cluster: ReachableCluster[Any], proxy: Proxy, request: pytest.FixtureRequest) -> Any:
    compare = Differential(cluster, proxy)
    before = [] if request.param == "outside" else [say(query("begin"))]
    return lambda *steps: compare(
        *before, *steps, say(query("rollback")), say(query("select 9"))
    )


def run(name: str = "") -> bytes:
    return bind(name) + describe_portal() + execute()


@pytest.mark.parametrize("name", ["ex", ""])
def test_execute_runs_what_its_name_means_by_then(play: Any, name: str):
    play(
        say(ONE, SYNC),
        say(parse("EXECUTE p", name), SYNC),
        say(run(name), SYNC),
        say(close_statement("p"), SYNC),
        say(TWO, SYNC),
        say(run(name), SYNC),
        say(run(name), SYNC),
        say(close_statement("p"), SYNC),
        say(run(name), SYNC),
    )


def test_execute_may_be_parsed_before_what_it_names(play: Any):
    play(
        say(parse("/* later */ execute p", "ex"), describe_statement("ex"), SYNC),
        say(ONE, SYNC),
        say(run("ex"), SYNC),
        say(close_statement("ex"), parse("execute p", "ex"), describe_statement("ex"), SYNC),
        say(run("ex"), SYNC),
    )


def test_execute_within_one_pipeline(play: Any):
    play(
        say(
            ONE, parse("execute p", "ex"), run("ex"), close_statement("p"), TWO, run("ex"), SYNC
        ),
        say(run("ex"), SYNC),
        say(ONE, SYNC),
        say(ONE + FLUSH, parse("execute p") + run() + SYNC, until=b"E"),
    )


def test_execute_in_messages_ended_by_a_flush(play: Any):
    play(
        say(ONE, parse("execute p", "ex"), FLUSH, until=b"11"),
        say(run("ex"), FLUSH, until=b"C"),
        say(close_statement("p"), TWO, FLUSH, until=b"31"),
        say(run("ex"), FLUSH, until=b"C"),
        say(SYNC),
    )


@pytest.mark.parametrize("name", ["d", ""])
def test_a_prepared_deallocate_takes_the_statement_when_it_is_executed(play: Any, name: str):
    play(
        say(parse("select 1", "x"), parse("DEALLOCATE x", name), SYNC),
        say(*[run("x"), SYNC] if name else [SYNC]),
        say(bind(name), SYNC),
        say(run(name), SYNC),
        say(bind("x"), execute(), SYNC),
    )


def test_a_prepared_deallocate_executed_twice(play: Any):
    end = (say(bind("x"), SYNC),)
    play(
        say(parse("select 1", "x"), parse("deallocate x", "d"), SYNC),
        say(bind("d"), execute(), SYNC),
        *end,
    )
    play(
        say(parse("select 1", "x"), parse("deallocate x", "d"), SYNC),
        say(bind("d"), execute(), SYNC),
        say(bind("d"), execute(), SYNC),
    )
    play(
        say(parse("select 1", "x"), parse("deallocate x", "d"), SYNC),
        say(bind("d"), execute(), SYNC),
        say(parse("select 2", "x"), SYNC),
        say(run("x"), SYNC),
        say(bind("d"), execute(), SYNC),
        say(run("x"), SYNC),
    )


def test_a_deallocate_that_is_skipped_takes_nothing(play: Any):
    play(
        say(parse("select 1", "x"), parse("deallocate x", "d"), SYNC),
        say(FAILS, bind("d"), execute(), SYNC),
        say(query("rollback")),
        say(run("x"), SYNC),
        say(bind("d"), execute(), FAILS, SYNC),
        say(query("rollback")),
        say(bind("x"), SYNC),
    )


def test_several_deallocated_at_once(play: Any):
    play(
        say(parse("select 1", "x"), parse("select 2", "y"), SYNC),
        say(statement("deallocate x"), statement("deallocate y"), SYNC),
        say(bind("x"), SYNC),
        say(query("rollback")),
        say(bind("y"), SYNC),
    )


def test_a_prepared_prepare_takes_no_name_in_use(play: Any):
    play(
        say(parse("prepare p as select 5", "pr"), SYNC),
        say(ONE, SYNC),
        say(bind("pr"), execute(), SYNC),
        say(query("rollback")),
        say(run("p"), SYNC),
        say(close_statement("p"), SYNC),
        say(bind("pr"), execute(), SYNC),
        say(query("execute p")),
        say(query("deallocate all")),
    )


@pytest.mark.parametrize(
    "text", ["execute p(1)", "execute p('x', 2)", "execute p (nosuch)", "  execute p(1 +, 2)"]
)
def test_errors_say_the_clients_names_and_places(play: Any, text: str):
    for named in (parse("select $1::int", "p"), ONE):
        play(say(named, SYNC), say(query(text)))
        play(say(named, SYNC), say(parse(text, "ex"), SYNC), say(run("ex"), SYNC))
        play(say(named, SYNC), say(parse(text), bind("", ["1"]), SYNC))
        play(say(named, SYNC), say(parse(text), run(), SYNC))


def test_what_a_prepared_setting_of_rwsplits_sets_it_sets_when_it_is_executed(proxy: Proxy):
    def shown() -> bytes | None:
        [[value]] = rows(client.query("show rwsplit.route"))
        return value

    with proxy.raw() as client:
        client.send(parse("set rwsplit.route = 'primary'", "s"), describe_statement("s"), SYNC)
        client.frames_until(b"Z")
        assert shown() == b"auto"
        client.send(bind("s"), SYNC)
        client.frames_until(b"Z")
        assert shown() == b"auto"
        client.send(bind("s"), execute(), SYNC)
        client.frames_until(b"Z")
        assert shown() == b"primary"
        client.send(statement("reset rwsplit.route"), SYNC)
        client.frames_until(b"Z")
        assert shown() == b"auto"
