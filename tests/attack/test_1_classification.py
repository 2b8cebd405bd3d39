"""Item 1: whatever a text costs to parse, nobody else waits for it.

A bystander asks `select 1` all the time and logs in now and then; its slowest query and login are reported. What is asserted is what
happened, not how fast: nobody's connection failed, everybody was answered as PostgreSQL answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.attack.expensive_texts import TEXTS
from tests.support.attack_length import TIMES
from tests.support.bystander import Bystander
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

#: Seconds; what used to be for ever. A machine with more to do than processors is slow.
PATIENCE: Final = 20.0
#: Clients that send long texts at once, and texts of each.
CROWD, EACH = 45, TIMES


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
        for _ in range(2 * TIMES):  # not only the first time
            assert state_of(connection, text) == expected
        took = time.monotonic() - began
    print(f"{name}: {took * 1000:.0f} ms")
    assert took < PATIENCE * TIMES
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
            thread.join(6 * PATIENCE * TIMES)
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
