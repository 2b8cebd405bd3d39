"""Endings: why a parser process ended, and whether the text it was parsing is the cause."""

from __future__ import annotations

import math
import signal
from collections import OrderedDict
from enum import Enum
from hashlib import blake2b
from typing import Final

import attrs

OUT_OF_MEMORY: Final = 3
"""The exit status of a process that has reached its memory limit."""
MOST_SUSPECTS: Final = 1000
CONVICTED: Final = 3
RETRIAL: Final = 60.0
"""Seconds for which a text is not tried after processes have ended while parsing it for an unknown reason."""
_CRASHES: Final = frozenset(
    -number
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)
)
"""The exit statuses of a process that has crashed."""


class Ending(Enum):
    """Why a parser process ended."""

    OVERRAN = "a text took more processor time than it may"
    NO_MEMORY = "a text took more memory than it may"
    CRASHED = "it crashed while parsing a text"
    SILENT = "it did not answer in time"
    BROKEN = "it sent something that is not a message"
    DIED = "it ended by itself or was killed"
    NOT_STARTED = "it could not be started"
    FULL = "it had grown too large and is replaced"

    @property
    def is_the_texts(self) -> bool:
        """Whether the text it was parsing is the cause, so that any other process would end by it, too."""
        return self in {Ending.OVERRAN, Ending.NO_MEMORY, Ending.CRASHED}


def ending_of(status: int | None) -> Ending:
    """Return why a process ended with the exit *status* (a signal's is negative; None if it is not known)."""
    if status == -signal.SIGPROF:
        return Ending.OVERRAN
    if status in _CRASHES:
        return Ending.CRASHED
    return Ending.NO_MEMORY if status == OUT_OF_MEMORY else Ending.DIED


@attrs.define
class _Suspect:
    count: int = 0
    """How often a process ended while parsing it."""
    until: float = -math.inf
    """When it may be tried again."""


class Suspects:
    """Texts that were being parsed when a process ended.

    A text that is the cause is never tried again. If the cause is unknown (the OOM killer, an operator's `kill`), the text is not tried for
    RETRIAL seconds from the third time on, and then again: such causes end, and most of these texts are good.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, _Suspect] = OrderedDict()
        """By the hash of a text."""

    def are_to_include(self, text: bytes, ending: Ending, now: float) -> bool:
        """Note that a process ended by *ending* while parsing *text*; return whether *text* must not be tried now."""
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
        """Note that *text* was parsed after all."""
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
