"""Body: what a text of the user's own that PostgreSQL will run - a function, a view, a policy - may do.

Not parsed, only cut into tokens, since PL/pgSQL is a language of its own. That is enough for what matters: which
names are called or mentioned, whose facts then count (`census.py`), and which words could leave session
state behind. Only where a statement begins do SET, LISTEN and their like mean something: `UPDATE t SET` is a
write. SQL that it makes up itself (EXECUTE) is read like it as far as it can be (`dynamic.py`). Names are kept with the schema they are written with; where there is
none, every function or relation of that name is meant, because a body runs under a search path nobody knows.

A name that is only a variable or a column may be taken for a relation: such a body is thought worse of than it
deserves, which costs a read its replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import intern
from typing import Final, NamedTuple

from rwsplit.sql.builtin import RESERVED
from rwsplit.sql.calls import arguments, quoted
from rwsplit.sql.chart import builtin_facts
from rwsplit.sql.dynamic import MADE_UP, Dynamic, made_up
from rwsplit.sql.facts import (
    ABOUT_THE_SESSION,
    HARMLESS,
    LOCKING,
    OPENING,
    TELLING_ROLE,
    TELLING_TIME,
    TIME_FUNCTIONS,
    TIME_WORDS,
    FunctionFacts,
    combine,
    leaving,
)
from rwsplit.sql.relations import is_temporary, relation_needs
from rwsplit.sql.setting_calls import SEED, asked_for, sets_locally, string_value_of
from rwsplit.sql.settings import ROLE_PARAMETERS
from rwsplit.sql.statement import PrimaryOnly, StateKind
from rwsplit.sql.tokens import (
    MARK,
    NAME,
    OPERATOR,
    STRING,
    WORD,
    Token,
    has_bent_literal,
    scan,
    scan_escaping,
    string_value,
)

LIMIT: Final = 256 << 10
"""Bytes of a body beyond which it is not read and may do anything."""
MOST_NESTING: Final = 3
"""Texts that make up texts, which are read."""

_BEFORE_STATEMENT: Final = frozenset({";", "begin", "then", "else", "loop", "atomic", ">>"})
_STATEMENTS: Final = {
    "set": StateKind.PARAMETER,
    "reset": StateKind.PARAMETER,
    "listen": StateKind.LISTEN,
    "prepare": StateKind.PREPARED,
    "load": StateKind.LIBRARY,
}
_LOCAL: Final = frozenset({"local", "transaction", "constraints"})
_MAKES_TEMPORARY: Final = frozenset({"create", "replace", "local", "global", "into"})
_TIME_LITERALS: Final = frozenset({"now", "today", "tomorrow", "yesterday"})
_BEFORE_COLUMNS: Final = frozenset(
    {"table", "into", "exists", "references", "with", "recursive", "as"}
)
_LOCKS: Final = frozenset({"update", "share", "no", "key"})


class Body(NamedTuple):
    """What one text does by itself, and the names it mentions."""

    facts: FunctionFacts
    calls: frozenset[str] = frozenset()
    """Functions, and operators as `operator(+)`, that PostgreSQL does not bring along or that may have overloads."""
    names: frozenset[str] = frozenset()
    """Whatever else may be a relation or a type; a column of something as `?.name`."""
    dynamic: Dynamic = Dynamic.NONE
    """How much is known of the SQL it makes up."""


UNREADABLE: Final = Body(HARMLESS, dynamic=Dynamic.OPAQUE)


def read_body(source: str, *, depth: int = 0) -> Body:
    """Return what *source*, of SQL or PL/pgSQL, may do; *depth*: in how many others it stands."""
    data = source.encode(errors="replace")
    found = scan(data) if len(data) <= LIMIT else None
    if found is None:
        return UNREADABLE
    own = _read(found.tokens, depth)
    if not has_bent_literal(found.tokens):
        return own
    # A session may run it with standard_conforming_strings off; if nothing can be read then, PostgreSQL cannot, either.
    escaping = scan_escaping(data)
    return own if escaping is None else _both(own, _read(escaping.tokens, depth))


def _both(one: Body, other: Body) -> Body:
    """Return what a text does that does *one* or the *other*."""
    return Body(
        combine((one.facts, other.facts)),
        one.calls | other.calls,
        one.names | other.names,
        max(one.dynamic, other.dynamic),
    )


def _read(tokens: Sequence[Token], depth: int) -> Body:
    """Return what *tokens* do."""
    facts = {_fact(tokens, index) for index in range(len(tokens))}
    calls: set[str] = set()
    names: set[str] = set()
    for index, (kind, text) in enumerate(tokens):
        if kind == OPERATOR:
            calls.add(intern(f"operator({text})"))
        name = _name(tokens, index) if kind in {WORD, NAME} else None
        if name is None:
            continue
        if _is_call(tokens, index) and not _defines(tokens, index):
            calls.add(intern(name))
        elif kind == NAME or text not in RESERVED:
            names.add(intern(name))
        facts.add(_builtin(tokens, index, name))
    found_facts = combine(sorted(facts, key=str))
    own = Body(found_facts, frozenset(calls), frozenset(names))
    starts = [index for index in range(len(tokens)) if _is_dynamic(tokens, index)]
    return _with_made_up(own, tokens, starts, depth) if starts else own


def _with_made_up(own: Body, tokens: Sequence[Token], starts: list[int], depth: int) -> Body:
    """Return what *own* does together with the SQL it makes up and runs at *starts*."""
    dynamic, texts = made_up(tokens, starts)
    if depth >= MOST_NESTING:
        return own._replace(dynamic=Dynamic.OPAQUE)
    for text in texts:
        read = read_body(text, depth=depth + 1)
        if dynamic is Dynamic.WOVEN and read is UNREADABLE:  # half a literal, perhaps
            read = read_body(text.replace("'", " ").replace('"', " "), depth=depth + 1)
        if dynamic is not Dynamic.WOVEN or read is UNREADABLE:
            dynamic = max(dynamic, read.dynamic)
        if any(MADE_UP in name for name in read.calls):
            dynamic = Dynamic.OPAQUE
        own = Body(
            combine((own.facts, read.facts)), own.calls | read.calls, own.names | read.names
        )
    return own._replace(dynamic=dynamic)


def _fact(tokens: Sequence[Token], index: int) -> FunctionFacts:
    """Return the facts of the token at *index* by itself, whatever it names."""
    kind, text = tokens[index]
    if kind == STRING:
        return _literal(text)
    if kind in {WORD, NAME} and is_temporary(text):
        return leaving(StateKind.TEMP_TABLE)
    return _word(tokens, index) if kind == WORD else HARMLESS


def _is_call(tokens: Sequence[Token], index: int) -> bool:
    return tokens[index + 1 : index + 2] == [(MARK, "(")]


def _defines(tokens: Sequence[Token], index: int) -> bool:
    """Return whether the name that ends at *index*, before a parenthesis, has columns there: `INSERT INTO t (a)`."""
    while _text(tokens, index - 1) == ".":
        index -= 2
    return _text(tokens, index - 1) in _BEFORE_COLUMNS or (
        _text(tokens, index - 1) == "on" and _is_of_index(tokens, index - 1)
    )


def _is_of_index(tokens: Sequence[Token], on: int) -> bool:
    """Return whether the word at *on* is that of CREATE [UNIQUE] INDEX [CONCURRENTLY] [IF NOT EXISTS] [name] ON."""
    words = [_text(tokens, at) for at in range(max(0, on - 8), on)]
    if "index" not in words:
        return False
    at = len(words) - 1 - words[::-1].index("index")
    before = [word for word in words[:at] if word != "unique"]
    return before[-1:] == ["create"]


def _word(tokens: Sequence[Token], index: int) -> FunctionFacts:
    """Return the facts of the word at *index* as a key word."""
    text, before, after = tokens[index][1], _text(tokens, index - 1), _text(tokens, index + 1)
    state: StateKind | None = None
    if text == "for" and after in _LOCKS:
        return LOCKING
    if text in TIME_WORDS and before not in {".", "as"}:
        return TELLING_TIME
    if text == "hold" and before == "with":
        state = StateKind.HOLD_CURSOR
    elif text in {"temp", "temporary"} and before in _MAKES_TEMPORARY:
        state = StateKind.TEMP_TABLE
    elif text in _STATEMENTS and _begins_statement(tokens, index):
        is_local = text == "set" and after in _LOCAL
        state = None if is_local else _STATEMENTS[text]
        if text == "set" and "seed" in {after, _text(tokens, index + 2)}:
            state = StateKind.SEED  # whether it is local or not
    elif text == "update" and _named_behind(tokens, index) == "pg_settings":
        state = StateKind.PARAMETER  # its rule calls set_config
    elif text == "open" and _begins_statement(tokens, index):
        return OPENING  # what it opens is there to the end of the transaction, for whoever knows its name
    return HARMLESS if state is None else leaving(state)


def _named_behind(tokens: Sequence[Token], index: int) -> str:
    """Return the bare name that stands behind the word at *index*, and behind ONLY."""
    at = index + 2 if _text(tokens, index + 1) == "only" else index + 1
    while _text(tokens, at + 1) == ".":
        at += 2
    return tokens[at][1] if at < len(tokens) else ""


def _literal(text: str) -> FunctionFacts:
    """Return the facts of a literal, which may be as good as now(): `'now'::timestamptz`."""
    value = string_value(text).strip().lower()
    return TELLING_TIME if value in _TIME_LITERALS else HARMLESS


def _is_dynamic(tokens: Sequence[Token], index: int) -> bool:
    """Return whether EXECUTE or DO stands at *index*."""
    text, before = _text(tokens, index), _text(tokens, index - 1)
    if text == "execute":
        return before not in {".", "as"}
    return text == "do" and _begins_statement(tokens, index)


def _begins_statement(tokens: Sequence[Token], index: int) -> bool:
    return index == 0 or _text(tokens, index - 1) in _BEFORE_STATEMENT


def _name(tokens: Sequence[Token], index: int) -> str | None:
    """Return the name that ends at *index* with its qualifier, None if it goes on there."""
    if _text(tokens, index + 1) == ".":
        return None
    own = quoted(tokens[index][1])
    if _text(tokens, index - 1) != ".":
        return own
    kind, qualifier = tokens[index - 2] if index > 1 else (MARK, "")
    return f"{quoted(qualifier) if kind in {WORD, NAME} else '?'}.{own}"


def _builtin(tokens: Sequence[Token], index: int, name: str) -> FunctionFacts:
    """Return the facts of the *name* that ends at *index* if PostgreSQL brings it along."""
    if _is_call(tokens, index):
        return _builtin_call(tokens, index, name)
    kind, text = tokens[index]
    return _builtin_relation(name) if kind == NAME or text not in RESERVED else HARMLESS


def _builtin_call(tokens: Sequence[Token], index: int, name: str) -> FunctionFacts:
    bare = name.removeprefix("pg_catalog.")
    if bare == "set_config":
        call = arguments(tokens, index + 1)
        if asked_for(call) == SEED:
            return leaving(StateKind.SEED)
        if sets_locally(call):
            return HARMLESS
    if bare in TIME_FUNCTIONS:
        return TELLING_TIME
    if bare == "current_setting":
        # One whose name is not spelt out is taken for the application's own: row security asks for those.
        argument = tokens[index + 2] if index + 2 < len(tokens) else (MARK, "")
        return TELLING_ROLE if string_value_of(argument) in ROLE_PARAMETERS else HARMLESS
    return builtin_facts(name) or HARMLESS


def _builtin_relation(name: str) -> FunctionFacts:
    needs = relation_needs(name)
    if needs is PrimaryOnly.SESSION_STATE:
        return ABOUT_THE_SESSION
    return HARMLESS if needs is None else FunctionFacts(needs)


def _text(tokens: Sequence[Token], index: int) -> str:
    """Return the text of the word, operator or mark at *index*; of nothing else."""
    kind, text = tokens[index] if 0 <= index < len(tokens) else (MARK, "")
    return text if kind in {WORD, OPERATOR, MARK} else ""
