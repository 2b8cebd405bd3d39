"""Execute: do what a command asks through the operator, and say what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

import attrs

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
    UnknownCommand,
)
from rwsplit.admin.explanation import COLUMNS, explanation_table
from rwsplit.admin.operator import Operator
from rwsplit.admin.table import Column, Table, Type
from rwsplit.admin.views import VIEWS
from rwsplit.config.changes import Changes
from rwsplit.errors import ClientError

#: What the console reports about itself, so that drivers know how to speak.
PARAMETERS: Final = {
    "server_version": "16.0",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "integer_datetimes": "on",
    "is_superuser": "off",
    "in_hot_standby": "off",
    "default_transaction_read_only": "off",
}


class NoSuchNode(ClientError):
    """A command names a node that is not configured."""

    sqlstate = "42704"


@attrs.frozen
class Answer:
    """What a command came to: a table or none, the command tag, and notices to the operator."""

    tag: str
    table: Table | None = None
    notices: tuple[str, ...] = ()


def result_columns(command: Command, session: Mapping[str, str]) -> tuple[Column, ...] | None:
    """Return the columns *command* will answer with, None for no rows.

    *session* is what the login says: parameters, `current_database`, `current_user`.

    Raises:
        UnknownCommand: a SHOW of something there is not.
    """
    match command:
        case Show(view=name) if name in VIEWS:
            return VIEWS[name].columns
        case Show(view=name):
            if _parameter(name, session) is None:
                near = get_close_matches(name, VIEWS, n=1)
                meant = f"; did you mean SHOW {near[0].upper()}?" if near else ""
                raise UnknownCommand(f"there is no SHOW {name.upper()}{meant}")
            return (Column(name),)
        case ExplainRoute():
            return COLUMNS
        case Constant(column=name, value=value):
            return (Column(name, Type.INT8 if isinstance(value, int) else Type.TEXT),)
        case _:
            return None


async def execute(command: Command, operator: Operator, session: Mapping[str, str]) -> Answer:
    """Do what *command* says. Raises RwsplitError: it was refused."""
    answer_columns = result_columns(command, session)
    match command:
        case Show(view=name):
            view = VIEWS.get(name)
            if view is None:
                return Answer(
                    "SHOW", Table(answer_columns or (), [(_parameter(name, session),)])
                )
            return Answer("SHOW", await view.table(operator))
        case Constant(column=name, value=value):
            shown = session.get(name) if value is None else value
            return Answer("SELECT 1", Table(answer_columns or (), [(shown,)]))
        case ExplainRoute(sql=sql, in_transaction=in_transaction):
            explanation = await operator.explain_route(sql, in_transaction=in_transaction)
            return Answer("EXPLAIN", explanation_table(explanation, operator))
        case Chatter(tag=tag):
            return Answer(tag)
        case _:
            return await _operate(command, operator)


async def _operate(  # noqa: PLR0911 - one line a verb
    command: SetAdminState | Promote | Accept | SetConfig | Reconnect | Reload | Shutdown,
    operator: Operator,
) -> Answer:
    match command:
        case SetAdminState(node=node, state=state, tag=tag):
            problem = operator.set_admin_state(_known(node, operator), state)
            return Answer(tag, notices=_unsaved(problem))
        case Promote(node=node, force=force):
            name = _known(node, operator)
            told = await (
                operator.promote(name, force=True) if force else operator.promote(name)
            )
            return Answer("PROMOTE", notices=tuple(told))
        case Accept(node=node):
            return Answer("ACCEPT", notices=_unsaved(operator.accept(_known(node, operator))))
        case SetConfig(setting=setting, value=value):
            return Answer("SET", notices=_notices(await operator.set_config(setting, value)))
        case Reconnect(database=database):
            await operator.reconnect(database)
            return Answer("RECONNECT")
        case Reload():
            return Answer("RELOAD", notices=_notices(await operator.reload()))
        case Shutdown(wait=wait):
            operator.shutdown(wait=wait)
            return Answer("SHUTDOWN")


def _known(name: str, operator: Operator) -> str:
    if operator.view.node(name) is None:
        names = ", ".join(node.name for node in operator.view.nodes)
        raise NoSuchNode(f"there is no node {name!r}; the nodes are {names}")
    return name


def _unsaved(problem: str | None) -> tuple[str, ...]:
    """Return the notice that what was done could not be saved, because of *problem*; none if it was."""
    return (f"not saved; a restart of rwsplit undoes it: {problem}",) if problem else ()


def _notices(changes: Changes) -> tuple[str, ...]:
    return changes.told or ("nothing changed",)


def _parameter(name: str, session: Mapping[str, str]) -> str | None:
    return next((value for key, value in session.items() if key.lower() == name), None)
