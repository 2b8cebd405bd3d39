"""Whether a text of SQL depends on the search path: what is wrong with it, token by token.

A name is looked up along the search path, and so is an operator, also one that is not written: `in` looks for `=`,
`like` for `~~`. What the grammar itself sends to pg_catalog is safe: `coalesce`, `extract`, types such as `int`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import sqlglot
from sqlglot import exp

#: What stands before a parenthesis and is no function that is looked up.
_GRAMMAR: Final = frozenset(
    [
        "coalesce",
        "greatest",
        "least",
        "extract",
        "exists",
        "array",
        "any",
        "all",
        "some",
        "operator",
        "as",
        "in",
        "values",
        "from",
        "and",
        "or",
        "not",
        "select",
        "where",
        "on",
        "then",
        "when",
        "else",
        "case",
        "cast",
        "by",
        "union",
        "over",
        "filter",
        "distinct",
        "row",
        "if",
        "bit",
        "char",
        "varchar",
        "numeric",
        "with",
    ]
)
#: Types that the grammar finds in pg_catalog.
_TYPES: Final = frozenset(
    [
        "int",
        "integer",
        "smallint",
        "bigint",
        "real",
        "float",
        "double",
        "decimal",
        "numeric",
        "bit",
        "boolean",
        "char",
        "varchar",
        "timestamp",
        "time",
        "interval",
    ]
)
#: Words that look for an operator, or for a relation's columns, by themselves.
_HIDDEN: Final = frozenset(
    [
        "in",
        "like",
        "ilike",
        "similar",
        "between",
        "nullif",
        "using",
        "natural",
        "overlaps",
        "collate",
        "position",
        "overlay",
        "trim",
        "substring",
    ]
)
#: Types whose literals are names that are looked up.
_NAMING: Final = frozenset(
    [
        "regclass",
        "regproc",
        "regprocedure",
        "regtype",
        "regoper",
        "regoperator",
        "regnamespace",
        "regrole",
        "regconfig",
    ]
)
#: Functions whose first argument is a name that is looked up.
_ABOUT_NAMES: Final = re.compile(
    r"has_\w+_privilege|to_reg\w+|pg_get_serial_sequence|nextval|setval"
)

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<literal>[eE]?'(?:[^'\\]|''|\\.)*')
    | (?P<name>"(?:[^"]|"")*"|[A-Za-z_][A-Za-z_0-9$]*)
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<parameter>\$\d+|%s)
    | (?P<cast>::)
    | (?P<mark>[][().,;])
    | (?P<operator>[-+*/<>=~!@#%^&|`?]+)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A token: what it is, and its text; of a name in lower case."""

    kind: str
    text: str


def complaints(sql: str) -> list[str]:
    """Return what in *sql* depends on the search path; nothing: it does not."""
    tokens = list(_tokens(sql))
    return [*_by_token(tokens), *_relations(sql)]


def _tokens(sql: str) -> Iterator[Token]:
    at = 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        if match is None:
            raise ValueError(f"what is this? {sql[at : at + 20]!r}")
        kind, at = str(match.lastgroup), match.end()
        if kind == "name" and not match.group().startswith('"'):
            yield Token(kind, match.group().lower())
        elif kind != "space":
            yield Token(kind, match.group())


class Place(NamedTuple):
    """A token among its neighbours."""

    schema: Token
    """The one before the one before: in `pg_catalog.lower`, of `lower`."""
    before: Token
    token: Token
    following: list[Token]

    @property
    def after(self) -> Token:
        """The next one."""
        return self.following[0]

    @property
    def is_qualified(self) -> bool:
        """Whether it is `pg_catalog.` something."""
        return self.before.text == "." and self.schema.text == "pg_catalog"


_NO_TOKEN: Final = Token("", "")


def _by_token(tokens: list[Token]) -> Iterator[str]:
    padded = [_NO_TOKEN, _NO_TOKEN, *tokens, *[_NO_TOKEN] * 3]
    for at in range(2, len(tokens) + 2):
        look = _LOOKS.get(padded[at].kind)
        if look is not None:
            schema, before, token, *following = padded[at - 2 : at + 4]
            yield from look(Place(schema, before, token, following))


def _operator(place: Place) -> Iterator[str]:
    written_out = place.is_qualified and place.after.text == ")"
    if not written_out and not _is_star(place.token, place.before):
        yield f"the operator {place.token.text} is not qualified"


def _cast(place: Place) -> Iterator[str]:
    if place.after.text != "pg_catalog" and place.after.text not in _TYPES:
        yield f"the type {place.after.text} is not qualified"
    if place.following[2].text in _NAMING and place.before.kind == "literal":
        yield from _literal_name(place.before)


def _name(place: Place) -> Iterator[str]:
    if place.before.text != ".":
        yield from _word(place.token, place.before, place.after)
    elif not place.is_qualified and place.after.text == "(":
        yield f"the function {place.schema.text}.{place.token.text} is not in pg_catalog"
    elif _ABOUT_NAMES.fullmatch(place.token.text) and place.following[1].kind == "literal":
        yield from _literal_name(place.following[1])


def _literal(place: Place) -> Iterator[str]:
    text = place.token.text
    if "\\" in text and not text.lower().startswith("e"):
        yield f"what {text} is depends on standard_conforming_strings"


_LOOKS: Final = {"operator": _operator, "cast": _cast, "name": _name, "literal": _literal}


def _is_star(token: Token, before: Token) -> bool:
    return token.text == "*" and before.text in {"select", ".", "("}


def _word(token: Token, before: Token, after: Token) -> Iterator[str]:
    word = token.text
    if word in _HIDDEN and after.text != ".":
        yield f"{word} looks for an operator by itself"
    elif word == "case" and after.text != "when":
        yield "case x when y looks for = by itself"
    elif word == "distinct" and after.text == "from":
        yield "is distinct from looks for = by itself"
    elif (
        after.text == "("
        and word not in _GRAMMAR
        and before.text not in {"as", "recursive", "with"}
    ):
        yield f"the function {word} is not qualified"


def _literal_name(literal: Token) -> Iterator[str]:
    if not literal.text.startswith("'pg_catalog."):
        yield f"the name in {literal.text} is not qualified"


def _relations(sql: str) -> Iterator[str]:
    """Yield the relations that are not qualified, by way of a parser."""
    for statement in sqlglot.parse(sql.replace("%s", "null"), read="postgres"):
        if statement is None or isinstance(statement, exp.Command):
            continue
        known = {cte.alias for cte in statement.find_all(exp.CTE)}
        for table in statement.find_all(exp.Table):
            if (
                isinstance(table.this, exp.Identifier)
                and table.db != "pg_catalog"
                and table.name not in known
            ):
                yield f"the relation {table.name} is not qualified"
