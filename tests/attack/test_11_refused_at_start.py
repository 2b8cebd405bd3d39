"""What would let somebody in through the back is refused by `check` and at the start; who is no admin any more loses the console."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
import trio

from rwsplit.app.preparation import prepare_file
from rwsplit.app.serve import serve
from rwsplit.config.loader import load
from rwsplit.embedded.certificates import make_certificates
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.errors import ConfigError
from tests.support.postgres import MakeProxy
from tests.unit.app.test_preparation import certificate, expired

TEXT = "listen: 127.0.0.1:0\nnodes: {pg0: '127.0.0.1:1'}\nusers: {file: userlist.txt}\nadmin: {users: [admin]}\n"
TLS = "tls: {{client_tls_sslmode: allow, client_tls_cert_file: {}, client_tls_key_file: {}}}\n"


def userlist(directory: Path, text: str = '"admin" "secret"\n', mode: int = 0o600) -> str:
    path = directory / "userlist.txt"
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    return TEXT


def an_open_key(directory: Path) -> str:
    made = make_certificates(directory / "tls")
    made.key.chmod(0o644)
    return TEXT + TLS.format(made.certificate, made.key)


def an_open_password(directory: Path) -> str:
    (directory / "pw").write_text("secret\n")
    (directory / "pw").chmod(0o644)
    return TEXT + "monitor: {password_file: pw}\n"


def a_key_of_another(directory: Path) -> str:
    return TEXT + TLS.format(
        make_certificates(directory / "one").certificate,
        make_certificates(directory / "two").key,
    )


def an_expired_certificate(directory: Path) -> str:
    return TEXT + TLS.format(*expired(directory, "20200101000000Z", "20210101000000Z"))


def an_expired_certificate_for_nodes(directory: Path) -> str:
    cert, key = expired(directory, "20200101000000Z", "20210101000000Z")
    return f"{TEXT}tls: {{server_tls_cert_file: {cert}, server_tls_key_file: {key}}}\n"


def a_key_that_is_a_pipe(directory: Path) -> str:
    cert, _ = certificate(directory, "-days", "90")
    return TEXT + TLS.format(cert, "/dev/zero")


REFUSED: list[tuple[Callable[[Path], str], str]] = [
    (partial(userlist, mode=0o644), "users.file: everybody may read"),
    (partial(userlist, text='"admin" "SCRAM-SHA-256$4096:x$y:z"\n'), "the secret of 'admin' is malformed"),
    (partial(userlist, text='"admin" "md5' + "0" * 31 + '"\n'), "the secret of 'admin' is malformed"),
    (lambda _: TEXT.replace("127.0.0.1:0", "[]"), "listen: must name at least one address"),
    (an_open_key, "tls.client_tls_key_file: everybody may read"),
    (an_open_password, "monitor.password_file: everybody may read"),
    (a_key_of_another, "the certificate and the key do not fit each other"),
    (an_expired_certificate, "has expired on 2021-01-01"),
    (an_expired_certificate_for_nodes, "has expired on 2021-01-01"),
    (a_key_that_is_a_pipe, "tls.client_tls_key_file: cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_it_is_refused_by_check_and_at_the_start(
    tmp_path: Path, make: Callable[[Path], str], sentence: str
):
    userlist(tmp_path)
    file = tmp_path / "rwsplit.yaml"
    file.write_text(make(tmp_path))

    with pytest.raises(ConfigError) as checked:
        prepare_file(file)
    with pytest.raises(ConfigError) as started:
        trio.run(_start, file)

    assert sentence in str(checked.value)
    assert str(started.value) == str(checked.value)


async def _start(file: Path) -> None:
    with trio.fail_after(10):
        await serve(load(file))


@pytest.mark.integration
def test_an_admin_whom_a_reload_removes_loses_the_console(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster, {"admin": {"users": ["postgres", "app"]}})
    with psycopg.connect(
        proxy.dsn("rwsplit", "app"), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as console:
        assert console.execute("SHOW VERSION").fetchall()
        proxy.reload({"admin": {"users": ["postgres"]}})
        with pytest.raises(psycopg.Error, match="user 'app' may not use the console"):
            console.execute("SHUTDOWN")
        assert console.closed
    assert proxy.pid is not None

    proxy.reload({"admin": {"users": ["postgres", "app"]}})
    with psycopg.connect(
        proxy.dsn("rwsplit", "app"), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as console:
        lines = proxy.userlist.read_text().splitlines(keepends=True)
        proxy.userlist.write_text(
            "".join(line for line in lines if not line.startswith('"app"'))
        )
        proxy.console("RELOAD")
        with pytest.raises(psycopg.Error, match="user 'app' may not use the console"):
            console.execute("SHOW VERSION")
