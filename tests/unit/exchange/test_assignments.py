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


#: Attributes that are states too, or parts of one, and have no table yet: the files that set each (`docs/decisions/0031`). A file that is
#: added here makes a state harder to see: give it a table instead. One that is not needed any more must go.
WITHOUT_TABLE = {
    "continued": "relay/sending.py session/unit.py",
    "cancels_again": "relay/cancelling.py server/server.py",
    "copy_ended": "relay/dispatch.py session/unit.py",
    "copying": "relay/dispatch.py relay/replies.py server/server.py",
    "failed": "protocol/owed.py protocol/responses.py relay/skipping.py session/unit.py",
    "farewell": "relay/replies.py server/server.py",
    "forwarded": "protocol/owed.py protocol/responses.py session/unit.py",
    "guarded": "protocol/owed.py relay/dispatch.py relay/late.py relay/plain.py relay/sending.py session/unit.py",
    "is_open": (
        "relay/dispatch.py relay/replies.py relay/sending.py relay/skipping.py session/session.py "
        "session/unit.py"
    ),
    "last_writer": "relay/resetting.py server/server.py",
    "mingled": "relay/needed.py relay/resetting.py relay/sequences.py server/server.py",
    "relied_on": "relay/sending.py session/unit.py",
    "server": (
        "relay/bringing.py relay/late.py relay/loss.py relay/plain.py relay/replies.py relay/sending.py "
        "relay/trials.py session/state.py"
    ),
    "settling": (
        "relay/bringing.py relay/client.py relay/loss.py relay/readback.py relay/sending.py relay/trials.py"
    ),
    "skipped": "relay/client.py relay/dispatch.py relay/replies.py relay/skipping.py",
    "stray_cancels": "relay/cancelling.py relay/lanes.py server/server.py",
    "sync_lost": "relay/dispatch.py relay/plain.py relay/replies.py session/state.py",
    "transaction": "relay/healing.py relay/late.py relay/sending.py session/conversation.py",
    "tx": "exchange/lease.py relay/late.py relay/plain.py relay/replies.py session/state.py",
    "was_refused_state": "relay/client.py relay/late.py",
    "with_pin": "relay/sending.py session/unit.py",
    "wrote": "relay/moments.py relay/sending.py session/state.py",
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


def test_states_without_a_table_are_set_in_no_more_files_than_they_are():
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for attribute, _ in assigned(ast.parse(path.read_text())):
            found.setdefault(attribute, set()).add(str(path.relative_to(PACKAGE)))
    assert {name: found.get(name) for name in WITHOUT_TABLE} == {
        name: set(files.split()) for name, files in WITHOUT_TABLE.items()
    }


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
