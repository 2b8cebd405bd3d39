"""`rwsplit config`."""

from __future__ import annotations

import json

import pytest

from rwsplit.config.loader import load

TEXT = """\
# ours
nodes: {primary: 127.0.0.1:5001}
auth: {type: trust}
admin: {users: [admin]}
consistency: {max_lag: 10s}  # agreed
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rwsplit.yaml"
    path.write_text(TEXT)
    return path


def test_the_running_settings_are_shown(run, url):
    assert "consistency.max_lag: 10s\n" in run("config", "show").stdout
    assert json.loads(run("config", "show", "--json").stdout)["pool.size"] == "20"
    assert run("config", "get", "consistency.max_lag").stdout == "10s\n"


def test_a_files_settings_are_shown_without_a_running_rwsplit(run, file):
    assert run("config", "get", "nodes.primary", "-c", file).stdout == "127.0.0.1:5001\n"


def test_an_unknown_setting_is_refused_with_the_one_meant(run, file):
    result = run("config", "get", "consistency.maxlag", "-c", file)
    assert result.exit_code == 1
    assert "did you mean consistency.max_lag?" in result.stderr


def test_set_changes_the_file_and_reloads_the_running_rwsplit(run, url, file, operator):
    port = url.rpartition(":")[2].partition("/")[0]
    file.write_text(TEXT + f"listen: 127.0.0.1:{port}\n")
    operator.config = load(file)
    result = run("config", "set", "consistency.max_lag", "5s", "-c", file)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"consistency.max_lag is 5s in {file}",
        "consistency.max_lag: 10s -> 5s",
    ]
    assert "# agreed" in file.read_text()
    assert operator.done == ["RELOAD"]


def test_set_goes_through_the_console_when_no_file_is_named(run, url, file, operator):
    operator.config = load(file)
    result = run("config", "set", "consistency.max_lag", "5s")
    assert (result.exit_code, result.stdout) == (0, "consistency.max_lag: 10s -> 5s\n")
    assert "max_lag: 5s" in file.read_text()


def test_set_without_a_running_rwsplit_only_changes_the_file(run, file):
    file.write_text(TEXT + "listen: 127.0.0.1:1\n")
    result = run("config", "set", "pool.size", "5", "-c", file)
    assert result.exit_code == 0
    assert "not reloaded: cannot connect to rwsplit at 127.0.0.1:1" in result.stdout
    assert load(file).pool.size == 5


def test_a_default_file_is_found(run, tmp_path):
    default = tmp_path / "cwd" / "config" / "rwsplit.yaml"
    default.parent.mkdir()
    default.write_text(TEXT.replace("admin:", "#admin:"))
    result = run("config", "set", "pool.size", "5")
    assert result.exit_code == 0
    assert "names no admin user" in result.stdout
    assert load(default).pool.size == 5


def test_a_refused_value_changes_nothing(run, file):
    result = run("config", "set", "pool.size", "0", "-c", file)
    assert result.exit_code == 1
    assert result.stderr == "rwsplit: pool.size: must be at least 1, got 0\n"
    assert file.read_text() == TEXT


def test_a_refused_reload_says_that_the_file_has_changed(run, url, file, operator, monkeypatch):
    port = url.rpartition(":")[2].partition("/")[0]
    file.write_text(TEXT + f"listen: 127.0.0.1:{port}\n")

    async def refuse():
        raise RuntimeError("a bug")

    operator.reload = refuse
    result = run("config", "set", "pool.size", "5", "-c", file)
    assert result.exit_code == 1
    assert "the file is changed, but not in force: internal error" in result.stderr


def test_a_path_cannot_smuggle_a_command(run, url):
    result = run("config", "set", "pool.size = 5; SHUTDOWN; SET pool.size", "6")
    assert result.exit_code == 1
    assert "not a setting's path" in result.stderr
