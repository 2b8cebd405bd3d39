"""TLS on both sides and every way to prove oneself, from end to end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rwsplit.embedded.certificates import Certificates, make_certificates
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.postgres import system_directory
from rwsplit.embedded.processes import wait_until
from tests.support.load import Load, where
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates") / "tls")


@pytest.fixture(scope="module")
def tls_proxy(
    cluster: EmbeddedCluster,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    """A proxy that takes TLS and takes clients without it, too."""
    settings = {"tls": client_tls(certificates, "prefer")}
    with Proxy(cluster, tmp_path_factory.mktemp("tls"), settings) as running:
        yield running


def client_tls(made: Certificates, mode: str) -> dict[str, str]:
    return {
        "client_tls_sslmode": mode,
        "client_tls_cert_file": str(made.certificate),
        "client_tls_key_file": str(made.key),
        "client_tls_ca_file": str(made.authority),
    }


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
def test_psycopg_encrypts_and_verifies(tls_proxy: Proxy, certificates: Certificates, mode: str):
    with tls_proxy.connect(sslmode=mode, sslrootcert=str(certificates.authority)) as client:
        assert client.pgconn.ssl_in_use
        assert str(where(client)).startswith("replica")
        client.execute("create temp table encrypted (n int)")
        with client.cursor().copy("copy encrypted from stdin") as copy:
            for number in range(20_000):
                copy.write_row((number,))
        assert client.execute("select sum(n) from encrypted").fetchone() == (199990000,)
        row = client.execute("select repeat('x', 20000000)").fetchone()
        assert row is not None
        assert len(row[0]) == 20_000_000


def test_another_authority_is_not_believed(tls_proxy: Proxy, tmp_path: Path):
    other = make_certificates(tmp_path / "other")
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        tls_proxy.connect(sslmode="verify-full", sslrootcert=str(other.authority))


def test_plain_and_encrypted_clients_work_side_by_side_under_load(
    tls_proxy: Proxy, certificates: Certificates
):
    with Load(tls_proxy, where, clients=4) as encrypted:
        with tls_proxy.connect(sslmode="disable") as plain:
            assert not plain.pgconn.ssl_in_use
            for _ in range(50):
                where(plain)
        encrypted.go_on(100)
        assert sum(bool(row["tls"]) for row in tls_proxy.console("SHOW CLIENTS")) == 4
    assert not encrypted.errors


def test_a_query_is_cancelled_over_tls(tls_proxy: Proxy):
    with tls_proxy.connect(sslmode="require") as client:
        threading.Timer(0.2, client.cancel).start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("select pg_sleep(20)")
        assert client.execute("select 1").fetchone() == (1,)


def test_where_tls_is_required_plain_clients_are_refused_in_words(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, certificates: Certificates
):
    proxy = make_proxy(cluster, {"tls": client_tls(certificates, "require")})
    with pytest.raises(psycopg.OperationalError, match=r"(?i)tls|ssl"):
        proxy.connect(sslmode="disable")
    with proxy.connect(sslmode="require") as client:
        assert client.execute("select 1").fetchone() == (1,)


# Proofs...


@pytest.mark.parametrize("method", ["scram-sha-256", "password"])
def test_users_known_by_their_verifier_alone_reach_the_servers(
    cluster: EmbeddedCluster, make_proxy: MakeProxy, method: str
):
    proxy = make_proxy(cluster, {"auth": {"type": method}}, nodes_up=True)
    cluster.write_userlist(proxy.userlist, verifiers=True)
    assert "SCRAM-SHA-256$" in proxy.userlist.read_text()
    proxy.reload()
    with proxy.connect() as client:
        assert str(where(client)).startswith("replica")
        client.execute("create temp table through_the_client_key (n int)")
    assert proxy.stop() == 0
    # After a restart the key is learned again from the first who shows it. (`start` writes the userlist.)
    cluster_writes = cluster.write_userlist
    try:
        cluster.write_userlist = lambda path: cluster_writes(path, verifiers=True)  # type: ignore[method-assign]
        proxy.start()
        with proxy.connect() as client:
            assert str(where(client)).startswith("replica")
    finally:
        cluster.write_userlist = cluster_writes  # type: ignore[method-assign]


def test_md5_from_end_to_end_and_wrong_passwords(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"auth": {"type": "md5"}})
    with proxy.connect() as client:
        assert str(where(client)).startswith("replica")
    for name in ("app", "nobody"):
        url = proxy.dsn().replace(f"app:{cluster.passwords['app']}@", f"{name}:wrong@")
        with pytest.raises(psycopg.OperationalError) as refused:
            psycopg.connect(url)
        assert f'password authentication failed for user "{name}"' in str(refused.value)


def test_an_unknown_database_is_postgresqls_own_error(proxy: Proxy):
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        proxy.connect("nowhere")


def test_a_password_the_server_does_not_share_is_postgresqls_own_error(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    proxy.userlist.write_text(proxy.userlist.read_text() + '"stranger" "secret"\n')
    proxy.reload()
    url = proxy.dsn().replace(f"app:{cluster.passwords['app']}@", "stranger:secret@")
    with pytest.raises(psycopg.OperationalError, match="stranger"):
        psycopg.connect(url)
    assert all(row["health"] == "up" for row in proxy.nodes().values())


# Towards the servers...


@pytest.fixture(scope="module")
def tls_cluster() -> Iterator[EmbeddedCluster]:
    """PostgreSQL with OpenSSL, to which nobody speaks in clear."""
    binaries = system_directory()
    if binaries is None:
        pytest.skip("this system has no PostgreSQL of its own, and the wheel's has no OpenSSL")
    rules = ("hostssl all all 127.0.0.1/32 scram-sha-256",)
    with EmbeddedCluster(replicas=2, postgres=binaries, ssl=True, hba=rules) as running:
        yield running


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
def test_servers_and_probes_are_encrypted_and_verified(
    tls_cluster: EmbeddedCluster, make_proxy: MakeProxy, mode: str
):
    tls = {
        "server_tls_sslmode": mode,
        "server_tls_ca_file": str(tls_cluster.certificate_authority),
    }
    proxy = make_proxy(tls_cluster, {"tls": tls})
    with Load(proxy, where, clients=3) as load, proxy.connect() as client:
        load.go_on(50)
        client.execute("create table if not exists over_tls (n int)")
        with client.cursor().copy("copy over_tls from stdin") as copy:
            for number in range(50_000):
                copy.write_row((number,))
        row = client.execute("select repeat('x', 20000000)").fetchone()
        assert row is not None
        assert len(row[0]) == 20_000_000
        assert all(row["tls"] for row in proxy.console("SHOW SERVERS"))
        for node in tls_cluster.nodes.values():
            assert node.query(
                "select count(*) filter (where not ssl), count(*) > 0 from pg_stat_ssl "
                "join pg_stat_activity using (pid) where usename in ('app', 'rwsplit')"
            ) == [(0, True)]
    assert not load.errors


def test_a_node_whose_certificate_is_not_believed_is_down_and_says_why(
    tls_cluster: EmbeddedCluster, make_proxy: MakeProxy, certificates: Certificates
):
    tls = {
        "server_tls_sslmode": "verify-full",
        "server_tls_ca_file": str(certificates.authority),
    }
    proxy = make_proxy(tls_cluster, {"tls": tls}, nodes_up=False)
    assert wait_until(
        lambda: all(
            "certificate" in str(row["health_detail"]) for row in proxy.nodes().values()
        ),
        timeout=10,
    ), proxy.nodes()
