"""Asker: one client, as far as it can tell: what it has asked, and whether it was given one answer to each thing, in order."""

from __future__ import annotations

import re
from typing import Final

from tests.support import frames
from tests.support.conversation.backend import statements
from tests.support.conversation.requests import SILENT, Requests
from tests.support.conversation.wording import fields, frames as split, lines, strings, values
from tests.support.conversation.world import World, writes


class Asker:
    """Takes note of what a client says and hears; what must not be goes to the problems of its *world*."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.asked = Requests()
        self.tx = "I"
        self.ending = ""
        """SQLSTATE of the FATAL error that has ended its session."""
        self.has_left = False
        self.states: list[str] = []
        """SQLSTATEs it was told of."""
        self.acknowledged: list[str] = []
        """Writes it was told are committed."""
        self._named: dict[str, str] = {}
        self._portals: dict[str, str] = {}
        self._said_named: dict[str, str] = {}
        self._said_portals: dict[str, str] = {}
        self._done = 0
        """Statements answered of the Query at the head."""
        self._failed = False
        """The Query at the head has failed."""
        self._skips = False
        """All up to the next Sync is skipped."""
        self._open = False
        """Its last messages lack their Sync."""
        self._written: list[str] = []
        """Writes it was told of in the transaction it is in."""

    # What it says...

    def says(self, data: bytes) -> None:
        """Take note of what it says."""
        for code, payload in split(data):
            if code == "X":
                self.has_left = True
            elif code and self.asked.add(code, payload):
                self._open = code in "PBDECH" or (self._open and code not in "QSF")
                self._note(code, payload)

    def _note(self, code: str, payload: bytes) -> None:
        if code == "Q":
            for text in statements(payload):
                self.world.says(self.name, text)
        elif code == "P":
            (name, text), _ = strings(payload, 2)
            self._said_named[name] = text
        elif code == "B":
            (portal, name), _ = strings(payload, 2)
            self._said_portals[portal] = self._said_named.get(name, "")
        elif code == "E":
            portal = strings(payload, 1)[0][0]
            self.world.says(self.name, self._said_portals.get(portal, ""))

    @property
    def awaits(self) -> bool:
        """It has asked for what it has not been told, or is in the middle of asking."""
        return self._open or self._skips or any(code not in SILENT for code in self.asked.codes)

    @property
    def rest(self) -> bytes:
        """What ends what it has begun to say."""
        if self.asked.copies and self.asked.end_of_copy is None:
            return frames.COPY_DONE + (frames.SYNC if self.asked.head == "E" else b"")
        if self._open or (self._skips and "S" not in self.asked.codes):
            return frames.SYNC
        return b""

    # What it hears...

    def hears(self, data: bytes) -> None:
        """Take note of what it is told."""
        for code, payload in split(data):
            if self.ending and code:
                self._complain("hears more behind the end", code, payload)
            elif code == "E":
                self._error(fields(payload))
            elif code == "N":
                self._warned(fields(payload).get("M", ""))
            elif code not in "SA":
                self._answered(code, payload)

    def _complain(self, what: str, code: str, payload: bytes) -> None:
        said = lines(frames.message(code, payload), from_client=False)[0]
        self.world.problems.append(f"{self.name} {what}: {said} (awaits {self.asked})")

    def _warned(self, said: str) -> None:
        """Go on without a parameter that rwsplit says no server takes."""
        if refused := _REFUSED.match(said):
            for has in (self.world.parameters[self.name], self.world.bases[self.name]):
                has.pop(refused[1], None)

    def _error(self, said: dict[str, str]) -> None:
        self.states.append(said["C"])
        self._written.clear()
        self.asked.copies = False
        if said["V"] in ("FATAL", "PANIC"):
            self.ending = said["C"]
            return
        self.asked.drop_silent()
        if not self.asked or self._failed or self._skips:
            self.world.problems.append(
                f"{self.name} hears of an error it has not asked for: {said}"
            )
        elif self.asked.head in "QF":
            self._failed = True
        else:
            self._skips = True
            self.asked.skip()

    def _answered(self, code: str, payload: bytes) -> None:
        self.asked.drop_silent()
        if self._skips:
            self.asked.skip()
        asked = self.asked.head
        if not asked or asked not in _ASKS.get(code, "") or (self._skips and code != "Z"):
            self._complain("hears what it has not asked for", code, payload)
        elif code == "Z":
            self._ready(payload)
        elif code == "D":
            self._row(payload)
        elif code == "G":
            self.asked.begin_copy()
        elif code in "CIs":
            self._complete(code, payload)
        elif code == "V" or (code == "T" and asked == "Q"):
            self._done += 1
        elif code in "123nT":
            self._take(*self.asked.pop())

    def _take(self, asked: str, payload: bytes) -> None:
        if asked == "P":
            (name, text), _ = strings(payload, 2)
            self._named[name] = text
        elif asked == "B":
            (portal, name), _ = strings(payload, 2)
            self._portals[portal] = self._named.get(name, "")

    def _texts(self) -> list[str]:
        """Return the texts of what it is being answered."""
        if self.asked.head == "Q":
            return statements(self.asked.payload)
        return [self._portals.get(strings(self.asked.payload, 1)[0][0], "")]

    def _row(self, payload: bytes) -> None:
        [value, *_] = values(payload) or [None]
        is_anothers = value in self.world.said and value not in self._texts()
        if is_anothers or " runs " in (value or ""):
            self._complain("is told the answer to something else", "D", payload)

    def _complete(self, code: str, payload: bytes) -> None:
        self.asked.end_copy()
        texts = self._texts()
        text = texts[min(self._done, len(texts) - 1)] if texts else ""
        self._done += 1
        if code == "C" and payload == b"ROLLBACK\0":
            self._written.clear()
        elif code == "C" and writes(text):
            self._written.append(text)
            if text in self.world.misled:
                self.world.problems.append(self.world.misled[text])
        if self.asked.head == "E":
            self.asked.pop()

    def _ready(self, payload: bytes) -> None:
        if self.asked.head in "QF" and not (self._done or self._failed):
            self._complain("is told of an end without an answer", "Z", payload)
        self.asked.pop()
        self.tx, self._done, self._failed, self._skips = payload.decode(), 0, False, False
        if self.tx == "I":
            self.acknowledged += self._written
            self._written.clear()
            self._portals.clear()


_REFUSED: Final = re.compile(r'invalid value for parameter "([^"]*)"')
#: By the code of an answer: what it may be the answer to.
_ASKS: Final = {
    "1": "P", "2": "B", "3": "C", "n": "D", "t": "D", "T": "DQ", "D": "EQ", "C": "EQ", "I": "EQ", "s": "E",
    "Z": "QSF", "G": "EQ", "H": "EQ", "d": "EQ", "c": "EQ", "V": "F",
}  # fmt: skip
