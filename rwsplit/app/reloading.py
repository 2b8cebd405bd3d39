"""Reloading: the configuration file is read again while rwsplit serves; all of it is taken over, or nothing.

SIGHUP, the console's RELOAD and its SET all call this. Every failure is a refusal with a reason, whether reading fails
(`preparation`, in a thread), or the new configuration changes what a running rwsplit cannot change, or a step of taking it over
fails. The steps do not wait; if one fails, it and the steps before it are undone. SET writes the file right before these
steps, and restores it byte for byte if one fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import attrs
import structlog
import trio

from rwsplit.admin.operator import OperationRefused
from rwsplit.app.memory import state_path, why_unusable
from rwsplit.app.preparation import Prepared, prepare, prepare_file
from rwsplit.config.changes import Changes, compare
from rwsplit.config.edit import Edit, edit_value
from rwsplit.errors import ConfigError, RwsplitError

_log = structlog.get_logger("rwsplit.app")

#: Applies the first configuration to one part of rwsplit, where the second is in force.
Step = Callable[[Prepared, Prepared], None]
Result = TypeVar("Result")


@attrs.frozen
class _Plan:
    """The configuration to apply, and what it changes."""

    new: Prepared
    changes: Changes


class Reloading:
    """Takes over what has changed in the configuration file, one reload at a time."""

    def __init__(self, in_force: Prepared, steps: Sequence[Step]) -> None:
        self.in_force = in_force
        """The configuration that all parts of rwsplit have taken over."""
        self._steps = steps
        self._turn = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)

    async def reload(self) -> Changes:
        """Read the file and what it names again.

        Raises:
            RwsplitError: the reload is refused, and nothing has changed.
        """
        path = self._path("read again")

        def plan() -> _Plan:
            return self._approved(prepare_file(path, self.in_force.keyring))

        async with self._turn:
            with refusing():
                return self._take_over(await self._aside(plan))
        raise AssertionError("a refusal is raised")

    async def set_config(self, setting: str, value: str) -> Changes:
        """Write *value* as *setting* into the file, and take it over.

        Raises:
            RwsplitError: the change is refused; neither rwsplit nor the file has changed.
        """
        path = self._path("write to")

        def plan() -> tuple[Edit, _Plan]:
            edit = edit_value(path, setting, value)
            return edit, self._approved(prepare(edit.config, self.in_force.keyring))

        async with self._turn:
            with refusing():
                edit, planned = await self._aside(plan)
                # From here on the file and the configuration in force must be the same.
                with trio.CancelScope(shield=True):
                    await self._aside(edit.write)
                    try:
                        return self._take_over(planned)
                    except BaseException:
                        await self._put_back(edit)
                        raise
        raise AssertionError("a refusal is raised")

    async def _put_back(self, edit: Edit) -> None:
        try:
            await self._aside(edit.take_back)
        except ConfigError as error:
            _log.error("file_not_put_back", reason=str(error))

    def _path(self, purpose: str) -> Path:
        path = self.in_force.config.path
        if path is None:
            raise OperationRefused(f"there is no configuration file to {purpose}")
        return path

    async def _aside(self, work: Callable[[], Result]) -> Result:
        """Run *work*, which reads or writes files, in a thread of reloading's own limiter."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)

    def _approved(self, new: Prepared) -> _Plan:
        """Return the plan for applying *new*. Runs in a thread: nothing but this class changes what is in force.

        Raises:
            ConfigError: a running rwsplit cannot apply *new*, or should not.
        """
        before, config = self.in_force.config, new.config
        changes = compare(before, config)
        if changes.refused:
            raise ConfigError(list(changes.refused))
        if before.admin.users and not config.admin.users:
            raise ConfigError(["admin.users: without any, nobody could log in to the console"])
        if config.users.file is not None:
            unknown = new.keyring.lacking(config)
            changed = config.admin.users != before.admin.users
            if unknown and (changed or len(unknown) == len(config.admin.users)):
                raise ConfigError(unknown)
        if state_path(config) != state_path(before):
            problem = why_unusable(config)
            if problem:
                raise ConfigError([problem])
        return _Plan(new, attrs.evolve(changes, userlist=new.userlist))

    def _take_over(self, plan: _Plan) -> Changes:
        """Apply *plan* as a whole, or not at all."""
        _take(self._steps, self.in_force, plan.new)
        self.in_force = plan.new
        for warning in plan.new.warnings:
            _log.warning("config_warning", reason=warning)
        return plan.changes


@contextmanager
def refusing() -> Iterator[None]:
    """Turn any exception inside into a refusal with a reason: a reload must never end the process."""
    try:
        yield
    except RwsplitError:
        raise
    except Exception as error:
        _log.exception("reload_failed")
        raise ConfigError([f"{NOT_FORESEEN} ({type(error).__name__}: {error})"]) from error


NOT_FORESEEN: Final = "the reload failed, and nothing has changed; the log says where"


def _take(steps: Sequence[Step], old: Prepared, new: Prepared) -> None:
    """Run *steps* with *new*; if one fails, run it and the steps before it with *old*, in reverse order."""
    done: list[Step] = []
    try:
        for step in steps:
            done.append(step)
            step(new, old)
    except BaseException:
        for step in reversed(done):
            try:
                step(old, new)
            except Exception:  # noqa: BLE001 - the others are still to be taken back
                _log.exception("reload_not_taken_back", step=step.__name__)
        raise
