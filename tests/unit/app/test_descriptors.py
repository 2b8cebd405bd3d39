"""Whether the process may have the descriptors its configuration needs."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import attrs
import pytest
from structlog.testing import capture_logs

from rwsplit.app.descriptors import needed, provide
from rwsplit.config.model import Config, LimitsConfig, NodeConfig, PoolConfig

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


def test_where_the_kernel_allows_less_the_limit_stays(few, monkeypatch):
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    with capture_logs() as logs:
        provide(CONFIG)
    monkeypatch.undo()

    assert [log["limit"] for log in logs] == [256]
