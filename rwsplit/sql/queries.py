"""Facts of a query or DML: what its tokens call, what its tree is made of.

Both must agree that it only reads. The tokens decide what PostgreSQL's grammar lets them decide: INTO
and FOR UPDATE are made of reserved words, a data-modifying CTE begins with its verb after a
parenthesis, a call is a name before one. sqlglot's tree must consist of known kinds of nodes and gives the
tables.

sqlglot reads a text rendered from the tokens (`rendering.py`), not the client's: neither the value nor the kind nor the number
of literals can change a fact, which is what lets texts of equal shape share them (`shape.py`). The
exceptions, set_config() and current_setting(), and the functions that run what a literal says (`given.py`), are never shared.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Sequence
from typing import Any, Final, NamedTuple

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import SqlglotError

from rwsplit.sql.assignments import assigned
from rwsplit.sql.calls import DML, Calls, arguments, find_calls, quoted
from rwsplit.sql.facts import HARMLESS, TELLING_ROLE, TIME_FUNCTIONS, TIME_WORDS, FunctionFacts
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.given import GIVEN, Given, judge
from rwsplit.sql.parse_budget import ParseBudget
from rwsplit.sql.relations import is_catalog, is_temporary
from rwsplit.sql.rendering import decoded_name, render
from rwsplit.sql.setting_calls import (
    SEED,
    asked_for,
    changes_encoding,
    changes_path,
    set_by,
)
from rwsplit.sql.settings import ROLE_PARAMETERS, readable
from rwsplit.sql.statement import PrimaryOnly, StateKind, Statement, Verb, hardest, strictest
from rwsplit.sql.tokens import (
    MARK,
    NAME,
    NUMBER,
    STRING,
    WORD,
    Token,
)

MAX_WORDS: Final = 5000
"""Longer statements (a list of literals counts as one word) get no tree."""
MAX_DML_WORDS: Final = 500
"""A tree of DML only adds its tables: not worth more time."""
MAX_GIVEN: Final = 2
"""Queries within literals of queries, which are read: each level is the whole text once more."""
MOST_GIVEN: Final = 8
"""Such calls in one query; a tree for each of many would be expensive."""
MAX_GIVEN_WORDS: Final = 1000
"""As MAX_WORDS, of a query in a literal."""

# What sqlglot cannot parse is counted (UNPARSED), not a warning of a library's on stderr.
logging.getLogger("sqlglot").setLevel(logging.CRITICAL)

_ROOTS: Final = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values, exp.Table)
_NODE_MODULES: Final = frozenset(
    f"sqlglot.expressions.{module}"
    for module in (
        *("core", "datatypes", "query", "functions", "aggregate", "array", "json"),
        *("math", "string", "temporal", "constraints"),
    )
)


class Tree(NamedTuple):
    """What sqlglot's tree of a read says."""

    tables: frozenset[str]
    reads_only: bool
    locks: bool


def classify_query(
    tokens: Sequence[Token], book: FunctionBook, budget: ParseBudget, *, depth: int = 0
) -> Statement:
    """Return the facts of *tokens*, a statement that begins as a query or DML does; *depth*: in how many others.

    Its tree is read if *budget* does.
    """
    calls = find_calls(tokens)
    given = _given(tokens, calls, book, budget, depth)
    into = _into(tokens)
    writes = calls.writes or into is not None
    locks = _has_lock(tokens)
    called = [*_called(calls, book), *(each.facts for each in given)]
    limit = MAX_DML_WORDS if writes else MAX_GIVEN_WORDS if depth else MAX_WORDS
    tree = read_tree(tokens, calls.heads, budget, limit=limit)

    tables = tree.tables if tree else frozenset()
    called += map(book.relation, tables) if tree else book.mentioned(tokens)
    if book.watches_tokens:
        called += book.token_facts(tokens)
    run = [each.statement for each in given if each.statement]
    tables = tables.union(*(statement.tables for statement in run))
    temporary = _mentions_temporary(tokens)
    reasons = {facts.primary_only for facts in called}
    if writes:
        reasons.add(PrimaryOnly.MAY_WRITE)
    elif tree is None or not tree.reads_only:
        reasons.add(PrimaryOnly.UNPARSED)
    if locks or (tree and tree.locks):
        reasons.add(PrimaryOnly.LOCKS_ROWS)
    if temporary:
        reasons.add(PrimaryOnly.SESSION_STATE)

    sets = set_by(calls)
    states = {facts.state for facts in called}
    if into is not None and (temporary or "temp" in into):
        states.add(StateKind.TEMP_TABLE)
    if calls.writes and not {(WORD, "pg_settings"), (NAME, "pg_settings")}.isdisjoint(tokens):
        sets |= {"*"}  # its rule calls set_config
    # What else sets parameters does so out of sight, in a body.
    known = frozenset() if StateKind.PARAMETER in states else readable(sets)
    if sets:
        states.add(StateKind.SEED if SEED in sets else StateKind.PARAMETER)
    state = hardest(states, is_read_back=bool(known))
    only_sets = state is None and reasons <= {None, PrimaryOnly.SESSION_STATE}
    return Statement(
        verb=Verb.DML if calls.main in DML else Verb.QUERY,
        primary_only=strictest(reasons),
        may_write=PrimaryOnly.UNPARSED in reasons or writes or any(f.may_write for f in called),
        locks_rows=PrimaryOnly.LOCKS_ROWS in reasons,
        state=state,
        sets=known,
        assigns=assigned(tokens, calls) if only_sets else frozenset(),
        changes_path=changes_path(calls) or "*" in sets,
        changes_encoding=changes_encoding(calls) or "*" in sets,
        needs_session=temporary or any(facts.needs_session for facts in called),
        is_catalog=any(map(is_catalog, tables)),
        functions=calls.functions.union(*(statement.functions for statement in run)),
        only_calls=_only_calls(tokens, calls),
        tables=tables,
        tells_time=_tells_time(tokens, calls.functions) or any(f.tells_time for f in called),
    )


def read_tree(
    tokens: Sequence[Token],
    heads: Container[int],
    budget: ParseBudget,
    *,
    limit: int = MAX_WORDS,
) -> Tree | None:
    """Return what sqlglot makes of *tokens*, None if it makes nothing of them, they are too many or *budget* does not do.

    *heads*: where names of functions stand.
    """
    words = render(tokens, heads)
    if words is None or len(words) > limit:
        return None
    try:
        roots = budget.parse(" ".join(words))
    except (SqlglotError, RecursionError, KeyError):
        return None
    finally:
        # sqlglot leaves this behind in all its parsers when it fails within CONNECT BY: no column could be called prior.
        Postgres.Parser.NO_PAREN_FUNCTION_PARSERS.pop("PRIOR", None)
    if len(roots) != 1 or roots[0] is None:
        return None
    root = roots[0]
    tables: set[str] = set()
    ctes = _Ctes()
    reads_only, locks = isinstance(root, _ROOTS), False
    nodes = list(root.walk())
    for node in nodes:
        if isinstance(node, exp.Table):
            if isinstance(node.this, exp.Identifier) and not ctes.hold(node):
                tables.add(_table_name(node))
        elif isinstance(node, exp.Lock):
            locks = True
        elif isinstance(node, exp.Into) or type(node).__module__ not in _NODE_MODULES:
            reads_only = False
    for node in nodes:
        node.parent = None  # no cycles: what is left to the collector stops everybody sometime
    return Tree(frozenset(tables), reads_only, locks)


def _given(
    tokens: Sequence[Token], calls: Calls, book: FunctionBook, budget: ParseBudget, depth: int
) -> list[Given]:
    """Return what the calls mean that hand SQL, or the name of something, to a function."""
    if GIVEN.isdisjoint(calls.functions):
        return []

    def classify(held: Sequence[Token]) -> Statement:
        return classify_query(held, book, budget, depth=depth + 1)

    heads = [head for head, name in calls.heads.items() if name in GIVEN]
    reads = depth < MAX_GIVEN and len(heads) <= MOST_GIVEN
    return [
        judge(calls.heads[head], arguments(tokens, head + 1), book, classify if reads else None)
        for head in heads
    ]


def _called(calls: Calls, book: FunctionBook) -> Iterable[FunctionFacts]:
    """Yield the facts of every function called, set_config() and current_setting() by their arguments."""
    by_argument = {"set_config": HARMLESS, "current_setting": HARMLESS}
    for call in calls.settings:
        name = call[0][1]
        if name == "set_config":
            by_argument[name] = book.facts(name)._replace(state=None)  # see `set_by`
        elif asked_for(call) in {None, *ROLE_PARAMETERS}:
            by_argument[name] = TELLING_ROLE  # or may, where the name is not spelt out
    for name in calls.functions - GIVEN:
        yield by_argument.get(name.removeprefix("pg_catalog.")) or book.facts(name)


_BESIDE_CALLS: Final = frozenset({"as", "not", "pg_catalog"})


def _only_calls(tokens: Sequence[Token], calls: Calls) -> bool:
    """Say whether *tokens* are SELECT and calls of literals, or of nothing, with labels: no cast, operator or name."""
    if not calls.heads or tokens[0] != (WORD, "select"):
        return False
    before = ""
    for index, (kind, text) in enumerate(tokens[1:], 1):
        is_label = kind in {WORD, NAME} and before in {"as", ")"}
        is_name = index in calls.heads or (kind == WORD and text in _BESIDE_CALLS)
        is_literal = kind in {STRING, NUMBER} and before in {"(", ","}  # not of a type
        is_mark = kind == MARK and text in {"(", ")", ",", "."}
        if not (is_literal or is_mark or is_name or is_label):
            return False
        before = text if kind in {MARK, WORD} else ""
    return True


def _into(tokens: Sequence[Token]) -> str | None:
    """Return the word after the INTO of a SELECT INTO (`temp`, `table`, a name), None without one."""
    for index, token in enumerate(tokens):
        if token == (WORD, "into") and not _is_label(tokens, index):
            after = [text for kind, text in tokens[index + 1 : index + 3] if kind == WORD]
            return "temp" if {"temp", "temporary"} & set(after) else "table"
    return None


def _has_lock(tokens: Sequence[Token]) -> bool:
    """Say whether FOR UPDATE, NO KEY UPDATE, SHARE or KEY SHARE stands anywhere."""
    return any(
        token == (WORD, "for")
        and not _is_label(tokens, index)
        and tokens[index + 1 : index + 2]
        and tokens[index + 1][1] in {"update", "share", "no", "key"}
        for index, token in enumerate(tokens)
    )


def _is_label(tokens: Sequence[Token], index: int) -> bool:
    """Say whether the word at *index* is only a column (`t.into`) or its label (`AS into`)."""
    return index > 0 and tokens[index - 1] in {(MARK, "."), (WORD, "as")}


def _tells_time(tokens: Sequence[Token], functions: frozenset[str]) -> bool:
    """Say whether it asks when its transaction began (PostgreSQL manual, "Current Date/Time")."""
    return any(kind == WORD and text in TIME_WORDS for kind, text in tokens) or any(
        name.removeprefix("pg_catalog.") in TIME_FUNCTIONS for name in functions
    )


def _mentions_temporary(tokens: Sequence[Token]) -> bool:
    return any(kind in {WORD, NAME} and is_temporary(text) for kind, text in tokens)


def _table_name(table: exp.Table) -> str:
    parts = (table.args.get("db"), table.this)  # the database can only be the current one
    return ".".join(quoted(decoded_name(part.name)) for part in parts if part)


class _Ctes:
    """The names of CTEs that are seen from the places in one tree, by PostgreSQL's rules of visibility."""

    def __init__(self) -> None:
        self._seen_from: dict[int, frozenset[str]] = {}
        """By the identity of a node, whose tree outlives this."""
        self._names: dict[int, list[str]] = {}
        """Those of a WITH, by its identity."""

    def hold(self, table: exp.Table) -> bool:
        """Say whether *table* is the name of a CTE it can see."""
        return not table.args.get("db") and decoded_name(table.name) in self._seen(table)

    def _seen(self, node: Any) -> frozenset[str]:
        path: list[Any] = []
        while node is not None and id(node) not in self._seen_from:
            path.append(node)
            node = node.parent
        names = frozenset() if node is None else self._seen_from[id(node)]
        for inside in reversed(path):
            beside = self._beside(inside)
            if not names.issuperset(beside):
                names = names.union(beside)
            self._seen_from[id(inside)] = names
        return names

    def _beside(self, inside: Any) -> Sequence[str]:
        """Return the names of the CTEs that the parent of *inside* lets it see."""
        parent = inside.parent
        if parent is None:
            return ()
        if isinstance(parent, exp.With):
            # Within WITH RECURSIVE a CTE sees all of its list, otherwise those before it.
            names = self._of(parent)
            return names if parent.args.get("recursive") else names[: inside.index]
        own = parent.args.get("with_")
        return self._of(own) if own is not None and inside.arg_key != "with_" else ()

    def _of(self, clause: exp.With) -> Sequence[str]:
        found = self._names.get(id(clause))
        if found is None:
            found = self._names[id(clause)] = [
                decoded_name(cte.alias) for cte in clause.expressions
            ]
        return found
