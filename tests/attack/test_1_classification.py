"""Item 1: whatever a text costs to parse, nobody else waits for it.

A bystander asks `select 1` all the time and logs in now and then; its slowest is reported. What is asserted is what
happened, not how fast: nobody's connection failed, everybody was answered as PostgreSQL answers.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.attack.dear_texts import TEXTS
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

#: Seconds; what used to be for ever. A machine with more to do than processors is slow.
PATIENCE: Final = 20.0
#: Clients that send long texts at once, and texts of each.
CROWD, EACH = 45, int(os.environ.get("RWSPLIT_ATTACK_ROUNDS", "1"))


class Bystander:
    """Somebody who wants to work while all that goes on."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._began = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.queries = self.logins = 0
        self.slowest_query = self.slowest_login = 0.0
        self.errors: list[Exception] = []

    def __enter__(self) -> Bystander:
        self._thread.start()
        assert self._began.wait(PATIENCE), self.errors
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert not self.errors
        assert self.queries

    def _run(self) -> None:
        try:
            while not self._done.is_set():
                self._log_in()
        except Exception as error:  # noqa: BLE001 - the test judges
            self.errors.append(error)

    def _log_in(self) -> None:
        began = time.monotonic()
        with self._proxy.connect(connect_timeout=int(PATIENCE)) as connection:
            self.logins += 1
            self.slowest_login = max(self.slowest_login, time.monotonic() - began)
            until = time.monotonic() + 0.2
            while time.monotonic() < until and not self._done.is_set():
                began = time.monotonic()
                assert connection.execute("select 1").fetchone() == (1,)
                self.queries += 1
                self._began.set()
                self.slowest_query = max(self.slowest_query, time.monotonic() - began)

    def __str__(self) -> str:
        return (
            f"{self.queries} queries, slowest {self.slowest_query * 1000:.0f} ms;"
            f" {self.logins} logins, slowest {self.slowest_login * 1000:.0f} ms"
        )


def state_of(connection: psycopg.Connection[Any], text: str) -> str | None:
    """Return the SQLSTATE *text* ends with, None if it is none."""
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        return error.sqlstate
    return None


@pytest.fixture(scope="module")
def besieged(
    cluster: ReachableCluster[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A proxy of its own, as fast as it is."""
    with Proxy(cluster, tmp_path_factory.mktemp("besieged"), measured=False) as running:
        yield running
        log = running.log()
        assert "client_failed" not in log
        assert "node_down" not in log
        assert "node_banned" not in log


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_stops_anybody(besieged: Proxy, cluster: ReachableCluster[Any], name: str):
    text = TEXTS[name]
    with cluster.primary.connect("app") as directly:
        expected = state_of(directly, text)
    with Bystander(besieged) as bystander, besieged.connect() as connection:
        began = time.monotonic()
        for _ in range(2):  # not only the first time
            assert state_of(connection, text) == expected
        took = time.monotonic() - began
    print(f"{name}: {took * 1000:.0f} ms; bystander: {bystander}")
    assert took < PATIENCE
    assert bystander.slowest_query < PATIENCE / 4


def test_a_crowd_with_long_texts_stops_nobody(besieged: Proxy):
    """So many threads held by texts kept logins from looking up names, and nodes were banned."""
    answers: list[object] = []
    errors: list[Exception] = []

    def ask(number: int) -> None:
        try:
            with besieged.connect() as connection:
                for turn in range(EACH):
                    columns = ", ".join(f"{n} as c{number}_{turn}_{n}" for n in range(1000))
                    text = f"select count(*) from (select {columns}) t"
                    answers.append(connection.execute(text.encode()).fetchone())
        except Exception as error:  # noqa: BLE001 - the test judges
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CROWD)]
    with Bystander(besieged) as bystander:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(6 * PATIENCE)
    print(f"bystander: {bystander}")
    assert not any(thread.is_alive() for thread in threads)
    assert not errors
    assert answers == [(1,)] * (CROWD * EACH)
    assert bystander.logins > 1


def test_there_is_one_parser_process_however_many_texts(besieged: Proxy):
    assert besieged.pid is not None
    children = [
        pid
        for task in Path(f"/proc/{besieged.pid}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    parsers = [
        pid
        for pid in children
        if b"rwsplit.parser" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(parsers) == 1
