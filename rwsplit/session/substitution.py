"""Substitution: what runs instead of a statement that names something of rwsplit's own.

Statements prepared through the protocol have names of rwsplit's on servers (`prepared`), so EXECUTE, DEALLOCATE and PREPARE
of the client's name must say that; and in-band settings (`SET rwsplit.route`) are no server's business at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rwsplit.protocol import codes
from rwsplit.session import inband
from rwsplit.session.pinning import drops_prepared
from rwsplit.session.prepared import OWN_NAME, Prepared
from rwsplit.session.renaming import Renaming, Unsettled
from rwsplit.session.stand_ins import ORPHAN
from rwsplit.sql.statement import Script, Verb

if TYPE_CHECKING:
    from rwsplit.session.session import Session

#: The name of a statement that no server has.
NONE: Final = b"rwsplit_none"

#: White space and comments; one within another is not looked through.
_SPACE: Final = rb"(?:\s|--[^\r\n]*[\r\n]|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)"
_NAMED: Final = re.compile(
    rb"(%b*(?:PREPARE|EXECUTE|DEALLOCATE(?:%b+PREPARE)?)%b+)" % (_SPACE, _SPACE, _SPACE)
    + rb'("(?:[^"]|"")+"|[^\s(;"/]+)',
    re.IGNORECASE,
)


def special(  # noqa: PLR0911 - one line a case
    session: Session,
    query: bytes,
    script: Script,
    renaming: Callable[[], Renaming],
    number: int = 0,
) -> tuple[bytes, Script, Prepared | None] | None:
    """Return what runs instead of a statement that names something of rwsplit's own.

    That is an in-band setting, or EXECUTE, DEALLOCATE or another PREPARE of a statement prepared through the protocol:
    the query, its facts, and the statement the server must know for it - a PREPARE fails because it does. A DEALLOCATE
    is the unit's message *number*.

    Raises:
        Unsettled: it is not known yet what its name means.
    """
    statement = script.single
    if statement is None or session.tx == codes.FAILED or drops_prepared(statement):
        return None
    if statement.setting is not None and statement.setting.startswith(inband.PREFIX):
        sql, facts = inband.substitute(session, statement)
        return sql.encode(), facts, None
    name = (statement.name or "").encode()
    if name in session.unsettled:
        raise Unsettled
    prepared = session.names.get(name)
    if prepared is not None:
        prepared = up_to_date(session, name, prepared)
    matched = _NAMED.match(query)
    if matched is None:
        return None
    if prepared is None:
        is_own = matched[2].strip(b'"').lower().startswith(OWN_NAME)
        if statement.verb is Verb.PREPARE or not is_own:
            return None  # one made by PREPARE, on the server the session is pinned to
        return matched[1] + NONE + query[matched.end() :], script, None
    if statement.verb is Verb.DEALLOCATE:
        renaming().drop(number, name)
        # The server keeps it for others: an equal one of its own dies in its place.
        text = b'DEALLOCATE "%s"' % prepared.name
        return text, script, prepared
    facts = script if statement.verb is Verb.PREPARE else prepared.script or ORPHAN
    return matched[1] + prepared.name + query[matched.end() :], facts, prepared


def up_to_date(session: Session, name: bytes, prepared: Prepared) -> Prepared:
    """Return *prepared*, which the client calls *name*, with the facts of now, remembered as such."""
    scope = session.scope
    new = session.names[name] = scope.prepared.renewed(prepared, scope.place)
    return new
