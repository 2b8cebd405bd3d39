"""Facts of SET, RESET, SHOW and of transaction modes, whose *values* matter to routing.

A SET leaves a parameter behind in its server, except SET LOCAL and SET TRANSACTION, which end with the
transaction, and parameters of rwsplit's own (`SET rwsplit.route`), which no server ever sees when they
come alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from rwsplit.sql.cursor import Cursor
from rwsplit.sql.statement import DEFAULT_MODES, PrimaryOnly, StateKind, Statement, Verb
from rwsplit.sql.tokens import MARK, NAME, NUMBER, OPERATOR, STRING, WORD, string_value

OWN_PREFIX: Final = "rwsplit."

_SPELLED_OUT: Final = {
    ("time", "zone"): "timezone",
    ("session", "authorization"): "session_authorization",
    ("xml", "option"): "xmloption",
    ("names",): "client_encoding",
    ("schema",): "search_path",
}
"""Parameters SQL has words of its own for."""


TRANSACTION_PARAMETERS: Final = frozenset(
    {"transaction_isolation", "transaction_read_only", "transaction_deferrable"}
)
"""They end with the transaction however they are set."""

ROLE_PARAMETERS: Final = frozenset(
    {
        *("in_hot_standby", "transaction_read_only", "default_transaction_read_only"),
        *("primary_conninfo", "primary_slot_name", "recovery_min_apply_delay"),
        *("synchronous_standby_names", "all"),
    }
)
"""What SHOW says of them depends on the role of the node."""

UNREADABLE: Final = frozenset({"dynamic_library_path", "session_preload_libraries"})
"""Not everybody who runs with them may ask for their value (GUC_SUPERUSER_ONLY)."""

MOST_NAME: Final = 256
"""Characters of a parameter's name; of a longer one the value is not asked for."""

_NAME: Final = re.compile(r"[a-z_][a-z0-9_$]*(?:\.[a-z_][a-z0-9_$]*)*|\*")

PATH_PARAMETERS: Final = frozenset({"search_path", "role", "session_authorization", "all"})
"""They decide what names mean."""
_PLAIN: Final = {
    "client_encoding": frozenset({"utf8", "utf-8", "utf_8", "unicode", "latin1", "sql_ascii"}),
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1"}),
}
"""Parameters that decide how a text is read, and the values with which rwsplit can read it."""
TEXT_PARAMETERS: Final = frozenset(_PLAIN)

_BOUND: Final = frozenset(
    {
        *("role", "session_authorization"),
        *("default_transaction_isolation", "default_transaction_read_only"),
        *("default_transaction_deferrable", "default_tablespace", "temp_tablespaces"),
        *("default_table_access_method", "default_text_search_config", "seed"),
        *TRANSACTION_PARAMETERS,
    }
)
"""A replica may not know their value yet, or could do nothing more afterwards."""


def state_of(setting: str) -> StateKind | None:
    """Return what to set the parameter *setting* leaves behind in a server."""
    if setting in TRANSACTION_PARAMETERS:
        return None
    return StateKind.SEED if setting == "seed" else StateKind.PARAMETER


def readable(settings: Iterable[str]) -> frozenset[str]:
    """Return *settings* if all their values can be read back from a server, else nothing."""
    names = frozenset(settings)
    if any(
        state_of(name) is not StateKind.PARAMETER
        or name in UNREADABLE
        or len(name) > MOST_NAME
        or not _NAME.fullmatch(name)
        for name in names
    ):
        return frozenset()
    # To become somebody else is to leave one's role.
    return names | {"role"} if "session_authorization" in names else names


class Modes(NamedTuple):
    """The transaction modes of BEGIN and SET TRANSACTION, None where nothing was said."""

    isolation: str | None
    read_only: bool | None
    deferrable: bool | None


def read_modes(cursor: Cursor) -> tuple[Modes, bool]:
    """Return the transaction modes from *cursor* on, of contradicting ones the last, and whether that is all."""
    isolation = read_only = deferrable = None
    exact = True
    while cursor.token != (MARK, ""):
        if cursor.take("isolation", "level"):
            isolation = _isolation(cursor)
            exact = exact and isolation is not None
        elif cursor.take("read", "only"):
            read_only = True
        elif cursor.take("read", "write"):
            read_only = False
        elif cursor.take("not", "deferrable"):
            deferrable = False
        elif cursor.take("deferrable"):
            deferrable = True
        else:
            exact = False
            cursor.position += 1
        if cursor.mark(","):
            exact = exact and cursor.token != (MARK, "")
    return Modes(isolation, read_only, deferrable), exact


def _isolation(cursor: Cursor) -> str | None:
    for level in (("read", "committed"), ("read", "uncommitted"), ("repeatable", "read")):
        if cursor.take(*level):
            return " ".join(level)
    return "serializable" if cursor.take("serializable") else None


def classify_begin(cursor: Cursor) -> Statement:
    """Return the facts of BEGIN or START TRANSACTION, the cursor behind its first word."""
    starts = cursor.tokens[0] == (WORD, "start")
    known = bool(cursor.take_any("transaction") if starts else True)
    if not starts:
        cursor.take_any("work", "transaction")
    modes, exact = read_modes(cursor)
    reason: PrimaryOnly | None = PrimaryOnly.MAY_WRITE
    if modes.isolation == "serializable":
        reason = PrimaryOnly.SERIALIZABLE
    elif modes.read_only:
        reason = None
    tag = "START TRANSACTION" if starts else "BEGIN"
    return Statement(
        Verb.BEGIN, primary_only=reason, tag=tag if known and exact else None, **modes._asdict()
    )


def classify_set(cursor: Cursor, *, alone: bool) -> Statement:
    """Return the facts of a SET, the cursor behind that word."""
    if tuple(cursor.tokens[cursor.position + 1 : cursor.position + 2]) == ((MARK, "."),):
        return _set_parameter(cursor, alone=alone)  # of somebody's own, whatever its first word
    if cursor.take("constraints"):
        return Statement(Verb.SET_CONSTRAINTS, primary_only=PrimaryOnly.SESSION_STATE)
    for scope in ("session", "local"):
        for what in (("session", "characteristics"), ("transaction",)):
            following = cursor.tokens[cursor.position + 1 : cursor.position + 1 + len(what)]
            if [*following] == [(WORD, word) for word in what]:
                cursor.take(scope)
    if cursor.take("session", "characteristics", "as", "transaction"):
        return _set_modes(cursor, "session characteristics", local=False)
    if cursor.take("transaction", "snapshot"):
        return Statement(
            Verb.SET,
            primary_only=PrimaryOnly.NEEDS_PRIMARY,
            setting="transaction snapshot",
            value=cursor.name(),
            local=True,
        )
    if cursor.take("transaction"):
        return _set_modes(cursor, "transaction", local=True)
    return _set_parameter(cursor, alone=alone)


def _set_modes(cursor: Cursor, setting: str, *, local: bool) -> Statement:
    modes, _ = read_modes(cursor)
    reason = PrimaryOnly.SESSION_STATE
    if modes.isolation == "serializable" and local:
        reason = PrimaryOnly.SERIALIZABLE
    return Statement(
        Verb.SET,
        primary_only=reason,
        state=None if local else StateKind.PARAMETER,
        sets=frozenset() if local else DEFAULT_MODES,
        setting=setting,
        local=local,
        **modes._asdict(),
    )


def _set_parameter(cursor: Cursor, *, alone: bool) -> Statement:
    following = tuple(cursor.tokens[cursor.position + 1 : cursor.position + 2])
    is_scope = following != ((MARK, "."),)
    local = is_scope and cursor.take("local")
    if cursor.word == "seed":
        local = False  # it is not put back at the end of the transaction
    if not local and is_scope and following != ((WORD, "authorization"),):
        cursor.take("session")
    setting = _parameter(cursor)
    if setting is None:
        return UNRECOGNISED
    if cursor.token == (OPERATOR, "="):
        cursor.position += 1
    else:
        cursor.take("to")
    to_default = not local and tuple(cursor.rest) == ((WORD, "default"),)
    own = setting.startswith(OWN_PREFIX)
    temporary = setting == "search_path" and any(
        "pg_temp" in text.lower() for _, text in cursor.rest
    )
    value = _value(cursor, joined=own)
    if own and alone:
        return Statement(Verb.SET, setting=setting, value=value, local=local)
    return Statement(
        Verb.SET,
        primary_only=PrimaryOnly.SESSION_STATE,
        # A path to the temporary schema lasts: whatever is created there must be noticed.
        state=StateKind.PARAMETER if temporary else None if local else state_of(setting),
        sets=frozenset() if local or own or temporary else readable({setting}),
        anywhere=not (local or own or setting in _BOUND),
        changes_path=setting in PATH_PARAMETERS,
        changes_encoding=setting in _PLAIN and (value or "").lower() not in _PLAIN[setting],
        setting=setting,
        value=value,
        local=local,
        to_default=to_default,
        isolation=value.lower() if value and setting == "transaction_isolation" else None,
        read_only=_boolean(value) if setting == "transaction_read_only" else None,
    )


def classify_reset(cursor: Cursor, *, alone: bool) -> Statement:
    """Return the facts of a RESET, the cursor behind that word."""
    setting = _parameter(cursor)
    if setting is not None and setting.startswith(OWN_PREFIX) and alone:
        return Statement(Verb.RESET, setting=setting)
    return Statement(
        Verb.RESET,
        primary_only=PrimaryOnly.SESSION_STATE,
        state=StateKind.PARAMETER,
        sets=readable({setting or "all"}),
        anywhere=setting is not None and setting not in _BOUND,
        changes_path=(setting or "all") in PATH_PARAMETERS,
        setting=setting,
    )


def classify_show(cursor: Cursor) -> Statement:
    """Return the facts of a SHOW, the cursor behind that word."""
    if cursor.take("transaction", "isolation", "level"):
        return Statement(Verb.SHOW, setting="transaction_isolation")
    setting = _parameter(cursor)
    tells_role = setting in ROLE_PARAMETERS
    return Statement(
        Verb.SHOW,
        primary_only=PrimaryOnly.NODE_ROLE if tells_role else None,
        setting=setting,
    )


def _parameter(cursor: Cursor) -> str | None:
    """Skip the name of a run-time parameter and return it in lower case."""
    for words, setting in _SPELLED_OUT.items():
        following = cursor.tokens[
            cursor.position + len(words) : cursor.position + len(words) + 1
        ]
        if tuple(following) not in {((OPERATOR, "="),), ((MARK, "."),)} and cursor.take(*words):
            return setting
    name = cursor.dotted_name()
    return name.lower() if name is not None else None


def _value(cursor: Cursor, *, joined: bool) -> str | None:
    """Return the rest of *cursor*, a single value, as text; None for DEFAULT and lists.

    *joined*: several tokens (`5s`, which PostgreSQL would refuse) make one value.
    """
    tokens = list(cursor.rest)
    sign = ""
    if tokens and tokens[0] in {(OPERATOR, "-"), (OPERATOR, "+")}:
        sign = tokens.pop(0)[1].strip("+")
    if joined and len(tokens) > 1:
        return sign + "".join(text for _, text in tokens)
    if len(tokens) != 1 or tokens[0] == (WORD, "default"):
        return None
    kind, text = tokens[0]
    if kind == STRING:
        return string_value(text)
    return sign + text if kind in {WORD, NAME, NUMBER} else None


def _boolean(value: str | None) -> bool | None:
    """Return the boolean that *value* means to PostgreSQL (parse_bool in bool.c, whole words)."""
    word = (value or "").lower()
    if word in {"on", "true", "yes", "1"}:
        return True
    return False if word in {"off", "false", "no", "0"} else None


UNRECOGNISED: Final = Statement(
    Verb.OTHER,
    primary_only=PrimaryOnly.UNPARSED,
    may_write=True,
    state=StateKind.UNRECOGNISED,
)
"""Of a statement that could not be read: it may do anything."""
