"""Console: a virtual database on the same port, for psql, drivers and `rwsplit status`.

It speaks the protocol as a server does, simple and extended, because that is what every tool an
operator has can speak; a second port with a second protocol would need a second kind of client,
authentication and firewall rule (docs/decisions/0004). There are no transactions here: BEGIN
and COMMIT are answered, and the status is kept, so that drivers find what they expect.

After an error in the extended protocol everything up to Sync is skipped (manual, "Extended Query").
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final

import attrs
import structlog
import trio

from rwsplit.admin.commands import Chatter, Command, count_parameters, parse_commands
from rwsplit.admin.execute import PARAMETERS, Answer, execute, result_columns
from rwsplit.admin.login import Login
from rwsplit.admin.messages import (
    parse_bind,
    parse_execute,
    parse_named,
    parse_parse,
    parse_query,
)
from rwsplit.admin.operator import Operator
from rwsplit.admin.record import recorded
from rwsplit.admin.table import Table, Type, describe, encode_row
from rwsplit.admin.tokens import tokenize
from rwsplit.admin.views import PORTION
from rwsplit.config.model import PoolConfig
from rwsplit.config.overrides import pool_config
from rwsplit.errors import (
    CapacityError,
    ClientError,
    ConfigError,
    ProtocolViolation,
    RwsplitError,
)
from rwsplit.protocol import backend, codes
from rwsplit.server.stream import WireStream

#: Bytes of one message; a statement to explain may be long.
MAX_MESSAGE: Final = 1 << 17
#: Commands of one Query.
MAX_COMMANDS: Final = 100
#: Statements and portals one session may keep, and characters of them all; nobody needs many of a console.
MAX_PREPARED: Final = 1000
MAX_TEXT: Final = 1 << 20
#: Bytes of answers that are kept until a Sync or Flush.
MOST_KEPT: Final = 1 << 16
#: Sessions of the console at once.
MAX_SESSIONS: Final = 100

#: Seconds a refused client has to read the error message.
GOODBYE_SECONDS: Final = 1.0

_log = structlog.get_logger("rwsplit.admin")


class NoOperator(RwsplitError):
    """The user may not use the console, or not any more since a reload."""

    sqlstate = "42501"
    hint = "Name it in admin.users."


class TooManySessions(CapacityError):
    """So many are at the console already."""

    hint = "Close some, or set pool.client_idle_timeout."


class _Sessions:
    """Counts the sessions of the console, of all that there are in this process."""

    def __init__(self) -> None:
        self.count = 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Be one of them. Raises TooManySessions."""
        if self.count >= MAX_SESSIONS:
            raise TooManySessions(f"{MAX_SESSIONS} sessions are at the console already")
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


_SESSIONS: Final = _Sessions()


class NoSuchObject(ClientError):
    """A statement or portal that was never made, or is gone."""

    sqlstate = "26000"


@attrs.define
class _Portal:
    command: Command | None
    formats: tuple[int, ...]
    answer: Answer | None = None
    sent: int = 0


async def serve_console(stream: WireStream, login: Login, operator: Operator) -> None:
    """Converse with an authenticated client until it leaves; the caller closes *stream*.

    A user who is not in `admin.users` gets 42501. So does an admin whom a reload has removed from `admin.users` or from
    the userlist, as the answer to the next message.
    """
    _log.debug("console_opened", user=login.user)
    conversation = Conversation(stream, login, operator)
    try:
        see_that_it_may(login.user, operator)
        with _SESSIONS.one():
            await conversation.run()
    except (NoOperator, TooManySessions) as exc:
        with trio.move_on_after(GOODBYE_SECONDS):
            await stream.send_all(_fatal(exc))
    except ProtocolViolation as exc:
        with trio.move_on_after(GOODBYE_SECONDS):
            await stream.send_all(backend.error_response("FATAL", exc.sqlstate, str(exc)))
    except (EOFError, OSError, trio.TooSlowError):
        return


def see_that_it_may(user: str, operator: Operator) -> None:
    """Raise NoOperator if the configuration in force does not let *user* use the console."""
    if not operator.may_operate(user):
        raise NoOperator(f"user {user!r} may not use the console")


class Conversation:
    """One session of the console."""

    def __init__(self, stream: WireStream, login: Login, operator: Operator) -> None:
        self._stream = stream
        self._login = login
        self._operator = operator
        self._out = bytearray()
        self._status = b"I"
        self._skipping = False
        self._statements: dict[str, str] = {}
        self._portals: dict[str, _Portal] = {}
        self._session = {
            **PARAMETERS,
            "application_name": login.application_name,
            "session_authorization": login.user,
            "current_database": login.database,
            **dict.fromkeys(("current_user", "session_user", "user"), login.user),
        }

    async def run(self) -> None:
        """Greet, then answer until Terminate.

        Raises: ProtocolViolation, NoOperator, EOFError, OSError, trio.TooSlowError (the client does not read).
        """
        reported = [*PARAMETERS, "application_name", "session_authorization"]
        for name in reported:
            self._out += backend.parameter_status(name, self._session[name])
        await self._ready()

        while True:
            frame = await self._next_frame()
            if frame is None or frame[0] == codes.TERMINATE:
                return
            await trio.lowlevel.checkpoint()  # more messages may have been read already
            see_that_it_may(self._login.user, self._operator)
            code, payload = frame
            if code == codes.QUERY:
                await self._query(payload)
            elif code == codes.SYNC:
                self._skipping = False
                await self._ready()
            elif not self._skipping:
                await self._extended(code, payload)

    async def _next_frame(self) -> tuple[int, bytes] | None:
        """Return the next message; None if the client has idled for too long (it has been sent an error)."""
        timeout = self._settings.client_idle_timeout
        with trio.move_on_after(timeout or math.inf):
            return await self._stream.read_frame(MAX_MESSAGE)
        message = "terminating connection due to idle-session timeout"
        self._out += backend.error_response("FATAL", "57P05", message)
        await self._send()
        return None

    @property
    def _settings(self) -> PoolConfig:
        return pool_config(self._operator.config.pool, self._login.database, self._login.user)

    async def _query(self, payload: bytes) -> None:
        """Answer a simple Query: every command until one fails, then ReadyForQuery."""
        text = parse_query(payload)
        if self._skipping:
            return

        async def answer_all() -> None:
            commands = parse_commands(text)
            if len(commands) > MAX_COMMANDS:
                raise ClientError(f"the console takes {MAX_COMMANDS} commands at once at most")
            if not commands:
                self._out += backend.empty_query_response()
            for command in commands:
                await trio.lowlevel.checkpoint()
                answer = await self._execute(command)
                if answer.table:
                    self._out += describe(answer.table.columns)
                    await self._rows(answer.table, 0, None, ())
                await self._complete(answer)

        await self._guarded(answer_all)
        await self._ready()

    async def _extended(self, code: int, payload: bytes) -> None:
        if code == codes.FLUSH:
            await self._send()
            return
        handlers: dict[int, Callable[[bytes], Awaitable[None]]] = {
            codes.PARSE: self._parse,
            codes.BIND: self._bind,
            codes.DESCRIBE: self._describe,
            codes.EXECUTE: self._run_portal,
            codes.CLOSE: self._close,
        }
        handler = handlers.get(code)
        if handler is None:
            raise ProtocolViolation(
                f"the console does not expect a message of type {code:#04x}"
            )

        async def handle() -> None:
            await handler(payload)

        self._skipping = not await self._guarded(handle)

    async def _parse(self, payload: bytes) -> None:
        name, text = parse_parse(payload)
        if len(parse_commands(text)) > 1:
            raise ClientError("cannot insert multiple commands into a prepared statement")
        if name and name in self._statements:
            raise ClientError(f"prepared statement {name!r} already exists")
        _check_room(self._statements)
        if sum(map(len, self._statements.values())) + len(text) > MAX_TEXT:
            raise ClientError(f"the console keeps {MAX_TEXT} characters of statements at most")
        self._statements[name] = text
        self._out += backend.parse_complete()

    async def _bind(self, payload: bytes) -> None:
        bind = parse_bind(payload)
        commands = parse_commands(self._statement(bind.statement), bind.values)
        _check_room(self._portals)
        self._portals[bind.portal] = _Portal(next(iter(commands), None), bind.result_formats)
        self._out += backend.bind_complete()

    async def _describe(self, payload: bytes) -> None:
        kind, name = parse_named(payload)
        command: Command | None
        formats: tuple[int, ...] = ()
        if kind == "S":
            text = self._statement(name)
            command = next(iter(parse_commands(text)), None)
            types = [Type.TEXT.value[0]] * count_parameters(tokenize(text))
            self._out += backend.parameter_description(types)
        else:
            portal = self._portal(name)
            command, formats = portal.command, portal.formats
        columns = result_columns(command, self._session) if command else None
        self._out += backend.no_data() if columns is None else describe(columns, formats)

    async def _run_portal(self, payload: bytes) -> None:
        name, limit = parse_execute(payload)
        portal = self._portal(name)
        if portal.command is None:
            self._out += backend.empty_query_response()
            return
        if portal.answer is None:
            portal.answer = await self._execute(portal.command)
        table = portal.answer.table
        if table:
            portal.sent = await self._rows(table, portal.sent, limit or None, portal.formats)
            if portal.sent < len(table.rows):
                self._out += backend.portal_suspended()
                return
        await self._complete(portal.answer)

    async def _close(self, payload: bytes) -> None:
        kind, name = parse_named(payload)
        if kind == "S":
            self._statements.pop(name, None)
        else:
            self._portals.pop(name, None)
        self._out += backend.close_complete()

    async def _execute(self, command: Command) -> Answer:
        work = partial(execute, command, self._operator, self._session)
        answer = await recorded(command, self._operator, self._login, work)
        if isinstance(command, Chatter):
            self._status = {"BEGIN": b"T", "COMMIT": b"I", "ROLLBACK": b"I"}.get(
                command.tag, self._status
            )
            if command.tag == "DISCARD ALL":
                self._statements.clear()
        return answer

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Await *work* and tell whether it went well; if not, the client has an ErrorResponse."""
        try:
            await work()
        except ProtocolViolation:
            raise
        except RwsplitError as exc:
            self._out += _error(exc)
            return False
        except Exception as exc:  # noqa: BLE001 - a broken view must not end the proxy it looks at
            _log.exception("console_command_failed")
            sentence = f"internal error: {type(exc).__name__}: {exc}"
            self._out += backend.error_response("ERROR", "XX000", sentence)
            return False
        return True

    async def _rows(
        self, table: Table, start: int, limit: int | None, formats: Sequence[int]
    ) -> int:
        """Append rows of *table* from *start*, *limit* at most; return where they end."""
        end = len(table.rows) if limit is None else min(len(table.rows), start + limit)
        for number in range(start, end):
            self._out += encode_row(table, number, formats)
            if not number % PORTION:
                await self._relieve()
        return end

    async def _complete(self, answer: Answer) -> None:
        for notice in answer.notices:
            self._out += backend.notice_response("NOTICE", "00000", notice)
        self._out += backend.command_complete(answer.tag)
        await self._relieve()

    async def _relieve(self) -> None:
        """Let others have their turn, and the client what has become much, whether it has said Sync or not."""
        if len(self._out) > MOST_KEPT:
            await self._send()
        else:
            await trio.lowlevel.checkpoint()

    def _statement(self, name: str) -> str:
        if name not in self._statements:
            raise NoSuchObject(f"prepared statement {name!r} does not exist")
        return self._statements[name]

    def _portal(self, name: str) -> _Portal:
        if name not in self._portals:
            raise NoSuchObject(f"portal {name!r} does not exist")
        return self._portals[name]

    async def _ready(self) -> None:
        if self._status == b"I":
            self._portals.clear()
        self._out += backend.ready_for_query(self._status)
        await self._send()

    async def _send(self) -> None:
        data = bytes(self._out)
        self._out.clear()
        with trio.fail_after(self._settings.client_write_timeout or math.inf):
            await self._stream.send_all(data)


def _fatal(exc: NoOperator | TooManySessions) -> bytes:
    return backend.error_response("FATAL", exc.sqlstate, str(exc), hint=exc.hint)


def _check_room(kept: dict[str, str] | dict[str, _Portal]) -> None:
    if len(kept) >= MAX_PREPARED:
        raise ClientError(f"the console keeps at most {MAX_PREPARED} statements and portals")


def _error(exc: RwsplitError) -> bytes:
    hint: str | None = getattr(exc, "hint", None)
    if isinstance(exc, ConfigError) and len(exc.problems) > 1:
        message = f"the configuration has {len(exc.problems)} problems"
        return backend.error_response("ERROR", exc.sqlstate, message, detail=str(exc))
    return backend.error_response("ERROR", exc.sqlstate, str(exc), hint=hint)
