"""How the command line finds the rwsplit meant, and as whom it comes."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from rwsplit.cli.proxy import DEFAULT_FILES, find_proxy, place_from_file, place_from_url
from rwsplit.errors import ConfigError

TEXT = "nodes: {a: h}\nadmin: {users: [root, alice]}\nusers: {file: userlist.txt}\n"


def login(path) -> tuple:
    given = conninfo_to_dict(place_from_file(path).conninfo)
    return given["host"], given["port"], given["user"], given.get("password")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rwsplit.yaml"
    path.write_text(TEXT)
    (tmp_path / "userlist.txt").write_text('"root" "md5' + "0" * 32 + '"\n"alice" "secret"\n')
    return path


def test_a_url_means_the_console_whatever_its_database():
    place = place_from_url("postgresql://admin@h:7/app?sslmode=require")
    given = conninfo_to_dict(place.conninfo)
    assert (given["dbname"], given["sslmode"], place.shown) == ("rwsplit", "require", "h:7")
    assert place_from_url("postgresql://admin@").shown == "127.0.0.1:6432"
    assert "admin" not in repr(place)


def test_a_file_says_where_and_an_admin_user_with_a_plain_password_comes(file):
    assert login(file) == ("127.0.0.1", "6432", "alice", "secret")


def test_listening_everywhere_is_reached_here(file):
    file.write_text(TEXT + "listen: 0.0.0.0:7000\n")
    assert login(file)[:2] == ("127.0.0.1", "7000")
    file.write_text(TEXT + "listen: '[::]:7000'\n")
    assert login(file)[0] == "::1"


def test_without_a_password_to_be_had_libpq_looks_for_one(file):
    (file.parent / "userlist.txt").write_text("nonsense")
    assert login(file)[2:] == ("root", None)
    (file.parent / "userlist.txt").write_text('"root" "md5' + "0" * 32 + '"\n')
    assert login(file)[2:] == ("root", None)
    file.write_text(TEXT + "auth: {type: trust}\n")
    assert login(file)[2:] == ("root", None)


def test_an_option_beats_the_file_and_the_file_the_environment(file, monkeypatch):
    monkeypatch.setenv("RWSPLIT_URL", "postgresql://x@env:1")
    assert find_proxy("postgresql://x@given:1", file).shown == "given:1"
    assert find_proxy(None, file).shown == "127.0.0.1:6432"
    assert find_proxy().shown == "env:1"


def test_a_file_in_the_current_directory_is_looked_for(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr("rwsplit.cli.proxy.DEFAULT_FILES", DEFAULT_FILES)
    assert find_proxy().shown == "127.0.0.1:6432"
    assert DEFAULT_FILES[0].resolve() == file


def test_a_bad_file_says_why(file):
    file.write_text("pool: {size: 0}")
    with pytest.raises(ConfigError, match=r"pool\.size"):
        find_proxy(None, file)
