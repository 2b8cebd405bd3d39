"""Memory: what outlives a restart, in one file: which nodes an operator detached, and what was seen of the cluster.

A file that cannot be written costs nothing at once, but a later restart; so it is said in the log, in `rwsplit status`
and by `rwsplit check`. Without anything to remember of a cluster the file has the form it had before there was that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from rwsplit.cluster.node import AdminState
from rwsplit.cluster.remembered import Remembered
from rwsplit.config.model import Config
from rwsplit.errors import ConfigError

_log = structlog.get_logger("rwsplit.app")


class Memory:
    """The state file; nodes that are attached are not mentioned in it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.states: dict[str, AdminState] = {}
        self.cluster: Remembered | None = None
        self.problem: str | None = None
        """Why the file could not be written, in a sentence; None: it could."""
        if path is not None:
            try:
                self.states, self.cluster = _read(path)
            except FileNotFoundError:
                _log.warning("nothing_remembered", path=str(path))

    @classmethod
    def from_config(cls, config: Config) -> Memory:
        """Return the memory *config* asks for, beside the configuration file by default.

        Raises:
            ConfigError: the file cannot be read.
        """
        return cls(state_path(config))

    def relocate(self, config: Config) -> None:
        """Keep everything where *config* wants it from now on; it is what is in force."""
        if state_path(config) != self._path:
            self._path = state_path(config)
            self.save()

    def remember(self, node: str, state: AdminState) -> None:
        """Note that *node* is in *state*; a draining node comes back detached."""
        self.states.pop(node, None)
        if state is not AdminState.ATTACHED:
            self.states[node] = AdminState.DETACHED
        self.save()

    def remember_cluster(self, cluster: Remembered) -> str | None:
        """Note what is known of the cluster; return why that could not be saved, None if it was."""
        self.cluster = cluster
        self.save()
        return self.problem

    def save(self) -> None:
        """Write the file; `problem` says why if that fails."""
        if self._path is None:
            return
        said: dict[str, Any] = {
            name: state.value for name, state in sorted(self.states.items())
        }
        if self.cluster is not None:
            said = {"nodes": said, "cluster": self.cluster.to_plain()}
        temporary = self._path.with_name(self._path.name + ".new")
        try:
            temporary.write_text(json.dumps(said) + "\n")
            os.replace(temporary, self._path)
        except OSError as error:
            problem = f"admin.state_file: cannot write {self._path}: {error.strerror}"
            if problem != self.problem:
                _log.warning("state_not_saved", path=str(self._path), error=error.strerror)
            self.problem = problem
        else:
            self.problem = None


def state_path(config: Config) -> Path | None:
    """Return the state file *config* asks for; None without a configuration file."""
    path = config.admin.state_file
    return config.path.with_suffix(".state") if path is None and config.path else path


def why_unusable(config: Config) -> str | None:
    """Return why the state file *config* asks for cannot be read or written, in a sentence; None: it can."""
    path = state_path(config)
    if path is None:
        return None
    try:
        if path.exists():
            _read(path)
    except ConfigError as error:
        return str(error)
    if not path.parent.is_dir():
        return f"admin.state_file: cannot write {path}: {path.parent} is not a directory"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"admin.state_file: cannot write {path}: {path.parent} may not be written to"
    return None


def _read(path: Path) -> tuple[dict[str, AdminState], Remembered | None]:
    try:
        found = json.loads(path.read_text())
        nodes, cluster = found, None
        if isinstance(found.get("nodes"), Mapping):
            nodes = found["nodes"]
            cluster = Remembered.from_plain(found["cluster"]) if "cluster" in found else None
        return {str(name): AdminState(value) for name, value in nodes.items()}, cluster
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError([f"admin.state_file: cannot use {path}: {error}"]) from error
