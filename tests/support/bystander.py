"""A bystander: a client that works steadily while others attack rwsplit, and measures how long it waits.

    with Bystander(proxy) as bystander:
        attack()
    assert bystander.slowest_query < 1.0

It logs in, asks for a fifth of a second, checks each answer, and logs in again. At the end of a test run the slowest query
and login of each file of tests are printed in milliseconds (this module is a pytest plugin, see tests/conftest.py).
"""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Final

import attrs
import pytest

from tests.support.proxy import Proxy

#: Seconds of one session of a bystander.
SESSION: Final = 0.2
#: Seconds a bystander's first answer, and its last, may take.
PATIENCE: Final = 20.0


@attrs.frozen
class Waits:
    """How long the bystander of one test has waited."""

    test: str
    """Its file and its name, as pytest has them."""
    queries: int
    logins: int
    slowest_query: float
    slowest_login: float

    def __str__(self) -> str:
        return (
            f"{self.queries} queries, slowest {self.slowest_query * 1000:.0f} ms;"
            f" {self.logins} logins, slowest {self.slowest_login * 1000:.0f} ms"
        )


#: Of every bystander of this process, in the order they ended.
ALL_WAITS: Final[list[Waits]] = []


class Bystander:
    """A client of *proxy* in a thread of its own; a query every *pause* seconds, or one after the other."""

    def __init__(self, proxy: Proxy, *, patience: float = PATIENCE, pause: float = 0.0) -> None:
        self.query_seconds: list[float] = []
        self.login_seconds: list[float] = []
        self.errors: list[Exception] = []
        self._proxy = proxy
        self._patience = patience
        self._pause = pause
        self._answered = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Bystander:
        self._thread.start()
        assert self._answered.wait(self._patience), self.errors
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(self._patience)
        waits = self.waits()
        ALL_WAITS.append(waits)
        print(f"bystander: {waits}")
        if kind is None:
            assert not self._thread.is_alive(), "the bystander hangs"
            assert not self.errors

    @property
    def queries(self) -> int:
        """How many queries were answered."""
        return len(self.query_seconds)

    @property
    def logins(self) -> int:
        """How many logins succeeded."""
        return len(self.login_seconds)

    @property
    def slowest_query(self) -> float:
        """Seconds the slowest query took."""
        return max(self.query_seconds, default=0.0)

    @property
    def slowest_login(self) -> float:
        """Seconds the slowest login took."""
        return max(self.login_seconds, default=0.0)

    def waits(self) -> Waits:
        """Return how long it has waited so far."""
        return Waits(
            test=os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0],
            queries=self.queries,
            logins=self.logins,
            slowest_query=self.slowest_query,
            slowest_login=self.slowest_login,
        )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._work_for_a_session()
        except Exception as error:  # noqa: BLE001 - judged in __exit__
            self.errors.append(error)
            self._answered.set()

    def _work_for_a_session(self) -> None:
        began = time.monotonic()
        with self._proxy.connect(connect_timeout=int(self._patience)) as connection:
            now = time.monotonic()
            self.login_seconds.append(now - began)
            end = now + SESSION
            while now < end and not self._stop.wait(self._pause):
                number = self.queries
                began = time.monotonic()
                row = connection.execute("select %s::int", (number,)).fetchone()
                now = time.monotonic()
                assert row == (number,)
                self.query_seconds.append(now - began)
                self._answered.set()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the slowest query and the slowest login of each file of tests that had bystanders."""
    by_file: dict[str, list[Waits]] = {}
    for waits in ALL_WAITS:
        by_file.setdefault(waits.test.partition("::")[0], []).append(waits)
    if by_file:
        terminalreporter.section("how long bystanders waited")
    for file, waited in by_file.items():
        query = max(waited, key=lambda waits: waits.slowest_query)
        login = max(waited, key=lambda waits: waits.slowest_login)
        terminalreporter.write_line(
            f"{file}: {sum(waits.queries for waits in waited)} queries,"
            f" slowest {query.slowest_query * 1000:.0f} ms ({_name(query)});"
            f" {sum(waits.logins for waits in waited)} logins,"
            f" slowest {login.slowest_login * 1000:.0f} ms ({_name(login)})"
        )


def _name(waits: Waits) -> str:
    return waits.test.partition("::")[2]
