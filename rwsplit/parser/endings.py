"""Endings: why a parser process ended, and what that says of the text it was reading."""

from __future__ import annotations

import signal
from collections import OrderedDict
from enum import Enum
from hashlib import blake2b
from typing import Final

OUT_OF_MEMORY: Final = 3
"""The exit status of a process that has run into its bound of memory."""
MOST_SUSPECTS: Final = 1000
CONVICTED: Final = 3


class Ending(Enum):
    """Why a parser process ended."""

    OVERRAN = "a text took more than its time"
    NO_MEMORY = "a text took more than its memory"
    SILENT = "it did not answer in time"
    BROKEN = "it answered what is no message"
    DIED = "it ended by itself or was killed"
    NOT_STARTED = "it could not be started"
    FULL = "it had grown large"

    @property
    def is_the_texts(self) -> bool:
        """The text it was reading is to blame, whoever reads it."""
        return self in {Ending.OVERRAN, Ending.NO_MEMORY}


def ending_of(status: int | None) -> Ending:
    """Return why a process ended by itself that has the exit *status*, a signal's negated; None: it is not known."""
    if status == -signal.SIGPROF:
        return Ending.OVERRAN
    return Ending.NO_MEMORY if status == OUT_OF_MEMORY else Ending.DIED


class Suspects:
    """Texts that were being read when a process ended: one that nobody knows why may be chance, the third is not."""

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, int] = OrderedDict()
        """By the hash of a text: how much speaks against it."""

    def are_to_include(self, text: bytes, ending: Ending) -> bool:
        """Note that *text* was being read at *ending*; return whether it must not be tried again."""
        mark = _mark(text)
        count = CONVICTED if ending.is_the_texts else self._found.get(mark, 0) + 1
        self._found[mark] = count
        if len(self._found) > MOST_SUSPECTS:
            self._found.popitem(last=False)
        return count >= CONVICTED

    def acquit(self, text: bytes) -> None:
        """Note that *text* was read."""
        if self._found:
            self._found.pop(_mark(text), None)

    def include(self, text: bytes) -> bool:
        """Return whether *text* must not be tried."""
        return bool(self._found) and self._found.get(_mark(text), 0) >= CONVICTED


def _mark(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()
