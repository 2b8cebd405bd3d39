"""Commands: what a console command asks for, as a value; pure.

The verbs are PgBouncer's where it has them. Besides them a console hears what drivers say to any
PostgreSQL on their own account (`SET client_encoding`, `BEGIN`, `SELECT 1`, `DISCARD ALL`): those are
answered as if they had been done, and do nothing. Anything else is an error that lists the verbs, or what can be set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Final

import attrs

from rwsplit.admin.tokens import Kind, Token, fill, split, tokenize
from rwsplit.cluster.node import AdminState
from rwsplit.config.changes import FIXED
from rwsplit.config.model import Config
from rwsplit.config.settings import all_settings, fields
from rwsplit.errors import ClientError

VERBS: Final = (
    "SHOW HELP|NODES|CLUSTER|POOLS|CLIENTS|SERVERS|DATABASES|USERS|STATS|ROUTES|LISTS|CONFIG|METRICS|VERSION",
    "ATTACH NODE name",
    "DETACH NODE name",
    "DRAIN NODE name",
    "PROMOTE NODE name [FORCE]",
    "ACCEPT NODE name",
    "EXPLAIN ROUTE [IN TRANSACTION] 'statement'",
    "SET section.setting = 'value'",
    "RECONNECT [database]",
    "RELOAD",
    "SHUTDOWN [WAIT_FOR_SERVERS]",
)


class UnknownCommand(ClientError):
    """Not a console command."""

    hint = "SHOW HELP lists the commands."


class UnknownSetting(ClientError):
    """SET of a name that is no setting; PostgreSQL's SQLSTATE for it."""

    sqlstate = "42704"

    def __init__(self, name: str) -> None:
        paths = [setting.path for setting in all_settings() if setting.path not in FIXED]
        near = [path for path in paths if path.rpartition(".")[2] == name]
        near = near or get_close_matches(name, paths, n=3)
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        super().__init__(f"there is no setting {name}{meant}")
        every = "What can be set: " + ", ".join(paths)
        self.hint = "SHOW CONFIG lists what can be set." if near else every


@attrs.frozen
class Show:
    """SHOW *view*, lower case."""

    view: str


@attrs.frozen
class SetAdminState:
    """ATTACH, DETACH, DRAIN NODE."""

    node: str
    state: AdminState
    tag: str


@attrs.frozen
class Promote:
    """PROMOTE NODE [FORCE]."""

    node: str
    force: bool = False


@attrs.frozen
class Accept:
    """ACCEPT NODE."""

    node: str


@attrs.frozen
class ExplainRoute:
    """EXPLAIN ROUTE."""

    sql: str
    in_transaction: bool


@attrs.frozen
class SetConfig:
    """SET section.setting = value."""

    setting: str
    value: str


@attrs.frozen
class Reconnect:
    """RECONNECT [database]."""

    database: str | None
    """None: all."""


@attrs.frozen
class Reload:
    """RELOAD."""


@attrs.frozen
class Shutdown:
    """SHUTDOWN [WAIT_FOR_SERVERS]."""

    wait: bool


@attrs.frozen
class Chatter:
    """What drivers say; *tag* completes it."""

    tag: str


@attrs.frozen
class Constant:
    """`SELECT 1` and its like: one row with one value the console knows."""

    column: str
    value: str | int | None
    """None: what the login says."""


Command = (
    Show
    | SetAdminState
    | Promote
    | Accept
    | ExplainRoute
    | SetConfig
    | Reconnect
    | Reload
    | Shutdown
    | Chatter
    | Constant
)

#: First words that are answered and do nothing, with their command tags.
CHATTER: Final = {
    "ABORT": "ROLLBACK",
    "BEGIN": "BEGIN",
    "CLOSE": "CLOSE CURSOR",
    "COMMIT": "COMMIT",
    "DEALLOCATE": "DEALLOCATE",
    "DISCARD": "DISCARD ALL",
    "END": "COMMIT",
    "LISTEN": "LISTEN",
    "ROLLBACK": "ROLLBACK",
    "START": "BEGIN",
    "UNLISTEN": "UNLISTEN",
}
ADMIN_STATES: Final = {
    "ATTACH": AdminState.ATTACHED,
    "DETACH": AdminState.DETACHED,
    "DRAIN": AdminState.DRAINING,
}
#: What drivers and tools set when they connect, or for a transaction.
SET_BY_DRIVERS: Final = frozenset(
    {
        "application_name",
        "bytea_output",
        "characteristics",  # SET SESSION CHARACTERISTICS AS TRANSACTION ...
        "client_encoding",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "intervalstyle",
        "jit",
        "lc_messages",
        "lc_monetary",
        "lc_numeric",
        "lc_time",
        "lock_timeout",
        "names",
        "row_security",
        "search_path",
        "standard_conforming_strings",
        "statement_timeout",
        "synchronize_seqscans",
        "time",  # SET TIME ZONE ...
        "timezone",
        "transaction",  # SET TRANSACTION ISOLATION LEVEL ...
        "transaction_isolation",
        "transaction_read_only",
        "transaction_timeout",
        "xmloption",
    }
)
#: What drivers select; None is what the login says.
CONSTANTS: Final[dict[str, str | int | None]] = {
    "version": "PostgreSQL 16.0 (rwsplit console)",
    "current_schema": "public",
    "pg_is_in_recovery": "f",
    "pg_advisory_unlock_all": "",
    "current_database": None,
    "current_user": None,
    "session_user": None,
    "user": None,
}


def parse_commands(text: str, values: Sequence[str | None] | None = None) -> list[Command]:
    """Return the commands of *text*, with *values* for its `$1`...; without, they stand for themselves.

    Raises:
        ClientError: one of them is not a command; none is returned then.
    """
    tokens = tokenize(text)
    count = count_parameters(tokens)
    filled = fill(tokens, [f"${n + 1}" for n in range(count)] if values is None else values)
    return [_parse(command, text) for command in split(filled)]


def count_parameters(tokens: Sequence[Token]) -> int:
    """Return the highest number of a `$1` in *tokens*."""
    return max((int(token.text) for token in tokens if token.kind is Kind.PARAMETER), default=0)


def _parse(tokens: Sequence[Token], text: str) -> Command:
    verb = tokens[0].text.upper() if tokens[0].kind is Kind.WORD else ""
    if verb in CHATTER:
        return Chatter(CHATTER[verb])
    parse = _PARSERS.get(verb)
    if parse is None:
        near = get_close_matches(verb, _PARSERS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UnknownCommand(f"unknown command: {_shown(tokens, text)}{meant}")
    return parse(tokens, text)


def _show(tokens: Sequence[Token], text: str) -> Command:
    words = [token.text.lower() for token in tokens[1:]]
    if not words:
        return Show("help")
    if words in (["transaction", "isolation", "level"], ["transaction_isolation"]):
        return Constant("transaction_isolation", "read committed")
    if len(words) > 1:
        raise UnknownCommand(f"unknown command: {_shown(tokens, text)}")
    return Show(words[0])


def _help(tokens: Sequence[Token], text: str) -> Command:
    _alone(tokens, text)
    return Show("help")


def _admin_state(tokens: Sequence[Token], text: str) -> Command:
    verb = tokens[0].text.upper()
    return SetAdminState(_node(tokens, text), ADMIN_STATES[verb], verb)


def _promote(tokens: Sequence[Token], text: str) -> Command:
    last = tokens[-1]
    force = len(tokens) > 2 and last.kind is Kind.WORD and last.text.upper() == "FORCE"
    if force and [t.text.upper() for t in tokens[1:]] == ["NODE", "FORCE"]:
        force = False  # a node of that name
    return Promote(_node(tokens[:-1] if force else tokens, text), force)


def _accept(tokens: Sequence[Token], text: str) -> Command:
    return Accept(_node(tokens, text))


def _node(tokens: Sequence[Token], text: str) -> str:
    """Return the name in `VERB [NODE] name`."""
    rest = tokens[1:]
    if len(rest) == 2 and rest[0].text.upper() == "NODE":
        rest = rest[1:]
    if len(rest) != 1 or rest[0].kind is Kind.SYMBOL:
        verb = tokens[0].text.upper()
        raise UnknownCommand(f"{verb} NODE takes the name of one node: {_shown(tokens, text)}")
    return rest[0].text


def _explain(tokens: Sequence[Token], text: str) -> Command:
    words = [token.text.upper() for token in tokens[:4]]
    if words[1:2] != ["ROUTE"]:
        raise UnknownCommand(f"unknown command: {_shown(tokens, text)}")
    in_transaction = words[2:4] == ["IN", "TRANSACTION"]
    rest = tokens[4 if in_transaction else 2 :]
    if not rest:
        raise UnknownCommand("EXPLAIN ROUTE needs a statement")
    if len(rest) == 1 and rest[0].kind is Kind.STRING:
        return ExplainRoute(rest[0].text, in_transaction)
    return ExplainRoute(text[rest[0].start : rest[-1].end], in_transaction)


def _set(tokens: Sequence[Token], text: str) -> Command:
    """Parse SET of one of our settings; what drivers set is chatter, and any other name an error."""
    words = [token.text.lower() for token in tokens[1:]]
    if not words:
        raise UnknownCommand("SET takes a setting and a value")
    if _is_ours(words[0]):
        return _set_config(tokens, text)
    if words[0] in ("session", "local"):
        words = words[1:]
        if words and _is_ours(words[0]):
            shown = _shown(tokens, text)
            raise UnknownCommand(f"settings of rwsplit are set for all, by SET alone: {shown}")
    gives_back = words in (["authorization", "default"], ["role", "none"])
    if not words or words[0] in SET_BY_DRIVERS or gives_back:
        return Chatter("SET")
    raise UnknownSetting(words[0])


def _reset(tokens: Sequence[Token], text: str) -> Command:
    """Parse RESET of what drivers set, or of all that; a setting of ours is set to a value."""
    words = [token.text.lower() for token in tokens[1:]]
    if words and _is_ours(words[0]):
        shown = _shown(tokens, text)
        raise UnknownCommand(f"a setting has no value to go back to; SET it to one: {shown}")
    if words and words[0] not in {"all", "session", "role", *SET_BY_DRIVERS}:
        raise UnknownSetting(words[0])
    return Chatter("RESET")


def _is_ours(word: str) -> bool:
    return word.partition(".")[0] in {field.name for field in fields(Config)}


def _set_config(tokens: Sequence[Token], text: str) -> Command:
    if len(tokens) < 4 or tokens[2].text.upper() not in {"=", "TO"}:
        raise UnknownCommand(f"SET takes a setting and a value: {_shown(tokens, text)}")
    rest = tokens[3:]
    if len(rest) == 1:
        return SetConfig(tokens[1].text, rest[0].text)
    return SetConfig(tokens[1].text, text[rest[0].start : rest[-1].end])


def _reconnect(tokens: Sequence[Token], text: str) -> Command:
    if len(tokens) > 2 or tokens[-1].kind is Kind.SYMBOL:
        raise UnknownCommand(
            f"RECONNECT takes the name of one database: {_shown(tokens, text)}"
        )
    return Reconnect(tokens[1].text if len(tokens) == 2 else None)


def _reload(tokens: Sequence[Token], text: str) -> Command:
    _alone(tokens, text)
    return Reload()


def _shutdown(tokens: Sequence[Token], text: str) -> Command:
    if len(tokens) == 2 and tokens[1].text.upper() == "WAIT_FOR_SERVERS":
        return Shutdown(wait=True)
    _alone(tokens, text)
    return Shutdown(wait=False)


def _select(tokens: Sequence[Token], text: str) -> Command:
    words = [token.text for token in tokens[1:]]
    name = words[0].lower().removeprefix("pg_catalog.") if words else ""
    if len(words) == 1 and tokens[1].kind is Kind.STRING:
        return Constant("?column?", words[0])
    if len(words) == 1 and re.fullmatch("[0-9]{1,18}", name):
        return Constant("?column?", int(name))
    if name in CONSTANTS and words[1:] in ([], ["(", ")"]):
        return Constant(name, CONSTANTS[name])
    raise UnknownCommand(f"the console answers no queries: {_shown(tokens, text)}")


def _alone(tokens: Sequence[Token], text: str) -> None:
    if len(tokens) > 1:
        raise UnknownCommand(f"unknown command: {_shown(tokens, text)}")


def _shown(tokens: Sequence[Token], text: str) -> str:
    command = " ".join(text[tokens[0].start : tokens[-1].end].split())
    return command if len(command) <= 60 else command[:57] + "..."


_PARSERS: Final[dict[str, Callable[[Sequence[Token], str], Command]]] = {
    "ACCEPT": _accept,
    "ATTACH": _admin_state,
    "DETACH": _admin_state,
    "DRAIN": _admin_state,
    "EXPLAIN": _explain,
    "HELP": _help,
    "PROMOTE": _promote,
    "RECONNECT": _reconnect,
    "RELOAD": _reload,
    "SELECT": _select,
    "RESET": _reset,
    "SET": _set,
    "SHOW": _show,
    "SHUTDOWN": _shutdown,
}
