"""Procedures: facts of CALL and DO, by the functions and the body they run.

CALL is judged like a query that calls the procedure, DO by its body, as a function with that body would be. Both may
write whatever they are; what they leave in their server is what keeps their session there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from rwsplit.sql.body import read_body
from rwsplit.sql.dynamic import Dynamic, body_of_do
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import ParseBudget
from rwsplit.sql.queries import classify_query
from rwsplit.sql.statement import PrimaryOnly, Redefined, StateKind, Statement, Verb, strictest
from rwsplit.sql.tokens import WORD, Token

_ANYTHING: Final = Statement(
    Verb.DO,
    primary_only=PrimaryOnly.MAY_WRITE,
    may_write=True,
    state=StateKind.UNKNOWN_FUNCTION,
    redefines=Redefined(reveals=True),
)


def classify_call(
    tokens: Sequence[Token], book: FunctionBook, budget: ParseBudget
) -> Statement:
    """Return the facts of *tokens*, a CALL."""
    called = classify_query([(WORD, "select"), *tokens[1:]], book, budget)
    return attrs.evolve(
        called,
        verb=Verb.CALL,
        primary_only=strictest([called.primary_only, PrimaryOnly.MAY_WRITE]),
        may_write=True,
    )


def classify_do(tokens: Sequence[Token], book: FunctionBook) -> Statement:
    """Return the facts of *tokens*, a DO; migrations like to hide DDL there."""
    source = body_of_do(tokens[1:])
    body = None if source is None else read_body(source)
    if body is None or body.dynamic > Dynamic.SPELT:
        return _ANYTHING
    facts = book.of_body(body)
    return attrs.evolve(
        _ANYTHING,
        primary_only=strictest([facts.primary_only, PrimaryOnly.MAY_WRITE]),
        state=facts.state,
        needs_session=facts.needs_session,
        locks_rows=facts.primary_only is PrimaryOnly.LOCKS_ROWS,
    )
