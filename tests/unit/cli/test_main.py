"""The command line as a whole."""

from __future__ import annotations

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


def test_python_m_rwsplit_is_rwsplit():
    done = subprocess.run(
        [sys.executable, "-m", "rwsplit", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("rwsplit ")
