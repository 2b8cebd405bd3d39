"""Errors know their SQLSTATE and whose fault they are."""

from __future__ import annotations

import pytest

from rwsplit import errors


@pytest.mark.parametrize(
    ("kind", "sqlstate"),
    [
        (errors.RwsplitError, "XX000"),
        (errors.ClientError, "42601"),
        (errors.FeatureNotSupported, "0A000"),
        (errors.ProtocolViolation, "08P01"),
        (errors.AuthenticationFailed, "28P01"),
        (errors.NodeError, "08006"),
        (errors.NodeUnreachable, "08001"),
        (errors.ServerRefused, "08006"),
        (errors.CapacityError, "53300"),
        (errors.NoEligibleNode, "57P03"),
        (errors.ConfigError, "F0000"),
    ],
)
def test_each_kind_has_its_sqlstate(kind: type[errors.RwsplitError], sqlstate: str):
    assert kind.sqlstate == sqlstate
    assert issubclass(kind, errors.RwsplitError)


def test_a_refused_server_keeps_the_answer_of_the_node():
    refused = errors.ServerRefused("no", response=b"E...", server_sqlstate="3D000")

    assert str(refused) == "no"
    assert (refused.response, refused.server_sqlstate) == (b"E...", "3D000")


def test_a_configuration_error_lists_every_problem():
    error = errors.ConfigError(["nodes: must not be empty", "pool.size: must be at least 1"])

    assert error.problems == ["nodes: must not be empty", "pool.size: must be at least 1"]
    assert str(error) == "nodes: must not be empty\npool.size: must be at least 1"
