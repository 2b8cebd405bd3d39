"""Excuses: how answers through rwsplit may differ from PostgreSQL's, as intended.

Each is a function of a script and of what both sides have answered to it, and says why it is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from tests.support.raw_client import Frame
from tests.support.scripts import Script
from tests.support.twin import Answer

Answers: TypeAlias = Sequence[Answer]
Excuse: TypeAlias = Callable[[Script, Answers, Answers], bool]


def misses_a_lock(_script: Script, direct: Answers, ours: Answers) -> bool:
    """Return whether only PostgreSQL itself waits for a lock in vain.

    What a transaction reads on a replica it locks there: if it is then prepared (PREPARE TRANSACTION), on the primary,
    a TRUNCATE need not wait for it. Nothing it has read can be lost by that, since it keeps no snapshot.
    """
    waits = [
        any(frame.code == b"E" and _LOCK_TIMEOUT in frame.payload for frame in answer.frames)
        for answer in direct
    ]
    return any(
        waited and _LOCK_TIMEOUT not in b"".join(frame.payload for frame in answer.frames)
        for waited, answer in zip(waits, ours, strict=True)
    )


def has_listened(_script: Script, direct: Answers, ours: Answers) -> bool:
    """Return whether only rwsplit's server refuses PREPARE TRANSACTION behind an UNLISTEN.

    PostgreSQL ignores the UNLISTEN of a session that has never listened. Of a server that a session has.
    """
    return any(
        _HAS_LISTENED in b"".join(frame.payload for frame in got.frames)
        and _HAS_LISTENED not in b"".join(frame.payload for frame in expected.frames)
        for expected, got in zip(direct, ours, strict=True)
    )


def parses_again(_script: Script, direct: Answers, ours: Answers) -> bool:
    """Return whether only PostgreSQL describes the unnamed statement in a failed transaction.

    What is parsed by a unit that fails is not relied on, and parsed again: a BEGIN cannot be, then.
    """
    return any(
        expected.frames[:2] == (_NO_PARAMETERS, _NO_DATA)
        and got.frames
        and _ABORTED in got.frames[0].payload
        for expected, got in zip(direct, ours, strict=True)
    )


def parses_first(_script: Script, direct: Answers, ours: Answers) -> bool:
    """Return whether all that differs is which error a unit in a failed transaction has, of several.

    What must be parsed again (see `parses_again`) comes in front of the unit: 25P02 is told where PostgreSQL
    misses a statement (26000) before.
    """
    differ = [
        number
        for number, (expected, got) in enumerate(zip(direct, ours, strict=True))
        if got != expected
    ]
    return bool(differ) and all(
        number > 0
        and _FAILED in direct[number - 1].frames
        and direct[number].parameters == ours[number].parameters
        and direct[number].frames[1:] == ours[number].frames[1:]
        and _UNKNOWN in direct[number].frames[0].payload
        and _ABORTED in ours[number].frames[0].payload
        for number in differ
    )


def misses_a_name(script: Script, direct: Answers, ours: Answers) -> bool:
    """Return whether the first difference is that a string of several statements misses what was prepared through the protocol.

    EXECUTE and DEALLOCATE find such a name where they are alone (docs/compatibility.md).
    """
    number, _, got = _first_difference(direct, ours)
    if number >= len(script.steps):
        return False
    step = script.steps[number]
    missed = _MISSED.search(got.payload) if got.code == b"E" else None
    if missed is None:
        return False
    name = missed[1].decode()
    return any(
        line.says == "parse" and (*line.arguments, "")[1] == name
        for said in script.steps[: number + 1]
        for line in said.lines
    ) and any(
        ";" in str(line.arguments[0]) and _NAMING.search(line.arguments[0])
        for line in step.lines
        if line.says in ("query", "parse")
    )


def describes_what_failed(_script: Script, direct: Answers, ours: Answers) -> bool:
    """Return whether the first difference is what a Describe says of the unnamed portal in a transaction that has failed.

    A statement that fails in a Query leaves its portal. Where its replica is lost such a transaction is failed again on another server, by
    another statement, whose portal is not the same.
    """
    number, expected, got = _first_difference(direct, ours)
    has_failed = any(
        _FAILED in answer.frames for answer in direct[max(number - 1, 0) : number + 1]
    )
    return has_failed and all(
        frame.code == b"n" or _NO_PORTAL in frame.payload or _ABORTED in frame.payload
        for frame in (expected, got)
    )


def _first_difference(direct: Answers, ours: Answers) -> tuple[int, Frame, Frame]:
    """Return the number of the first answer that differs, and its first frame that does, on both sides."""
    for number, (expected, got) in enumerate(zip(direct, ours, strict=True)):
        if got == expected:
            continue
        for pair in zip(expected.frames, got.frames, strict=False):
            if pair[0] != pair[1]:
                return number, *pair
        return number, _NONE, _NONE
    return len(direct), _NONE, _NONE


#: Of any script.
ALWAYS: Final[Sequence[Excuse]] = (
    misses_a_lock,
    has_listened,
    parses_again,
    parses_first,
    misses_a_name,
)
#: Where servers are lost meanwhile.
UNDER_FIRE: Final[Sequence[Excuse]] = (*ALWAYS, describes_what_failed)
_NONE: Final = Frame(b"", b"")
_MISSED: Final = re.compile(rb'\0C26000\0Mprepared statement "(\w+)" does not exist\0')
_NAMING: Final = re.compile(r"\b(execute|deallocate) \w")
_NO_PARAMETERS: Final = Frame(b"t", bytes(2))
_NO_DATA: Final = Frame(b"n", b"")
_ABORTED: Final = b"\0C25P02\0"
_NO_PORTAL: Final = b"\0C34000\0"
_UNKNOWN: Final = b"\0C26000\0"
_FAILED: Final = Frame(b"Z", b"E")
_HAS_LISTENED: Final = b"that has executed LISTEN, UNLISTEN, or NOTIFY"
_LOCK_TIMEOUT: Final = b"\0C55P03\0"
