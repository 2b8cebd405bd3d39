"""Draw the state tables into ARCHITECTURE.md: `python -m tests.support.state_tables`, which `make docs` runs.

A table stands between `<!-- table: NAME -->` and `<!-- end of table -->`. A unit test compares what is there with the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from rwsplit.exchange import healing, lease, waits
from rwsplit.routing.route import Target
from rwsplit.session import input as taken, pin

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


@attrs.frozen
class HealingTable:
    """Which kinds of error heal on a replica, and which on the primary."""

    cures: Mapping[bool, Mapping[healing.Ailment, healing.Cure]]

    def drawn(self) -> str:
        """Return a Markdown table with one line a kind of error."""
        lines = ["| error | on a replica | on the primary |", "|---|---|---|"]
        for ailment in healing.Ailment:
            replica, primary = (
                _cure(self.cures[place].get(ailment)) for place in (True, False)
            )
            lines.append(f"| **{ailment.value}** | {replica} | {primary} |")
        return "\n".join(lines) + "\n"


def _cure(cure: healing.Cure | None) -> str:
    if cure is None:
        return "the client's to see"
    where = (
        "again where it was bound for"
        if cure.route is None
        else f"on {_TARGETS[cure.route.target]}"
    )
    condition = (
        "" if cure.condition is healing.Condition.ALWAYS else f", {cure.condition.value}"
    )
    remembered = "; remembered as writing" if cure.remembers else ""
    return where + condition + remembered


_TARGETS: Final = {Target.PRIMARY: "the primary", Target.REPLICA: "another replica"}

STATE_TABLES: Final[Mapping[str, StateTable]] = {
    "lease": StateTable(
        dict(enumerate(lease.STATES)), dict(enumerate(lease.EVENTS)), lease.TABLE
    ),
    "wait": StateTable(
        {None: "ready", **{state: state.value for state in waits.Waiting}},
        {cause: cause.value for cause in waits.Cause},
        waits.TABLE,
    ),
    "pin": StateTable(
        {state: state.value for state in pin.PinState},
        {event: event.value for event in pin.PinEvent},
        pin.TABLE,
    ),
    "units": StateTable(
        dict(enumerate(taken.UNIT_STATES)), dict(enumerate(taken.UNIT_EVENTS)), taken.UNITS
    ),
    "frames": StateTable(
        dict(enumerate(taken.FRAME_STATES)), dict(enumerate(taken.FRAME_EVENTS)), taken.FRAMES
    ),
}


TABLES: Final[Mapping[str, StateTable | HealingTable]] = {
    **STATE_TABLES,
    "healing": HealingTable(healing.TABLE),
}


def with_tables(text: str) -> str:
    """Return *text* with every table that has a place in it drawn anew. Raises KeyError: there is no such table."""
    return _PLACE.sub(lambda found: found[1] + TABLES[found[2]].drawn() + found[3], text)


if __name__ == "__main__":
    ARCHITECTURE.write_text(with_tables(ARCHITECTURE.read_text()))
