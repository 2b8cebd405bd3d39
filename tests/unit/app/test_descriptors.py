"""Whether the process may have the descriptors its configuration needs."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

import attrs
import pytest
from structlog.testing import capture_logs

from rwsplit.app.descriptors import needed, provide
from rwsplit.config.model import Config, LimitsConfig, NodeConfig, PoolConfig
from rwsplit.server import files
from rwsplit.server.files import Purpose

CONFIG = Config(
    nodes=tuple(NodeConfig(name=f"pg{number}", host="h") for number in range(4)),
    pool=PoolConfig(size=20, reserve_size=5),
    limits=LimitsConfig(max_client_conn=300, max_login_conn=100),
)


@pytest.fixture
def few() -> Iterator[int]:
    """A process that was started with few descriptors, and may have more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_clients_logins_servers_and_a_reserve_are_needed():
    assert needed(CONFIG) == 300 + 100 + 4 * 45 + 96 + 32


def test_the_limit_is_raised_as_far_as_it_goes(few):
    with capture_logs() as logs:
        provide(CONFIG)

    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (few, few)
    assert logs == []


def test_a_configuration_that_needs_more_is_warned_of(few):
    limits = attrs.evolve(CONFIG.limits, max_client_conn=few)
    config = attrs.evolve(CONFIG, limits=limits)
    with capture_logs() as logs:
        provide(config)

    [log] = logs
    assert (log["event"], log["log_level"]) == ("few_files", "warning")
    assert (log["limit"], log["needed"]) == (few, needed(config))
    assert "LimitNOFILE" in log["remedy"]


class Kernel:
    """Has a limit that this process may raise to infinity, or so the limit says."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.soft = 256

    def getrlimit(self, _kind: int) -> tuple[int, int]:
        return self.soft, resource.RLIM_INFINITY

    def setrlimit(self, _kind: int, limits: tuple[int, int]) -> None:
        if not 0 <= limits[0] <= self.most:
            raise ValueError("not allowed to raise maximum limit")
        self.soft = limits[0]


@pytest.mark.parametrize(
    ("most", "limit"), [(2_000_000, 1_048_576), (100_000, 65_536), (20_000, 10_240), (256, 256)]
)
def test_where_the_limit_is_infinite_what_the_kernel_takes_is_enough(monkeypatch, most, limit):
    kernel = Kernel(most)
    monkeypatch.setattr(resource, "getrlimit", kernel.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", kernel.setrlimit)

    assert files.raise_limit() == limit


def test_an_infinite_limit_is_never_reached(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)

    assert files.raise_limit() == sys.maxsize
    assert not files.is_spent(10**9, Purpose.CLIENT)
