"""States are set where their table is, and nowhere else in rwsplit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rwsplit

PACKAGE = Path(rwsplit.__file__).parent

#: Attributes that hold a state, and the one file that may set them.
OWNERS = {
    **dict.fromkeys(("lease", "holder", "fate", "soiled"), "exchange/lease.py"),
    "wait": "exchange/waits.py",
    **dict.fromkeys(("pin", "pin_state"), "session/pin.py"),
    **dict.fromkeys(("unit_state", "frame_state"), "session/input.py"),
}


def assigned(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the name and line of every attribute that is set or deleted, also by `setattr`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            yield node.attr, node.lineno
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name | ast.Attribute)
            and getattr(node.func, "id", getattr(node.func, "attr", "")).strip("_") == "setattr"
        ):
            yield from (
                (each.value, node.lineno)
                for each in node.args
                if isinstance(each, ast.Constant)
            )


@pytest.mark.parametrize("name", OWNERS)
def test_a_state_is_set_by_its_owner_alone(name: str):
    setters = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in PACKAGE.rglob("*.py")
        for attribute, line in assigned(ast.parse(path.read_text()))
        if attribute == name
    }
    assert {setter.partition(":")[0] for setter in setters} == {OWNERS[name]}, sorted(setters)


def test_setting_is_seen_however_it_is_written():
    text = "a.lease = 1\nb.c.lease += 1\na.x, a.lease = 1, 2\nsetattr(a, 'lease', 1)\nobject.__setattr__(a, 'lease', 1)\ndel a.lease"
    assert sorted(line for name, line in assigned(ast.parse(text)) if name == "lease") == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
