"""Calls: the functions and operators a query, DML or DDL calls, read from its tokens.

A syntax tree is the wrong place to look: sqlglot renames what it recognises (`date_add`, `levenshtein`) into
classes of its own, and a function that hides behind such a class would be taken for PostgreSQL's. In the
tokens a call is a name directly before `(`, and PostgreSQL's grammar leaves few other things of
that look, all listed here: its own constructs (`coalesce (`, `over (`), types with a modifier (`x::varchar(3)`),
column lists (`WITH t (a)`, `f(x) AS t(a)`, `VALUES (1) v(a)`, `INSERT INTO t (a)`), types of literals (`mytype(3) 'x'`: nothing
but a type can stand directly before a literal with its `)`).

What cannot be told apart is taken for a call; an unknown name costs a read its replica, nothing else.
Calls without parentheses (a cast, a domain, a view, a trigger, `row.function`) are not in the text at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from rwsplit.sql.builtin import COLUMN_ONLY, RESERVED, TYPE_OR_FUNCTION, UNRESERVED
from rwsplit.sql.tokens import MARK, NAME, NUMBER, OPERATOR, PARAMETER, STRING, WORD, Token

KEY_WORDS: Final = RESERVED | TYPE_OR_FUNCTION | COLUMN_ONLY | UNRESERVED
MOST_ARGUMENTS: Final = 120
"""Tokens of a call that are looked at for its arguments."""
DML: Final = frozenset({"insert", "update", "delete", "merge"})

_VALUE_WORDS: Final = frozenset({"null", "true", "false", "end", "user"})
_INTRODUCES_VALUE: Final = frozenset(
    {
        "between",
        "by",
        "content",
        "document",
        "escape",
        "groups",
        "passing",
        "range",
        "rows",
        "zone",
    }
)
_NO_VALUE: Final = RESERVED | TYPE_OR_FUNCTION | _INTRODUCES_VALUE
_INFIX: Final = TYPE_OR_FUNCTION | {"columns", "escape", "filter", "over", "set", "value"}
"""Words that may name a function, but after a value are PostgreSQL's grammar."""
_CTE_WORDS: Final = frozenset({"as", "not", "with", "to", "using", "default"})
_AFTER_GROUP_BY: Final = frozenset(
    {
        "having",
        "on",
        "returning",
        "window",
        "order",
        "limit",
        "offset",
        "fetch",
        "for",
        "union",
        "intersect",
        "except",
    }
)
_NOT_A_CTE: Final = frozenset(
    {
        "ordinality",
        "time",
        "ties",
        "unique",
        "without",
        "wrapper",
        "conditional",
        "unconditional",
    }
)
_CONSTRUCTS: Final = {
    "by": {"order", "group", "partition"},
    "sets": {"grouping"},
    "varying": {"character", "char", "bit", "nchar"},
    "zone": {"time"},
    "first": {"fetch"},
    "next": {"fetch"},
    "second": {"interval"},
    "bernoulli": {"tablesample"},
    "system": {"tablesample"},
    "join": {"left", "right", "inner", "outer", "cross", "full", "natural"},
    "set": {"update"},
}
"""Words that with `(` are no call after one of these."""
_BEFORE_CUBE: Final = frozenset({"by", "all", "distinct", ",", "("})
_INTRODUCES_VALUE_IN: Final = {
    "value": {"json_object", "json_objectagg"},
    "version": {"xmlroot"},
    "path": {"xmltable"},
}
"""Words that may name a column, but behind something else in the `(` of one of these begin a value."""
_INTRODUCES_VALUE_BEHIND: Final = {
    "first": {"fetch"},
    "next": {"fetch"},
    "ref": {"by"},
    "value": {"by"},
}
"""The same directly behind one of these."""
_COLUMNS_OF_DML: Final = {
    "conflict": ("on", {"do", "where"}),
    "insert": ("then", {"values", "overriding", "default"}),
}
"""Words that behind another one begin a list of columns (ON CONFLICT, THEN INSERT of MERGE), if one of these follows its `)`."""
MOST_PREDICATE: Final = 500
"""Tokens of ON CONFLICT (...) WHERE that are looked through for its DO."""


class Calls(NamedTuple):
    """What a token list calls and does: *functions* as `name`, `schema.name` or `operator(+)`."""

    main: str
    """The verb the statement as a whole has, after its CTEs; `(` if it begins with one."""
    functions: frozenset[str]
    writes: bool
    """INSERT, UPDATE, DELETE or MERGE anywhere in it."""
    settings: tuple[tuple[Token, ...], ...]
    """The arguments of every set_config() and current_setting(), the function's name first."""
    heads: Mapping[int, str]
    """The names of the functions called by where in the tokens they (their last parts) stand."""


class _Frame:
    """What is known about one pair of parentheses while it is open."""

    __slots__ = ("call_may_follow", "head", "in_group", "in_with", "word")

    def __init__(
        self,
        *,
        word: str = "",
        head: int = -1,
        in_group: bool = False,
        call_may_follow: bool = False,
    ) -> None:
        self.word = word
        """What stands in front of them."""
        self.head = head
        """Where the name of the function stands whose arguments they hold."""
        self.in_with = False
        self.in_group = in_group
        self.call_may_follow = call_may_follow
        """Directly behind its `)`: after DISTINCT ON (...) and OPERATOR(...)."""


def find_calls(tokens: Sequence[Token]) -> Calls:
    """Return what *tokens*, one statement's, call."""
    return _Finder(tokens).run()


class _Finder:
    __slots__ = (
        "clause_ends",
        "frames",
        "heads",
        "main",
        "operators",
        "settings",
        "tokens",
        "writes",
    )

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.main = tokens[0][1] if tokens else ""
        self.frames = [_Frame()]
        self.operators: set[str] = set()
        self.settings: list[tuple[Token, ...]] = []
        self.writes = False
        self.heads: dict[int, str] = {}
        """The names of functions by where their last parts stand."""
        self.clause_ends: set[int] = set()
        """Where a `)` stands that a call may follow directly."""

    def run(self) -> Calls:
        for index, (kind, text) in enumerate(self.tokens):
            if kind == WORD:
                self._word(index, text)
            elif kind == OPERATOR:
                self.operators.add(f"operator({text})")
            elif kind == MARK and text == "(":
                self._open(index)
            elif kind == MARK and text == ")":
                self._close(index)
        return Calls(
            self.main,
            frozenset((self.operators - _PLAIN_OPERATORS).union(self.heads.values())),
            self.writes,
            tuple(self.settings),
            self.heads,
        )

    def _word(self, index: int, text: str) -> None:
        before = self._text(index - 1)
        if before in {".", "as"}:  # a column or its label, whatever it looks like
            return
        frame = self.frames[-1]
        if (
            text in DML
            and (index == 0 or before == "(" or frame.in_with)
            and self._text(index + 1) not in {",", ")", "."}
        ):
            self.writes = True
        if frame.in_with:
            frame.in_with = not self._ends_with(text, before)
            if not frame.in_with and len(self.frames) == 1 and self.main == "with":
                self.main = text
        elif text == "with":
            frame.in_with = (
                index == 0 or before == "(" or self._text(index + 1) not in _NOT_A_CTE
            )
        elif text == "by" and before == "group":
            frame.in_group = True
        elif text in _AFTER_GROUP_BY:
            frame.in_group = False

    def _ends_with(self, text: str, before: str) -> bool:
        """Say whether the word *text* ends a list of CTEs, and not merely names one."""
        if text in RESERVED:
            return text not in _CTE_WORDS
        return (text in DML or text == "values") and before not in {"with", "recursive", ","}

    def _open(self, index: int) -> None:
        before = self._text(index - 1)
        frame, head = self.frames[-1], -1
        if self._is_call(index):
            head = index - 1
            name = self.heads[head] = self._name(index)
            if name.removeprefix("pg_catalog.") in {"set_config", "current_setting"}:
                self.settings.append(arguments(self.tokens, index))
        self.frames.append(
            _Frame(
                word=before,
                head=head,
                in_group=frame.in_group and before == "sets",
                call_may_follow=(before == "on" and self._text(index - 2) == "distinct")
                or (before == "operator" and self._is_operator(index)),
            )
        )

    def _close(self, index: int) -> None:
        if len(self.frames) == 1:
            return
        frame = self.frames.pop()
        if frame.call_may_follow:
            self.clause_ends.add(index)
        if frame.head >= 0 and (
            self._token(index + 1)[0] in {STRING, NUMBER} or self._holds_columns(frame, index)
        ):
            del self.heads[frame.head]

    def _holds_columns(self, frame: _Frame, end: int) -> bool:
        """Say whether the parentheses of *frame*, whose `)` stands at *end*, are those of ON CONFLICT or THEN INSERT."""
        before, behind = _COLUMNS_OF_DML.get(frame.word, ("", ()))
        if not self.writes or before != self._text(frame.head - 1):
            return False
        following = self._text(end + 1)
        if following == "where":
            return self._leads_to_do(end + 2)
        return following in behind

    def _leads_to_do(self, start: int) -> bool:
        """Say whether DO is what the condition that begins at *start* is for, and not one of another ON CONFLICT behind it."""
        for index in range(start, min(len(self.tokens), start + MOST_PREDICATE)):
            before = self._text(index - 1)
            if self._text(index) == "conflict" and before == "on":
                return False
            if self._text(index) == "do" and self._text(index + 1) in {"nothing", "update"}:
                return before not in {".", "as"}
        return False

    def _is_call(self, index: int) -> bool:
        """Say whether the `(` at *index* opens the arguments of a function."""
        kind, text = self._token(index - 1)
        if kind not in {WORD, NAME}:
            return False
        head = self._head(index)
        qualified = head != index - 1
        if not qualified and (
            self.frames[-1].in_with or (kind == WORD and self._is_construct(index, text))
        ):
            return False
        before_kind, before = self._token(head - 1)
        if before_kind in {WORD, NAME} and self._introduces_value(head - 1):
            return True
        if before_kind == WORD:
            return before in KEY_WORDS and before not in {
                "as",
                "ordinality",
                "into",
                "references",
            }
        if before_kind == MARK and before == ")":
            return head - 1 in self.clause_ends
        return not (
            before_kind in {NAME, STRING, NUMBER, PARAMETER}
            or (before_kind == MARK and before in {"::", "]"})
        )

    def _is_construct(self, index: int, text: str) -> bool:
        """Say whether the unqualified word *text* before the `(` at *index* is PostgreSQL's grammar."""
        before = self._text(index - 2)
        if text in RESERVED or text in COLUMN_ONLY or before in _CONSTRUCTS.get(text, ()):
            return True
        if text in {"cube", "rollup"}:
            return self.frames[-1].in_group and before in _BEFORE_CUBE
        if text == "operator":
            return self._is_operator(index)
        if text == "second" and before == "to":  # a day, up to its seconds
            return self._text(index - 3) in {"day", "hour", "minute"}
        return text in _INFIX and self._is_value(index - 3 if before == "not" else index - 2)

    def _is_value(self, index: int) -> bool:
        """Say whether the token at *index* ends a value, so that a word after it is infix."""
        return (
            index not in self.clause_ends
            and not self._introduces_value(index)
            and ends_value(self._token(index))
        )

    def _introduces_value(self, index: int) -> bool:
        """Say whether a value begins behind the word at *index*, which elsewhere is a name."""
        text, before = self._token(index)[1], self._text(index - 1)
        if self._token(index)[0] == NAME:  # an option of XMLTABLE may be quoted
            return text in {"path", "default"} and self.frames[-1].word == "xmltable"
        if before in _INTRODUCES_VALUE_BEHIND.get(text, ()):
            return True
        return self.frames[-1].word in _INTRODUCES_VALUE_IN.get(text, ()) and before not in {
            *("(", ".", ":"),
        }

    def _is_operator(self, index: int) -> bool:
        """Say whether `OPERATOR(schema.+)` stands here; the operator itself is found as a token."""
        index += 1
        while self._text(index + 1) == ".":
            index += 2
        return self._token(index)[0] == OPERATOR and self._text(index + 1) == ")"

    def _head(self, index: int) -> int:
        """Return where the dotted name before the `(` at *index* begins."""
        head = index - 1
        while self._text(head - 1) == "." and self._token(head - 2)[0] in {WORD, NAME}:
            head -= 2
        return head

    def _name(self, index: int) -> str:
        head = self._head(index)
        parts = [quoted(text) for kind, text in self.tokens[head:index] if kind != MARK]
        if self._text(head - 1) == ".":
            parts.insert(0, "?")
        return ".".join(parts)

    def _token(self, index: int) -> Token:
        return self.tokens[index] if 0 <= index < len(self.tokens) else (MARK, "")

    def _text(self, index: int) -> str:
        """Return the text of the word, operator or mark at *index*; of nothing else."""
        kind, text = self._token(index)
        return text if kind in {WORD, OPERATOR, MARK} else ""


def arguments(tokens: Sequence[Token], index: int) -> tuple[Token, ...]:
    """Return the name before the `(` at *index* and everything up to its `)`; without arguments if they are very many.

    Calls within calls are looked at again and again, so without a bound a text of them would take quadratic time.
    """
    depth, end = 0, index
    for end in range(index, min(len(tokens), index + MOST_ARGUMENTS)):
        kind, text = tokens[end]
        if kind == MARK:
            depth += (text == "(") - (text == ")")
            if depth == 0:
                return tuple(tokens[index - 1 : end])
    return tuple(tokens[index - 1 : index + 1])


def ends_value(token: Token) -> bool:
    """Say whether a value may end with *token*, so that a word after it is infix or a label."""
    kind, text = token
    if kind == WORD:
        return text in _VALUE_WORDS or text not in _NO_VALUE
    if kind == MARK:
        return text in {")", "]"}
    return kind != OPERATOR


_PLAIN_OPERATORS: Final = frozenset(
    f"operator({symbol})"
    for symbol in ("+", "-", "*", "/", "%", "=", "<", ">", "<=", ">=", "<>", "!=", "=>", "||")
)
"""Left out of the names: every other query has them."""


def quoted(name: str) -> str:
    """Return one part of a name so that joining parts with dots stays unambiguous."""
    if "." not in name and '"' not in name:
        return name
    return '"' + name.replace('"', '""') + '"'
