"""Memory: the state file, which outlives a restart: the nodes an operator detached, what was seen of the cluster, and a secret.

If the file cannot be written, the damage shows only after the next restart. So the log, `rwsplit status` and `rwsplit check`
report it.

The salts of mock verifiers are made of the secret (`server.strangers`). With another one after each restart these salts would change, and those of
real users would not. It is not derived from the userlist: a client that is shown a salt could then test passwords against it.

The file decides which nodes are used and which one is the primary. So in a directory where everybody may create files, a file
of another user is refused. Reading and writing never block on a pipe or a device that lies under the file's name.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from rwsplit.cluster.node import AdminState
from rwsplit.cluster.remembered import Remembered
from rwsplit.config.files import read_file, see_that_it_is_regular
from rwsplit.config.model import Config
from rwsplit.errors import ConfigError

#: Bytes that a state file may well have.
USUAL_SIZE: Final = 4096
#: Bytes a state file may have at most.
LIMIT: Final = 1 << 20
#: Bytes of the secret.
SECRET_SIZE: Final = 32
#: The mode of a directory in which everybody may create files but remove only their own (such as /tmp).
_OPEN_TO_ALL: Final = stat.S_ISVTX | stat.S_IWOTH

_log = structlog.get_logger("rwsplit.app")


class Memory:
    """The state file; nodes that are attached are not mentioned in it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.states: dict[str, AdminState] = {}
        self.cluster: Remembered | None = None
        self.secret = b""
        """What salts of strangers are made from."""
        self.problem: str | None = None
        """Why the file could not be written, in a sentence; None: it could."""
        if path is not None:
            try:
                self.states, self.cluster, self.secret = _read(path)
            except FileNotFoundError:
                _log.warning("nothing_remembered", path=str(path))
        self._is_secret_kept = bool(self.secret)
        self.secret = self.secret or secrets.token_bytes(SECRET_SIZE)

    @classmethod
    def from_config(cls, config: Config) -> Memory:
        """Return the memory *config* asks for, beside the configuration file by default.

        Raises:
            ConfigError: the file cannot be read.
        """
        return cls(state_path(config))

    def keep_secret(self) -> None:
        """Write the file if it has no secret yet."""
        if not self._is_secret_kept:
            self.save()

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
        nodes = {name: state.value for name, state in sorted(self.states.items())}
        said: dict[str, Any] = {"nodes": nodes, "secret": self.secret.hex()}
        if self.cluster is not None:
            said["cluster"] = self.cluster.to_plain()
        try:
            _write(self._path, json.dumps(said).encode() + b"\n")
        except (OSError, ValueError) as error:  # ValueError: a path without a name
            problem = _problem(self._path, error)
            if problem != self.problem:
                _log.warning("state_not_saved", path=str(self._path), error=_words(error))
            self.problem = problem
        else:
            self.problem = None
            self._is_secret_kept = True


def state_path(config: Config) -> Path | None:
    """Return the state file *config* asks for; None without a configuration file."""
    path = config.admin.state_file
    return config.path.with_suffix(".state") if path is None and config.path else path


def why_unusable(config: Config) -> str | None:
    """Return why the state file *config* asks for cannot be read or written, in a sentence; None: it can.

    Rights alone do not tell (a file system may be full, or read-only): so a file is written beside it, and removed.
    """
    path = state_path(config)
    if path is None:
        return None
    try:
        with suppress(FileNotFoundError):
            _read(path)
        if not path.parent.is_dir():
            return f"admin.state_file: cannot write {path}: {path.parent} is not a directory"
        _try_to_write(path)
    except ConfigError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return _problem(path, error)
    return None


def _try_to_write(path: Path) -> None:
    """Try what `Memory.save` does to *path*, and remove the file again. Raises OSError, ValueError."""
    beside = _beside(path)
    size = path.stat().st_size if path.exists() else 0
    # Not the name that is in use: an rwsplit that runs may be writing it just now.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".check")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(bytes(max(size, USUAL_SIZE)))
            file.flush()
            os.fsync(file.fileno())  # some file systems are full no sooner
    finally:
        os.unlink(name)
    _see_that_it_can_go(beside)  # another user's file of that name may be in the way
    _see_that_it_can_go(path)
    if path.exists() and path.lstat().st_dev != path.parent.stat().st_dev:
        raise OSError(errno.EBUSY, "it is a mount of its own; mount its directory instead")


def _write(path: Path, data: bytes) -> None:
    """Replace *path* by a file of *data*. Raises OSError, ValueError.

    The new file is created under an unused name: opening a pipe would block, and a link would lead elsewhere.
    """
    temporary = _beside(path)
    with suppress(FileNotFoundError):
        temporary.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(data)
    with suppress(FileNotFoundError):
        see_that_it_is_regular(path.stat())  # a device must not be replaced
    os.replace(temporary, path)


def _see_that_it_can_go(path: Path) -> None:
    """Raise OSError if what is called *path* cannot be replaced by a file of ours."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    directory = path.parent.stat()
    owners = {0, status.st_uid, directory.st_uid}
    if directory.st_mode & stat.S_ISVTX and os.geteuid() not in owners:
        raise PermissionError(
            errno.EPERM,
            f"{path} belongs to user {status.st_uid}, and {path.parent} lets nobody else replace it",
        )


def _beside(path: Path) -> Path:
    """Return the path of the temporary file that is renamed to *path*. Raises ValueError: *path* has no name."""
    return path.with_name(path.name + ".new")


def _problem(path: Path, error: OSError | ValueError) -> str:
    return f"admin.state_file: cannot write {path}: {_words(error)}"


def _words(error: Exception) -> str:
    """Return the system's message for *error*, or the error's own where the system has none."""
    return getattr(error, "strerror", None) or str(error)


def _read(path: Path) -> tuple[dict[str, AdminState], Remembered | None, bytes]:
    """Return what the file *path* says, an empty secret if it is of a version that had none. Raises ConfigError, FileNotFoundError."""
    try:
        text = read_file(path, LIMIT)
        _see_that_it_is_ours(path)
        found = json.loads(text)
        nodes, cluster, secret = found, None, b""
        if isinstance(found.get("nodes"), Mapping):
            nodes = found["nodes"]
            cluster = Remembered.from_plain(found["cluster"]) if "cluster" in found else None
            secret = bytes.fromhex(found.get("secret", ""))
        states = {str(name): AdminState(value) for name, value in nodes.items()}
        return states, cluster, secret
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = _words(error)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error)
    raise ConfigError([f"admin.state_file: cannot use {path}: {reason}"])


def _see_that_it_is_ours(path: Path) -> None:
    """Raise OSError if another user may have created *path*: it could detach nodes or name a wrong primary."""
    owner, directory = path.stat().st_uid, path.parent.stat()
    if directory.st_mode & _OPEN_TO_ALL == _OPEN_TO_ALL and owner not in {0, os.geteuid()}:
        raise PermissionError(
            errno.EPERM,
            f"it belongs to user {owner}, and everybody may make files in {path.parent}; "
            "remove it, or keep it in a directory of your own",
        )
