"""Facts of DDL, and of the expressions in utility statements that are run at once.

What DDL makes of the names of functions and views is doubted until the catalog has been read again (`definitions`). Of what it makes of other
names - a schema or a view that is renamed, a type to which a cast calls a function - that is not told; so its session, which may use
the name at once, keeps its server (`StateKind.REDEFINED`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import attrs

from rwsplit.sql.cursor import Cursor
from rwsplit.sql.definitions import RENAMING, redefined, vacated
from rwsplit.sql.relations import is_temporary
from rwsplit.sql.statement import PrimaryOnly, Redefined, StateKind, Statement, Verb, hardest
from rwsplit.sql.tokens import MARK, NAME, WORD, Token

Classify = Callable[[Sequence[Token]], Statement]
"""Returns the facts of a statement within another one."""

_SCHEMAS: Final = ("schema", "extension")
_RELATIONS: Final = ("table", "index", "sequence")

WRITE: Final = Statement(Verb.OTHER, primary_only=PrimaryOnly.MAY_WRITE, may_write=True)
DDL: Final = attrs.evolve(WRITE, verb=Verb.DDL)
_PRIVILEGES: Final = attrs.evolve(DDL, redefines=Redefined())


def run_by(
    tokens: Sequence[Token], words: set[str], classify: Classify, like: Statement = WRITE
) -> Statement:
    """Return *like* with what the expressions leave that stand behind one of *words* in *tokens*: they are run at once."""
    run, end = [], 0
    for index, (kind, text) in enumerate(tokens):
        if index < end or kind != WORD or text not in words:
            continue
        if tokens[index - 1] not in {(MARK, "."), (WORD, "exclude")}:
            end = _comma(tokens, index + 1)
            run.append(classify([(WORD, "select"), *tokens[index + 1 : end]]))
    if not run:
        return like
    sets = frozenset().union(*(each.sets for each in run))
    return attrs.evolve(
        like,
        state=hardest((each.state for each in run), is_read_back=bool(sets)),
        sets=sets,
        functions=frozenset().union(*(each.functions for each in run)),
    )


def _comma(tokens: Sequence[Token], start: int) -> int:
    """Return where the first comma outside parentheses stands from *start* on; the end if there is none."""
    depth = 0
    for index in range(start, len(tokens)):
        kind, text = tokens[index]
        if kind == MARK:
            depth += (text == "(") - (text == ")")
            if text == "," and not depth:
                return index
    return len(tokens)


def classify_create(cursor: Cursor, classify: Classify) -> Statement:
    """CREATE TABLE AS and a materialized view run their query; everything else in a CREATE is run by somebody later."""
    temporary = False
    head = Cursor(cursor.tokens, cursor.position)
    while word := head.take_any(
        "or", "replace", "global", "local", "temp", "temporary", "unlogged", "recursive"
    ):
        temporary = temporary or word in {"temp", "temporary"}
    is_run = head.take("table") or head.take("materialized", "view")
    temporary = temporary or any(
        kind in {WORD, NAME} and is_temporary(text) for kind, text in cursor.tokens
    )
    state = StateKind.TEMP_TABLE if temporary else None
    redefines = None if temporary else redefined(cursor.tokens)
    vacates = vacated(cursor.tokens)
    if not (is_run and head.find("as")):
        is_cast = head.take("cast") and head.find("function") and head.take("function")
        if is_cast or head.take_any("domain", "type"):
            state = StateKind.REDEFINED if _calls(head.rest, classify) else state
        return attrs.evolve(DDL, state=state, redefines=redefines, vacates=vacates)
    head.take("as")
    inner = classify(head.rest)
    state = hardest((state, inner.state), is_read_back=bool(inner.sets))
    return attrs.evolve(DDL, state=state, sets=inner.sets, redefines=redefines, inner=inner)


def classify_definition(cursor: Cursor) -> Statement:
    return attrs.evolve(DDL, redefines=redefined(cursor.tokens), vacates=vacated(cursor.tokens))


def classify_alter(cursor: Cursor, classify: Classify) -> Statement:
    """ALTER TABLE and DOMAIN may run expressions for each row that is there."""
    defined = classify_definition(cursor)
    head = Cursor(cursor.tokens, cursor.position)
    if head.take_any("table", "domain", "foreign"):
        words = {"using", "default", "check", "values"}
        defined = run_by(head.rest, words, classify, defined)
    if not _gives_other_meaning(cursor, classify):
        return defined
    return attrs.evolve(defined, state=hardest((defined.state, StateKind.REDEFINED)))


def _gives_other_meaning(cursor: Cursor, classify: Classify) -> bool:
    """Return whether an ALTER gives a name another meaning that is not one of a function or view alone."""
    is_renamed = not RENAMING.isdisjoint(pairwise(cursor.rest))
    kind = cursor.take_any("foreign", "materialized", "domain", "type", *_SCHEMAS, *_RELATIONS)
    if kind in {"domain", "type"}:
        return _calls(cursor.rest, classify)  # by another name, or from now on
    if kind in _SCHEMAS:
        return is_renamed
    cursor.take_any("table", "view")
    cursor.take("if", "exists")
    cursor.take("only")
    start = cursor.position
    if not (kind and is_renamed) or cursor.dotted_name() is None:
        return False
    # What a plain table is called means nothing; a view answers to ALTER TABLE, too.
    read = classify([(WORD, "table"), *cursor.tokens[start : cursor.position]])
    return read.state is not None


def _calls(tokens: Sequence[Token], classify: Classify) -> bool:
    """Return whether anything in *tokens*, which define a type, does more than to compute."""
    return classify([(WORD, "select"), *tokens]).state is not None


def classify_privileges(_cursor: Cursor) -> Statement:
    """GRANT and REVOKE: no name means anything else, but a replica that has not replayed it refuses what it allows."""
    return _PRIVILEGES
