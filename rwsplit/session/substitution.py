"""Substitution: what runs instead of a statement that names something of rwsplit's own.

Statements prepared through the protocol have names of rwsplit's on servers (`prepared`), so EXECUTE, DEALLOCATE and PREPARE
of the client's name must say that; and in-band settings (`SET rwsplit.route`) are no server's business at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from rwsplit.protocol import codes
from rwsplit.session import inband
from rwsplit.session.names import Unsettled
from rwsplit.session.pinning import drops_prepared
from rwsplit.session.prepared import TOO_MANY, Meaning, Prepared
from rwsplit.session.renaming import Renaming
from rwsplit.session.stand_ins import OPAQUE, ORPHAN, merge
from rwsplit.session.state import SessionState
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Statement, Verb

#: The name of a statement that no server has.
NONE: Final = b"rwsplit_none"

#: White space and comments; one within another is not looked through.
_SPACE: Final = rb"(?:\s++|--[^\r\n]*+[\r\n]|/\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/)"
#: Bytes of white space, comments and the name itself, beyond which the name is not looked for.
MOST_AHEAD: Final = 2 << 10
_NAMING: Final = frozenset({Verb.PREPARE, Verb.EXECUTE, Verb.DEALLOCATE})
_NAMED: Final = re.compile(
    rb"(%b*+(?:PREPARE|EXECUTE|DEALLOCATE(?:%b++PREPARE)?)%b++)" % (_SPACE, _SPACE, _SPACE)
    + rb'("(?:[^"]|"")++"|[^\s(;"/]++)',
    re.IGNORECASE,
)


def names_another(script: Script | None) -> bool:
    """Return whether *script* is EXECUTE, DEALLOCATE or PREPARE: what it names is known when it runs."""
    statement = None if script is None else script.single
    return statement is not None and statement.verb in _NAMING


def special(
    session: SessionState,
    query: bytes,
    script: Script,
    renaming: Callable[[], Renaming],
    number: int = 0,
) -> Meaning | None:
    """Return what runs instead of a statement that is executed now and names something of rwsplit's own.

    That is an in-band setting, which is applied, or what `meaning` says. A DEALLOCATE is the unit's message *number*.

    Raises:
        Unsettled: it is not known yet what its name means.
    """
    if script.names_own:
        return Meaning(b"EXECUTE " + NONE, ORPHAN)  # no session has made one of that name
    statement = script.single
    if statement is None or session.tx == codes.FAILED:
        return None
    if statement.setting is not None and statement.setting.startswith(inband.PREFIX):
        sql, facts = inband.substitute(session, statement)
        return Meaning(sql.encode(), facts)
    found = meaning(session, query, script)
    if found is not None and found.drops:
        renaming().drop(number, found.name)
    return found


def meaning(session: SessionState, query: bytes, script: Script) -> Meaning | None:
    """Return what EXECUTE, DEALLOCATE or another PREPARE of a statement prepared through the protocol means now.

    The statement it names must be known to the server; a PREPARE fails because it is. None: the text means what it says.

    Raises:
        Unsettled: it is not known yet what its name means.
    """
    statement = script.single
    if statement is None or session.tx == codes.FAILED or drops_prepared(statement):
        return None
    name = (statement.name or "").encode()
    if name in session.names.unsettled:
        raise Unsettled
    prepared = session.names.get(name)
    if prepared is not None:
        prepared = up_to_date(session, name, prepared)
    elif (
        statement.verb is Verb.PREPARE
        and session.names.are_too_many
        and name not in session.names.in_sql
    ):
        return Meaning(b"EXECUTE " + TOO_MANY, ORPHAN)
    if prepared is None:
        return None  # one made by PREPARE, on the server the session is pinned to
    matched = _NAMED.match(query, 0, MOST_AHEAD)
    if matched is None or matched.end() == MOST_AHEAD:
        return None
    shift = len(matched[1].decode(errors="replace")), len(prepared.name) - len(matched[2])
    if statement.verb is Verb.DEALLOCATE:
        # The server keeps it for others: one of its own dies in its place. That is empty, as the statement may be
        # one that cannot be parsed any more, or returns something else by now, which is no matter here.
        victim = session.scope.prepared.get(b"/*%s*/\0\0\0" % prepared.name)
        text = b'DEALLOCATE "%s"' % victim.name
        return Meaning(text, script, victim, name, drops=True)
    facts = script if statement.verb is Verb.PREPARE else _executed(statement, prepared)
    text = matched[1] + prepared.name + query[matched.end() :]
    return Meaning(text, facts, prepared, name, shift=shift)


def _executed(statement: Statement, prepared: Prepared) -> Script:
    """Return the facts of the EXECUTE *statement* of *prepared*: of that, and of the arguments."""
    facts, arguments = prepared.script or ORPHAN, statement.inner
    if arguments is None or Script((arguments,)).plain_read:
        return facts
    return merge([Script((arguments,)), facts])


def as_meant(session: SessionState, name: bytes, prepared: Prepared) -> Prepared:
    """Return what *prepared*, which the client calls *name*, is now: another one where `meaning` says so.

    Raises:
        Unsettled: it is not known yet what the name in it means.
    """
    script = prepared.script
    if script is None or not names_another(script):
        return prepared
    found = meaning(session, prepared.query, script)
    if found is None:
        return prepared
    tail = found.query + prepared.tail[len(prepared.query) :]
    names = session.names
    meant = names.meant.get(name)
    if meant is None or meant.tail != tail:
        meant = session.scope.prepared.private(tail, found.facts)
        if len(names.meant) > len(names):  # some of their names mean nothing any more
            names.meant.clear()
        names.meant[name] = meant
    meant.script, meant.meaning = found.facts, found._replace(of=prepared)
    return meant


def up_to_date(session: SessionState, name: bytes, prepared: Prepared) -> Prepared:
    """Return *prepared*, which the client calls *name*, with the facts of now, remembered as such."""
    scope = session.scope
    if not name and prepared.key is None and prepared.version is not None:
        return scope.prepared.refresh(prepared)
    new = session.names[name] = scope.prepared.renewed(prepared, scope.place)
    return new


def told_apart(session: SessionState, old: Prepared, renaming: Renaming | None) -> Prepared:
    """Return what the unnamed statement *old*, which the client describes, is from now on: nobody else's.

    Others of the same text may be told something else. *renaming* is what the unit has done to names so far.
    """
    if old.key is None:  # it is the session's alone
        return old
    new = session.scope.prepared.apart(old)
    if renaming is not None:
        renaming.exchange(old, new)
    if session.names.get(b"") is old:
        session.names[b""] = new
    return new


def identify(session: SessionState, tail: bytes) -> Prepared:
    """Return the identity of a Parse message behind its name, *tail*; in-band statements get a text of ours."""
    registry = session.scope.prepared
    if session.opaque:
        return registry.private(tail, OPAQUE)
    prepared = registry.get(tail, session.scope.place)
    script = prepared.script
    if script is not None and script.names_own:
        return registry.private(b"EXECUTE " + NONE + tail[tail.index(0) :], ORPHAN)
    statement = None if script is None else script.single
    if script is None or not script.special or statement is None or names_another(script):
        return prepared
    if session.tx == codes.FAILED:
        return prepared
    query, facts = inband.substitute(session, statement, applies=False)
    answer = registry.private(query.encode() + tail[tail.index(0) :], facts)
    answer.in_band = statement
    return answer


def answered_anew(session: SessionState, name: bytes, old: Prepared) -> Prepared:
    """Return what the in-band statement *old*, which the client calls *name*, is now: its answer may be another one."""
    assert old.in_band is not None
    text, facts = inband.substitute(session, old.in_band, applies=False)
    query = text.encode()
    if query == old.query:
        return old
    new = session.scope.prepared.private(query + old.tail[old.tail.index(0) :], facts)
    new.in_band = old.in_band
    session.names[name] = new
    return new
