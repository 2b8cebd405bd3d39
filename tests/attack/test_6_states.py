"""No state of a session or of a server is without a timer, and docs/operations.md has them all."""

from __future__ import annotations

import importlib
import re
from enum import Enum
from pathlib import Path

import pytest

from rwsplit.config.settings import all_settings, render
from rwsplit.exchange.waits import Waiting
from rwsplit.relay.standing import TIMERS, Standing, Timer

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
STATES: list[Enum] = [*Standing, *Waiting]
OFF = "0s"


def rows() -> list[list[str]]:
    """The rows of the table of states, as lists of cells; a row without a state of its own goes on with the one before."""
    section = DOCS.read_text().partition("### What ends what\n")[2].partition("\n### ")[0]
    found: list[list[str]] = []
    for line in section.splitlines():
        if line.startswith("| ") and not line.startswith("| state |"):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            if not cells[0]:
                cells[0] = found[-1][0]
            found.append(cells)
    return found


def rows_of(state: Enum) -> list[list[str]]:
    return [cells for cells in rows() if cells[0].startswith(f"`{state.name}`")]


@pytest.mark.parametrize("state", STATES, ids=str)
def test_every_state_has_a_timer(state: Enum):
    assert TIMERS[state]  # type: ignore[index]


@pytest.mark.parametrize("state", STATES, ids=str)
def test_every_state_and_its_timers_are_in_the_table(state: Enum):
    text = " ".join(cell for cells in rows_of(state) for cell in cells)
    assert text, f"{state} has no row"
    for timer in TIMERS[state]:  # type: ignore[index]
        if timer.value.startswith("rwsplit."):
            assert re.search(r"\b\d+ s\b", text)
        else:
            assert f"`{timer.value}`" in text


@pytest.mark.parametrize("state", STATES, ids=str)
def test_the_table_names_no_other_timer_of_a_state(state: Enum):
    named = {name for cells in rows_of(state) for name in re.findall(r"`([a-z_.]+)`", cells[1])}
    common = {Timer.SILENCE.value}  # where a server is silent it ends whatever it is about
    assert named <= {timer.value for timer in TIMERS[state]} | common  # type: ignore[index]


def test_the_table_has_no_other_states():
    named = {match[1] for cells in rows() if (match := re.match(r"`([A-Z_]+)`", cells[0]))}
    assert named == {state.name for state in STATES}


def test_every_row_says_what_ends_it_and_what_both_sides_get():
    for cells in rows():
        if not cells[0].startswith("**"):
            assert len(cells) == 5, cells
            assert cells[1], cells
            assert cells[3], cells
            assert cells[4], cells


def test_the_defaults_in_the_table_are_those_of_the_settings():
    defaults = {setting.path: render(setting.default, setting) for setting in all_settings()}
    for cells in rows():
        for setting in re.findall(r"`([a-z]+\.[a-z_]+)`", cells[1]):
            default = defaults[setting]
            if setting.startswith("tcp.") or setting == "consistency.wait" != cells[1].strip(
                "`"
            ):
                continue
            said = "off" if default == OFF and setting != "consistency.wait" else f"`{default}`"
            assert said in cells[2], (cells, setting)


@pytest.mark.parametrize("timer", Timer)
def test_every_timer_is_a_setting_or_a_number_of_seconds(timer: Timer):
    if timer.value.startswith("rwsplit."):
        module, _, name = timer.value.rpartition(".")
        assert 0 < getattr(importlib.import_module(module), name) <= 10
    else:
        assert timer.value in {setting.path for setting in all_settings()}
