"""Backtracking: where sqlglot's parser goes back and reads the same words again.

It tries one meaning of some words, and if that fails further on, another: behind the name of a type an opening bracket is the type's
own, or that of a call; LIMIT is a name or a clause; what follows a JOIN may end with its condition; what follows `int ARRAY` may be its
bounds; the columns of a table's alias are read once more if an unusual clause follows; a LATERAL or an APPLY behind a comma is a
table, or joined to one. SELECT and FROM can begin a query without brackets, in other
dialects; PostgreSQL has neither there, so such a text need not be read at all.

The list has the words behind which sqlglot parses a bracket once, not those behind which it parses it twice. So a word that
another version of sqlglot adds counts as expensive until it is known to be cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot.dialects.postgres import Postgres

OPENING: Final = {"(": ")", "[": "]"}
CLOSING: Final = frozenset(OPENING.values())
JOINS: Final = frozenset({"join", "straight_join"})
CONDITIONS: Final = frozenset({"on", "using"})
#: A JOIN with one of these in front needs no condition.
UNCONDITIONAL: Final = frozenset({"cross", "natural"})
#: What follows these is, or may be, read twice.
LIMITS: Final = frozenset({"limit", "offset", "fetch"})
QUERY_STARTS: Final = frozenset({"select", "from"})

_SIGNS: Final = frozenset({*"()[]{},.;:=<>+-*/%&|^~#!?@$", "::", "<=", ">=", "<>", "!=", "=>"})
_BRACKETS: Final = [["("], ["["]]
#: Words of sqlglot's behind which `(` is known to be read once.
_READ_ONCE: Final = frozenset(
    {
        *("select", "from", "where", "having", "as", "values", "distinct", "all", "by"),
        *("and", "or", "not", "in", "any", "some", "exists", "case", "when", "then", "else"),
        *("cast", "row", "join", "on", "using", "over", "filter"),
    }
)
#: Behind these a bracket is, or may be, read twice.
READ_TWICE: Final = (
    frozenset(word.lower().rpartition(" ")[2] for word in Postgres.Tokenizer.KEYWORDS)
    - _READ_ONCE
    - _SIGNS
)
#: What `LATERAL (` is read once before.
_LATERAL_QUERIES: Final = ["select"], ["with"], ["values"]
#: What may be between CROSS or NATURAL and JOIN.
_KINDS_OF_JOIN: Final = frozenset({"inner", "left", "right", "full", "outer"})
#: Behind these, CROSS and NATURAL are names.
_NAME_FOLLOWS: Final = JOINS | {"from", ",", ".", "as"}
#: What begins with these behind a comma is tried: LATERAL, and another dialect's CROSS APPLY and OUTER APPLY.
_TRIED_BEHIND_COMMA: Final = frozenset({"lateral", "cross", "outer"})
#: PostgreSQL has no SELECT behind these, nor a FROM.
_NO_QUERY_FOLLOWS: Final = JOINS | {",", "lateral", "from"}
_SET_OPERATIONS: Final = ("union", "except", "intersect")
_NO_FROM_FOLLOWS: Final = [[word, "all"] for word in _SET_OPERATIONS]


def is_read_twice(bracket: str, two_before: Sequence[str], following: Sequence[str]) -> bool:
    """Return whether what is within *bracket*, behind the words *two_before*, is or may be read twice; *following* is the next word."""
    before = two_before[-1] if two_before else ""
    if two_before[:-1] == ["as"]:
        return True  # a table's columns, which are read once more if an unusual clause follows
    if before == "lateral" and following in _LATERAL_QUERIES:
        return False
    return before in READ_TWICE or (bracket == "[" and before in _READ_ONCE)


def is_tried(word: str, before: str, following: Sequence[str]) -> bool:
    """Return whether what comes behind *word* is read once more, up to the end of its level of brackets."""
    if before == ",":
        return word in _TRIED_BEHIND_COMMA
    return word == "array" and following not in _BRACKETS


def needs_condition(index: int, before: str, words: Sequence[str]) -> bool:
    """Return whether the next JOIN has a condition although the word at *index* is of UNCONDITIONAL: that is a name."""
    following = index + 1
    while following < len(words) and words[following] in _KINDS_OF_JOIN:
        following += 1
    return before in _NAME_FOLLOWS or words[following : following + 1] != ["join"]


def is_misplaced(word: str, before: str, two_before: Sequence[str]) -> bool:
    """Return whether *word*, of QUERY_STARTS, stands behind *before* where only another dialect has it."""
    if before in _NO_QUERY_FOLLOWS:
        return True
    return word == "from" and (before in _SET_OPERATIONS or two_before in _NO_FROM_FOLLOWS)
