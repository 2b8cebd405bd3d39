"""The command line as a whole."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

COMMANDS = [
    [],
    ["serve"],
    ["demo"],
    ["check"],
    ["status"],
    ["explain"],
    ["console"],
    ["node"],
    *(["node", verb] for verb in ("list", "attach", "detach", "drain", "promote")),
    ["config"],
    *(["config", verb] for verb in ("show", "get", "set")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_an_example(run, command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output or "Try it" in result.output
    assert "rwsplit" in result.output.split("xample")[-1]


def test_the_version_is_printed(run):
    assert run("--version").output.startswith("rwsplit ")


def test_the_version_costs_no_more_than_a_start_of_python():
    done = python("-X", "importtime", "-m", "rwsplit", "--version")
    assert done.stdout.startswith("rwsplit ")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "rwsplit.cli.main" in loaded
    assert not loaded & {"typer", "psycopg", "sqlglot", "trio"}


def test_a_command_loads_only_what_it_needs():
    done = python("-X", "importtime", "-m", "rwsplit", "node", "--help")
    assert done.returncode == 0
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "rwsplit.cli.proxy" in loaded
    assert not loaded & {"sqlglot", "trio", "rwsplit.cli.demo", "rwsplit.cli.check"}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("sta", ["status"]),
        ("node dr", ["drain"]),
        ("node drain replica", ["replica1", "replica2", "replica3"]),
        (
            "config get consistency.max_lag",
            ["consistency.max_lag", "consistency.max_lag_bytes"],
        ),
    ],
)
def test_a_shell_completes_commands_nodes_and_settings(url, typed, offered):
    words = f"rwsplit {typed}"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(typed.split()))}
    done = python("-m", "rwsplit", **asked, _RWSPLIT_COMPLETE="complete_bash")
    assert done.stdout.split() == offered


def test_where_no_rwsplit_runs_completion_offers_no_nodes():
    asked = {"COMP_WORDS": "rwsplit node drain r", "COMP_CWORD": "3", "RWSPLIT_URL": "x"}
    done = python("-m", "rwsplit", **asked, _RWSPLIT_COMPLETE="complete_bash")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [["nope"], ["status", "--nope"], ["node", "attach"], ["demo", "--port", "70000"], []],
)
def test_wrong_usage_is_2(run, words):
    result = run(*words)
    assert result.exit_code == 2
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["status"], "no rwsplit to speak to: give --url"),
        (["status", "--url", "http://x"], "not a URL such as postgresql://admin@host:6432"),
        (["status", "-c", "none.yaml"], "none.yaml: there is no such file"),
        (["serve"], "name a configuration file by -c"),
        (["serve", "-c", "none.yaml"], "none.yaml: there is no such file"),
        (["check"], "name a configuration file by -c"),
        (["config", "set", "pool.size", "5"], "no rwsplit to speak to"),
    ],
)
def test_an_error_is_one_sentence_and_1(run, words, sentence):
    result = run(*words)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("rwsplit: ")
    assert sentence in line


def test_a_rwsplit_that_is_not_there_is_named(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = run("status", "--url", f"postgresql://admin@127.0.0.1:{port}")
    assert result.exit_code == 1
    assert f"cannot connect to rwsplit at 127.0.0.1:{port}: " in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_user_who_may_not_is_told_so(run, url):
    result = run("status", "--url", url.replace("admin@", "alice@"))
    assert result.exit_code == 1
    assert "user 'alice' may not use the console" in result.stderr
