"""Record: logs each change that is made on the console: what changed, which user made it and from where.

A refused one leaves a line, too. Values that were typed are not in it, for they may be secrets; what changed by them is, as
`SHOW CONFIG` would show it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from rwsplit.admin.commands import (
    Accept,
    Chatter,
    Command,
    Constant,
    ExplainRoute,
    Promote,
    Reconnect,
    Reload,
    SetAdminState,
    SetConfig,
    Show,
    Shutdown,
)
from rwsplit.admin.execute import Answer
from rwsplit.admin.login import Login
from rwsplit.admin.operator import Operator
from rwsplit.errors import RwsplitError

_log = structlog.get_logger("rwsplit.admin")


def shown(command: Command) -> str | None:  # noqa: PLR0911 - one line a verb
    """Return *command* as it would be typed, without a value; None if it changes nothing."""
    match command:
        case SetAdminState(node=node, tag=tag):
            return f"{tag} NODE {node}"
        case Promote(node=node, force=force):
            return f"PROMOTE NODE {node}{' FORCE' * force}"
        case Accept(node=node):
            return f"ACCEPT NODE {node}"
        case SetConfig(setting=setting):
            return f"SET {setting}"
        case Reconnect(database=database):
            return "RECONNECT" if database is None else f"RECONNECT {database}"
        case Reload():
            return "RELOAD"
        case Shutdown(wait=wait):
            return f"SHUTDOWN{' WAIT_FOR_SERVERS' * wait}"
        case Show() | ExplainRoute() | Chatter() | Constant():
            return None


async def recorded(
    command: Command, operator: Operator, login: Login, work: Callable[[], Awaitable[Answer]]
) -> Answer:
    """Await *work*, which does *command*, and log what changed by it. Raises as *work*."""
    text = shown(command)
    if text is None:
        return await work()
    who = {"user": login.user, "application": login.application_name, "peer": login.peer}
    before = _state(command, operator)
    at_first = _log.bind()
    try:
        answer = await work()
    except RwsplitError as error:
        _log.info("console_command_refused", command=text, **who, reason=str(error))
        raise
    after = _state(command, operator)
    changes = [
        f"{name}: {old} -> {after.get(name)}"
        for name, old in before.items()
        if old != after.get(name)
    ]
    # A command may make the log quieter: that is told as loudly as it was before.
    log: Any = _log.bind()
    log = log if log.is_enabled_for(logging.INFO) else at_first
    log.info("console_command", command=text, changes=[*changes, *answer.notices], **who)
    return answer


def _state(command: Command, operator: Operator) -> dict[str, str]:
    """Return what *command* is about, of what the operator of rwsplit decides by hand."""
    view = operator.view
    match command:
        case SetAdminState(node=name) if (node := view.node(name)) is not None:
            return {name: node.admin.value}
        case Promote() | Accept():
            return {"primary": "none" if view.primary is None else view.primary.name}
        case _:
            return {}
