"""What is declared is used: no reason that nobody gives, no counter that nobody shows, no setting that nobody heeds."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path

import pytest

import rwsplit
from rwsplit.relay.counters import Counters
from rwsplit.routing.route import RouteReason
from rwsplit.session.inband_settings import InBandSettings
from rwsplit.session.pinning import PinReason
from rwsplit.sql.statement import PrimaryOnly, StateKind

ROOT = Path(rwsplit.__path__[0])
#: Enums whose members come from outside, by their values.
BY_VALUE = ("rwsplit.config.",)
#: Enums of which some members are named like those of another one, and found by that.
BY_NAME: dict[type[Enum], type[Enum]] = {RouteReason: PrimaryOnly, PinReason: StateKind}


@cache
def sources() -> dict[str, str]:
    """Return the sources of all modules, by the module's path."""
    return {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.rglob("*.py")}


def enums() -> Iterator[type[Enum]]:
    """Yield every enum of the package."""
    for module in pkgutil.walk_packages(rwsplit.__path__, "rwsplit."):
        if module.name.endswith("__main__") or module.name.startswith(BY_VALUE):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if (
                inspect.isclass(value)
                and issubclass(value, Enum)
                and value.__module__ == module.name
            ):
                yield value


@cache
def used() -> frozenset[str]:
    """Return the names in capitals that are attributes of something, wherever."""
    return frozenset(re.findall(r"\w\.([A-Z_0-9]+)\b", "\n".join(sources().values())))


@pytest.mark.parametrize("kind", list(enums()), ids=lambda kind: kind.__qualname__)
def test_every_member_of_an_enum_is_used(kind: type[Enum]):
    alike = {member.name for member in BY_NAME.get(kind, ())}
    assert sorted(member.name for member in kind if member.name not in used() | alike) == []


@pytest.mark.parametrize("name", Counters.__slots__)
def test_every_counter_is_shown(name: str):
    shown = [
        path
        for path, text in sources().items()
        if path.startswith(("app/", "admin/")) and f"counters.{name}" in text
    ]
    assert shown


@pytest.mark.parametrize("name", InBandSettings._fields)
def test_every_setting_of_a_session_is_heeded(name: str):
    heeded = [
        path
        for path, text in sources().items()
        if path != "session/inband.py" and f"in_band.{name}" in text
    ]
    assert heeded
