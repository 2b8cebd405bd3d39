"""An end: a session whose connection was closed while its script went on, and whether it had to be.

A session may end with its replica only if something of it was there and nowhere else: the beginning of an answer, or a transaction
that cannot go on elsewhere. Which transactions these are is judged here from the texts alone: one that has said nothing
but what is in FREE, in a form that leaves no portal, must go on. Of what else it has said nothing is demanded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cached_property
from typing import Any, Final

import attrs

from rwsplit.protocol.framing import HEADER_SIZE
from rwsplit.protocol.responses import HOLD_LIMIT
from tests.support.raw_client import Frame, error_fields
from tests.support.script_texts import ASKING, LASTING, READS, TRANSACTIONS
from tests.support.scripts import Line, Script, Step
from tests.support.twin import Answer

#: SQLSTATEs a session hears whose server is lost.
LOSSES: Final = frozenset({"57P01", "08006"})
#: What says when its transaction began, or depends on the session.
_TELLING: Final = frozenset(
    {
        "select now() = transaction_timestamp()",
        "select now() <= statement_timestamp()",
        "select count(*) from pg_cursors",
    }
)
_CONTROL: Final = frozenset(
    text
    for text in TRANSACTIONS
    if not any(word in text for word in ("isolation", "chain", "prepare"))
)
_SHOWS: Final = frozenset(text for text in ASKING if text.startswith("show "))
#: Reads that fail wherever they run.
_FAILING: Final = frozenset(
    {"select 1/0", "select 'x'::int", "select 6 / (3 - id) from kept order by id"}
)
#: Texts behind which a transaction can go on on another server.
FREE: Final = frozenset((*READS, *LASTING)) - _TELLING | _CONTROL | _SHOWS | _FAILING


class Why(Enum):
    """Why a session could not go on."""

    BEGUN = "more of the answer had been told than rwsplit keeps back"
    BOUND = "its transaction was bound to the server"


@attrs.frozen
class Spoken:
    """A unit of a session, up to its end: its messages, and the transaction status after it."""

    lines: tuple[Line, ...]
    status: bytes


@attrs.frozen(slots=False)
class End:
    """The end of the session that said the last step of *script* there are answers of in *ours*."""

    script: Script
    direct: Sequence[Answer]
    """PostgreSQL's answers to the whole script."""
    ours: Sequence[Answer]

    @property
    def number(self) -> int:
        """The number of the step at which it ended; those of the script are followed by what ends it."""
        return len(self.ours) - 1

    @property
    def frames(self) -> Sequence[Frame]:
        """What came before the session ended, without the error that says so."""
        return self.ours[-1].frames[:-2]

    @cached_property
    def session(self) -> int:
        """The session's number."""
        return _session(self.script, self.number)

    @property
    def step(self) -> Step | None:
        """The step, None for what ends each script."""
        steps = self.script.steps
        return steps[self.number] if self.number < len(steps) else None

    @cached_property
    def complaint(self) -> str | None:
        """What is wrong with it."""
        frames = self.ours[-1].frames
        word = (
            error_fields(frames[-2].payload)
            if len(frames) > 1 and frames[-2].code == b"E"
            else {}
        )
        is_told = word.get("V") == "FATAL" and word.get("C") in LOSSES
        if not is_told or frames[-1].payload == TimeoutError.__name__.encode():
            return f"it ended without a word: {_brief(frames)}"
        if tuple(self.frames) != self.direct[self.number].frames[: len(self.frames)]:
            return (
                f"its last answer is not the beginning of PostgreSQL's\n"
                f"direct : {_brief(self.direct[self.number].frames)}\nrwsplit: {_brief(frames)}"
            )
        if self.why is None:
            return f"nothing of it was bound: {_brief(frames)} in {self.said}"
        return None

    @cached_property
    def why(self) -> Why | None:
        """Why it could not go on; None: it could have."""
        begun = 0
        for frame in self.frames:
            begun = 0 if frame.code == b"Z" else begun + len(frame.payload) + HEADER_SIZE
        if begun > HOLD_LIMIT:
            return Why.BEGUN
        return Why.BOUND if self.status != b"I" and not self._is_free() else None

    @cached_property
    def spoken(self) -> Sequence[Spoken]:
        """The units of the session that were answered, the first one first."""
        return [
            unit
            for number, answer in enumerate(self.ours)
            if _session(self.script, number) == self.session
            for unit in _spoken(self._lines(number), answer.frames, self.direct[number].frames)
        ]

    @property
    def status(self) -> bytes:
        """The session's transaction status before the unit it ended in."""
        return self.spoken[-1].status if self.spoken else b"I"

    @cached_property
    def said(self) -> Sequence[Line]:
        """What was said in the transaction, the unit it ended in included."""
        lines: list[Line] = []
        for unit in self.spoken:
            lines += unit.lines
            if unit.status == b"I":
                lines.clear()
        return [*lines, *self._last]

    @property
    def _last(self) -> Sequence[Line]:
        """The unit it ended in."""
        lines = self._lines(self.number)
        done = _done(self.frames)
        units = _units(lines, self.direct[self.number].frames)
        return units[done] if done < len(units) else ()

    @cached_property
    def survivor(self) -> Script:
        """The script up to the last unit that was answered, at the end of which its sessions leave."""
        steps = list(self.script.steps[: self.number])
        if self.step is not None:
            units = _units(self.step.lines, self.direct[self.number].frames)
            lines = tuple(line for unit in units[: _done(self.frames)] for line in unit)
            if lines:
                steps.append(attrs.evolve(self.step, lines=lines, cuts=()))
        return attrs.evolve(self.script, steps=tuple(steps), leaves=True)

    def _lines(self, number: int) -> Sequence[Line]:
        steps = self.script.steps
        return steps[number].lines if number < len(steps) else ()

    def _is_free(self) -> bool:
        """Return whether a transaction in which nothing else was said could go on elsewhere."""
        known = _texts(self.script)
        for line in self.said:
            match line.says:
                case "query":
                    texts = {line.arguments[0]}
                case "parse":
                    continue
                case "bind":
                    texts = known.get(line.arguments[0] if line.arguments else "", set())
                    if dict(line.options).get("portal"):
                        return False
                case "execute":
                    if dict(line.options).get("limit") or line.arguments[:1] not in ((), ("",)):
                        return False
                    continue
                case "SYNC" | "FLUSH" | "describe_portal" | "describe_statement":
                    continue
                case _:
                    return False
            if not texts <= FREE:
                return False
        return True


def _texts(script: Script) -> dict[str, set[str]]:
    """Return what each name of a statement may stand for."""
    known: dict[str, set[str]] = {}
    for step in script.steps:
        for line in step.lines:
            if line.says == "parse":
                text, name = (*line.arguments, "")[:2]
                known.setdefault(name, set()).add(text)
    return known


def _session(script: Script, number: int) -> int:
    steps = script.steps
    if number < len(steps):
        return steps[number].session
    return script.sessions[(number - len(steps)) // 2]


def _done(frames: Sequence[Frame]) -> int:
    return sum(frame.code == b"Z" for frame in frames)


def _spoken(
    lines: Sequence[Line], frames: Sequence[Frame], direct: Sequence[Frame]
) -> Iterator[Spoken]:
    """Yield the units of *lines* that *frames* answer; what is answered behind them ends none."""
    statuses = [frame.payload for frame in frames if frame.code == b"Z"]
    units = _units(lines, direct)
    for unit, status in zip(units, statuses, strict=False):
        yield Spoken(tuple(unit), status)
    if len(statuses) > len(units):
        yield Spoken((), statuses[-1])


def _units(lines: Sequence[Line], direct: Sequence[Frame]) -> list[list[Line]]:
    """Return *lines* by unit; the last one may lack its Sync. *direct*: PostgreSQL's answer to all of them.

    A Sync behind the Execute of a COPY ends no unit, unless that has failed.
    """
    ends = [line.says in ("query", "SYNC", "function_call") for line in lines]
    if sum(ends) + _MARKERS > _done(direct):
        for number, line in enumerate(lines):
            if line.says == "copy_data" and lines[number - 1].says == "SYNC":
                ends[number - 1] = False
    units: list[list[Line]] = [[]]
    for line, is_end in zip(lines, ends, strict=True):
        units[-1].append(line)
        if is_end:
            units.append([])
    return units if units[-1] else units[:-1]


#: Syncs of the marker behind each step.
_MARKERS: Final = 2


def _brief(frames: Sequence[Any]) -> str:
    return " ".join(f"{frame.code.decode()}{frame.payload[:150]!r}" for frame in frames)
