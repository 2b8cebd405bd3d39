"""SQL: what statements do to the server that runs them, as far as it matters here: transactions, parameters, state, what is read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tests.support import frames
from tests.support.conversation.world import plainly, without_comments, writes

#: Parameters servers have without anybody setting them.
DEFAULTS: Final[Mapping[str, str]] = {
    "role": "none",
    "session_authorization": "app",
    "timezone": "GMT",
    "client_encoding": "UTF8",
    "datestyle": "ISO, MDY",
    "work_mem": "4MB",
    "search_path": '"$user", public',
}
_SET: Final = re.compile(r"set (?:session )?(\S+?)\s*(?:=|\bto\b)\s*'?(.*?)'?$", re.IGNORECASE)
_SET_ROLE: Final = re.compile(r"set (role|session authorization) (\S+)$", re.IGNORECASE)
_SET_CONFIG: Final = re.compile(r"set_config\(E?'((?:[^']|'')*)', E?'((?:[^']|'')*)', false\)")
_CURRENT: Final = re.compile(r"current_setting\(E'((?:[^']|'')*)', true\)")
_LOOKED_UP: Final = re.compile(r"lower\(name\) OPERATOR\(pg_catalog\.=\) E'((?:[^']|'')*)'")
#: By what an audit looks at: the state that shows there.
_AUDITED: Final = {
    "pg_listening_channels": "listen",
    "pg_my_temp_schema": "temporary table",
    "'advisory'": "advisory lock",
    "pg_cursors": "cursor",
    "pg_prepared_statements": "prepared statement",
}
#: What leaves state, and what takes it away.
_LEAVES: Final = {
    r"listen ": "listen",
    r"create temp": "temporary table",
    r"select pg_advisory_lock": "advisory lock",
    r"declare .* with hold": "cursor",
    r"prepare (?!transaction)": "prepared statement",
    r"select setseed": "seed",
}
_TAKES: Final = {
    r"unlisten ": "listen",
    r"drop table ": "temporary table",
    r"select pg_advisory_unlock": "advisory lock",
    r"close ": "cursor",
    r"deallocate ": "prepared statement",
}
_ROWS: Final = frozenset(
    {"select", "show", "fetch", "execute", "values", "explain", "with", "table"}
)


class Values:
    """The run-time parameters of one server, and the state sessions have left there."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        self.state: set[str] = set()

    def copy(self) -> Values:
        """Return one that does not change with this."""
        made = Values()
        made.parameters, made.state = dict(self.parameters), set(self.state)
        return made

    def run(self, text: str) -> None:
        """Do what *text*, a statement, does."""
        plain = plainly(text)
        if plain.startswith("discard all"):
            self.parameters.clear()
            self.state.clear()
        elif plain == "reset all":
            kept = {"role", "session_authorization"}
            self.parameters = {k: v for k, v in self.parameters.items() if k in kept}
        elif plain.startswith("reset "):
            self.parameters.pop(plain.removeprefix("reset ").strip('"'), None)
        elif plain.startswith("set ") and not plain.startswith("set local"):
            self._set(without_comments(text))
        for name, value in _SET_CONFIG.findall(text):
            self._put(name.lower(), value)
        for pattern, state in _LEAVES.items():
            if re.match(pattern, plain):
                self.state.add(state)
        for pattern, state in _TAKES.items():
            if re.match(pattern, plain):
                self.state.discard(state)

    def _set(self, text: str) -> None:
        found = _SET_ROLE.match(text) or _SET.match(text)
        if found and found[1].lower() != "transaction":
            self._put(found[1].lower().replace(" ", "_"), found[2])

    def _put(self, name: str, value: str) -> None:
        if value.lower() in ("default", "none"):
            self.parameters.pop(name, None)
        else:
            self.parameters[name] = value

    def shown(self, name: str) -> str | None:
        """Return the value of a parameter, None if there is no such one."""
        return self.parameters.get(name, DEFAULTS.get(name))

    @property
    def own(self) -> dict[str, str]:
        """The parameters that differ from what servers have anyway."""
        return without_defaults(self.parameters)

    def default(self, name: str) -> str | None:
        """Return the value a parameter has unless it is set."""
        return DEFAULTS.get(name)

    # What rwsplit asks...

    def answer(self, question: str) -> list[str | None]:
        """Return the row that *question*, rwsplit's, is answered by."""
        return [self._column(column) for column in _columns(question)]

    def _column(self, column: str) -> str | None:
        if column.startswith("EXISTS"):
            there = any(
                word in column and state in self.state for word, state in _AUDITED.items()
            )
            return "t" if there else "f"
        if "string_agg" in column:
            pairs = self.parameters.items()
            return ",".join(f"{name}={value.encode().hex()}" for name, value in pairs) or None
        if looked_up := _LOOKED_UP.search(column):
            value = self.parameters.get(looked_up[1])
            return None if value is None else "=" + value.encode().hex()
        if current := _CURRENT.search(column):
            value = self.shown(current[1])
            return None if value is None else value.encode().hex()
        return "UTF8"


def without_defaults(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return those of *parameters* that differ from what servers have anyway."""
    return {name: value for name, value in parameters.items() if DEFAULTS.get(name) != value}


def _columns(question: str) -> list[str]:
    """Return the columns of `/* rwsplit */ SELECT ...`."""
    text = question.partition("SELECT ")[2]
    found, depth, begun, quoted = [], 0, 0, False
    for at, char in enumerate(text):
        quoted ^= char == "'"
        if not quoted:
            depth += (char == "(") - (char == ")")
            if char == "," and not depth:
                found.append(text[begun:at].strip())
                begun = at + 1
    return [*found, text[begun:].strip()]


# What statements answer...


def returns_rows(text: str) -> bool:
    """Return whether *text* has columns."""
    plain = plainly(text)
    return (plain.split() or [""])[0] in _ROWS or " returning " in plain


def returns_nothing(text: str) -> bool:
    """Return whether *text* has columns and no row."""
    return plainly(text).startswith("select where")


def tag_of(text: str) -> str:
    """Return the tag of *text*, which has been run."""
    words = plainly(text).split() or [""]
    if words[0] == "insert":
        return "INSERT 0 1"
    if words[0] in ("update", "delete", "copy", "merge"):
        return f"{words[0].upper()} 1"
    if returns_rows(text):
        return "SELECT 1"
    known = {"start": "BEGIN", "end": "COMMIT", "abort": "ROLLBACK", "discard": "DISCARD ALL"}
    two = {"create", "drop", "alter", "prepare" if words[1:2] == ["transaction"] else ""}
    if words[0] in two:
        return (
            " ".join(words[: 2 if words[1:2] != ["temp"] else 3]).upper().replace("TEMP ", "")
        )
    return known.get(words[0], words[0].upper())


def refusal(text: str, *, is_replica: bool, is_read_only: bool, has_failed: bool) -> bytes:
    """Return the error that *text* is answered by where it cannot be run, else nothing."""
    plain = plainly(text)
    if has_failed and not plain.startswith(("rollback", "commit", "abort", "end")):
        return frames.error("25P02", "current transaction is aborted")
    if (is_replica and "read write" in plain) or (
        (is_replica or is_read_only) and writes(text)
    ):
        return frames.error("25006", "cannot execute in a read-only transaction")
    return b""
