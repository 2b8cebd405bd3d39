"""Databases are read when they are used, when DDL passed through, and from time to time; never in a hurry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import trio
import trio.testing
from structlog.testing import LogCapture

from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation
from rwsplit.config.model import Config, MonitorConfig, NodeConfig
from rwsplit.lsn import LSN
from rwsplit.monitor.board import Board
from rwsplit.monitor.catalog import DEBOUNCE, PAUSE_FACTOR, RETRY, Catalogs
from rwsplit.monitor.census_reader import CensusFailed, Parameters
from rwsplit.session.knowledge import Knowledge
from rwsplit.session.vocabulary import Scope
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.census import Listed
from rwsplit.sql.facts import HARMLESS
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import Redefined

INTERVAL = 60.0
CATALOG = Catalog(functions={("public", "f"): HARMLESS})


class FakeReader:
    """Answers after *delay*, unless it is to fail; remembers when it was asked."""

    waited = 0.0

    def __init__(self) -> None:
        self.looks: list[tuple[str, float]] = []
        self.started = trio.current_time()
        self.delay = 0.0
        self.failure: CensusFailed | None = None
        self.catalog = CATALOG
        self.dropped: set[str] = set()

    async def read(
        self, parameters: Parameters, password: str | Path | None, listed: Listed
    ) -> Catalog:
        assert password == "secret"
        assert listed("f") is None
        self.looks.append((str(parameters["dbname"]), trio.current_time()))
        await trio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure
        return self.catalog

    async def is_gone(
        self, parameters: Parameters, password: str | Path | None, database: str
    ) -> bool:
        assert (parameters["dbname"], password) == (MonitorConfig().database, "secret")
        await trio.lowlevel.checkpoint()
        return database in self.dropped

    def times(self) -> list[float]:
        return [round(at - self.started, 3) for _, at in self.looks]


class Stage:
    """Everything the catalogs of a process need, at second 0 of a simulated clock."""

    def __init__(self, interval: float = INTERVAL) -> None:
        self.board = Board(configure(interval))
        functions = FunctionBook()
        self.knowledge = Knowledge(StatementCache(functions, size=100), functions)
        self.reader = FakeReader()
        self.catalogs = Catalogs(self.board, self.knowledge, lambda: self.reader)
        self.log = LogCapture()

    def elect(self) -> None:
        self.board.observed(
            "pg0",
            Observation(
                role=Role.PRIMARY,
                timeline=1,
                lsn=LSN(1000),
                system_identifier="7",
                server_version="16.4",
            ),
            trio.current_time(),
        )

    def use(self, database: str = "shop") -> Scope:
        self.catalogs.want(database)
        return self.knowledge.scope(database, "app")

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.log.entries if "catalog" in entry["event"]]


def configure(interval: float) -> Config:
    return Config(
        nodes=(NodeConfig(name="pg0", host="10.0.0.1"),),
        monitor=MonitorConfig(password="secret", catalog_interval=interval, rise=1),
    )


@asynccontextmanager
async def playing() -> AsyncIterator[Stage]:
    stage = Stage()
    before = structlog.get_config()
    structlog.configure(processors=[stage.log])
    stage.elect()
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.catalogs.run)
        yield stage
        nursery.cancel_scope.cancel()
    structlog.configure(**before)


async def test_a_database_is_read_at_its_first_use_and_from_time_to_time(
    autojump_clock: trio.testing.MockClock,
):
    async with playing() as stage:
        scope = stage.use()
        again = stage.use()
        await trio.sleep(2.5 * INTERVAL)

        assert stage.reader.times() == [0.0, INTERVAL, 2 * INTERVAL]
        assert stage.knowledge.catalog("shop") is CATALOG
        assert scope is again
        assert stage.events() == ["catalog_read"] * 3
        assert [
            entry["log_level"]
            for entry in stage.log.entries
            if entry["event"] == "catalog_read"
        ] == [
            "info",
            "debug",
            "debug",
        ]


async def test_nothing_is_read_before_there_is_a_primary(
    autojump_clock: trio.testing.MockClock,
):
    stage = Stage()
    scope = stage.use()
    async with trio.open_nursery() as nursery:
        await nursery.start(stage.catalogs.run)
        await trio.sleep(5)
        assert stage.reader.looks == []
        stage.elect()
        await trio.sleep(1)
        assert stage.reader.times() == [5.0]
        assert scope.database == "shop"
        nursery.cancel_scope.cancel()


async def test_much_ddl_gives_rise_to_few_looks(autojump_clock: trio.testing.MockClock):
    async with playing() as stage:
        scope = stage.use()
        stage.reader.delay = 0.2
        await trio.sleep(10)
        for _ in range(100):
            doubts = [stage.knowledge.doubt(scope.database, Redefined(frozenset({"f"})))]
            stage.knowledge.settle(scope.database, doubts)
            await trio.sleep(0.05)
        await trio.sleep(10)

        pause = stage.reader.delay * PAUSE_FACTOR
        first = 10 + pause
        assert stage.reader.times()[:3] == [0.0, round(first, 3), round(first + 0.2 + pause, 3)]
        assert len(stage.reader.looks) <= 8
        assert stage.knowledge.settled("shop") == []
        stage.knowledge.on_ddl("elsewhere")


async def test_ddl_is_followed_by_a_look_soon(autojump_clock: trio.testing.MockClock):
    async with playing() as stage:
        scope = stage.use()
        await trio.sleep(10)
        stage.knowledge.settle(scope.database, [])
        await trio.sleep(10)

        assert stage.reader.times() == [0.0, 10 + DEBOUNCE]


async def test_a_doubt_that_ended_while_a_look_was_under_way_stays(
    autojump_clock: trio.testing.MockClock,
):
    async with playing() as stage:
        scope = stage.use()
        stage.reader.delay = 1.0
        await trio.sleep(0.5)
        doubt = stage.knowledge.doubt(scope.database, Redefined(frozenset({"f"})))
        stage.knowledge.settle(scope.database, [doubt])
        await trio.sleep(1.0)
        assert stage.knowledge.settled("shop") == [doubt]
        await trio.sleep(10)
        assert stage.knowledge.settled("shop") == []


async def test_a_look_that_fails_is_repeated_soon_and_said_once(
    autojump_clock: trio.testing.MockClock,
):
    async with playing() as stage:
        scope = stage.use()
        stage.reader.failure = CensusFailed("canceling statement", refused=False)
        await trio.sleep(2.5 * RETRY)
        assert stage.reader.times() == [0.0, RETRY, 2 * RETRY]
        assert stage.events() == ["catalog_unavailable"]
        assert stage.knowledge.catalog(scope.database) is None

        stage.reader.failure = None
        await trio.sleep(RETRY)
        assert stage.events() == ["catalog_unavailable", "catalog_read"]
        assert stage.knowledge.catalog(scope.database) is CATALOG


async def test_a_database_that_refuses_is_asked_again_in_time(
    autojump_clock: trio.testing.MockClock,
):
    async with playing() as stage:
        scope = stage.use()
        stage.reader.failure = CensusFailed("permission denied", refused=True)
        await trio.sleep(INTERVAL / 2)
        stage.catalogs.refresh(scope.database)
        await trio.sleep(INTERVAL)

        assert stage.reader.times() == [0.0, INTERVAL]
        assert stage.events() == ["catalog_unavailable"]


async def test_a_database_that_was_dropped_is_no_warning(
    autojump_clock: trio.testing.MockClock,
):
    async with playing() as stage:
        scope = stage.use()
        await trio.sleep(1)
        stage.reader.failure = CensusFailed('database "shop" does not exist', refused=True)
        stage.reader.dropped.add("shop")
        await trio.sleep(3 * INTERVAL)

        told = [(entry["event"], entry["log_level"]) for entry in stage.log.entries]
        assert told[-1] == ("database_gone", "info")
        assert stage.events() == ["catalog_read"]
        assert scope.database == "shop"


async def test_a_database_nobody_uses_is_forgotten(autojump_clock: trio.testing.MockClock):
    async with playing() as stage:
        scope = stage.use()
        await trio.sleep(1)
        del scope
        await trio.sleep(3 * INTERVAL)

        assert stage.reader.times() == [0.0]
        assert stage.knowledge.catalog("shop") is None
        again = stage.use()
        await trio.sleep(1)
        assert stage.knowledge.catalog(again.database) is CATALOG


async def test_a_reload_turns_it_off_and_on(autojump_clock: trio.testing.MockClock):
    async with playing() as stage:
        scope = stage.use()
        await trio.sleep(1)

        def reload(interval: float) -> None:
            stage.board.reconfigure(configure(interval))
            stage.elect()
            stage.catalogs.refresh_all()

        reload(0.0)
        await trio.sleep(1)
        assert stage.knowledge.catalog(scope.database) is None
        reload(10.0)
        await trio.sleep(25)
        assert stage.knowledge.catalog(scope.database) is CATALOG
        assert len(stage.reader.looks) == 4


async def test_where_nothing_is_known_nothing_is_doubted(
    autojump_clock: trio.testing.MockClock,
):
    async with playing() as stage:
        scope = stage.use()
        stage.reader.failure = CensusFailed("permission denied", refused=True)
        await trio.sleep(1)
        doubt = stage.knowledge.doubt(scope.database, Redefined(frozenset({"f"})))
        stage.knowledge.settle(scope.database, [doubt])
        await trio.sleep(INTERVAL)
        assert stage.knowledge.settled("shop") == []


async def test_what_a_look_waited_for_texts_does_not_put_off_the_next_one(
    autojump_clock: trio.testing.MockClock,
):
    """The parser process may have been starting, or busy with others: that was no work for the primary."""
    async with playing() as stage:
        stage.reader.delay, stage.reader.waited = 2.0, 2.0
        stage.use()
        await trio.sleep(3.0)
        stage.catalogs.refresh("shop")
        await trio.sleep(DEBOUNCE + 0.01)
        assert stage.reader.times() == [0.0, round(3.0 + DEBOUNCE, 3)]
