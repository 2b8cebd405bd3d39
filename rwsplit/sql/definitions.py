"""Definitions: which names a CREATE, ALTER or DROP may give another meaning.

Only the head of the statement is looked at, and every word in it counts: a name too many is merely unknown for a
moment. What only adds, changes or drops tables, or makes new names visible (a schema, an extension), gives
no name of a function another meaning that a replica would not refuse; it only calls for reading the catalog again.

Some commands about a database want it to be empty of sessions; which one, is told here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rwsplit.sql.cursor import Cursor
from rwsplit.sql.statement import Redefined
from rwsplit.sql.tokens import MARK, NAME, OPERATOR, WORD, Token

_FUNCTIONS: Final = frozenset({"function", "procedure", "routine", "aggregate", "operator"})
_VIEWS: Final = frozenset({"view", "rule"})
_NO_NAMES: Final = frozenset({"index", "sequence", "statistics", "trigger", "publication"})
"""Kinds of objects that no query names, or that mean nothing to routing."""
RENAMING: Final = frozenset(
    {((WORD, "rename"), (WORD, "to")), ((WORD, "set"), (WORD, "schema"))}
)
"""Words that give something another name."""
_WITH_DEFAULTS: Final = frozenset({"role", "user", "database", "system"})
_MODIFIERS: Final = frozenset(
    {"or", "replace", "global", "local", "unlogged", "recursive", "unique", "concurrently"}
    | {"constraint", "foreign", "materialized", "event"}
)


def redefined(tokens: Sequence[Token]) -> Redefined | None:
    """Return what *tokens*, a CREATE, ALTER or DROP, may redefine; None if no name means anything else."""
    position = 1
    while position < len(tokens) and tokens[position][1] in _MODIFIERS:
        position += 1
    kind = tokens[position][1] if position < len(tokens) else ""
    is_materialized = tokens[position - 1] == (WORD, "materialized")
    reveals = tokens[0] == (WORD, "drop") or not RENAMING.isdisjoint(pairwise(tokens))
    if kind in _NO_NAMES:
        return Redefined(reveals=True) if reveals and kind == "sequence" else None
    if kind == "schema" and (WORD, "view") in tokens:
        return Redefined(views=_names([(WORD, "alter"), *tokens], 1))
    if kind in _FUNCTIONS:
        return Redefined(functions=_names(tokens, position + 1), reveals=reveals)
    if kind in _VIEWS and not is_materialized:
        return Redefined(views=_names(tokens, position + 1), reveals=reveals)
    return Redefined(defaults=_sets_defaults(tokens, kind), reveals=reveals)


def _sets_defaults(tokens: Sequence[Token], kind: str) -> bool:
    """Return whether *tokens* may change what sessions begin with (ALTER ROLE, USER, DATABASE, SYSTEM ... SET, RESET)."""
    if tokens[0] != (WORD, "alter") or kind not in _WITH_DEFAULTS:
        return False
    return (WORD, "set") in tokens or (WORD, "reset") in tokens


def vacated(tokens: Sequence[Token]) -> str | None:
    """Return the database that nobody may be connected to when *tokens* run, if that is what they ask for."""
    cursor = Cursor(tokens)
    verb = cursor.take_any("create", "alter", "drop")
    if not verb or not cursor.take("database"):
        return None
    cursor.take("if", "exists")
    name = cursor.name()
    if verb == "alter":
        return name if cursor.take("rename") or cursor.take("set", "tablespace") else None
    if verb == "create":
        if not cursor.find("template"):
            return _TEMPLATE
        cursor.take("template")
        if cursor.token == (OPERATOR, "="):
            cursor.position += 1
        return _TEMPLATE if cursor.take("default") else cursor.name()
    return name


def _names(tokens: Sequence[Token], start: int) -> frozenset[str]:
    """Return the names from *start* to the end, of a CREATE to where its definition begins."""
    head: Sequence[Token] = tokens[start:]
    if tokens[0] == (WORD, "create"):
        ends = [index for index, token in enumerate(head) if token in _DEFINITION]
        head = head[: ends[0]] if ends else head
    return frozenset(
        f"operator({text})" if kind == OPERATOR else text
        for kind, text in head
        if kind in {WORD, NAME, OPERATOR}
    )


_TEMPLATE: Final = "template1"
"""What CREATE DATABASE copies unless it says otherwise."""
_DEFINITION: Final = frozenset({(MARK, "("), (WORD, "as")})
