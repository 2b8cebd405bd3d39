"""Memory: which nodes an operator detached, kept in a file across restarts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import structlog

from rwsplit.cluster.node import AdminState
from rwsplit.config.model import Config
from rwsplit.errors import ConfigError

_log = structlog.get_logger("rwsplit.app")


class Memory:
    """The file of admin states; nodes that are attached are not mentioned in it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.states: dict[str, AdminState] = {} if path is None else _read(path)

    @classmethod
    def from_config(cls, config: Config) -> Memory:
        """Return the memory *config* asks for, beside the configuration file by default.

        Raises:
            ConfigError: the file cannot be read.
        """
        return cls(_place(config))

    def relocate(self, config: Config) -> None:
        """Keep the states where *config* wants them from now on; they are those in force."""
        if _place(config) != self._path:
            self._path = _place(config)
            self._save()

    def remember(self, node: str, state: AdminState) -> None:
        """Note that *node* is in *state*; a draining node comes back detached."""
        self.states.pop(node, None)
        if state is not AdminState.ATTACHED:
            self.states[node] = AdminState.DETACHED
        self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        text = json.dumps({name: state.value for name, state in sorted(self.states.items())})
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            temporary.write_text(text + "\n")
            os.replace(temporary, self._path)
        except OSError as error:
            _log.warning("state_not_saved", path=str(self._path), error=error.strerror)


def _place(config: Config) -> Path | None:
    path = config.admin.state_file
    return config.path.with_suffix(".state") if path is None and config.path else path


def _read(path: Path) -> dict[str, AdminState]:
    try:
        found = json.loads(path.read_text())
        return {str(name): AdminState(value) for name, value in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError([f"admin.state_file: cannot use {path}: {error}"]) from error
