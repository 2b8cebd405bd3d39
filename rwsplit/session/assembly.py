"""Assembly: frames of the extended protocol become a unit.

Each message is looked at only for the names it carries: names of prepared statements are replaced by
rwsplit's own (`prepared`), everything else stays a slice of what the client sent. The common unit (Bind,
Describe, Execute, Sync of one statement) costs one replacement and no object per message.
"""

from __future__ import annotations

from typing import Final

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, find_zero, frame
from rwsplit.protocol.looks import Overheard
from rwsplit.protocol.responses import FORWARD, SWALLOW, Step
from rwsplit.session import inband
from rwsplit.session.draft import (
    NO_PORTALS,
    NOTHING_PARSED,
    NOTHING_SAID,
    Draft,
    ends_at_once,
)
from rwsplit.session.names import Unsettled
from rwsplit.session.piece import extended
from rwsplit.session.pinning import renames
from rwsplit.session.prepared import (
    OWN_NAME,
    PARSED,
    TOO_MANY,
    TOO_MANY_PORTALS,
    Part,
    Prepared,
)
from rwsplit.session.renaming import Renaming
from rwsplit.session.stand_ins import NAMING, OPAQUE, ORPHAN
from rwsplit.session.substitution import (
    NONE,
    answered_anew,
    as_meant,
    identify,
    names_another,
    told_apart,
    up_to_date,
)
from rwsplit.sql.script import Script

#: What is closed in place of a client's statement, which other clients may still use. To close a
#: statement that does not exist is not an error (PostgreSQL manual, "Extended Query").
_CLOSE_NOTHING: Final = frame(codes.CLOSE, b"S" + NONE + b"\0")
_CLOSE_UNNAMED: Final = frame(codes.CLOSE, b"S\0")

#: Bytes of an Execute and of a Describe that name no portal.
_EXECUTE_UNNAMED: Final = HEADER_SIZE + 1 + 4
_DESCRIBE_UNNAMED: Final = HEADER_SIZE + 1 + 1


class Apart(Exception):
    """A message uses a statement that a server can be taught only when it has run what came before."""


class Assembly(Draft):
    """A unit of the extended protocol in the making."""

    __slots__ = ()

    def message(self, code: int, data: bytes, start: int, end: int) -> Part | None:
        """Take note of the message in `data[start:end]`.

        Return what replaces it, None to leave it as it is.

        Raises:
            ProtocolViolation: it has no zero byte where one must be.
            Unsettled: it must be shown again later.
            Apart: it must be shown again when what came before has been sent on.
        """
        if code == codes.BIND:
            part: Part | None = self._bind(data, start, end)
        elif code == codes.EXECUTE:
            if end - start > _EXECUTE_UNNAMED:
                bound = self._named_portal(data, start, end)
            else:
                bound = self._bound
                self._unexecuted = False
            if bound is None:
                self.follows = True
            elif bound.script is not None and (bound.script.notable or bound.in_band):
                self._run(bound, bound.script)
            self._plan.append(FORWARD)
            self.executes = True
            if data[end - 4 : end] != b"\0\0\0\0" and not ends_at_once(bound):
                self.row_limit = True
            part = None
        elif code == codes.DESCRIBE:
            part = self._describe(data, start, end)
        elif code == codes.PARSE:
            part = self._parse(data, start, end)
        else:
            part = self._close(data, start, end)
        self.said += 1
        return part

    def _run(self, bound: Prepared, script: Script) -> None:
        """Take note of what a notable statement does because it is executed, not only parsed."""
        if bound.in_band is not None:
            self._session.knowledge.effort.words += inband.WORK
            inband.substitute(self._session, bound.in_band)
            return
        meaning = bound.meaning
        if meaning is not None and meaning.drops:
            assert meaning.used is not None
            self._planned = True
            self._renames().drop(self.said, meaning.name)
            self._piece.drop(meaning.used)
        if script.controls_transaction:
            self._ends_failed = self._session.has_failed
        self._session.names.await_settled(script)
        self._session.note_definitions(script)
        if renames(script):
            self._planned = True
            self._renames().note(script, self.said)
        self._effects = extended(self._effects, (script,))

    def _renames(self) -> Renaming:
        if self.renaming is None:
            self.renaming = Renaming(self._session.names)
            if self._unnamed_parse is not None:  # by its first message, which may fail
                self.renaming.name(0, b"", self._session.names[b""])
        return self.renaming

    # One method a message...

    def _bind(self, data: bytes, start: int, end: int) -> bytes | None:
        portal_end = find_zero(data, start + HEADER_SIZE, end)
        name_end = find_zero(data, portal_end + 1, end)
        name = data[portal_end + 1 : name_end]
        portal = data[start + HEADER_SIZE : portal_end]
        if portal and len(self._portals) >= self._session.names.most:
            return self._refuse(TOO_MANY_PORTALS)
        called = self._use(name)
        self._plan.append(FORWARD)
        bound = self._used
        if portal:
            if self._portals is NO_PORTALS:
                self._portals = {}
            self._portals[portal] = bound
        else:
            self._bound = bound
            self._unexecuted = True
        if called is None:
            return self._without_unnamed(data, start, end)
        if called == name:
            return None
        payload = data[start + HEADER_SIZE : portal_end + 1] + called + data[name_end:end]
        return frame(codes.BIND, payload)

    def _describe(self, data: bytes, start: int, end: int) -> bytes | None:
        if data[start + HEADER_SIZE : start + HEADER_SIZE + 1] != b"S":
            self._plan.append(FORWARD)
            named = end - start > _DESCRIBE_UNNAMED
            bound = self._named_portal(data, start + 1, end) if named else self._bound
            self.follows = self.follows or bound is None
            if self._described is NOTHING_SAID:
                self._described = {bound}
            else:
                self._described.add(bound)
            return None
        name = data[start + HEADER_SIZE + 1 : find_zero(data, start + HEADER_SIZE + 1, end)]
        called = self._use(name)
        self._plan.append(FORWARD)
        if called is None:
            return self._without_unnamed(data, start, end)
        if called == name:
            if not name:
                self._plan[-1] = self._tell_unnamed()
            return None
        return frame(codes.DESCRIBE, b"S" + called + b"\0")

    def _tell_unnamed(self) -> Step:
        """Take note of what the client is told of its unnamed statement."""
        old = self._used
        if old is None or old.meaning is not None or old.in_band is not None:
            return FORWARD
        new = told_apart(self._session, old, self.renaming)
        if old is self._unnamed_parse:
            self._unnamed_parse = new
        else:
            self._piece.unnamed = new
        self._planned = True
        return Overheard(new.note)

    def _named_portal(self, data: bytes, start: int, end: int) -> Prepared | None:
        """Return what the portal runs whose name is all an Execute says in front of its limit."""
        at = start + HEADER_SIZE
        return self._portals.get(data[at:end].partition(b"\0")[0])

    def _without_unnamed(self, data: bytes, start: int, end: int) -> bytes:
        """Have PostgreSQL answer a message for an unnamed statement the session does not have."""
        self._plan[-1:] = (SWALLOW, FORWARD)
        self._planned = True
        return _CLOSE_UNNAMED + data[start:end]

    def _close(self, data: bytes, start: int, end: int) -> bytes | None:
        session = self._session
        if data[start + HEADER_SIZE : start + HEADER_SIZE + 1] != b"S":
            self._plan.append(FORWARD)
            return None
        name = data[start + HEADER_SIZE + 1 : find_zero(data, start + HEADER_SIZE + 1, end)]
        if name in session.names.unsettled:
            raise Unsettled
        self._plan.append(FORWARD)
        known = name in session.names
        if known or name in session.names.in_sql:
            self._planned = self._planned or self.said > 0  # the first message is never skipped
            self._renames().drop(self.said, name)
        # An unknown one may have been made by PREPARE, on the server the session is pinned to.
        if not known and name and not name.startswith(OWN_NAME):
            return None
        return _CLOSE_NOTHING

    def _parse(self, data: bytes, start: int, end: int) -> Part | None:
        session = self._session
        name_end = find_zero(data, start + HEADER_SIZE, end)
        name = data[start + HEADER_SIZE : name_end]
        tail = data[name_end + 1 : end]
        if 0 not in tail:
            raise ProtocolViolation("a Parse message has no zero byte behind its query")
        if name in session.names.unsettled and name:
            raise Unsettled
        if name and self._may_not_name(name):
            return self._refuse(TOO_MANY)
        prepared = identify(session, tail)
        sent = prepared
        if names_another(prepared.script):
            self._scripts.append(NAMING)
            sent = self._meaning(name, prepared)
        else:
            self._note_script(prepared)
        if not name:
            self._name_unnamed(prepared, sent)
            self._plan.append(FORWARD)
            return None if sent.tail == tail else sent.parse(b"")
        if name in session.names.in_sql:
            self._plan.append(FORWARD)
            return None  # the session's own server judges the name
        if name in session.names:
            # PostgreSQL raises 42P05 with the client's name if there is a statement of that name:
            # so there is one, for as long as it takes.
            self._plan += (SWALLOW, SWALLOW, FORWARD)
            self._planned = True
            if name.startswith(OWN_NAME):
                name = NONE  # a server may have that one, of another session
            piece = self._piece
            piece.litter = piece.litter or name  # what follows the first is skipped
            closed = frame(codes.CLOSE, b"S" + name + b"\0")
            again = frame(codes.PARSE, name + b"\0" + tail)
            return closed + frame(codes.PARSE, name + b"\0\0\0\0") + again
        self._renames().name(self.said, name, prepared)
        self._piece.teach(name, sent)
        if self._parsed is NOTHING_PARSED:
            self._parsed = set()
        self._parsed.add(sent)
        self._plan.append(PARSED)
        self._planned = True
        return sent

    def _may_not_name(self, name: bytes) -> bool:
        """Return whether the session has as many named statements as it may, or this unit alone has many more."""
        names = self._session.names
        if names.are_too_many and name not in names:
            return True
        return self.renaming is not None and self.renaming.named > 4 * names.most

    def _refuse(self, by: bytes) -> bytes:
        """Make PostgreSQL refuse a message, and skip the rest of the unit, by the unknown name *by* (`Unit.reword`)."""
        self._scripts.append(ORPHAN)
        self._plan.append(FORWARD)
        self._planned = True
        return frame(codes.DESCRIBE, b"S" + by + b"\0")

    def await_name(self, code: int, data: bytes, start: int) -> None:
        """Raise Unsettled if the long message that begins at *start* must wait for its name."""
        at = start + HEADER_SIZE
        if code == codes.BIND:
            at = find_zero(data, at, len(data)) + 1
        elif code != codes.PARSE:
            return
        name = data[at : find_zero(data, at, len(data))]
        if not name and (code == codes.PARSE or self._unnamed_parse is not None):
            return
        if self._session.is_unsettled(name):
            raise Unsettled

    def long_message(self, code: int, data: bytes, start: int, end: int) -> None:
        """Take the beginning `data[start:]` of a message too long to be held; the rest is streamed.

        A Parse of such length stays unidentified: its unit keeps its server, which knows the name.
        """
        if code != codes.BIND:
            self._plan.append(FORWARD)
        part = data[start:]
        if code == codes.BIND:
            replaced = self._bind(data, start, len(data))
            if replaced is not None and replaced.startswith(_CLOSE_UNNAMED):
                part = replaced
            elif replaced is not None:
                missing = end - len(data)
                length = len(replaced) - 1 + missing
                part = HEADER.pack(codes.BIND, length) + replaced[HEADER_SIZE:]
        elif code == codes.PARSE:
            name = data[start + HEADER_SIZE : find_zero(data, start + HEADER_SIZE, len(data))]
            if name:
                self._renames().drop(self.said, name)
            else:
                self._name_unnamed(self._session.scope.prepared.private(b"\0", OPAQUE))
            self._scripts.append(OPAQUE)
        else:
            self._scripts.append(OPAQUE)
        if code == codes.EXECUTE:
            self.executes = True
        self.said += 1
        self.add_part(part)

    def _name_unnamed(self, prepared: Prepared, sent: Prepared | None = None) -> None:
        """What comes first is not skipped: if it comes alone `Unit.settle_names` needs no entry to know what became of it."""
        session = self._session
        if self.said or session.in_flight or session.pending:
            self._planned = self._planned or self.said > 0
            self._renames().name(self.said, b"", prepared)
        else:
            session.names[b""] = prepared
        self._unnamed_parse = sent or prepared

    def _meaning(self, name: bytes, prepared: Prepared) -> Prepared:
        """Return what is to be run instead of *prepared*, which the client calls *name* and which may name another one."""
        meant = as_meant(self._session, name, prepared)
        found = meant.meaning
        if found is not None and found.used is not None:
            self._called.append((found.name, found.used))
            if not self._teaches(found.used):
                self._needs[found.used] = None
            self._piece.shift = found.shift
        return meant

    def _parses(self, prepared: Prepared) -> bool:
        return prepared is self._unnamed_parse or self._teaches(prepared)

    def _teaches(self, prepared: Prepared) -> bool:
        return prepared in self._parsed

    def _use(self, name: bytes) -> bytes | None:  # noqa: C901 - one line a case
        """Note that the unit uses the statement the client calls *name*; return its name on servers.

        Return None for an unnamed statement it does not have.
        """
        session = self._session
        prepared = session.names.get(name)
        if session.is_unsettled(name) and (name or self._unnamed_parse is None):
            raise Unsettled
        if self._ends_failed and prepared is not None and not self._parses(prepared):
            raise Apart
        self._used = prepared
        if prepared is None:
            return self._use_nothing(name)
        if prepared.version is not session.scope.prepared.version:
            prepared = up_to_date(session, name, prepared)
        script = prepared.script
        if script is not None and script.special:
            prepared = self._meaning(name, prepared)
        self._used = prepared
        if not name and prepared is self._unnamed_parse:
            if (
                script is not None and script.special
            ):  # what it does was not known when it was parsed
                self._scripts.append(prepared.script)
            return name
        in_band = prepared.in_band is not None and session.tx != codes.FAILED
        if in_band and not self._teaches(prepared):
            session.knowledge.effort.words += inband.WORK
            prepared = self._used = answered_anew(session, name, prepared)
        self._note_script(prepared)
        if not name and prepared.meaning is None:
            self._piece.unnamed = prepared
            self._called.append((name, prepared))
            return name
        self._called.append((name, prepared))
        if not self._teaches(prepared):
            self._needs[prepared] = None
        return prepared.name

    def _use_nothing(self, name: bytes) -> bytes | None:
        self._scripts.append(ORPHAN)
        if not name:
            return None
        # PostgreSQL's error is wanted, not what a stranger may have left under that name.
        return NONE if name.startswith(OWN_NAME) else name
