"""Journal: which parameters a session has, by asking PostgreSQL instead of guessing.

What a SET amounts to - a value in another spelling, one that is refused, one that a ROLLBACK takes back - is
PostgreSQL's business. So statements that may change parameters only note which, and when the session is outside
a transaction again its server is asked for the values: a **read-back**, swallowed, before anything else of the
session runs. From the answer comes the session's `ParameterSet`, which is its server's, too.

Values travel as hexadecimal digits of the database's encoding: the client's may be any, and change with the
very statement.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from rwsplit.session.acceptance import ORDINARY, is_custom
from rwsplit.session.literals import literal
from rwsplit.session.parameters import IDENTITY, ParameterSet
from rwsplit.sql.script import Script
from rwsplit.sql.settings import readable
from rwsplit.sql.statement import Verb

#: Parameters one session may have set: each change of one is looked at together with all others, and each server it uses is told all.
MOST_SET: Final = 2000
#: Characters of all their names and values.
MOST_LENGTH: Final = 64 << 10

_CUT: Final = f'pg_catalog."left"(pg_catalog.current_setting({{}}, true), {MOST_LENGTH + 1})'
_HEX: Final = (
    f"pg_catalog.encode(pg_catalog.convert_to({_CUT}, pg_catalog.getdatabaseencoding()), 'hex')"
)
#: Whether some values are no longer than may be. A value on its own may be cut, many would still be too much.
_FITS: Final = (
    "pg_catalog.length(pg_catalog.array_to_string(ARRAY[{}], '')) "
    f"OPERATOR(pg_catalog.<=) {MOST_LENGTH}"
)
_IN_SESSION: Final = "source OPERATOR(pg_catalog.=) 'session'"
#: Everything that was set, of what pg_settings shows: not custom parameters, nor who one acts as.
_ANY: Final = f"""(
SELECT pg_catalog.string_agg(pg_catalog.concat(name, {{mark}}, {_HEX.format("name")}), ',')
FROM pg_catalog.pg_settings
WHERE {_IN_SESSION} AND context OPERATOR(pg_catalog.<>) 'internal'
)"""  # noqa: S608 - nothing in it comes from outside
#: The value of one parameter, if it was set and may be seen: what a SET that was refused leaves is not the session's.
_ONE: Final = f"""(
SELECT pg_catalog.concat({{mark}}, {_HEX.format("name")}) FROM pg_catalog.pg_settings
WHERE pg_catalog.lower(name) OPERATOR(pg_catalog.=) {{name}} AND {_IN_SESSION}
)"""  # noqa: S608 - literals only
#: In front of a value: whether the role that logs in may set it by itself, and so have it on any server.
_MARK: Final = "CASE WHEN context OPERATOR(pg_catalog.=) 'user' OR {} THEN '=' ELSE '!' END"
_BY_ITSELF: Final = b"="
_LOGIN: Final = (
    "(SELECT {} FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) {{user}})"
)
_MAY_SET: Final = f"pg_catalog.has_parameter_privilege({_LOGIN.format('oid')}, name, 'SET')"
_MAY_SET_OF_OLD: Final = _LOGIN.format("rolsuper")
#: The major version that brought has_parameter_privilege.
_PRIVILEGES_SINCE: Final = 15
_ENCODING: Final = "pg_catalog.getdatabaseencoding()"
_NOBODY: Final = "none"
#: What stands among the names a statement sets for all of them, or for any.
_NOT_NAMES: Final = frozenset({"all", "*"})


class Touch(Enum):
    """How a parameter may have changed."""

    SET = "it was set"
    RESET = "it was put back to the default, and nothing else"
    DISCARDED = "a DISCARD ALL has put it back, and no rollback takes that back; then it may have been set"


class Journal:
    """What a session asked for at startup, and which parameters it may have changed since they were read."""

    __slots__ = ("_mark", "_user", "base", "borrowed", "missing", "touched")

    def __init__(self, base: ParameterSet, user: str, version: str = "") -> None:
        """*version* is PostgreSQL's, as it reports it."""
        self.base = base
        """What the session asked for at startup: RESET leads back to it."""
        self.borrowed: set[str] = set()
        """Parameters it has, and could not set by itself: a function with its owner's privileges has."""
        self.touched: dict[str, Touch] = {}
        """Parameters that may have changed."""
        self.missing: list[str] = []
        """Parameters the session has as of the last reading, and its server has not: they were put back by what nobody saw."""
        self._user = user
        may_set = _MAY_SET_OF_OLD if _major(version) < _PRIVILEGES_SINCE else _MAY_SET
        self._mark = _MARK.format(may_set.format(user=literal(user)))

    def note(self, script: Script, known: ParameterSet) -> bool:
        """Note what *script* may change of the parameters *known*; return whether that is anything."""
        for statement in script.statements:
            if statement.discards:
                self._discard(known)
            elif "all" in statement.sets:
                self._reset(known)
            else:
                puts_back = statement.verb is Verb.RESET or statement.to_default
                for name in statement.sets:
                    self._touch(name, puts_back=puts_back)
        return bool(self.touched)

    def _touch(self, name: str, *, puts_back: bool) -> None:
        before = self.touched.get(name)
        if before is not Touch.DISCARDED:
            is_reset = puts_back and before in (None, Touch.RESET)
            self.touched[name] = Touch.RESET if is_reset else Touch.SET

    def has_too_many(self, script: Script, known: ParameterSet) -> bool:
        """Return whether *script* would have the session set more parameters than it may; *known* is what it has set."""
        if len(script.sets) + len(self.touched) + len(known.values) <= MOST_SET:
            return False
        names = {name for name, _ in known.values}
        added = script.sets - names - _NOT_NAMES
        return bool(added) and len(names.union(self.touched, added)) > MOST_SET

    def _reset(self, known: ParameterSet) -> None:
        for values in (known.values, self.base.values):
            for name, _ in values:
                if name not in IDENTITY:
                    self.touched.setdefault(name, Touch.RESET)

    def _discard(self, known: ParameterSet) -> None:
        for name in (*self.touched, *dict(known.values), *dict(self.base.values)):
            if name in IDENTITY:
                self.touched.setdefault(name, Touch.RESET)
            elif name != "*":
                self.touched[name] = Touch.DISCARDED

    def asked(self) -> Mapping[str, Touch]:
        """Return what is `touched` now: what a question asks for, and how its answer is to be read."""
        return dict(self.touched)

    def columns(self) -> tuple[str, ...]:
        """Return what to ask a server for, one column for each of `asked` behind the first: to be put into a SELECT."""
        if not self.touched:
            return ()
        return (_ENCODING, *(self._column(*each) for each in self.touched.items()))

    def fits(self) -> str:
        """Return the condition under which a server is to answer: the values asked for are no longer than MOST_LENGTH together.

        Those of which it is not sure that they may be asked for are left out: they are few.
        """
        values = [
            _CUT.format(literal(name))
            for name, touch in self.touched.items()
            if name != "*" and _is_always_there(name, touch)
        ]
        return _FITS.format(", ".join(values)) if values else ""

    def _column(self, name: str, touch: Touch) -> str:
        if name == "*":
            return _ANY.format(mark=self._mark)
        if _is_always_there(name, touch):
            return _HEX.format(literal(name))
        return _ONE.format(mark=self._mark, name=literal(name))

    def read(
        self, asked: Mapping[str, Touch], columns: Sequence[bytes | None], known: ParameterSet
    ) -> Mapping[str, str]:
        """Return the session's parameters now that *columns* answer what was *asked*; *known* were the old ones."""
        utf8 = columns[0] == b"UTF8"
        found = dict(known.values)
        self.missing = []
        for (name, touch), value in zip(asked.items(), columns[1:], strict=True):
            if name == "*":
                self._replace_visible(found, value or b"", utf8=utf8)
                continue
            text = None if value is None else self._value(name, touch, value, utf8=utf8)
            if text is None:
                self.borrowed.discard(name)
            if _is_reset(name, touch, text, known):
                given = self.base.get(name)
                if given not in (None, text):
                    self.missing.append(name)
                text = given
            elif (name, text) in (("role", _NOBODY), ("session_authorization", self._user)):
                text = self.base.get(name) and text
            if text is None:
                found.pop(name, None)
            else:
                found[name] = text
        self.touched.clear()
        return found

    def forget(self) -> None:
        """Nothing is to be read: the parameters are known."""
        self.touched.clear()
        self.borrowed.clear()

    def _value(self, name: str, touch: Touch, shown: bytes, *, utf8: bool) -> str:
        """Return the value that the column for *name* shows, with its mark if it has one."""
        if _is_always_there(name, touch):
            return _decoded(shown, utf8=utf8)
        self._borrow(name, shown[:1])
        return _decoded(shown[1:], utf8=utf8)

    def _borrow(self, name: str, mark: bytes) -> None:
        (self.borrowed.discard if mark == _BY_ITSELF else self.borrowed.add)(name)

    def _replace_visible(self, found: dict[str, str], pairs: bytes, *, utf8: bool) -> None:
        """Put what pg_settings shows in place of what *found* has of it."""
        for name in [name for name in found if not is_custom(name) and name not in IDENTITY]:
            del found[name]
        self.borrowed.clear()
        for pair in filter(None, pairs.split(b",")):
            label, mark, value = _PAIR.split(pair)
            shown = label.decode().lower()
            if readable({shown}):
                found[shown] = _decoded(value, utf8=utf8)
                self._borrow(shown, mark)


_PAIR: Final = re.compile(rb"([=!])")


def _is_always_there(name: str, touch: Touch) -> bool:
    """Return whether the value of *name* can be asked for without a look at where it comes from.

    A SET of it that is refused leaves a value that any server takes; pg_settings does not show custom parameters.
    """
    if touch is Touch.DISCARDED:
        return is_custom(name)
    return name in ORDINARY or name == "timezone" or name in IDENTITY or is_custom(name)


def _is_reset(name: str, touch: Touch, text: str | None, known: ParameterSet) -> bool:
    """Return whether *name*, of which a server shows *text*, is at the server's default by now; *known* were the old values."""
    match touch:
        case Touch.SET:
            return False
        case Touch.RESET:
            return text != known.get(name)
        case Touch.DISCARDED:  # a custom parameter is empty then
            return not text if is_custom(name) else text is None


def _major(version: str) -> int:
    digits = re.match(r"[0-9]*", version)
    return int((digits and digits.group()) or 0)


def _decoded(value: bytes, *, utf8: bool) -> str:
    """Return the text behind hexadecimal digits; what is not UTF-8 goes back the way it came (`literal`)."""
    return unhexlify(value).decode("utf-8" if utf8 else "ascii", "surrogateescape")


# What rwsplit itself must know...

#: The isolation level a hot standby refuses: a session that has it by default cannot read there.
SERIALIZABLE: Final = "serializable"

#: Client encodings in which a byte below 0x80 may be part of a character: they cannot be lexed as
#: bytes (PostgreSQL manual, table 24.3: "not allowed as server encoding").
UNSAFE_ENCODINGS: Final = frozenset(
    {"BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFTJIS", "SHIFTJIS2004", "UHC", "MSKANJI",
     "WIN932", "WIN936", "WIN949", "WIN950", "WINDOWS932", "WINDOWS936", "WINDOWS949", "WINDOWS950"}
)  # fmt: skip


def is_opaque(values: Mapping[str, str]) -> bool:
    """Return whether texts of a session with the parameters *values* cannot be lexed as bytes."""
    encoding = values.get("client_encoding", "").upper().replace("_", "").replace("-", "")
    conforming = values.get("standard_conforming_strings", "on").lower()
    return encoding in UNSAFE_ENCODINGS or any(
        word.startswith(conforming) for word in ("off", "false", "no", "0")
    )
