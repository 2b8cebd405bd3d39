"""Backend: one connection to PostgreSQL, in a model.

It takes what rwsplit sends and gives the answers the protocol chapter demands. A conversation may have it say something else: then that
is what has happened. All that follows from what it says is in `_said`, whoever has chosen the words, so both can be mixed.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

from tests.support import frames
from tests.support.conversation import sql
from tests.support.conversation.wording import frames as split, strings
from tests.support.conversation.world import World, plainly, writes

_ENDS = frozenset("QSF")


class Backend:
    """Answers what one server is asked."""

    def __init__(self, world: World, node: str) -> None:
        self.world = world
        self.node = node
        self.values = sql.Values()
        self.tx = "I"
        self.requests: deque[tuple[str, bytes]] = deque()
        """What it has got and has not answered."""
        self.owner: str | None = None
        """Whose its transaction or its state is, as far as texts tell."""
        self.named: dict[str, str] = {}
        self._portals: dict[str, str] = {}
        self._sent_names: dict[str, str] = {}
        self._sent_portals: dict[str, str] = {}
        self._statements: list[str] | None = None
        """Those of the Query at the head that have not been run."""
        self._copying = False
        self._failed = False
        """The Query at the head, or what precedes the Sync, has failed."""
        self._cancelled = False
        self._writes: list[str] = []
        self._savepoints: list[str] = []
        self._before = self.values.copy()
        self._unread = b""
        self._described = False

    @property
    def is_replica(self) -> bool:
        return self.world.primary != self.node

    # What it is asked...

    def take(self, data: bytes) -> None:
        """Take in what it was sent."""
        data = self._unread + data
        self._unread = b""
        for code, payload in split(data):
            if not code:
                self._unread = data[len(data) - len(payload) :]
            elif code != "X":
                self.requests.append((code, payload))
                self._note(code, payload)

    def _note(self, code: str, payload: bytes) -> None:
        """Count what it is sent to run, whether it comes to that or not."""
        if code == "Q":
            for text in _statements(payload):
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

    def answer(self) -> bytes:
        """Return the answers to all it was asked, as far as it can tell."""
        said = b""
        while self.requests and (more := self._next()) is not None:
            self.say(more)
            said += more
        return said

    def fail(self, error: bytes) -> bytes:
        """Return *error* as the next answer, and what must follow."""
        code = self._head
        if code in "QF":
            said = error + frames.ready(self._status(failed=True))
        elif code == "S" and not self._failed:
            return b""
        else:
            said = b"" if self._failed else error
        self.say(said)
        return said

    @property
    def _head(self) -> str:
        return self.requests[0][0]

    def _next(self) -> bytes | None:  # noqa: PLR0911 - one line a message
        code, payload = self.requests[0]
        if self._copying:
            return self._end_copy()
        if code == "S":
            return frames.ready(self._status())
        if code in "Hdcf" or (self._failed and code not in "QF"):
            self.requests.popleft()
            return b""
        if self._cancelled and code in "QE":
            self._cancelled = False
            said = frames.error("57014", "canceling statement due to user request")
            return said + (frames.ready(self._status(failed=True)) if code == "Q" else b"")
        if code == "Q":
            return self._query(payload)
        if code == "F":
            return frames.message("V", struct.pack("!i", -1)) + frames.ready(self._status())
        answers: dict[str, Callable[[bytes], bytes]] = {
            "P": self._parse,
            "B": self._bind,
            "D": self._describe,
            "E": self._execute,
            "C": lambda _: frames.CLOSE_COMPLETE,
        }
        return answers[code](payload)

    def _status(self, *, failed: bool = False) -> str:
        return "E" if self.tx != "I" and (failed or self.tx == "E") else self.tx

    def _query(self, payload: bytes) -> bytes:
        left = _statements(payload) if self._statements is None else self._statements
        if self._failed or (not left and self._statements is not None):
            return frames.ready(self._status())
        if not left:
            return frames.EMPTY + frames.ready(self._status())
        return self._run(left[0], described=True)

    def _run(self, text: str, *, described: bool) -> bytes:
        error = sql.refusal(text, is_replica=self.is_replica, has_failed=self.tx == "E")
        plain = plainly(text)
        if not error and plain.startswith(("rollback to", "release")):
            name = plain.split()[-1]
            error = (
                b"" if name in self._savepoints else frames.error("3B001", "no such savepoint")
            )
        if error:
            return error
        if plain.startswith("copy ") and " from stdin" in plain:
            return frames.COPY_IN
        if plain.startswith("copy "):
            data = frames.copy_data(text.encode())
            return frames.COPY_OUT + data + frames.COPY_DONE + frames.complete("COPY 1")
        tag = sql.tag_of(text)
        if self.tx == "E" and tag == "COMMIT":
            tag = "ROLLBACK"
        if not sql.returns_rows(text):
            return frames.complete(tag)
        columns = frames.COLUMNS if described else b""
        if text.startswith("/* rwsplit */"):
            return columns + _row(self.values.answer(text)) + frames.complete(tag)
        return columns + frames.row(text) + frames.complete(tag)

    def _end_copy(self) -> bytes | None:
        ending = next((code for code, _ in self.requests if code in "cf"), None)
        if ending is None:
            return None
        return (
            frames.complete("COPY 1") if ending == "c" else frames.error("57014", "COPY failed")
        )

    def _parse(self, payload: bytes) -> bytes:
        (name, text), _ = strings(payload, 2)
        if name and name in self.named:
            return frames.error("42P05", name)
        if self.tx == "E" and not plainly(text).startswith(("rollback", "commit")):
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
        said = self._run(text, described=False)
        is_limited = rest != bytes(4) and sql.returns_rows(text)
        return frames.row(text) + frames.SUSPENDED if is_limited else said

    # What follows from what it says...

    def say(self, data: bytes) -> None:
        """Have said *data*, as the answer to what it was asked."""
        for code, payload in split(data):
            self._said(code, payload)

    def _said(self, code: str, payload: bytes) -> None:
        if not self.requests:
            return
        if code == "Z":
            self._ready(payload.decode())
        elif code == "E":
            self._error()
        elif code == "G":
            self._copying = True
        elif code in "CIs":
            self._complete(code, payload)
        elif code in "12n3T":
            self._answered(code)

    def _answered(self, code: str) -> None:
        self._pass_by("Hdcf")
        asked, payload = self.requests[0]
        if asked != {"1": "P", "2": "B", "3": "C", "n": "D", "T": "D"}[code]:
            return  # the columns of a Query
        self.requests.popleft()
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
        self._pass_by("Hdcf" if not self._copying else "")
        asked, request = self.requests[0]
        if asked == "E":
            self.requests.popleft()
            text = self._portals.get(strings(request, 1)[0][0], "")
        elif asked == "Q":
            if self._statements is None:
                self._statements = _statements(request)
            text = self._statements.pop(0) if self._statements else ""
        else:
            return
        if self._copying:
            self._copying = False
            self._drop_data(behind=asked == "Q")
        if code == "C":
            self._have_run(text, payload[:-1].decode())

    def _drop_data(self, *, behind: bool) -> None:
        """Drop what came for a COPY, from behind the Query at the head if that is what copies."""
        kept = [self.requests.popleft()] if behind else []
        while self.requests and self.requests[0][0] in "dcfSH":
            code, _ = self.requests[0]
            if code == "S" and not any(c in "cf" for c, _ in self.requests):
                break
            self.requests.popleft()
            if code in "cf":
                break
        self.requests.extendleft(reversed(kept))

    def _have_run(self, text: str, tag: str) -> None:
        plain, world = plainly(text), self.world
        author = world.author(text)
        self._check(author, text)
        if tag in ("COMMIT", "ROLLBACK") and not plain.startswith("rollback to"):
            self._end(commits=tag == "COMMIT", chains="chain" in plain)
        elif tag == "BEGIN":
            self.tx, self._before = "T", self.values.copy()
        elif plain.startswith("savepoint"):
            self._savepoints.append(plain.split()[-1])
        elif plain.startswith("rollback to"):
            self.tx = "T"
        elif writes(text):
            self._writes.append(text)
        self.values.run(text)
        if plain.startswith(("discard all", "deallocate all")):
            self.named.clear()
        if author is not None:
            self.owner = author
            self._note_parameters(author, plain)
        elif not self.values.state and self.tx == "I":
            self.owner = None

    def _check(self, author: str | None, text: str) -> None:
        """Complain if *text* of *author* is run among what others have left."""
        if author is None:
            return
        if self.owner not in (None, author) and (self.tx != "I" or self.values.state):
            left = ", ".join(self.values.state) or "transaction"
            self.world.problems.append(f"{text!r} of {author} runs in {self.owner}'s {left}")
        has, wants = self.values.parameters, self.world.parameters.get(author, {})
        if has != wants:
            self.world.problems.append(f"{text!r} of {author} runs with {has}, not {wants}")

    def _note_parameters(self, author: str, plain: str) -> None:
        base = (
            {}
            if not plain.startswith(("discard", "reset"))
            else self.world.bases.get(author, {})
        )
        self.world.parameters[author] = {**base, **self.values.parameters}

    def _end(self, *, commits: bool, chains: bool = False) -> None:
        if commits and not self.is_replica:
            self.world.committed.update(self._writes)
        elif not commits:
            self.values = self._before.copy()
            if self.owner is not None:
                self.world.parameters[self.owner] = dict(self.values.parameters)
        self._writes.clear()
        self._savepoints.clear()
        self.tx = "T" if chains else "I"
        self._before = self.values.copy()

    def _error(self) -> None:
        self._failed, self._copying = True, False
        self._statements = []
        if self.tx != "I":
            self.tx = "E"
        else:
            self._end(commits=False)
        if self.requests and self._head not in "QF":
            while self.requests and self._head != "S":
                self.requests.popleft()

    def _ready(self, status: str) -> None:
        while self.requests and self.requests[0][0] not in _ENDS:
            self.requests.popleft()
        if self.requests:
            self.requests.popleft()
        if status == "I" and not self._failed:
            self._end(commits=True)
        elif status == "I":
            self._portals.clear()
        self.tx, self._failed, self._statements, self._copying = status, False, None, False
        self._cancelled = False
        if status == "I":
            self._portals.clear()

    def _pass_by(self, codes: str) -> None:
        while self.requests and self._head in codes:
            self.requests.popleft()


def _statements(payload: bytes) -> list[str]:
    """Return the statements of a Query."""
    text = payload[:-1].decode("utf-8", "replace")
    if text.startswith("/* rwsplit */"):
        return [text]
    return [part.strip() for part in text.split(";") if part.strip()]


def _row(values: list[str | None]) -> bytes:
    data = struct.pack("!h", len(values))
    for value in values:
        text = (value or "").encode()
        data += struct.pack("!i", -1 if value is None else len(text)) + text
    return frames.message("D", data)
