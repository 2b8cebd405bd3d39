"""Reload and SET of a real rwsplit, whose nodes nobody asks: all is taken over, or nothing, whatever is in the file."""

# ruff: noqa: ASYNC240 - nobody else runs in these loops
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from rwsplit.admin.operator import OperationRefused
from rwsplit.app.reloading import NOT_FORESEEN
from rwsplit.app.serve import Proxy
from rwsplit.config.loader import load
from rwsplit.config.settings import values
from rwsplit.embedded.certificates import make_certificates
from rwsplit.errors import ConfigError, RwsplitError

TEXT = """\
# Ours.
listen: 127.0.0.1:0
nodes: {pg0: "127.0.0.1:1", pg1: "127.0.0.1:2"}
monitor: {password: secret}
users: {file: userlist.txt}
admin: {users: [admin]}
pool: {size: 7}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    secret(tmp_path / "userlist.txt", '"admin" "one"\n"app" "two"\n')
    path = tmp_path / "rwsplit.yaml"
    path.write_text(TEXT)
    return path


def secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def in_force(proxy: Proxy) -> tuple[object, ...]:
    """Return all that a reload replaces."""
    return (
        values(proxy.config),
        proxy.config is proxy.lobby.config is proxy.opener.config is proxy.relay.config,
        proxy.lobby.keyring,
        proxy.opener.keyring,
        proxy.lobby.tls_context,
        [node.name for node in proxy.board.view.nodes],
        proxy.relay.reset.sql,
    )


async def test_a_change_is_in_force_everywhere(file: Path):
    proxy = Proxy(load(file))
    file.write_text(TEXT.replace("size: 7", "size: 9").replace(', pg1: "127.0.0.1:2"', ""))

    changes = await proxy.operator.reload()

    assert [change.path for change in changes.changed] == ["pool.size", "nodes.pg1"]
    assert proxy.relay.config.pool.size == proxy.lobby.config.pool.size == 9
    assert [node.name for node in proxy.board.view.nodes] == ["pg0"]


async def test_users_that_stay_keep_what_was_learned(file: Path):
    proxy = Proxy(load(file))
    before = proxy.lobby.keyring.get("app")
    secret(file.parent / "userlist.txt", '"admin" "other"\n"app" "two"\n')

    changes = await proxy.operator.reload()

    assert changes.userlist == ("users: secret changed: admin",)
    assert proxy.lobby.keyring.get("app") is before


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/full")


def a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def an_open_userlist(file: Path) -> None:
    (file.parent / "userlist.txt").chmod(0o644)


def a_pipe_for_a_userlist(file: Path) -> None:
    (file.parent / "userlist.txt").unlink()
    os.mkfifo(file.parent / "userlist.txt")


def a_broken_verifier(file: Path) -> None:
    secret(file.parent / "userlist.txt", '"admin" "SCRAM-SHA-256$4096:abc$d:e"\n')


def no_admin_left(file: Path) -> None:
    secret(file.parent / "userlist.txt", '"app" "two"\n')


def text(more: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(TEXT + more)


HARMFUL: list[Callable[[Path], object]] = [
    Path.unlink, a_pipe, a_device, a_directory, an_open_userlist, a_pipe_for_a_userlist, a_broken_verifier, no_admin_left,
    text("consistency: [\n"),
    text("consistency: {max_lag: 0}\n"),
    text("x: !!bool y\n"),
    text("? [a, b]\n: 1\n"),
    text("limits: {max_client_conn: " + "9" * 400 + "}\n"),
    text("tls: {client_tls_ca_file: " + "a" * 5000 + "}\n"),
    text("tls: {server_tls_cert_file: userlist.txt, server_tls_key_file: userlist.txt}\n"),
    text("tls: {server_tls_ca_file: userlist.txt}\n"),
    lambda file: file.write_text(TEXT.replace("{size: 7}", "{databases: {'': {size: 1}}}")),
    lambda file: file.write_text(TEXT.replace("[admin]}", "[admin], state_file: /dev/null}")),
    lambda file: file.write_text(TEXT.replace("[admin]}", "[admin], state_file: none/there}")),
    lambda file: file.write_text(TEXT.replace("[admin]", "[]")),
    lambda file: file.write_text(TEXT.replace("127.0.0.1:0", "127.0.0.1:9")),
    lambda file: file.write_text(TEXT.replace("127.0.0.1:0", "[]")),
    lambda file: file.write_bytes(b"\xff\xfe"),
    lambda file: file.write_bytes(b"#" * (2 << 20)),
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMFUL)
async def test_a_reload_of_harm_is_a_refusal_and_changes_nothing(
    file: Path, harm: Callable[[Path], object]
):
    proxy = Proxy(load(file))
    before = in_force(proxy)
    harm(file)

    with capture_logs() as logs, pytest.raises(RwsplitError) as refused:
        await proxy.operator.reload()

    assert str(refused.value).strip()
    assert NOT_FORESEEN not in str(refused.value)
    assert in_force(proxy) == before
    assert not logs


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("pool.size", "0"),
        ("pool.size", "9" * 400),
        ("pool.databases", "{'': {size: 1}}"),
        ("listen", "127.0.0.1:9"),
        ("listen", "[]"),
        ("admin.users", "[]"),
        ("admin.users", "[nobody]"),
        ("users.file", "/dev/full"),
        ("users.file", "rwsplit.yaml"),
        ("admin.state_file", "/"),
        ("tls.server_tls_ca_file", "userlist.txt"),
        ("tls", "{client_tls_sslmode: require, client_tls_cert_file: c, client_tls_key_file: userlist.txt}"),
        ("", "1"),
        ("pool", "5"),
        ("consistency.max_lag", "!!bool x"),
        ("pool.server_reset_query", '"\\ud800"'),
    ],
)  # fmt: skip
async def test_a_set_that_is_refused_leaves_the_file_byte_for_byte(
    file: Path, setting: str, value: str
):
    raw = TEXT.replace("\n", "\r\n").encode()
    file.write_bytes(raw)
    (file.parent / "c").write_text("no certificate")
    there = sorted(file.parent.iterdir())
    proxy = Proxy(load(file))
    before = in_force(proxy)

    with pytest.raises(ConfigError):
        await proxy.operator.set_config(setting, value)

    assert file.read_bytes() == raw
    assert in_force(proxy) == before
    assert sorted(file.parent.iterdir()) == there


async def test_a_set_is_written_and_in_force(file: Path):
    proxy = Proxy(load(file))

    await proxy.operator.set_config("pool.size", "9")

    assert "# Ours." in file.read_text()
    assert load(file).pool.size == proxy.relay.config.pool.size == 9


PARTS = ["relay.reconfigure", "memory.relocate", "knowledge.reconfigure", "board.reconfigure", "catalogs.refresh_all"]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
async def test_what_fails_half_way_is_taken_back_whole(
    file: Path, part: str, monkeypatch: pytest.MonkeyPatch
):
    proxy = Proxy(load(file))
    before = in_force(proxy)
    owner_name, method = part.split(".")
    owner = getattr(proxy, owner_name)
    original = getattr(owner, method)
    calls: list[int] = []

    def fail_once(*arguments: object) -> None:
        calls.append(1)
        original(*arguments)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr(owner, method, fail_once)
    changed = (
        TEXT.replace("size: 7", "size: 9, server_reset_query: ABORT")
        + "routing: {functions: {reads: f}}\n"
    )
    file.write_text(changed)

    with capture_logs() as logs, pytest.raises(ConfigError, match="ZeroDivisionError: a bug"):
        await proxy.operator.reload()

    assert in_force(proxy) == before
    assert [log["event"] for log in logs] == ["reload_failed"]
    assert len(calls) == 2

    # A SET that fails so puts the file back, too.
    calls.clear()
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        await proxy.operator.set_config("routing.functions.reads", "g")
    assert file.read_text() == changed
    assert in_force(proxy) == before


async def test_reloads_at_once_happen_one_after_the_other(file: Path):
    proxy = Proxy(load(file))
    async with trio.open_nursery() as nursery:
        for number in range(1, 6):
            nursery.start_soon(proxy.operator.set_config, "pool.size", str(number))
            nursery.start_soon(proxy.operator.reload)
    assert proxy.relay.config.pool.size == load(file).pool.size


async def test_a_certificate_that_does_not_fit_is_refused_and_the_old_one_stays(file: Path):
    one = make_certificates(file.parent / "one")
    two = make_certificates(file.parent / "two")
    tls = "tls: {{client_tls_sslmode: allow, client_tls_cert_file: {}, client_tls_key_file: {}}}\n"
    file.write_text(TEXT + tls.format(one.certificate, one.key))
    proxy = Proxy(load(file))
    before = in_force(proxy)

    file.write_text(TEXT + tls.format(two.certificate, one.key))
    with pytest.raises(ConfigError, match="the certificate and the key do not fit each other"):
        await proxy.operator.reload()
    assert in_force(proxy) == before

    file.write_text(TEXT + tls.format(two.certificate, two.key))
    await proxy.operator.reload()
    assert proxy.lobby.tls_context is not before[4]


async def test_a_rwsplit_without_a_file_has_nothing_to_read_again(file: Path):
    proxy = Proxy(attrs.evolve(load(file), path=None))
    with pytest.raises(OperationRefused, match="no configuration file to read again"):
        await proxy.operator.reload()
    with pytest.raises(OperationRefused, match="no configuration file to write to"):
        await proxy.operator.set_config("pool.size", "5")


async def test_what_cannot_be_put_back_is_told(file: Path, monkeypatch: pytest.MonkeyPatch):
    proxy = Proxy(load(file))

    def fail(_: object) -> None:
        file.unlink()
        file.mkdir()
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(proxy.board, "reconfigure", fail)
    with capture_logs() as logs, pytest.raises(ConfigError, match="ZeroDivisionError"):
        await proxy.operator.set_config("pool.size", "5")

    assert [log["event"] for log in logs] == [
        "reload_not_taken_back",
        "file_not_put_back",
        "reload_failed",
    ]
    assert proxy.config.pool.size == proxy.relay.config.pool.size == 7


async def test_warnings_are_logged(file: Path):
    proxy = Proxy(load(file))
    userlist = file.parent / "userlist.txt"
    userlist.chmod(0o640)
    file.chmod(0o600)  # it has a password, too
    with capture_logs() as logs:
        await proxy.operator.reload()
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("config_warning", f"users.file: its group may read or change it: {userlist}")
    ]
