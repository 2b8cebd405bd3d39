"""What a node must ask for; how Authentication holds it to that is in its own tests."""

from __future__ import annotations

import pytest

from rwsplit.cluster.node import AdminState
from rwsplit.config.choices import SslMode
from rwsplit.config.model import AuthConfig, Config, NodeConfig, TlsConfig
from rwsplit.monitor.board import Board
from rwsplit.monitor.catalog import catalog_parameters
from rwsplit.server.demands import Demands


@pytest.mark.parametrize(
    ("auth", "is_private", "required"),
    [
        (AuthConfig(), True, ""),
        (AuthConfig(server_cleartext=True), False, ""),
        (AuthConfig(), False, "md5,gss,sspi,scram-sha-256,none"),
        (AuthConfig(server_require_auth="!none,!md5"), True, "password,gss,sspi,scram-sha-256"),
        (AuthConfig(server_require_auth="scram-sha-256"), False, "scram-sha-256"),
    ],
)
def test_libpq_is_told_the_same(auth, is_private, required):
    assert Demands.from_config(auth).for_libpq(is_private=is_private) == required


@pytest.mark.parametrize(
    ("host", "mode", "required"),
    [
        ("127.0.0.1", SslMode.PREFER, "md5,gss,sspi,scram-sha-256,none"),
        ("127.0.0.1", SslMode.REQUIRE, None),
        ("/var/run", SslMode.DISABLE, None),
    ],
)
async def test_what_reads_catalogs_and_promotes_is_held_to_it_too(host, mode, required):
    node = NodeConfig(name="pg0", host=host)
    config = Config(nodes=(node,), tls=TlsConfig(server_tls_sslmode=mode))
    view = Board(config, admin={"pg0": AdminState.ATTACHED}).view.node("pg0")
    assert view is not None

    assert catalog_parameters(view, config, "shop").get("require_auth") == required
