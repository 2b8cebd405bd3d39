"""The tables in ARCHITECTURE.md are those of the code."""

from __future__ import annotations

import pytest

from tests.support.state_tables import (
    ARCHITECTURE,
    STATE_TABLES,
    TABLES,
    StateTable,
    with_tables,
)


def test_the_document_shows_the_tables_of_the_code():
    text = ARCHITECTURE.read_text()
    assert with_tables(text) == text, "run `make docs`"


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_its_place(name: str):
    assert f"<!-- table: {name} -->" in ARCHITECTURE.read_text()


@pytest.mark.parametrize("table", STATE_TABLES.values(), ids=STATE_TABLES)
def test_a_table_names_each_state_and_event_once(table: StateTable):
    assert len({*table.states.values()}) == len(table.states)
    assert len({*table.events.values()}) == len(table.events)
    assert {*table.after} == {*table.states}
    assert {event for after in table.after.values() for event in after} == {*table.events}


def test_a_table_is_drawn_with_a_line_for_each_state():
    table = StateTable(
        {0: "off", 1: "on"}, {0: "press", 1: "break"}, {0: {0: 1}, 1: {0: 0, 1: 0}}
    )
    text = "before\n<!-- table: lease -->\nold\n<!-- end of table -->\nbehind"
    assert table.drawn().splitlines()[2:] == [
        "| **off** | press: **on** |",
        "| **on** | press: **off**; break: **off** |",
    ]
    assert with_tables(text).startswith("before\n<!-- table: lease -->\n| state |")
    assert with_tables(text).endswith("|\n<!-- end of table -->\nbehind")
