"""Endings: why a parser process ended, and what that says of the text it was reading."""

from __future__ import annotations

import math
import signal
from collections import OrderedDict
from enum import Enum
from hashlib import blake2b
from typing import Final

import attrs

OUT_OF_MEMORY: Final = 3
"""The exit status of a process that has run into its bound of memory."""
MOST_SUSPECTS: Final = 1000
CONVICTED: Final = 3
RETRIAL: Final = 60.0
"""Seconds for which a text is left alone at which processes have ended, nobody knows why."""
_STUMBLES: Final = frozenset(
    -number
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)
)
"""The exit statuses of a process that has stumbled by itself."""


class Ending(Enum):
    """Why a parser process ended."""

    OVERRAN = "a text took more than its time"
    NO_MEMORY = "a text took more than its memory"
    STUMBLED = "it stumbled over a text"
    SILENT = "it did not answer in time"
    BROKEN = "it answered what is no message"
    DIED = "it ended by itself or was killed"
    NOT_STARTED = "it could not be started"
    FULL = "it had grown large"

    @property
    def is_the_texts(self) -> bool:
        """The text it was reading is to blame, whoever reads it."""
        return self in {Ending.OVERRAN, Ending.NO_MEMORY, Ending.STUMBLED}


def ending_of(status: int | None) -> Ending:
    """Return why a process ended by itself that has the exit *status*, a signal's negated; None: it is not known."""
    if status == -signal.SIGPROF:
        return Ending.OVERRAN
    if status in _STUMBLES:
        return Ending.STUMBLED
    return Ending.NO_MEMORY if status == OUT_OF_MEMORY else Ending.DIED


@attrs.define
class _Suspect:
    count: int = 0
    """How often processes have ended at it."""
    until: float = -math.inf
    """When it may be tried again, once that was too often."""


class Suspects:
    """Texts that were being read when a process ended.

    Once is enough if that was the text's fault: it is not tried again. Nobody knows why, that may be chance, the third time less so; then it is left
    alone for a while. Whatever killed processes (too little memory, an operator) ends sometime, and a good text must not suffer for ever.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, _Suspect] = OrderedDict()
        """By the hash of a text."""

    def are_to_include(self, text: bytes, ending: Ending, now: float) -> bool:
        """Note that *text* was being read at *ending*; return whether it must not be tried again, or not now."""
        suspect = self._found.setdefault(_mark(text), _Suspect())
        suspect.count += 1
        if ending.is_the_texts:
            suspect.until = math.inf
        elif suspect.count >= CONVICTED:
            suspect.until = max(suspect.until, now + RETRIAL)
        if len(self._found) > MOST_SUSPECTS:
            self._found.popitem(last=False)
        return now < suspect.until

    def acquit(self, text: bytes) -> None:
        """Note that *text* was read."""
        if self._found:
            self._found.pop(_mark(text), None)

    def include(self, text: bytes, now: float) -> bool:
        """Return whether *text* must not be tried, or not now."""
        return now < self._until(text)

    def include_for_good(self, text: bytes) -> bool:
        """Return whether *text* must not be tried, ever."""
        return self._until(text) == math.inf

    def _until(self, text: bytes) -> float:
        suspect = self._found.get(_mark(text)) if self._found else None
        return -math.inf if suspect is None else suspect.until


def _mark(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()
