"""A violation, with what surrounds it, to debug it by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tests.support.guarantees.clients import Sessions, Trouble
from tests.support.guarantees.history import Event, Read, Write
from tests.support.guarantees.ledger import Misbooking
from tests.support.guarantees.rules import Violation
from tests.support.guarantees.statements import TABLE

#: Events of its session that are shown before a violation.
_BEFORE: Final = 8
#: Violations that are shown whole.
_MOST: Final = 3
_LONGEST: Final = 240
_LONG: Final = re.compile(
    rf"select register, value, current_setting\('cluster_name'\) from {TABLE}"
)


def report(sessions: Sessions, violations: Sequence[Violation]) -> str:
    """Return what was done, and the first of *violations* with what their sessions did before."""
    lines = [sessions.summary(), f"{len(violations)} violations"]
    history = sessions.history()
    for violation in violations[:_MOST]:
        lines += _described(violation, history)
    return "\n".join(lines)


def trouble_report(troubles: Iterable[Trouble]) -> str:
    """Return what happened, with what the client had said before."""
    lines = []
    for trouble in troubles:
        lines.append(f"session {trouble.session}: {trouble.sqlstate} {_short(trouble.text)}")
        lines += [f"    {_short(said)}" for said in trouble.before]
    return "\n".join(lines)


def misbooking_report(misbookings: Iterable[Misbooking]) -> str:
    """Return what the ledger shows."""
    return "\n".join(
        f"{m.mistake.value}: {m.value} in register {m.register}, {m.times} times; {m.write}"
        for m in misbookings
    )


def _described(violation: Violation, history: Iterable[Event]) -> Iterator[str]:
    yield f"* {violation}"
    origin = violation.event.began
    if violation.cause is not None:
        yield f"    because of {_line(violation.cause, origin)}"
    own = [event for event in history if event.session == violation.event.session]
    at = next(number for number, event in enumerate(own) if event is violation.event)
    for event in own[max(0, at - _BEFORE) : at + 1]:
        yield f"    {_line(event, origin)}"


def _line(event: Event, origin: float) -> str:
    times = f"{event.began - origin:+.4f} to {event.ended - origin:+.4f}"
    if isinstance(event, Write):
        did = f"{event.outcome.value} {dict(event.entries)}"
    else:
        did = _read(event)
    return f"session {event.session} {times} {did} <- {_short(event.said)}"


def _read(event: Read) -> str:
    level = "" if event.level is None else f" at {event.level.name}"
    transaction = "" if event.transaction is None else f" in transaction {event.transaction}"
    return f"{event.node or '?'} {dict(event.values)}{level}{transaction}"


def _short(said: str) -> str:
    return _LONG.sub("READ", said)[:_LONGEST]
