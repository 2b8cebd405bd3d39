"""Reload and SET cannot hurt: whatever is in the configuration file, or in its place, a running rwsplit goes on as it was."""

# ruff: noqa: ASYNC240 - nobody else runs in these loops
from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from rwsplit.app.reloading import NOT_FORESEEN
from rwsplit.app.serve import Proxy as OurProxy
from rwsplit.config.loader import load
from rwsplit.config.settings import values
from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from rwsplit.errors import RwsplitError
from tests.property.test_config import odd_yaml, paths, trees, with_value
from tests.support.attack_length import TIMES
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

TEXT = "listen: 127.0.0.1:0\nnodes: {pg0: '127.0.0.1:1'}\nauth: {type: trust}\nadmin: {users: [admin]}\n"

#: Some seconds' worth in `make test`.
EXAMPLES = 25 * TIMES

#: A file's new text, or one setting and what it is SET to.
texts = (
    st.builds(with_value, paths, trees)
    | st.builds(lambda path, piece: f"{TEXT}{path.replace('.', ': {', 1)}: {piece}}}\n", paths, odd_yaml)
    | trees.map(json.dumps)
    | st.text(max_size=20)
)  # fmt: skip
sets = st.tuples(paths | st.text(max_size=8), trees.map(json.dumps) | odd_yaml)


def in_force(proxy: OurProxy) -> tuple[Any, ...]:
    configs = {id(part.config) for part in (proxy, proxy.lobby, proxy.opener, proxy.relay)}
    return values(proxy.config), len(configs), [node.name for node in proxy.board.view.nodes]


async def _reload(file: Path, steps: list[str | tuple[str, str]]) -> None:
    """Write or SET each of *steps*: it is taken over or refused, and nothing else."""
    file.write_text(TEXT)
    proxy = OurProxy(load(file))
    for step in steps:
        before, refused = in_force(proxy), None
        if isinstance(step, str):
            file.write_bytes(step.encode(errors="surrogatepass"))
        there = file.read_bytes()
        try:
            if isinstance(step, str):
                await proxy.operator.reload()
            else:
                await proxy.operator.set_config(*step)
        except RwsplitError as error:
            refused = str(error)
        now = in_force(proxy)
        assert now[1] == 1
        if refused is None:
            assert now[0] == values(load(file))
        else:
            assert refused.strip()
            assert NOT_FORESEEN not in refused
            assert now == before
            assert file.read_bytes() == there


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(texts | sets, min_size=1, max_size=6))
def test_whatever_is_written_or_set_is_taken_over_or_refused_whole(
    steps: list[str | tuple[str, str]],
):
    with tempfile.TemporaryDirectory() as directory:
        trio.run(_reload, Path(directory) / "rwsplit.yaml", steps)


# The same with a process that serves...


def with_text(text: str) -> Callable[[Path], object]:
    def write(file: Path) -> None:
        section = text.partition(":")[0]
        lines = [line for line in file.read_text().splitlines() if not line.startswith(section)]
        file.write_text("\n".join([*lines, text, ""]))

    return write


def with_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def with_device(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/full")


def with_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


HARM = [
    Path.unlink, with_pipe, with_device, with_directory,
    with_text("pool: {databases: {'': {size: 1}}}"),
    with_text("pool: {size: " + "9" * 400 + "}"),
    with_text("pool: {server_lifetime: " + "9" * 400 + "}"),
    with_text("pool: {? [a, b] : 1}"),
    with_text("pool: {size: !!bool x}"),
    with_text("pool: [[[[[[[[[[[[[[[[[[[[[[[["),
    with_text("tls: {client_tls_ca_file: " + "a" * 5000 + "}"),
    with_text("users: {file: /dev/zero}"),
    with_text('monitor: {user: "a\\0b"}'),
    with_text("admin: {users: [postgres], state_file: /dev/full}"),
    with_text("listen: []"),
]  # fmt: skip


@pytest.mark.integration
def test_a_process_that_serves_goes_on_whatever_it_is_told_to_read(
    cluster: EmbeddedCluster, make_proxy: MakeProxy
):
    proxy = make_proxy(cluster)
    good = proxy.config_path.read_bytes()
    before = proxy.console("SHOW CONFIG")
    with proxy.connect() as client:
        client.execute("create temp table kept (n int)")
        for harm in HARM:
            harm(proxy.config_path)
            assert "reload_refused" in hangup(proxy)
            with pytest.raises(psycopg.Error):
                proxy.console("RELOAD")
            if proxy.config_path.is_dir():
                proxy.config_path.rmdir()
            proxy.config_path.unlink(missing_ok=True)
            proxy.config_path.write_bytes(good)
            assert client.execute("select count(*) from kept").fetchone() == (0,)
        assert proxy.console("SHOW CONFIG") == before
        for setting, value in (
            ("pool.size", "0"),
            ("pool.databases", "{'': {size: 1}}"),
            ("tls.server_tls_ca_file", str(proxy.userlist)),
            ("users.file", "/dev/zero"),
            ("listen", "127.0.0.1:1"),
        ):
            with pytest.raises(psycopg.Error):
                proxy.console(f"SET {setting} = '{value.replace(chr(39), chr(39) * 2)}'")
            assert proxy.config_path.read_bytes() == good
        assert client.execute("select count(*) from kept").fetchone() == (0,)
    assert proxy.console("SHOW CONFIG") == before
    assert "Traceback" not in proxy.log()
    assert "reloaded" in hangup(proxy)


def hangup(proxy: Proxy) -> str:
    """Send SIGHUP; return what rwsplit logged about it."""
    start = len(proxy.log())
    proxy.signal(signal.SIGHUP)
    assert wait_until(lambda: "reload" in proxy.log()[start:], timeout=20), proxy.log_tail()
    return proxy.log()[start:]
