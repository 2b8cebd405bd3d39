"""Every row of a table happens, unless it is listed here with the reason; a row that never does allows what nobody does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from rwsplit.exchange import lease
from tests.component.conversations import ALL
from tests.support.conversation.player import play

#: By state and event, why no conversation comes that way.
NEVER: dict[tuple[int, int], str] = {
    (lease.ROLLING_BACK, lease.LOST): "faults are injected there (test_faults.py)",
    (lease.COOLING, lease.LOST): "faults are injected there, too",
    (
        lease.CLOSED,
        lease.LEFT,
    ): "a server may be closed in the turn in which its session leaves it",
}


class Row(tuple[int, ...]):  # noqa: SLOT001 - it has two attributes more
    """A row of a table that notes which of its places are looked at."""

    state: int
    seen: set[tuple[int, int]]

    def __getitem__(self, event: Any) -> Any:
        self.seen.add((self.state, event))
        return super().__getitem__(event)


def noted(rows: Sequence[Sequence[int]], seen: set[tuple[int, int]]) -> tuple[Row, ...]:
    made = []
    for state, each in enumerate(rows):
        row = Row(each)
        row.state, row.seen = state, seen
        made.append(row)
    return tuple(made)


def pairs(table: Mapping[int, Mapping[int, int]]) -> set[tuple[int, int]]:
    return {(state, event) for state, row in table.items() for event in row}


def test_every_row_of_the_lease_happens(monkeypatch: pytest.MonkeyPatch):
    seen: set[tuple[int, int]] = set()
    monkeypatch.setattr(lease, "_NEXT", noted(lease._NEXT, seen))
    for conversation in ALL:
        if not conversation.wrong:
            play(conversation)
    assert pairs(lease.TABLE) - seen == {*NEVER}
