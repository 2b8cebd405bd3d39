"""`rwsplit check`."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "config"


@pytest.fixture
def file(tmp_path):
    (tmp_path / "userlist.txt").touch(mode=0o600)
    (tmp_path / "userlist.txt").write_text('"admin" "secret"\n')
    path = tmp_path / "rwsplit.yaml"
    path.write_text(
        "nodes: {a: h1, b: h2}\nusers: {file: userlist.txt}\nadmin: {users: [admin]}\n"
        "monitor: {password: hidden}\n"
    )
    return path


def test_a_good_file_is_fine(run, file):
    result = run("check", "-c", file)
    assert (result.exit_code, result.stdout) == (0, f"{file} is fine: 2 nodes, 1 users\n")


def test_show_prints_the_effective_settings_without_secrets(run, file):
    lines = run("check", "-c", file, "--show").stdout.splitlines()
    assert "pool.size: 20" in lines
    assert "monitor.password: ****" in lines
    assert "nodes.b: h2:5432" in lines


def test_every_problem_is_printed_with_its_path(run, file):
    file.write_text("nodes: {a: 'h:x'}\npool: {size: 0}\nusers: {file: none}\n")
    result = run("check", "-c", file)
    assert result.exit_code == 1
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
        "nodes.a",
        "pool.size",
        "users.file",
    ]


def test_the_userlist_is_checked_too(run, file):
    (file.parent / "userlist.txt").write_text('"alice" "secret"\n')
    result = run("check", "-c", file)
    assert result.exit_code == 1
    assert "admin.users: 'admin' is not in" in result.stderr
    (file.parent / "userlist.txt").write_text("nonsense\n")
    assert "users.file: " in run("check", "-c", file).stderr


def test_the_examples_name_only_files_that_an_operator_has_to_make(run):
    for name in ("rwsplit.minimal.yaml", "rwsplit.example.yaml"):
        result = run("check", "-c", EXAMPLES / name)
        assert result.exit_code == 1
        for line in result.stderr.splitlines():
            assert "there is no such file" in line


def test_a_state_file_that_cannot_be_used_is_a_problem(run, file):
    file.write_text(file.read_text().replace("admin: {", "admin: {state_file: none/state, "))
    result = run("check", "-c", file)
    assert result.exit_code == 1
    assert "admin.state_file: cannot write" in result.stderr
    assert "is not a directory" in result.stderr


def test_a_userlist_its_group_may_read_is_a_warning_and_one_everybody_may_a_problem(run, file):
    userlist = file.parent / "userlist.txt"
    userlist.chmod(0o640)
    file.chmod(0o600)  # it has a password, too
    result = run("check", "-c", file)
    assert result.exit_code == 0
    assert (
        result.stderr == f"warning: users.file: its group may read or change it: {userlist}\n"
    )

    userlist.chmod(0o644)
    result = run("check", "-c", file)
    assert result.exit_code == 1
    assert f"users.file: everybody may read or change it: chmod 600 {userlist}" in result.stderr
