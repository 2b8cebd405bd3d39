"""Requests: what a client has asked and was not answered yet, by the rules of the protocol for COPY and for what is skipped.

Both ends of a conversation keep such a queue: the client to know what it may be told, the model of a server what it is to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

#: What is answered by nothing, or by what answers something else.
SILENT: Final = "Hdcf"


class Requests:
    """Messages that wait for their answers, the first at the head."""

    def __init__(self) -> None:
        self._left: deque[tuple[str, bytes]] = deque()
        self.copies = False
        """The head has begun to copy data in."""

    def __bool__(self) -> bool:
        return bool(self._left)

    def __len__(self) -> int:
        return len(self._left)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(self._left)

    def __repr__(self) -> str:
        return repr([*self._left])

    @property
    def codes(self) -> str:
        """The codes of all of them."""
        return "".join(code for code, _ in self._left)

    @property
    def head(self) -> str:
        """The code of the first, "" if there is none."""
        return self._left[0][0] if self._left else ""

    @property
    def payload(self) -> bytes:
        """The payload of the first."""
        return self._left[0][1]

    def add(self, code: str, payload: bytes) -> bool:
        """Take one more; False: it is ignored, as Sync and Flush are in copy-in mode."""
        if code in "SH" and self.copies and self.end_of_copy is None:
            return False
        self._left.append((code, payload))
        return True

    def pop(self) -> tuple[str, bytes]:
        """Take the first out."""
        return self._left.popleft()

    def drop_silent(self) -> None:
        """Drop what needs no answer, as far as it is at the head."""
        while not self.copies and self.head and self.head in SILENT:
            self.pop()

    def skip(self) -> None:
        """Drop all up to the next Sync."""
        while self.head not in ("", "S"):
            self.pop()

    # COPY...

    @property
    def end_of_copy(self) -> str | None:
        """Whether the data is complete ("c") or given up ("f"); None: more is to come."""
        return next((code for code in self.codes if code in "cf"), None)

    def begin_copy(self) -> None:
        """The head takes data in: a Sync or a Flush in front of the end of that is ignored."""
        self.copies = True
        head, *rest = self._left
        ends = [number for number, (code, _) in enumerate(rest) if code in "cf"]
        end = ends[0] if ends else len(rest)
        data = [request for request in rest[:end] if request[0] not in "SH"]
        self._left = deque([head, *data, *rest[end:]])

    def end_copy(self) -> None:
        """The head has taken all data in: drop that from behind it."""
        if not self.copies:
            return
        self.copies = False
        head = self.pop()
        while self.head and self.head in "dcf":
            code, _ = self.pop()
            if code in "cf":
                break
        self._left.appendleft(head)
