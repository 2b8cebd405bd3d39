"""Endings: why a parser process ended, and whether the text it was parsing is the cause."""

from __future__ import annotations

import signal
from collections import OrderedDict
from enum import Enum
from hashlib import blake2b
from typing import Final

OUT_OF_MEMORY: Final = 3
"""The exit status of a process that has reached its memory limit."""
MOST_SUSPECTS: Final = 1000
CONVICTED: Final = 3


class Ending(Enum):
    """Why a parser process ended."""

    OVERRAN = "a text took more processor time than it may"
    NO_MEMORY = "a text took more memory than it may"
    SILENT = "it did not answer in time"
    BROKEN = "it sent something that is not a message"
    DIED = "it ended by itself or was killed"
    NOT_STARTED = "it could not be started"
    FULL = "it had grown too large and is replaced"

    @property
    def is_the_texts(self) -> bool:
        """Whether the text it was parsing is the cause, so that any other process would end by it, too."""
        return self in {Ending.OVERRAN, Ending.NO_MEMORY}


def ending_of(status: int | None) -> Ending:
    """Return why a process ended with the exit *status* (a signal's is negative; None if it is not known)."""
    if status == -signal.SIGPROF:
        return Ending.OVERRAN
    return Ending.NO_MEMORY if status == OUT_OF_MEMORY else Ending.DIED


class Suspects:
    """Texts that were being parsed when a process ended. Once for an unknown reason may be chance; the third time is not."""

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, int] = OrderedDict()
        """By the hash of a text: how often a process ended while parsing it."""

    def are_to_include(self, text: bytes, ending: Ending) -> bool:
        """Note that a process ended by *ending* while parsing *text*; return whether *text* must not be tried again."""
        mark = _mark(text)
        count = CONVICTED if ending.is_the_texts else self._found.get(mark, 0) + 1
        self._found[mark] = count
        if len(self._found) > MOST_SUSPECTS:
            self._found.popitem(last=False)
        return count >= CONVICTED

    def acquit(self, text: bytes) -> None:
        """Note that *text* was parsed after all."""
        if self._found:
            self._found.pop(_mark(text), None)

    def include(self, text: bytes) -> bool:
        """Return whether *text* must not be tried."""
        return bool(self._found) and self._found.get(_mark(text), 0) >= CONVICTED


def _mark(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()
