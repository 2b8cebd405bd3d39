"""Changing one setting of a file written by hand."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rwsplit.config.edit import edit_value, edited, set_value
from rwsplit.config.loader import load
from rwsplit.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "config" / "rwsplit.example.yaml"
TEXT = """\
# our cluster
nodes:
  pg0: 10.0.0.10:5432   # the big one
  pg1: "10.0.0.11"
auth: {type: trust}

consistency:
  max_lag: 10s          # agreed with the team
"""


def test_one_line_changes_and_the_comments_stay():
    assert edited(TEXT, "consistency.max_lag", "5s") == TEXT.replace("10s ", "5s  ")


def test_a_setting_of_the_example_can_be_changed_and_nothing_else_moves():
    before = EXAMPLE.read_text()
    after = edited(before, "log.level", "debug")
    changed = [
        pair
        for pair in zip(before.splitlines(), after.splitlines(), strict=True)
        if pair[0] != pair[1]
    ]
    assert len(changed) == 1
    assert changed[0][1].startswith("  level: debug")


def test_a_new_section_is_added_at_the_end():
    assert edited(TEXT, "pool.size", "5") == TEXT + "pool:\n  size: 5\n"
    assert edited("", "pool.size", "5") == "pool:\n  size: 5\n"
    assert edited("pool:\n", "pool.size", "5") == "pool:\n  size: 5\n"


def test_a_short_node_is_spelt_out_to_make_room():
    after = edited(TEXT, "nodes.pg1.weight", "3")
    assert "  pg1:\n    host: 10.0.0.11\n    port: 5432\n    weight: 3\n" in after


def test_a_list_keeps_its_indentation():
    text = "admin:\n    users:\n      - alice\nlog: {level: info}\n"
    assert edited(text, "log.level", "error") == text.replace("info", "error")


def test_a_value_may_be_a_list():
    assert edited("", "admin.users", "[alice, bob]") == "admin:\n  users: [alice, bob]\n"


@pytest.mark.parametrize(
    ("text", "setting", "value", "sentence"),
    [
        (TEXT, "", "1", "the path: must be a path such as consistency.max_lag"),
        (TEXT, "pool..size", "1", "pool..size: must be a path such as"),
        (TEXT, "pool.size", "[", "pool.size: not a YAML value: '['"),
        ("- 1", "size", "1", "size: the file has no settings there"),
        ("a: 1", "a.b", "1", "a.b: the file has no settings there"),
        ("a: 1", "a.b.c", "1", "a.b: the file has no settings there"),
        ("nodes: {a: ':'}", "nodes.a.weight", "1", "nodes.a: must name a host"),
        ("a: [", "a", "1", "the text: line 1"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(text, setting, value, sentence):
    with pytest.raises(ConfigError) as caught:
        edited(text, setting, value)
    (problem,) = caught.value.problems
    assert problem.startswith(sentence)


def test_the_file_is_replaced_with_its_mode_and_through_a_link(tmp_path):
    file = tmp_path / "rwsplit.yaml"
    file.write_text(TEXT)
    file.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)

    config = set_value(link, "consistency.max_lag", "5s")

    assert config.consistency.max_lag == 5.0
    assert "max_lag: 5s" in file.read_text()
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.yaml", "rwsplit.yaml"]


def test_a_refused_value_leaves_the_file_alone(tmp_path):
    file = tmp_path / "rwsplit.yaml"
    file.write_text(TEXT)
    with pytest.raises(ConfigError) as caught:
        set_value(file, "consistency.max_lga", "5s")
    assert caught.value.problems == [
        "consistency.max_lga: unknown setting; did you mean max_lag?"
    ]
    assert file.read_text() == TEXT


def test_nothing_is_written_until_that_is_said_and_it_can_be_taken_back_byte_for_byte(tmp_path):
    file = tmp_path / "rwsplit.yaml"
    raw = TEXT.replace("\n", "\r\n").encode()
    file.write_bytes(raw)

    edit = edit_value(file, "pool.size", "5")
    assert (edit.config.pool.size, file.read_bytes()) == (5, raw)
    edit.write()
    assert load(file).pool.size == 5
    edit.take_back()
    assert file.read_bytes() == raw


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000, "&a [*a", '"\\ud800"', "!!bool x", "9" * 5000, "{" * 30 + "}" * 30, "*nobody", "<<"],
)  # fmt: skip
def test_whatever_is_no_value_is_refused_and_leaves_the_file_alone(tmp_path, value):
    file = tmp_path / "rwsplit.yaml"
    file.write_text(TEXT)

    with pytest.raises(ConfigError):
        set_value(file, "pool.size", value)
    assert file.read_text() == TEXT


def test_a_file_that_cannot_be_replaced_is_left_alone(tmp_path, monkeypatch):
    file = tmp_path / "rwsplit.yaml"
    file.write_text(TEXT)

    def refuse(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
        set_value(file, "pool.size", "5")
    assert file.read_text() == TEXT
    assert [each.name for each in tmp_path.iterdir()] == ["rwsplit.yaml"]


def test_a_file_of_another_owner_or_group_is_left_alone_and_the_refusal_names_them(
    tmp_path, monkeypatch
):
    file = tmp_path / "rwsplit.yaml"
    file.write_text(TEXT)
    status = file.stat()

    def refuse(path, uid, gid):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "getegid", lambda: status.st_gid + 1)
    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(ConfigError) as caught:
        set_value(file, "pool.size", "5")
    assert caught.value.problems == [
        f"{file}: cannot be written: it belongs to user {status.st_uid}, group {status.st_gid}, "
        f"and rwsplit runs as user {os.geteuid()}, group {status.st_gid + 1}: chown it to those"
    ]
    assert file.read_text() == TEXT
    assert [each.name for each in tmp_path.iterdir()] == ["rwsplit.yaml"]


def test_a_link_to_itself_is_no_file_to_be_edited(tmp_path):
    path = tmp_path / "rwsplit.yaml"
    path.symlink_to(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        edit_value(path, "pool.size", "5")


def test_what_nobody_foresaw_is_a_refusal(tmp_path, monkeypatch):
    file = tmp_path / "rwsplit.yaml"
    file.write_text(TEXT)

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("rwsplit.config.edit.load_yaml_guess_indent", fail)
    with pytest.raises(
        ConfigError, match=r"pool\.size: cannot be understood: ZeroDivisionError"
    ):
        set_value(file, "pool.size", "5")
    assert file.read_text() == TEXT
