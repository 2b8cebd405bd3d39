"""Scripts: what a client says, step by step, printed as the Python that says it.

    Script((Step((query("begin"), query("select 1"))), Step((parse("select 1", "a"), SYNC), cuts=(3, 9))))

A step is sent at once, or in pieces cut at *cuts*, whatever is still unanswered. A line is a function of
`tests.support.messages` and its arguments, so that a script that failed can be pasted into a test as it is printed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from tests.support import messages

#: Numbers of the sessions scripts may have.
SESSIONS: Final = (1, 2)


@attrs.frozen(repr=False)
class Line:
    """One message, by the function of `messages` that makes it."""

    says: str
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        if self.says.isupper():
            return self.says
        said = [repr(argument) for argument in self.arguments]
        said += [f"{name}={value!r}" for name, value in self.options]
        return f"{self.says}({', '.join(said)})"

    @property
    def data(self) -> bytes:
        """The message."""
        what = getattr(messages, self.says)
        if isinstance(what, bytes):
            return what
        made: bytes = what(*self.arguments, **dict(self.options))
        return made

    def by(self, number: int) -> Line:
        """Return it as session *number* says it: with tables, locks, channels of its own (`kept` -> `kept2`)."""
        if number == 1:
            return self
        own = tuple(
            by(argument, number) if isinstance(argument, str) else argument
            for argument in self.arguments
        )
        return attrs.evolve(self, arguments=own)


@attrs.frozen
class Step:
    """What is sent before the answer is read."""

    lines: tuple[Line, ...]
    cuts: tuple[int, ...] = ()
    """Where it is cut into pieces, in thousandths of its length; the peer has read one before the next is sent."""
    session: int = 1
    """Which of the script's sessions says it."""

    @property
    def data(self) -> bytes:
        """All of it."""
        return b"".join(line.by(self.session).data for line in self.lines)

    def pieces(self) -> Sequence[bytes]:
        """Return it as it is sent."""
        data = self.data
        places = sorted({len(data) * cut // 1000 for cut in self.cuts} - {0, len(data)})
        bounds = [0, *places, len(data)]
        return [data[a:b] for a, b in itertools.pairwise(bounds)]


@attrs.frozen
class Script:
    """Steps of one session, or of two that take turns."""

    steps: tuple[Step, ...]
    parameters: int = 0
    """Index in STARTUPS of what the sessions ask for when they connect."""
    leaves: bool = False
    """The sessions end by closing their sockets instead of DISCARD ALL."""

    @property
    def sessions(self) -> Sequence[int]:
        """The sessions that take part."""
        return sorted({step.session for step in self.steps})

    @property
    def size(self) -> int:
        """How many messages it says."""
        return sum(len(step.lines) for step in self.steps)


def by(text: str, number: int) -> str:
    """Return *text* with the names of session *number*."""
    return text if number == 1 else text.replace("kept", f"kept{number}")


def _line(says: str) -> Callable[..., Line]:
    def line(*arguments: Any, **options: Any) -> Line:
        return Line(says, tuple(map(_frozen, arguments)), tuple(options.items()))

    return line


def _frozen(argument: Any) -> Any:
    return tuple(argument) if isinstance(argument, list) else argument


query: Final = _line("query")
parse: Final = _line("parse")
bind: Final = _line("bind")
describe_statement: Final = _line("describe_statement")
describe_portal: Final = _line("describe_portal")
execute: Final = _line("execute")
close_statement: Final = _line("close_statement")
close_portal: Final = _line("close_portal")
copy_data: Final = _line("copy_data")
copy_fail: Final = _line("copy_fail")
function_call: Final = _line("function_call")
SYNC: Final = Line("SYNC")
FLUSH: Final = Line("FLUSH")
COPY_DONE: Final = Line("COPY_DONE")

#: What sessions may ask for at startup.
STARTUPS: Final[Sequence[Mapping[str, str]]] = (
    {},
    {"TimeZone": "America/Lima"},
    {"options": "-c work_mem=7MB -c datestyle=sql", "application_name": "scripted"},
)
