"""`rwsplit demo` as a newcomer meets it: one line to connect to, commands beside it, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rwsplit.embedded.processes import working_in

pytestmark = pytest.mark.integration

RWSPLIT = [sys.executable, "-m", "rwsplit"]


class Demo:
    """A running demo and its surroundings."""

    def __init__(self, process: subprocess.Popen[str], url: str, environment: dict[str, str]):
        self.process = process
        self.url = url
        self.environment = environment

    def beside(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RWSPLIT, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Iterator[Demo]:
    place = tmp_path_factory.mktemp("demo")
    runtime = place / "runtime"
    runtime.mkdir(mode=0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    environment.pop("RWSPLIT_URL", None)
    words = ["demo", "--replicas", "1", "--port", "0", "--seconds", "300"]
    process = subprocess.Popen(
        [*RWSPLIT, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("ready postgresql://"), line + process.stderr.read()
        yield Demo(process, line.split()[1], environment)
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert output == ""
    assert "initdb" in errors
    assert "warning" not in errors
    assert [line.split(" and ")[0] for line in errors.splitlines()[-3:]] == [
        "stopping rwsplit",
        "stopping PostgreSQL",
        "stopped",
    ]
    assert list((runtime / "rwsplit").iterdir()) == []


def test_the_printed_url_works(demo):
    with psycopg.connect(demo.url, autocommit=True) as connection:
        connection.execute("create table greeting (word text)")
        connection.execute("insert into greeting values ('hello')")
        assert connection.execute("select word from greeting").fetchall() == [("hello",)]


def test_status_beside_it_finds_it(demo):
    found = json.loads(demo.beside("status", "--json").stdout)
    assert found["primary"] == "primary"
    assert [node["name"] for node in found["nodes"]] == ["primary", "replica1"]


def test_a_replica_is_detached_and_attached(demo):
    assert demo.beside("node", "drain", "replica1", "--wait").returncode == 0
    nodes = json.loads(demo.beside("node", "list", "--json").stdout)
    assert nodes[1]["refusal"] == "DETACHED"
    assert demo.beside("node", "attach", "replica1").returncode == 0
    nodes = json.loads(demo.beside("node", "list", "--json").stdout)
    assert nodes[1]["admin_state"] == "attached"


def test_a_promotion_is_refused_for_the_primary_alone(demo):
    """The demo's monitor may promote; it lacked EXECUTE on pg_promote."""
    refused = demo.beside("node", "promote", "replica1")
    assert refused.returncode == 1
    assert "node primary, the primary, is still up: drain it first" in refused.stderr


def test_a_statement_is_explained(demo):
    found = json.loads(demo.beside("explain", "delete from greeting", "--json").stdout)
    assert (found["route"]["target"], found["route"]["node"]) == ("primary", "primary")


def test_a_setting_is_changed_in_its_file_and_in_force(demo):
    done = demo.beside("config", "set", "consistency.max_lag", "7s")
    assert (done.returncode, done.stdout) == (0, "consistency.max_lag: 10s -> 7s\n"), (
        done.stderr
    )
    assert demo.beside("config", "get", "consistency.max_lag").stdout == "7s\n"
    refused = demo.beside("config", "set", "listen", "127.0.0.1:1")
    assert refused.returncode == 1
    assert refused.stderr.startswith("rwsplit: listen: cannot change while rwsplit runs")


def test_a_second_demo_on_the_same_port_says_so(demo):
    port = demo.url.rpartition(":")[2].partition("/")[0]
    done = demo.beside("demo", "--port", port)
    assert done.returncode == 1
    assert "choose another port by --port" in done.stderr
    assert Path(demo.environment["XDG_RUNTIME_DIR"]).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_it_starts_leaves_nothing(tmp_path, number):
    """It used to wait for ever for a pipe that a child of the killed pg_basebackup held open."""
    place = Path(tempfile.mkdtemp(prefix="rwsplit-test-"))
    place.chmod(0o711)
    try:
        process = subprocess.Popen(
            [*RWSPLIT, "demo", "--port", "0"],
            env={**os.environ, "TMPDIR": str(place)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while "copying the primary" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, output) == (0, ""), errors
        assert "stopped and removed" in errors
        assert working_in(place) == []
        assert list(place.glob("rwsplit-cluster-*")) == []
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("words", ["SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS"])
def test_a_shutdown_on_the_console_ends_the_demo(tmp_path: Path, words: str):
    """PostgreSQL and the demo's process used to stay."""
    process = subprocess.Popen(
        [*RWSPLIT, "demo", "--replicas", "0", "--port", "0"],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1].rpartition("/")[0] + "/rwsplit"
        with psycopg.connect(url, autocommit=True) as console:
            console.execute(words)  # type: ignore[call-overload]
        output, errors = process.communicate(timeout=30)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert (process.returncode, output) == (0, ""), errors
    last = errors.splitlines()[-3:]
    assert last[0] == "rwsplit has ended: SHUTDOWN on its console"
    assert last[1].startswith("stopping PostgreSQL and removing ")
    assert last[2] == "stopped and removed"
    assert not Path(last[1].split()[-1]).exists()
    assert list((tmp_path / "rwsplit").iterdir()) == []
