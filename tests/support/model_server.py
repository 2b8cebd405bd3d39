"""A server that knows PostgreSQL's rules for prepared statements, and nothing else.

It answers the extended protocol as the manual says ("Extended Query"): a Parse of a name in use is 42P05, a
Bind of a name nobody made is 26000, an error skips everything up to the Sync. A row holds the text of the
statement that was executed, so that a mix-up of statements shows.

Texts decide what fails: one in *broken* cannot be parsed (as long as it is there), one with `at_bind` cannot
be bound, one with `at_execute` fails when it runs.
"""

from __future__ import annotations

import struct

from tests.support import frames

UNKNOWN_STATEMENT = "26000"
DUPLICATE_STATEMENT = "42P05"


class ModelServer:
    """One server; *broken* may be shared with others, as the tables of a database are."""

    def __init__(self, broken: set[str]) -> None:
        self.broken = broken
        self.named: dict[str, str] = {}
        self.unnamed: str | None = None
        self._portals: dict[str, str] = {}
        self._skipping = False
        self._unread = b""

    def answers(self, data: bytes) -> bytes:
        """Return what it sends after reading *data*."""
        data = self._unread + data
        sent = b""
        while len(data) >= 5:
            end = 1 + struct.unpack_from("!i", data, 1)[0]
            if end > len(data):
                break
            sent += self._answer(chr(data[0]), data[5:end])
            data = data[end:]
        self._unread = data
        return sent

    def _answer(self, code: str, payload: bytes) -> bytes:
        if code == "S":
            self._skipping = False
            self._portals.clear()
            return frames.ready()
        if self._skipping:
            return b""
        if code == "Q":
            self.unnamed = None
            text = payload[:-1].decode()
            return frames.COLUMNS + frames.row(text) + frames.complete() + frames.ready()
        words = payload.split(b"\0")
        answer = {
            "P": self._parse,
            "B": self._bind,
            "D": self._describe,
            "E": self._execute,
            "C": self._close,
        }[code]([word.decode("latin-1") for word in words])
        self._skipping = answer[:1] == b"E"
        return answer

    def _parse(self, words: list[str]) -> bytes:
        name, text = words[0], words[1]
        if not name:
            self.unnamed = None
        if text in self.broken:
            return frames.error("42P01", text)
        if name in self.named:
            return frames.error(DUPLICATE_STATEMENT, name)
        if name:
            self.named[name] = text
        else:
            self.unnamed = text
        return frames.PARSE_COMPLETE

    def _find(self, name: str) -> str | None:
        return self.named.get(name) if name else self.unnamed

    def _bind(self, words: list[str]) -> bytes:
        text = self._find(words[1])
        if text is None:
            return frames.error(UNKNOWN_STATEMENT, words[1])
        if text in self.broken:
            return frames.error("42P01", text)
        if "at_bind" in text:
            return frames.error("22P02", text)
        self._portals[words[0]] = text
        return frames.BIND_COMPLETE

    def _describe(self, words: list[str]) -> bytes:
        kind, name = words[0][0], words[0][1:]
        if kind == "P":
            known = name in self._portals
            return frames.COLUMNS if known else frames.error("34000", name)
        if self._find(name) is None:
            return frames.error(UNKNOWN_STATEMENT, name)
        return frames.PARAMETERS + frames.NO_DATA

    def _execute(self, words: list[str]) -> bytes:
        text = self._portals.get(words[0])
        if text is None:
            return frames.error("34000", words[0])
        if "at_execute" in text:
            return frames.error("22012", text)
        return frames.row(text) + frames.complete()

    def _close(self, words: list[str]) -> bytes:
        kind, name = words[0][0], words[0][1:]
        if kind == "P":
            self._portals.pop(name, None)
        elif name:
            self.named.pop(name, None)
        else:
            self.unnamed = None
        return frames.CLOSE_COMPLETE
