"""Where a demo leaves its URL."""

from __future__ import annotations

import json
import os

import pytest

from rwsplit.cli.runtime import announced, find_demos, runtime_directory
from rwsplit.errors import RwsplitError


def test_a_running_demo_is_found_until_it_ends(tmp_path):
    assert find_demos() == []
    with announced("postgresql://a"):
        demo = find_demos()[0]
        assert (demo.url, demo.pid) == ("postgresql://a", os.getpid())
        (file,) = runtime_directory().iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
    assert find_demos() == []


def test_the_demo_started_last_is_meant_and_dead_ones_are_forgotten():
    with announced("postgresql://mine"):
        directory = runtime_directory()
        for name, said in {
            "demo-1.json": {"url": "postgresql://init", "pid": 1},
            "demo-2.json": {"url": "postgresql://dead", "pid": 2**22 + 1},
            "demo-3.json": {"url": "no pid"},
            "demo-4.json": [],
        }.items():
            (directory / name).write_text(json.dumps(said))
        (directory / "demo-5.json").write_text("{")
        os.utime(directory / "demo-1.json", (1, 1))
        demo = find_demos()[0]
        assert demo.url == "postgresql://mine"
        assert not (directory / "demo-2.json").exists()


def test_a_directory_open_to_others_is_not_used():
    runtime_directory().mkdir(mode=0o755)
    assert find_demos() == []
    with pytest.raises(RwsplitError, match="is open to others"), announced("x"):
        raise AssertionError


def test_without_a_runtime_directory_there_is_one_per_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    assert runtime_directory().name == f"rwsplit-{os.getuid()}"


def test_status_beside_a_demo_just_works(run, url, monkeypatch):
    monkeypatch.delenv("RWSPLIT_URL")
    assert run("status").exit_code == 1
    with announced(url):
        assert run("status").exit_code == 0


def test_with_two_demos_running_status_asks_which_one_is_meant(run, url, monkeypatch):
    monkeypatch.delenv("RWSPLIT_URL")
    monkeypatch.setenv("USER", "nobody-knows")
    place = url.rpartition("@")[2].partition("/")[0]
    with announced(url):
        another = {"url": "postgresql://app:secret@127.0.0.1:1/app", "pid": 1}
        (runtime_directory() / "demo-1.json").write_text(json.dumps(another))
        asked = run("status")
        assert asked.exit_code == 1
        assert asked.stderr.startswith("rwsplit: 2 demos are running, at ")
        assert "127.0.0.1:1" in asked.stderr
        assert place in asked.stderr
        assert "secret" not in asked.stderr

        named = run("status", "--url", f"postgresql://{place}")
        assert named.exit_code == 0
        assert f"at {place}" in named.stdout
