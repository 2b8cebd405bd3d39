"""Backend: one connection to PostgreSQL, in a model.

It takes what rwsplit sends and gives the answers the protocol chapter demands. A conversation may have it say something else: then that
is what has happened. All that follows from what it says is in `say`, whoever has chosen the words, so both can be mixed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from tests.support import frames
from tests.support.conversation import sql
from tests.support.conversation.requests import SILENT, Requests
from tests.support.conversation.wording import fields, frames as split, strings
from tests.support.conversation.work import Work
from tests.support.conversation.world import World, plainly, writes


class Backend:
    """Answers what one server is asked."""

    def __init__(self, world: World, node: str) -> None:
        self.world = world
        self.work = Work(world, node)
        self.requests = Requests()
        self.named: dict[str, str] = {}
        self.is_going = False
        """It has said that it closes the connection."""
        self._portals: dict[str, str] = {}
        self._sent_names: dict[str, str] = {}
        self._sent_portals: dict[str, str] = {}
        self._statements: list[str] | None = None
        """Those of the Query at the head that have not been run."""
        self._failed = False
        """The Query at the head, or what precedes the Sync, has failed."""
        self._cancelled = False
        self._unread = b""

    # What it is asked...

    def take(self, data: bytes) -> None:
        """Take in what it was sent."""
        data = self._unread + data
        self._unread = b""
        for code, payload in split(data):
            if not code:
                self._unread = data[len(data) - len(payload) :]
            elif code != "X" and self.requests.add(code, payload):
                self._note(code, payload)

    def _note(self, code: str, payload: bytes) -> None:
        """Count what it is sent to run, whether it comes to that or not."""
        if code == "Q":
            for text in statements(payload):
                self.world.sends(text)
        elif code == "P":
            (name, text), _ = strings(payload, 2)
            self._sent_names[name] = text
        elif code == "B":
            (portal, name), _ = strings(payload, 2)
            self._sent_portals[portal] = self._sent_names.get(name, "")
        elif code == "E":
            self.world.sends(self._sent_portals.get(strings(payload, 1)[0][0], ""))

    def cancel(self) -> None:
        """A cancel request arrives."""
        self._cancelled = bool(self.requests)

    # What it answers...

    @property
    def is_asked(self) -> bool:
        """It owes an answer, and can give one."""
        return bool(self.requests) and not self.is_going

    def answer(self) -> bytes:
        """Return the answers to all it was asked, as far as it can tell."""
        said = b""
        while self.is_asked and (more := self._next()) is not None:
            self.say(more)
            said += more
        return said

    def fail(self, error: bytes) -> bytes:
        """Return *error* as the next answer, and what must follow."""
        said = self._failing(error)
        self.say(said)
        return said

    def _failing(self, error: bytes) -> bytes:
        if self.requests.head in "QF":
            return error + frames.ready(self.work.status(fails=True))
        return b"" if self._failed or self.requests.head == "S" else error

    def _next(self) -> bytes | None:
        """Return what it says next, None: it waits for its client."""
        code, payload = self.requests.head, self.requests.payload
        if self.requests.copies:
            return {
                "c": frames.complete("COPY 1"),
                "f": frames.error("57014", "COPY failed"),
                None: None,
            }[self.requests.end_of_copy]
        if code in SILENT or (self._failed and code not in "SQF"):
            self.requests.pop()
            return b""
        if self._cancelled and code in "QE":
            return self._failing(frames.error("57014", CANCELED))
        return self._answers[code](payload)

    @property
    def _answers(self) -> dict[str, Callable[[bytes], bytes]]:
        return {
            "Q": self._query,
            "P": self._parse,
            "B": self._bind,
            "D": self._describe,
            "E": self._execute,
            "C": lambda _: frames.CLOSE_COMPLETE,
            "S": lambda _: frames.ready(self.work.status()),
            "F": lambda _: (
                frames.message("V", bytes.fromhex("ffffffff")) + self._answers["S"](b"")
            ),
        }

    def _query(self, payload: bytes) -> bytes:
        left = statements(payload) if self._statements is None else self._statements
        if left and not self._failed:
            return self._run(left[0], frames.COLUMNS)
        is_empty = self._statements is None and not self._failed
        return (frames.EMPTY if is_empty else b"") + frames.ready(self.work.status())

    def _run(self, text: str, columns: bytes = b"") -> bytes:
        wrong = self.work.wrong(text)
        if wrong and writes(text):
            self.world.misled[text] = wrong
        if error := self.work.refusal(text):
            return error
        plain = plainly(text)
        if plain.startswith("copy "):
            copied = frames.COPY_OUT + frames.copy_data(text.encode()) + frames.COPY_DONE
            return (
                frames.COPY_IN if " from stdin" in plain else copied + frames.complete("COPY 1")
            )
        if not sql.returns_rows(text):
            return frames.complete(self.work.tag(text))
        # It may run in vain where it must not: only to tell its client of that is wrong.
        row = frames.row(wrong or text)
        if text.startswith("/* rwsplit */"):
            row = _row(self.work.values.answer(text))
        elif sql.returns_nothing(text):
            row = b""
        return columns + row + frames.complete(self.work.tag(text))

    def _parse(self, payload: bytes) -> bytes:
        (name, text), _ = strings(payload, 2)
        if name and name in self.named:
            return frames.error("42P05", name)
        if self.work.tx == "E" and not plainly(text).startswith(("rollback", "commit")):
            return frames.error("25P02", "current transaction is aborted")
        return frames.PARSE_COMPLETE

    def _bind(self, payload: bytes) -> bytes:
        (_, name), _ = strings(payload, 2)
        return frames.BIND_COMPLETE if name in self.named else frames.error("26000", name)

    def _describe(self, payload: bytes) -> bytes:
        kind, name = payload[:1], strings(payload[1:], 1)[0][0]
        text = (self.named if kind == b"S" else self._portals).get(name)
        if text is None:
            return frames.error("26000" if kind == b"S" else "34000", name)
        count = len({word for word in text.replace(",", " ").split() if word.startswith("$")})
        types = frames.message("t", struct.pack(f"!h{count}i", count, *(25,) * count))
        shape = frames.COLUMNS if sql.returns_rows(text) else frames.NO_DATA
        return (types if kind == b"S" else b"") + shape

    def _execute(self, payload: bytes) -> bytes:
        [name], rest = strings(payload, 1)
        text = self._portals.get(name)
        if text is None:
            return frames.error("34000", name)
        if not text.strip():
            return frames.EMPTY
        said = self._run(text)
        is_limited = rest != bytes(4) and sql.returns_rows(text)
        return frames.row(text) + frames.SUSPENDED if is_limited else said

    # What follows from what it says...

    def say(self, data: bytes) -> None:
        """Have said *data*, as the answer to what it was asked."""
        for code, payload in split(data):
            if code == "E" and fields(payload).get("V") in ("FATAL", "PANIC"):
                self.is_going = True
                self.work.end(commits=False)
            elif self.requests:
                self._said(code, payload)

    def _said(self, code: str, payload: bytes) -> None:
        self.requests.drop_silent()
        if code == "Z":
            self._ready(payload.decode())
        elif code == "E":
            self._error()
        elif code == "G":
            self.requests.begin_copy()
        elif code in "CIs":
            self._complete(code, payload)
        elif code in _COMPLETES and self.requests.head == _COMPLETES[code]:
            self._take(*self.requests.pop())

    def _take(self, asked: str, payload: bytes) -> None:
        """Have done what a message of the extended protocol asked."""
        if asked == "P":
            (name, text), _ = strings(payload, 2)
            self.named[name] = text
        elif asked == "B":
            (portal, name), _ = strings(payload, 2)
            self._portals[portal] = self.named.get(name, "")
        elif asked == "C":
            found = self.named if payload[:1] == b"S" else self._portals
            found.pop(strings(payload[1:], 1)[0][0], None)

    def _complete(self, code: str, payload: bytes) -> None:
        self.requests.end_copy()
        asked, request = self.requests.head, self.requests.payload
        text = ""
        if asked == "E":
            self.requests.pop()
            text = self._portals.get(strings(request, 1)[0][0], "")
        elif asked == "Q":
            self._statements = (
                statements(request) if self._statements is None else self._statements
            )
            text = self._statements.pop(0) if self._statements else ""
        if code == "C":
            self.work.run(text, payload[:-1].decode())
            if plainly(text).startswith(("discard all", "deallocate all")):
                self.named.clear()

    def _error(self) -> None:
        self._failed, self._statements = True, []
        self._cancelled = self.requests.copies = False
        self.work.fail()
        if self.requests.head not in "QF":
            self.requests.skip()

    def _ready(self, status: str) -> None:
        while self.requests and self.requests.pop()[0] not in "QSF":
            pass
        if status == "I" and not self._failed:
            self.work.end(commits=True)
        if status == "I":
            self._portals.clear()
        self.work.tx = status
        self._failed, self._cancelled, self._statements = False, False, None


def statements(payload: bytes) -> list[str]:
    """Return the statements of a Query."""
    text = payload[:-1].decode("utf-8", "replace")
    if text.startswith("/* rwsplit */"):
        return [text]
    return [part.strip() for part in text.split(";") if part.strip()]


def _row(values: Sequence[str | None]) -> bytes:
    data = struct.pack("!h", len(values))
    for value in values:
        text = (value or "").encode()
        data += struct.pack("!i", -1 if value is None else len(text)) + text
    return frames.message("D", data)


CANCELED: Final = "canceling statement due to user request"
#: By an answer, what it completes.
_COMPLETES: Final = {"1": "P", "2": "B", "3": "C", "n": "D", "T": "D"}
