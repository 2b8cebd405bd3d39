"""Assembly: frames of the extended protocol become a unit.

Each message is looked at only for the names it carries: names of prepared statements are replaced by
rwsplit's own (`prepared`), everything else stays a slice of what the client sent. The common unit (Bind,
Describe, Execute, Sync of one statement) costs one replacement and no object per message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.errors import ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import HEADER, HEADER_SIZE, find_zero, frame
from rwsplit.protocol.looks import Overheard
from rwsplit.protocol.responses import FORWARD, SWALLOW, UNTOLD, Step
from rwsplit.session import inband
from rwsplit.session.pinning import renames
from rwsplit.session.prepared import OWN_NAME, PARSED, Part, Prepared
from rwsplit.session.renaming import Apart, Renaming, Unsettled
from rwsplit.session.stand_ins import NAMING, OPAQUE, ORPHAN, merge, merged
from rwsplit.session.substitution import (
    NONE,
    answered_anew,
    as_meant,
    identify,
    names_another,
    told_apart,
    up_to_date,
)
from rwsplit.session.unit import Piece
from rwsplit.sql.statement import Script

if TYPE_CHECKING:
    from rwsplit.session.session import Session

#: What is closed in place of a client's statement, which other clients may still use. To close a
#: statement that does not exist is not an error (PostgreSQL manual, "Extended Query").
_CLOSE_NOTHING: Final = frame(codes.CLOSE, b"S" + NONE + b"\0")
_CLOSE_UNNAMED: Final = frame(codes.CLOSE, b"S\0")

#: Bytes of an Execute and of a Describe that name no portal.
_EXECUTE_UNNAMED: Final = HEADER_SIZE + 1 + 4
_DESCRIBE_UNNAMED: Final = HEADER_SIZE + 1 + 1
_NO_PORTALS: Final[dict[bytes, Prepared | None]] = {}


class Assembly:
    """A unit of the extended protocol in the making."""

    __slots__ = (
        "_bound",
        "_called",
        "_described",
        "_drops",
        "_effects",
        "_ends_failed",
        "_litter",
        "_needs",
        "_parts",
        "_plan",
        "_planned",
        "_portals",
        "_scripts",
        "_session",
        "_shift",
        "_taught",
        "_unexecuted",
        "_unnamed",
        "_unnamed_parse",
        "_used",
        "executes",
        "follows",
        "renaming",
        "row_limit",
        "said",
        "size",
        "waiting_for",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self.renaming: Renaming | None = None
        """What it does to names; None while that is nothing."""
        self.said = 0
        """Messages of the unit so far."""
        self._described: tuple[Prepared | None, ...] = ()
        self.follows = False
        """It uses a portal that an earlier unit has made."""
        self.executes = False
        self.row_limit = False
        self.size = 0
        self._unnamed_parse: Prepared | None = None
        self._bound: Prepared | None = None
        """What its unnamed portal runs."""
        self._portals: dict[bytes, Prepared | None] = _NO_PORTALS
        """What its named portals run."""
        self._unexecuted = False
        """Its unnamed portal has not been executed yet."""
        self._ends_failed = False
        """It ends, or rolls back in, a transaction that has failed: a server parses nothing else before."""
        self._called: list[tuple[bytes, Prepared]] = []
        self._used: Prepared | None = None
        """What its last Bind or Describe is for."""
        self._begin()

    def _begin(self) -> None:
        self._parts: list[Part] = []
        self._plan: list[Step] = []
        self._planned = False
        self._drops: list[Prepared] = []
        self._shift = (0, 0)
        self._effects: list[Script] = []
        self._litter: bytes | None = None
        self._needs: list[Prepared] = []
        self._taught: list[tuple[bytes, Prepared]] = []
        self._unnamed: Prepared | None = None
        self._scripts: list[Script | None] = []
        self.waiting_for: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def describes(self) -> bool:
        """It asks what the portals of all statements it uses return."""
        said, called = self._described, self._called
        if len(called) == 1:
            return called[0][1] in said
        return bool(said) and all(used in said for _, used in called)

    @property
    def keeps_portal(self) -> bool:
        """A portal of it may be executed later in the transaction: by a row limit, or a name, or not at all so far."""
        is_named = not all(map(_ends_at_once, self._portals.values()))
        return self.row_limit or self._unexecuted or is_named

    @property
    def only_asks(self) -> bool:
        """It parses, describes and closes statements and does nothing else."""
        binds = self._unexecuted or self._portals is not _NO_PORTALS
        return not (binds or self.executes or self.follows)

    def leave_untold(self) -> None:
        """Have its end, a Sync that the client has not said, kept from the client."""
        self._plan.append(UNTOLD)
        self._planned = True

    def continues(self, before: Assembly) -> None:
        """Be the rest of the unit whose messages so far *before* has taken."""
        self.renaming, self.said = before.renaming, before.said
        self.row_limit, self._unexecuted = before.row_limit, before._unexecuted
        self._bound, self._portals = before._bound, before._portals

    def add_raw(self, data: bytes) -> None:
        """Append frames that need no change."""
        self._parts.append(data)
        self.size += len(data)

    def take(self, *, keep_plan: bool) -> Piece:
        """Return what has been assembled since the last call as one piece.

        *keep_plan*: the unit is or stays open, so every answer is counted.
        """
        script = merged(self._scripts)
        piece = Piece(self._parts, script)
        if script is not None and script.copies_in:
            self._planned = True  # it may go on behind its Sync (`Dispatcher`)
        if self._planned or keep_plan or self._effects:
            piece.plan = self._plan
        piece.needs = self._needs
        piece.drops = self._drops
        piece.shift = self._shift
        piece.litter = self._litter
        piece.taught = self._taught
        piece.called = self._called
        piece.unnamed = self._unnamed
        piece.unnamed_parse = self._unnamed_parse
        if self._effects:
            piece.effects = merge(self._effects)
        self._begin()
        return piece

    def add_part(self, part: Part) -> None:
        """Append what replaces a message."""
        self._parts.append(part)
        self.size += len(part) if isinstance(part, bytes) else len(part.tail)

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
            if data[end - 4 : end] != b"\0\0\0\0" and not _ends_at_once(bound):
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
            inband.substitute(self._session, bound.in_band)
            return
        meaning = bound.meaning
        if meaning is not None and meaning.drops:
            assert meaning.used is not None
            self._planned = True
            self._renames().drop(self.said, meaning.name)
            self._drops.append(meaning.used)
        if script.controls_transaction:
            self._ends_failed = self._session.has_failed
        self._session.await_names(script)
        self._session.note_definitions(script)
        if renames(script):
            self._planned = True
            self._session.note_names(script, self._renames(), self.said)
        self._effects.append(script)

    def _renames(self) -> Renaming:
        if self.renaming is None:
            self.renaming = Renaming(self._session)
            if self._unnamed_parse is not None:  # by its first message, which may fail
                self.renaming.name(0, b"", self._session.names[b""])
        return self.renaming

    # One method a message...

    def _bind(self, data: bytes, start: int, end: int) -> bytes | None:
        portal_end = find_zero(data, start + HEADER_SIZE, end)
        name_end = find_zero(data, portal_end + 1, end)
        name = data[portal_end + 1 : name_end]
        called = self._use(name)
        self._plan.append(FORWARD)
        bound = self._used
        portal = data[start + HEADER_SIZE : portal_end]
        if portal:
            self._portals = {**self._portals, portal: bound}
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
            self._described += (bound,)
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
            self._unnamed = new
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
        if name in session.unsettled:
            raise Unsettled
        self._plan.append(FORWARD)
        known = name in session.names
        if known or name in session.sql_names:
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
        if name in session.unsettled and name:
            raise Unsettled
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
        if name in session.sql_names:
            self._plan.append(FORWARD)
            return None  # the session's own server judges the name
        if name in session.names:
            # PostgreSQL raises 42P05 with the client's name if there is a statement of that name:
            # so there is one, for as long as it takes.
            self._plan += (SWALLOW, SWALLOW, FORWARD)
            self._planned = True
            if name.startswith(OWN_NAME):
                name = NONE  # a server may have that one, of another session
            self._litter = self._litter or name  # what follows the first is skipped
            closed = frame(codes.CLOSE, b"S" + name + b"\0")
            again = frame(codes.PARSE, name + b"\0" + tail)
            return closed + frame(codes.PARSE, name + b"\0\0\0\0") + again
        self._renames().name(self.said, name, prepared)
        self._taught.append((name, sent))
        self._plan.append(PARSED)
        self._planned = True
        return sent

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
            if not self._teaches(found.used) and found.used not in self._needs:
                self._needs.append(found.used)
            self._shift = found.shift
        return meant

    def _note_script(self, prepared: Prepared) -> None:
        if prepared.script is None:
            self.waiting_for.append(prepared.query)
        self._scripts.append(prepared.script)

    def _parses(self, prepared: Prepared) -> bool:
        return prepared is self._unnamed_parse or self._teaches(prepared)

    def _teaches(self, prepared: Prepared) -> bool:
        return any(taught[1] is prepared for taught in self._taught)

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
            prepared = self._used = answered_anew(session, name, prepared)
        self._note_script(prepared)
        if not name and prepared.meaning is None:
            self._unnamed = prepared
            self._called.append((name, prepared))
            return name
        self._called.append((name, prepared))
        if not self._teaches(prepared):
            self._needs.append(prepared)
        return prepared.name

    def _use_nothing(self, name: bytes) -> bytes | None:
        self._scripts.append(ORPHAN)
        if not name:
            return None
        # PostgreSQL's error is wanted, not what a stranger may have left under that name.
        return NONE if name.startswith(OWN_NAME) else name


def _ends_at_once(bound: Prepared | None) -> bool:
    """Return whether a portal of *bound* has nothing more to say once it was executed, whatever the limit."""
    return bound is not None and bound.script is not None and bound.script.controls_transaction
