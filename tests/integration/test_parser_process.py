"""The parser process of a running rwsplit: killed at any time, nobody notices; it ends when rwsplit does."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.load import Load
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

#: Seconds; a busy machine, and one that measures coverage, are slow.
PATIENCE: Final = 30.0
#: Seconds the process is killed for.
STORM: Final = 6.0

_numbers = itertools.count()


@pytest.fixture
def alone(cluster: ReachableCluster[Any], tmp_path: Path) -> Iterator[Proxy]:
    """A proxy of its own."""
    with Proxy(cluster, tmp_path) as running:
        yield running


def parser_of(proxy: Proxy) -> int | None:
    """Return the id of the parser process of *proxy*, None if there is none."""
    found = []
    for task in Path(f"/proc/{proxy.pid}/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except OSError:
            continue
    for pid in found:
        try:
            if b"rwsplit.parser" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        except OSError:
            continue
    return None


def awaited(proxy: Proxy, *, other_than: int | None = None) -> int:
    """Return the id of the parser process when there is one."""
    assert wait_until(lambda: parser_of(proxy) not in {None, other_than}, timeout=PATIENCE)
    pid = parser_of(proxy)
    assert pid is not None
    return pid


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def long_read(length: int = 500) -> tuple[str, int]:
    """Return a read of a shape nobody has sent, and what it answers."""
    names = [f"c{next(_numbers)}_{n}" for n in range(length)]
    columns = ", ".join(f"{n} as {name}" for n, name in enumerate(names))
    return f"select {' + '.join(names)} from (select {columns}) t", sum(range(length))


def ask(connection: psycopg.Connection[Any]) -> bool:
    text, answer = long_read()
    [(found,)] = connection.execute(text.encode()).fetchall()
    assert found == answer
    return True


def route(connection: psycopg.Connection[Any]) -> tuple[str, str]:
    text, answer = long_read()
    assert connection.execute(text.encode()).fetchall() == [(answer,)]
    [(said,)] = connection.execute("show rwsplit.last_route").fetchall()
    target, _, reason = said.partition(" ")
    return target, reason


def endings(proxy: Proxy) -> dict[str, float]:
    """Return how many parser processes have ended, by reason."""
    lines = [row for found in proxy.console("SHOW METRICS") for row in found.values()]
    text = "\n".join(map(str, lines))
    counts = {}
    for line in text.splitlines():
        if line.startswith('rwsplit_parser_endings_total{reason="'):
            name, _, value = line.partition('"')[2].partition('"} ')
            counts[name] = float(value)
    return {name: count for name, count in counts.items() if count}


def test_long_statements_are_read_on_replicas(alone: Proxy):
    awaited(alone)
    with alone.connect() as connection:
        targets = {route(connection)[0] for _ in range(5)}
        assert "primary" not in targets
    assert not endings(alone)


def test_killed_at_any_time_nobody_notices(alone: Proxy):
    def bystand(connection: psycopg.Connection[Any]) -> None:
        nonlocal slowest
        began = time.monotonic()
        assert connection.execute("select 1").fetchone() == (1,)
        slowest = max(slowest, time.monotonic() - began)

    slowest, kills = 0.0, 0
    chance = random.Random(7)
    with Load(alone, bystand, clients=3) as bystanders, Load(alone, ask, clients=4) as askers:
        end = time.monotonic() + STORM
        while time.monotonic() < end:
            pid = parser_of(alone)
            if pid is not None and is_there(pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    continue
            threading.Event().wait(chance.choice([0.0, 0.02, 0.3, 0.8]))
        bystanders.go_on(50)
        askers.go_on(20)
    assert not bystanders.errors
    assert not askers.errors
    assert kills > 3
    print(
        f"{kills} kills; bystanders {bystanders.done}, slowest {slowest * 1000:.0f} ms; askers {askers.done}"
    )
    assert slowest < PATIENCE / 3

    def is_read_on_a_replica() -> bool:
        with alone.connect() as connection:  # it is not remembered for ever
            return route(connection)[0] != "primary"

    assert wait_until(is_read_on_a_replica, timeout=PATIENCE)
    assert "parser_ended" in alone.log()
    assert "client_failed" not in alone.log()


def test_a_text_that_takes_too_long_goes_to_the_primary_and_is_not_tried_again(alone: Proxy):
    awaited(alone)
    many = ", ".join(f"coalesce(f{n}(1 + 2), 1)" for n in range(30_000))
    text = f"select 1 from (select 1) t where false and ({many}) is null"
    with alone.connect() as connection:
        for _ in range(3):
            with pytest.raises(psycopg.Error):
                connection.execute(text.encode())
        [(said,)] = connection.execute("show rwsplit.last_route").fetchall()
        assert said.startswith("primary")
        assert sum(endings(alone).values()) <= 1


def test_bodies_of_the_catalog_are_read_there(alone: Proxy, cluster: ReachableCluster[Any]):
    """A database owner's worst bodies: each leaves its own function unknown at most, and the catalog is read."""
    signs = "select 1 " + "+" * 100_000 + "1"
    made = " || ".join(["quote_ident(a)"] * 8000)
    with cluster.primary.connect("app", "app") as owner:
        owner.execute("set check_function_bodies = off")
        owner.execute("create schema dear")
        try:
            for name, body in (("signs", signs), ("made", f"begin execute {made}; end")):
                owner.execute(
                    f"create function dear.{name}() returns int language plpgsql stable as $b${body}$b$".encode()
                )
            owner.execute(
                "create function dear.plain() returns int language sql stable as 'select 1'"
            )
            for number in range(1000):
                below = f"dear.chain{number - 1}()" if number else "1"
                owner.execute(
                    f"create function dear.chain{number}() returns int language sql stable as 'select {below}'".encode()
                )

            def is_known() -> bool:
                with alone.connect() as connection:
                    connection.execute("select dear.plain(), dear.chain7()")
                    [(said,)] = connection.execute("show rwsplit.last_route").fetchall()
                    return not said.startswith("primary")

            with alone.connect() as connection:  # DDL: the catalog is read again
                connection.execute(
                    "create function dear.last() returns int language sql stable as 'select 1'"
                )
            assert wait_until(is_known, timeout=PATIENCE)
        finally:
            owner.execute("drop schema dear cascade")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL])
def test_it_ends_with_rwsplit(
    cluster: ReachableCluster[Any], tmp_path: Path, signum: signal.Signals
):
    with Proxy(cluster, tmp_path) as running:
        pid = awaited(running)
        if signum is signal.SIGKILL:
            running.kill()
        else:
            running.signal(signum)
            running.wait(timeout=PATIENCE)
        assert wait_until(lambda: not is_there(pid), timeout=PATIENCE)
        assert "Traceback" not in running.log()


def test_signals_to_the_process_group_leave_it_alone(alone: Proxy):
    """Ctrl-C, and what systemd sends: rwsplit drains, and long statements are still read."""
    pid = awaited(alone)
    with alone.connect() as connection:
        connection.execute("begin")
        assert ask(connection)  # it is ready
        assert alone.pid is not None
        os.killpg(os.getpgid(alone.pid), signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        assert ask(connection)
        assert parser_of(alone) == pid
        connection.execute("commit")
    alone.wait(timeout=PATIENCE)
    assert wait_until(lambda: not is_there(pid), timeout=PATIENCE)
