"""What settings must agree on with each other."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from rwsplit.config.checks import check_config
from rwsplit.config.choices import AuthType, SslMode
from rwsplit.config.model import (
    Address,
    AuthConfig,
    Config,
    DatabaseConfig,
    MonitorConfig,
    NodeConfig,
    PoolConfig,
    RoutingConfig,
    RuleConfig,
    TlsConfig,
    UserConfig,
    UsersConfig,
)

PEM = Path("x.pem")
GOOD = Config(
    nodes=(NodeConfig(name="pg0", host="a"), NodeConfig(name="pg1", host="b")),
    users=UsersConfig(file=Path("userlist.txt")),
)


def test_a_configuration_that_fits_together_has_no_problems():
    assert check_config(GOOD) == []


def test_what_holds_for_single_databases_and_users_fits_together():
    pool = PoolConfig(
        databases=(
            DatabaseConfig(name="shop", size=3, min_size=3),
            DatabaseConfig(name="*", max_db_connections=9),
        ),
        users=(UserConfig(name="app", min_size=30),),
    )
    assert check_config(attrs.evolve(GOOD, pool=pool)) == []


def test_without_a_userlist_everybody_must_be_trusted():
    trusting = attrs.evolve(GOOD, users=UsersConfig(), auth=AuthConfig(type=AuthType.TRUST))
    assert check_config(trusting) == []


@pytest.mark.parametrize(
    ("changes", "path", "sentence"),
    [
        ({"nodes": ()}, "nodes", "at least one"),
        (
            {"nodes": (NodeConfig(name="a", host="h"), NodeConfig(name="b", host="h"))},
            "nodes.b",
            "same address as a",
        ),
        ({"listen": (Address(host="a", port=5432),)}, "listen", "connect to itself"),
        ({"listen": (Address(host="x"), Address(host="x"))}, "listen", "twice"),
        (
            {
                "routing": RoutingConfig(
                    rules=(RuleConfig(to="node:pg1"), RuleConfig(to="node:x"))
                )
            },
            "routing.rules[1].to",
            "no node 'x'",
        ),
        ({"users": UsersConfig()}, "users.file", "required unless"),
        (
            {"monitor": MonitorConfig(password="x", password_file=PEM)},
            "monitor.password_file",
            "together",
        ),
        ({"pool": PoolConfig(size=2, min_size=3)}, "pool.min_size", r"pool.size \(2\), got 3"),
        (
            {"pool": PoolConfig(users=(UserConfig(name="app", size=2, min_size=3),))},
            "pool.users.app.min_size",
            r"than its size \(2\), got 3",
        ),
        (
            {"pool": PoolConfig(databases=(DatabaseConfig(name="*", size=3),))},
            "pool.databases.*.size",
            r"is set for all by pool.size; \* only has limits",
        ),
        (
            {"tls": TlsConfig(client_tls_sslmode=SslMode.REQUIRE, client_tls_cert_file=PEM)},
            "tls.client_tls_key_file",
            "required with client_tls_sslmode require",
        ),
        (
            {"tls": TlsConfig(server_tls_sslmode=SslMode.VERIFY_FULL)},
            "tls.server_tls_ca_file",
            "required with server_tls_sslmode verify-full",
        ),
        ({"tls": TlsConfig(server_tls_cert_file=PEM)}, "tls.server_tls_key_file", "together"),
        ({"tls": TlsConfig(server_tls_key_file=PEM)}, "tls.server_tls_cert_file", "together"),
    ],
)
def test_what_does_not_fit_together_is_said_with_its_path(changes, path, sentence):
    (problem,) = check_config(attrs.evolve(GOOD, **changes))
    assert problem[0] == path
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(problem[1])
