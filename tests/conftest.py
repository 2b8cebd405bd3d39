"""Options and fixtures every test may use; the PostgreSQL ones start nothing until a test asks."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.support.postgres"]


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
