"""Asker: one client, as far as it can tell: what it has asked, and whether it was given one answer to each thing, in order."""

from __future__ import annotations

from collections import deque

from tests.support import frames
from tests.support.conversation.wording import fields, frames as split, lines, strings, values
from tests.support.conversation.world import World, writes


class Asker:
    """Takes note of what a client says and hears; what must not be goes to the problems of its *world*."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.asked: deque[tuple[str, bytes]] = deque()
        """What is not answered yet."""
        self.tx = "I"
        self.ending = ""
        """SQLSTATE of the FATAL error that has ended its session."""
        self.has_left = False
        self.states: list[str] = []
        """SQLSTATEs it was told of."""
        self._named: dict[str, str] = {}
        self._portals: dict[str, str] = {}
        self._said_named: dict[str, str] = {}
        self._said_portals: dict[str, str] = {}
        self._done = 0
        """Statements answered of the Query at the head."""
        self._failed = False
        self._skips = False
        self._copying = False
        self._written: list[str] = []
        self.acknowledged: list[str] = []
        """Writes it was told are committed."""

    # What it says...

    def says(self, data: bytes) -> None:
        for code, payload in split(data):
            if code in ("", "X"):
                self.has_left = self.has_left or code == "X"
                continue
            self.asked.append((code, payload))
            if code == "Q":
                for text in _texts(payload):
                    self.world.says(self.name, text)
            elif code == "P":
                (name, text), _ = strings(payload, 2)
                self._said_named[name] = text
            elif code == "B":
                (portal, name), _ = strings(payload, 2)
                self._said_portals[portal] = self._said_named.get(name, "")
            elif code == "E":
                text = self._said_portals.get(strings(payload, 1)[0][0], "")
                self.world.says(self.name, text)

    @property
    def rest(self) -> bytes:
        """What ends what it has begun to say."""
        codes = [code for code, _ in self.asked]
        said = b""
        if self._copying and not {"c", "f"} & {*codes}:
            said += frames.COPY_DONE
            if codes[0] == "E":
                said += frames.SYNC
        elif codes and next((c for c in reversed(codes) if c not in "Hdcf"), "S") not in "SQF":
            said += frames.SYNC
        return said

    # What it hears...

    def hears(self, data: bytes) -> None:
        for code, payload in split(data):
            if self.ending and code:
                self._complain("hears more behind the end", code, payload)
            elif code == "E":
                self._error(fields(payload))
            elif code not in "NSA":
                self._answered(code, payload)

    def _complain(self, what: str, code: str, payload: bytes) -> None:
        said = lines(frames.message(code, payload), from_client=False)[0]
        awaited = self.asked[0] if self.asked else "nothing"
        self.world.problems.append(f"{self.name} {what}: {said} (awaits {awaited})")

    def _error(self, said: dict[str, str]) -> None:
        self.states.append(said["C"])
        self._written.clear()
        self._copying = False
        if said["V"] in ("FATAL", "PANIC"):
            self.ending = said["C"]
            return
        self._drop("Hdcf")
        if not self.asked or self._failed or self._skips:
            self.world.problems.append(
                f"{self.name} hears of an error it has not asked for: {said}"
            )
        elif self.asked[0][0] in "QF":
            self._failed = True
        else:
            self._skips = True
            while self.asked and self.asked[0][0] != "S":
                self.asked.popleft()

    def _drop(self, codes: str) -> None:
        while self.asked and self.asked[0][0] in codes:
            self.asked.popleft()

    def _answered(self, code: str, payload: bytes) -> None:
        if not self._copying:
            self._drop("Hdcf")
        asked = self.asked[0][0] if self.asked else ""
        if not asked or asked not in _ASKS.get(code, "") or (self._skips and code != "Z"):
            self._complain("hears what it has not asked for", code, payload)
        elif code == "Z":
            self._ready(payload.decode(), asked, payload)
        elif code == "D":
            self._row(asked, payload)
        elif code == "G":
            self._copying = True
        elif code in "CIs":
            self._complete(code, asked, payload)
        elif code == "V" or (code == "T" and asked == "Q"):
            self._done += 1
        elif code in "123nT":
            self._take(asked)

    def _take(self, asked: str) -> None:
        _, payload = self.asked.popleft()
        if asked == "P":
            (name, text), _ = strings(payload, 2)
            self._named[name] = text
        elif asked == "B":
            (portal, name), _ = strings(payload, 2)
            self._portals[portal] = self._named.get(name, "")

    def _texts(self, asked: str) -> list[str]:
        """Return the texts of what it is being answered."""
        if asked == "Q":
            return _texts(self.asked[0][1])
        return [self._portals.get(strings(self.asked[0][1], 1)[0][0], "")]

    def _row(self, asked: str, payload: bytes) -> None:
        [value, *_] = values(payload) or [None]
        if value in self.world.said and value not in self._texts(asked):
            self._complain("is told the answer to something else", "D", payload)

    def _complete(self, code: str, asked: str, payload: bytes) -> None:
        texts = self._texts(asked)
        text = texts[min(self._done, len(texts) - 1)] if texts else ""
        self._done += 1
        if code == "C" and payload == b"ROLLBACK\0":
            self._written.clear()
        elif code == "C" and writes(text):
            self._written.append(text)
        if asked == "E":
            self.asked.popleft()
        if self._copying:
            self._copying = False
            self._end_copy(asked)

    def _end_copy(self, asked: str) -> None:
        kept = [self.asked.popleft()] if asked == "Q" else []
        while self.asked and self.asked[0][0] in "dcfSH":
            code, _ = self.asked[0]
            if code == "S" and not any(c in "cf" for c, _ in self.asked):
                break
            self.asked.popleft()
            if code in "cf":
                break
        self.asked.extendleft(reversed(kept))

    def _ready(self, status: str, asked: str, payload: bytes) -> None:
        if asked in "QF" and not (self._done or self._failed):
            self._complain("is told of an end without an answer", "Z", payload)
        self.asked.popleft()
        self.tx, self._done, self._failed, self._skips = status, 0, False, False
        if status == "I":
            self.acknowledged += self._written
            self._written.clear()
            self._portals.clear()


def _texts(payload: bytes) -> list[str]:
    text = payload[:-1].decode("utf-8", "replace")
    return [part.strip() for part in text.split(";") if part.strip()]


#: By the code of an answer: what it may be the answer to.
_ASKS = {
    "1": "P", "2": "B", "3": "C", "n": "D", "t": "D", "T": "DQ", "D": "EQ", "C": "EQ", "I": "EQ", "s": "E",
    "Z": "QSF", "G": "EQ", "H": "EQ", "d": "EQ", "c": "EQ", "V": "F",
}  # fmt: skip
