"""The file that remembers which nodes an operator detached."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from rwsplit.app.memory import Memory, why_unusable
from rwsplit.cluster.node import AdminState
from rwsplit.cluster.remembered import Remembered
from rwsplit.config.model import AdminConfig, Config
from rwsplit.errors import ConfigError


def config(directory: Path, state_file: Path | None = None) -> Config:
    return Config(path=directory / "rwsplit.yaml", admin=AdminConfig(state_file=state_file))


def test_what_was_detached_is_detached_after_a_restart(tmp_path: Path):
    memory = Memory.from_config(config(tmp_path))
    memory.remember("pg1", AdminState.DETACHED)
    memory.remember("pg2", AdminState.DETACHED)
    memory.remember("pg2", AdminState.ATTACHED)

    assert Memory.from_config(config(tmp_path)).states == {"pg1": AdminState.DETACHED}
    assert (tmp_path / "rwsplit.state").exists()


def test_a_draining_node_comes_back_detached(tmp_path: Path):
    memory = Memory.from_config(config(tmp_path))
    memory.remember("pg1", AdminState.DRAINING)

    assert Memory.from_config(config(tmp_path)).states == {"pg1": AdminState.DETACHED}


def test_it_moves_to_another_file_with_what_is_in_force(tmp_path: Path):
    memory = Memory.from_config(config(tmp_path))
    memory.remember("pg1", AdminState.DETACHED)
    elsewhere = tmp_path / "elsewhere"
    memory.relocate(config(tmp_path))
    assert not elsewhere.exists()

    memory.relocate(config(tmp_path, elsewhere))

    assert json.loads(elsewhere.read_text()) == {
        "nodes": {"pg1": "detached"},
        "secret": memory.secret.hex(),
    }


def test_without_a_file_it_forgets():
    memory = Memory.from_config(Config())
    memory.remember("pg1", AdminState.DETACHED)

    assert Memory.from_config(Config()).states == {}


def test_a_file_that_cannot_be_written_costs_nothing_but_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    memory = Memory(tmp_path / "not there" / "state")
    memory.remember("pg1", AdminState.DETACHED)

    assert memory.states == {"pg1": AdminState.DETACHED}
    assert "state_not_saved" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]", '{"pg1": "perhaps"}'])
def test_a_file_that_is_not_ours_is_an_error_in_words(tmp_path: Path, text: str):
    (tmp_path / "rwsplit.state").write_text(text)

    with pytest.raises(ConfigError, match=r"admin\.state_file"):
        Memory.from_config(config(tmp_path))


KNOWN = Remembered(
    identity="7", timeline=2, highest=2, primary="nodes", members={"nodes": ("h", 1)}
)


def test_what_is_known_of_the_cluster_is_known_after_a_restart(tmp_path: Path):
    memory = Memory.from_config(config(tmp_path))
    memory.remember("nodes", AdminState.DETACHED)

    assert memory.remember_cluster(KNOWN) is None

    again = Memory.from_config(config(tmp_path))
    assert again.cluster == KNOWN
    assert again.states == {"nodes": AdminState.DETACHED}


def test_the_file_of_a_version_that_knew_no_clusters_is_read(tmp_path: Path):
    (tmp_path / "rwsplit.state").write_text('{"nodes": "detached"}')

    memory = Memory.from_config(config(tmp_path))

    assert memory.states == {"nodes": AdminState.DETACHED}
    assert memory.cluster is None


def test_the_secret_outlives_a_restart_and_is_for_nobody_else(tmp_path: Path):
    (tmp_path / "rwsplit.state").write_text('{"pg1": "detached"}')
    memory = Memory.from_config(config(tmp_path))
    memory.keep_secret()

    again = Memory.from_config(config(tmp_path))
    again.remember("pg2", AdminState.DETACHED)
    path = tmp_path / "rwsplit.state"
    assert Memory.from_config(config(tmp_path)).secret == memory.secret
    assert len(memory.secret) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_mtime_ns
    again.keep_secret()
    assert path.stat().st_mtime_ns == before


def test_a_secret_that_is_none_is_an_error_in_words(tmp_path: Path):
    (tmp_path / "rwsplit.state").write_text('{"nodes": {}, "secret": "perhaps"}')

    with pytest.raises(ConfigError, match=r"admin\.state_file"):
        Memory.from_config(config(tmp_path))


def test_that_nothing_is_remembered_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Memory.from_config(config(tmp_path))

    assert "nothing_remembered" in capsys.readouterr().out


def test_why_it_cannot_be_written_is_told_once_until_it_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    memory = Memory(tmp_path / "not there" / "state")

    for _ in range(2):
        assert "cannot write" in (memory.remember_cluster(KNOWN) or "")
    assert capsys.readouterr().out.count("state_not_saved") == 1

    (tmp_path / "not there").mkdir()
    assert memory.remember_cluster(KNOWN) is None


def test_why_a_file_is_of_no_use_is_known_before_it_is_used(tmp_path: Path):
    assert why_unusable(Config()) is None
    assert why_unusable(config(tmp_path)) is None
    assert "is not a directory" in (why_unusable(config(tmp_path, tmp_path / "a" / "b")) or "")
    assert "cannot use" in (why_unusable(config(tmp_path, tmp_path)) or "")
    (tmp_path / "rwsplit.state").write_text('{"nodes": {}, "cluster": {}}')
    assert "cannot use" in (why_unusable(config(tmp_path)) or "")


def test_that_a_file_cannot_be_written_is_found_out_by_writing(tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (0, hard)
    )  # whoever asks, and whatever rights there are
    try:
        problem = why_unusable(config(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    path = tmp_path / "rwsplit.state"
    assert problem == f"admin.state_file: cannot write {path}: File too large"
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_of_writing_is_found(tmp_path: Path):
    memory = Memory.from_config(config(tmp_path))
    (tmp_path / "rwsplit.state.new").mkdir()
    memory.remember("pg1", AdminState.DETACHED)

    assert memory.problem is not None
    assert why_unusable(config(tmp_path)) == memory.problem


def test_looking_whether_a_file_can_be_written_leaves_all_as_it_is(tmp_path: Path):
    Memory.from_config(config(tmp_path)).remember("pg1", AdminState.DETACHED)
    (tmp_path / "rwsplit.state.new").write_text("half")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}

    assert why_unusable(config(tmp_path)) is None

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["a pipe", "a link", "a file of nobody's"])
def test_what_was_left_under_the_successors_name_is_in_nobodys_way(tmp_path: Path, name: str):
    beside = tmp_path / "rwsplit.state.new"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    match name:
        case "a pipe":
            os.mkfifo(beside)
        case "a link":
            beside.symlink_to(elsewhere)
        case _:
            beside.write_text("half of a")
            beside.chmod(0)
    assert why_unusable(config(tmp_path)) is None
    memory = Memory.from_config(config(tmp_path))

    memory.remember("pg1", AdminState.DETACHED)

    assert memory.problem is None
    assert Memory.from_config(config(tmp_path)).states == {"pg1": AdminState.DETACHED}
    assert elsewhere.read_text() == "mine"


@pytest.mark.parametrize(
    "path", ["/dev/full", "/dev/zero", "/dev/null", "/", "/proc/self/nothing"]
)
def test_a_state_file_that_can_be_none_is_refused_with_a_reason(tmp_path: Path, path: str):
    there = config(tmp_path, Path(path))
    problem = why_unusable(there)
    assert problem is not None
    assert problem.startswith("admin.state_file: cannot ")
    assert "None" not in problem
    memory = Memory(None)
    memory.relocate(there)
    assert memory.problem is not None
    assert Path(path).exists() is (path != "/proc/self/nothing")
    assert not Path("/dev/null").is_file()


def test_a_pipe_in_its_place_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "rwsplit.state")
    with pytest.raises(ConfigError, match="it is a pipe, not a file"):
        Memory.from_config(config(tmp_path))
    assert "it is a pipe, not a file" in (why_unusable(config(tmp_path)) or "")


def test_a_file_deeper_or_larger_than_any_of_ours_is_refused(tmp_path: Path):
    for text in ("[" * 200_000, '{"nodes": {}, "x": "' + "y" * (1 << 20) + '"}'):
        (tmp_path / "rwsplit.state").write_text(text)
        with pytest.raises(ConfigError, match=r"admin\.state_file: cannot use"):
            Memory.from_config(config(tmp_path))


def test_a_file_that_somebody_else_may_have_put_there_is_refused(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    path = tmp_path / "rwsplit.state"
    path.write_text('{"pg1": "detached"}')
    os.chown(path, 65_534, 65_534)
    assert Memory.from_config(config(tmp_path)).states  # in a directory of our own it may be

    tmp_path.chmod(0o1777)

    with pytest.raises(ConfigError, match="it belongs to user 65534"):
        Memory.from_config(config(tmp_path))
    assert "it belongs to user 65534" in (why_unusable(config(tmp_path)) or "")


def test_a_file_that_may_be_read_but_not_replaced_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if os.geteuid() != 0:
        pytest.skip("needs a file of root's")
    path = tmp_path / "rwsplit.state"
    path.write_text("{}")
    tmp_path.chmod(0o1777)
    assert why_unusable(config(tmp_path)) is None

    monkeypatch.setattr(os, "geteuid", lambda: 65_534)

    assert why_unusable(config(tmp_path)) == (
        f"admin.state_file: cannot write {path}: {path} belongs to user 0, "
        f"and {tmp_path} lets nobody else replace it"
    )


def test_what_is_remembered_of_a_cluster_has_the_types_it_was_saved_with(tmp_path: Path):
    plain = KNOWN.to_plain()
    for key, value in (("primary", [1]), ("system_identifier", {}), ("timeline", "x")):
        (tmp_path / "rwsplit.state").write_text(
            json.dumps({"nodes": {}, "cluster": plain | {key: value}})
        )
        with pytest.raises(ConfigError, match=r"admin\.state_file: cannot use"):
            Memory.from_config(config(tmp_path))
