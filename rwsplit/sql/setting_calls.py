"""Setting calls: what set_config() and current_setting() do, which hangs on their arguments.

A call is given as its tokens without the closing parenthesis, as `calls.arguments` returns it. What is not spelt out in one
plain literal may be anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.sql.assignments import is_true
from rwsplit.sql.calls import Calls
from rwsplit.sql.settings import PATH_PARAMETERS, TEXT_PARAMETERS
from rwsplit.sql.tokens import MARK, STRING, Token, string_value

SEED: Final = "seed"
"""The parameter that has its value whatever becomes of the transaction that set it, and however."""


def asked_for(call: Sequence[Token]) -> str | None:
    """Return what the first argument of *call* says, folded; None if that is not spelt out in one plain literal."""
    is_plain = call[2:3] and call[2][0] == STRING and call[2][1][0] in "'$"
    ends = not call[3:4] or call[3] in {(MARK, ","), (MARK, "::")}
    return string_value_of(call[2]) if is_plain and ends else None


def set_by(calls: Calls) -> frozenset[str]:
    """Return the parameters that set_config() sets beyond the transaction; `?` stands for one that is not known."""
    names: set[str] = set()
    for call in calls.settings:
        if call[0][1] == "set_config" and not (sets_locally(call) and asked_for(call) != SEED):
            literal = call[3:4] == ((MARK, ","),) and call[2][1].startswith("'")
            name = (literal and string_value_of(call[2])) or "?"
            # What is created by a path to the temporary schema must be noticed.
            temporary = name == "search_path" and any("pg_temp" in text for _, text in call[4:])
            names.add("?" if temporary else name)
    return frozenset(names)


def changes_path(calls: Calls) -> bool:
    """Say whether set_config() may set what decides what names mean, for the transaction or longer."""
    return any(
        call[0][1] == "set_config" and asked_for(call) in {None, *PATH_PARAMETERS}
        for call in calls.settings
    )


def changes_encoding(calls: Calls) -> bool:
    """Say whether it sets how a text is to be read."""
    return any(
        call[0][1] == "set_config" and asked_for(call) in TEXT_PARAMETERS
        for call in calls.settings
    )


def string_value_of(token: Token) -> str | None:
    """Return what a string literal says, folded; None for any other token."""
    kind, text = token
    return string_value(text).lower() if kind == STRING else None


def sets_locally(call: Sequence[Token]) -> bool:
    """Say whether the last argument of set_config(name, value, is_local) is a literal true."""
    if tuple(call[-2:-1]) != ((MARK, ","),):
        return False
    return is_true(call[-1])
