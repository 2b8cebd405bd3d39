"""Options and fixtures every test may use; the PostgreSQL ones start nothing until a test asks."""

from __future__ import annotations

import signal
from types import FrameType

import pytest
from hypothesis import settings

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.bystander",
    "tests.support.distribution",
]


def pytest_configure() -> None:
    """Have SIGTERM, which `make` passes on, end a run as Ctrl-C does: what tests have started is stopped on the way out."""
    signal.signal(signal.SIGTERM, _interrupt)


# On a busy machine an example may take any time: what must not take long is counted, or measured by the test itself.
settings.register_profile("rwsplit", deadline=None)
settings.load_profile("rwsplit")


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background by a shell
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)  # which trio handles while it runs


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--postgres` chooses what the real cluster is made of."""
    group = parser.getgroup("rwsplit")
    group.addoption(
        "--postgres",
        default="wheel",
        metavar="wheel|system|docker|DIR",
        help="the PostgreSQL of the cluster: the wheel's, the system's, the binaries in DIR, or containers",
    )
    group.addoption(
        "--postgres-image",
        default="postgres:16",
        metavar="IMAGE",
        help="the image of --postgres docker",
    )
