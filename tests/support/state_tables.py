"""Draw the state tables into ARCHITECTURE.md: `python -m tests.support.state_tables`, which `make docs` runs.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`. A unit test compares what is there with the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from rwsplit.exchange import lease, waits
from rwsplit.session import input as taken

ARCHITECTURE: Final = Path(__file__).parents[2] / "ARCHITECTURE.md"
_PLACE: Final = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


@attrs.frozen
class StateTable:
    """What states and events are called, and what follows what."""

    states: Mapping[Any, str]
    events: Mapping[Any, str]
    after: Mapping[Any, Mapping[Any, Any]]

    def drawn(self) -> str:
        """Return a Markdown table with one line a state: each event and the state it leads to."""
        lines = ["| state | event: next state |", "|---|---|"]
        for state, name in self.states.items():
            after = "; ".join(
                f"{self.events[event]}: **{self.states[following]}**"
                for event, following in self.after[state].items()
            )
            lines.append(f"| **{name}** | {after} |")
        return "\n".join(lines) + "\n"


TABLES: Final[Mapping[str, StateTable]] = {
    "lease": StateTable(
        dict(enumerate(lease.STATES)), dict(enumerate(lease.EVENTS)), lease.TABLE
    ),
    "wait": StateTable(
        {None: "ready", **{state: state.value for state in waits.Waiting}},
        {cause: cause.value for cause in waits.Cause},
        waits.TABLE,
    ),
    "units": StateTable(
        dict(enumerate(taken.UNIT_STATES)), dict(enumerate(taken.UNIT_EVENTS)), taken.UNITS
    ),
    "frames": StateTable(
        dict(enumerate(taken.FRAME_STATES)), dict(enumerate(taken.FRAME_EVENTS)), taken.FRAMES
    ),
}


def with_tables(text: str) -> str:
    """Return *text* with every table that has a place in it drawn anew. Raises KeyError: there is no such table."""
    return _PLACE.sub(lambda found: found[1] + TABLES[found[2]].drawn() + found[3], text)


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_tables(ARCHITECTURE.read_text()))
