"""Draw the state tables into ARCHITECTURE.md: `python -m tests.support.state_tables`, which `make docs` runs.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`. A unit test compares what is there with the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from rwsplit.exchange import lease

ARCHITECTURE: Final = Path(__file__).parents[2] / "ARCHITECTURE.md"
_PLACE: Final = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


@attrs.frozen
class StateTable:
    """States and events by number, and what follows what."""

    states: Sequence[str]
    events: Sequence[str]
    after: Mapping[int, Mapping[int, int]]

    def drawn(self) -> str:
        """Return a Markdown table with one line a state: each event and the state it leads to."""
        lines = ["| state | event: next state |", "|---|---|"]
        for number, state in enumerate(self.states):
            after = "; ".join(
                f"{self.events[event]}: **{self.states[following]}**"
                for event, following in self.after[number].items()
            )
            lines.append(f"| **{state}** | {after} |")
        return "\n".join(lines) + "\n"


TABLES: Final = {
    "lease": StateTable(lease.STATES, lease.EVENTS, lease.TABLE),
}


def with_tables(text: str) -> str:
    """Return *text* with every table that has a place in it drawn anew. Raises KeyError: there is no such table."""
    return _PLACE.sub(lambda found: found[1] + TABLES[found[2]].drawn() + found[3], text)


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_tables(ARCHITECTURE.read_text()))
