"""The file that remembers which nodes an operator detached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rwsplit.app.memory import Memory
from rwsplit.cluster.node import AdminState
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

    assert json.loads(elsewhere.read_text()) == {"pg1": "detached"}


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
