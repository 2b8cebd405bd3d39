"""`rwsplit console`."""

from __future__ import annotations

import pytest


def test_one_command_is_run(run, url):
    result = run("console", "SHOW LISTS; SHOW VERSION")
    assert result.exit_code == 0
    assert "used_clients      1" in result.stdout
    assert "rwsplit " in result.stdout


def test_an_error_in_one_command_is_the_exit_code(run, url):
    result = run("console", "FOO")
    assert result.exit_code == 1
    assert result.stderr == "rwsplit: unknown command: FOO\n"


def test_commands_are_read_and_an_error_is_not_the_end(run, url, operator):
    result = run("console", input="FOO\n\nRELOAD\nDETACH NODE replica1\n")
    assert result.exit_code == 0
    assert (
        result.stderr == "ERROR:  unknown command: FOO\nHINT:  SHOW HELP lists the commands.\n"
    )
    assert "NOTICE:  consistency.max_lag: 10s -> 5s" in result.stdout
    assert "RELOAD\nDETACH\n" in result.stdout
    assert operator.done == ["RELOAD", "DETACHED replica1"]


def test_help_lists_the_commands_and_a_view_that_may_be_meant_is_named(run, url):
    assert "ATTACH NODE name" in run("console", "help").stdout
    assert run("console", "SHOW NODE").stderr == (
        "rwsplit: there is no SHOW NODE; did you mean SHOW NODES?\n"
    )


@pytest.mark.parametrize("end", ["\\q", "quit", None])
def test_a_terminal_gets_a_prompt(run, url, monkeypatch, end):
    typed = iter(["SHOW VERSION", "", "\\?", end])

    def answer(prompt: str) -> str:
        print(prompt, end="")
        word = next(typed)
        if word is None:
            raise EOFError
        return word

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("rwsplit.cli.console.is_terminal", lambda: True)
    result = run("console")
    assert result.exit_code == 0
    assert result.stdout.count("rwsplit=> ") == 4
    assert "ATTACH NODE name" in result.stdout
