"""Healing: what an error means for a unit of which nothing but that error was answered: one table.

TABLE says for each kind of error, on a replica and on the primary, whether the unit runs again, where, and under which condition.
What is not in it is the client's to see; so is what `protocol.refusals.may_heal` does not hold back (of the fatal ones only those listed there). A write after all, or what a standby cannot do, runs on the primary. A conflict with
recovery and a node that is going away run on another replica. An object that is not there may not have been replayed yet: the
primary's word is final. So may, last, be the cause of nearly any other error - a value just added to an enum, a privilege just
granted, a function just corrected - as long as the replica is not known to be up to date. And what comes of rwsplit sharing
servers between sessions no client must see.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from rwsplit.protocol.refusals import LOSING, is_stale_plan, sqlstate
from rwsplit.routing.route import Route, RouteReason, Target

#: Times a unit is run again before its error is what the client gets.
MOST_RESTARTS: Final = 8

LOST: Final = Route(Target.REPLICA, RouteReason.RETRIED_LOST)
NOT_REPLAYED: Final = Route(Target.PRIMARY, RouteReason.RETRIED_NOT_REPLAYED)
_WRITES: Final = Route(Target.PRIMARY, RouteReason.RETRIED_READ_ONLY)
_CONFLICT: Final = Route(Target.REPLICA, RouteReason.RETRIED_CONFLICT)


class Ailment(Enum):
    """What kind of error it is."""

    READ_ONLY = "it writes (25006)"
    UNSUPPORTED = "not supported (0A000)"
    PREREQUISITE = "not in the state for it (55000)"
    INTERNAL = "internal error (XX000)"
    CONFLICT = "conflict with recovery (40001, 40P01)"
    UNDEFINED = "an object is not there (42P01, 42703, 42883, 3F000, 42704)"
    LEAVING = "the node goes away (57P01, 57P02, 57P03)"
    UNKNOWN_STATEMENT = "no such prepared statement (26000)"
    CANCELLED = "cancelled (57014)"
    STALE_PLAN = "another result than was described"
    OTHER = "any other"


class Condition(Enum):
    """What must hold for a unit to run again."""

    ALWAYS = "always"
    PRIMARY_IS_THERE = "if there is a primary"
    MAY_BE_LATE = "if the replica may not have replayed what it needs"
    SHARED_PARSE = "if it relied on the Parse of another session"
    STRAY_CANCEL = "if a cancel request meant for another session has struck it"
    TAUGHT_BEFORE = "if rwsplit had it parsed before the DDL"


class Cure(NamedTuple):
    """How a unit is healed."""

    condition: Condition
    route: Route | None = None
    """Where it runs next; None: where it was bound for."""
    remembers: bool = False
    """Its shape is known as writing from now on."""

    @property
    def blames(self) -> bool:
        """The node must not be given the unit again."""
        return self.route is not None


_EITHER: Final[Mapping[Ailment, Cure]] = {
    Ailment.LEAVING: Cure(Condition.ALWAYS, LOST),
    Ailment.UNKNOWN_STATEMENT: Cure(Condition.SHARED_PARSE),
    Ailment.CANCELLED: Cure(Condition.STRAY_CANCEL),
    Ailment.STALE_PLAN: Cure(Condition.TAUGHT_BEFORE),
}
_REPLICA: Final[Mapping[Ailment, Cure]] = {
    Ailment.READ_ONLY: Cure(Condition.ALWAYS, _WRITES, remembers=True),
    Ailment.UNSUPPORTED: Cure(Condition.ALWAYS, _WRITES, remembers=True),
    Ailment.PREREQUISITE: Cure(Condition.ALWAYS, _WRITES),
    Ailment.INTERNAL: Cure(Condition.ALWAYS, _WRITES),
    Ailment.CONFLICT: Cure(Condition.ALWAYS, _CONFLICT),
    Ailment.UNDEFINED: Cure(Condition.PRIMARY_IS_THERE, NOT_REPLAYED),
    Ailment.OTHER: Cure(Condition.MAY_BE_LATE, NOT_REPLAYED),
}
#: On a replica, and on the primary: what heals.
TABLE: Final[Mapping[bool, Mapping[Ailment, Cure]]] = {
    True: {**_EITHER, **_REPLICA},
    False: _EITHER,
}

_BY_STATE: Final[Mapping[bytes, Ailment]] = {
    b"25006": Ailment.READ_ONLY,
    b"0A000": Ailment.UNSUPPORTED,
    b"55000": Ailment.PREREQUISITE,
    b"XX000": Ailment.INTERNAL,
    b"26000": Ailment.UNKNOWN_STATEMENT,
    b"57014": Ailment.CANCELLED,
    **dict.fromkeys((b"40001", b"40P01"), Ailment.CONFLICT),
    **dict.fromkeys((b"42P01", b"42703", b"42883", b"3F000", b"42704"), Ailment.UNDEFINED),
    **dict.fromkeys(LOSING, Ailment.LEAVING),
}


def ailment_of(error: bytes) -> Ailment:
    """Return what kind of error the ErrorResponse *error* is."""
    if is_stale_plan(error):
        return Ailment.STALE_PLAN
    return _BY_STATE.get(sqlstate(error), Ailment.OTHER)


def may_run_again(restarts: int) -> bool:
    """Return whether a unit that was run again *restarts* times may be so once more."""
    return restarts < MOST_RESTARTS
