"""Refusals: what an ErrorResponse says, and one that rwsplit gives as PostgreSQL does."""

from __future__ import annotations

from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.backend import error_response
from rwsplit.protocol.framing import HEADER_SIZE, frame as framed

#: SQLSTATEs with which a server ends a connection although the session could go on elsewhere.
LOSING: Final = frozenset({b"57P01", b"57P02", b"57P03"})


def sqlstate(frame: bytes) -> bytes:
    """Return the five-character SQLSTATE of an ErrorResponse *frame*, `XX000` if it has none."""
    at = HEADER_SIZE
    while at < len(frame) and frame[at]:
        end = frame.find(b"\0", at)
        if end < 0:
            break
        if frame[at] == ord("C"):
            return frame[at + 1 : end]
        at = end + 1
    return b"XX000"


def is_fatal(frame: bytes) -> bool:
    """Return whether the server closes the connection behind the ErrorResponse *frame*."""
    return b"\0VFATAL\0" in frame or b"\0VPANIC\0" in frame


def may_heal(frame: bytes) -> bool:
    """Return whether a statement that failed with *frame* may do better on another server.

    Not so if no parser anywhere would understand it: 42601 has other meanings, so the routine tells (scan.l,
    pl_scanner.c). Nor if its transaction had failed before, which it has everywhere.
    """
    state = sqlstate(frame)
    if is_fatal(frame):
        return state in LOSING
    if state == b"25P02":
        return False
    return b"\0Rscanner_yyerror\0" not in frame and b"\0Rplpgsql_yyerror\0" not in frame


def is_for_recovery_only(frame: bytes) -> bool:
    """Return whether *frame* says that a primary would have done what a standby does not (xact.c, utility.c)."""
    return b"\0RPreventCommandDuringRecovery\0" in frame


def ran_nothing(frame: bytes) -> bool:
    """Return whether *frame* says that a statement calls a function there is none of: it has not begun.

    In a function that was running the same error has a context.
    """
    return b"\0RParseFuncOrColumn\0" in frame and b"\0W" not in frame


def is_stale_plan(frame: bytes) -> bool:
    """Return whether *frame* says that DDL has changed what a prepared statement returns.

    Its SQLSTATE, 0A000, has other meanings, so the routine that raises it tells (plancache.c).
    """
    return b"\0RRevalidateCachedQuery\0" in frame


def move_position(frame: bytes, behind: int, longer: int) -> bytes:
    """Return the ErrorResponse *frame* about a text that is *longer* than the client's *behind* so many characters.

    A position within what differs becomes that of its beginning.
    """
    at = frame.find(b"\0P")
    end = frame.find(b"\0", at + 2)
    if at < HEADER_SIZE or not frame[at + 2 : end].isdigit():
        return frame
    position = int(frame[at + 2 : end])
    if position <= behind + 1:
        return frame
    moved = max(position - longer, behind + 1)
    return framed(frame[0], frame[HEADER_SIZE : at + 2] + b"%d" % moved + frame[end:])


def bare(frame: bytes) -> bytes:
    """Return the ErrorResponse *frame* without what tells where it was raised: its context, its line, BARE_MARK."""
    fields = frame[HEADER_SIZE:].split(b"\0")
    return framed(
        frame[0], b"".join(field + b"\0" for field in fields if field[:1] in _SAID) + b"\0"
    )


def too_many(limit: int, *, portals: bool = False) -> bytes:
    """Return the ErrorResponse to a session that has named as many statements, or *portals*, as it may."""
    if portals:
        return error_response(
            "ERROR",
            "53400",
            f"a session may not have more than {limit} named portals at once",
            hint="Send a Sync in between, or raise limits.max_statements_per_client.",
        )
    return error_response(
        "ERROR",
        "53400",
        f"a session may not have more than {limit} prepared statements, nor {limit * 4} kB of their text",
        hint="Close those it does not need any more (DEALLOCATE), or raise limits.max_statements_per_client.",
    )


#: The schema named by errors that rwsplit has a server raise in a client's name; see `bare`.
BARE_MARK: Final = "rwsplit refuses"
#: Severity, SQLSTATE, message, detail and hint.
_SAID: Final = frozenset((b"S", b"V", b"C", b"M", b"D", b"H"))

#: PostgreSQL's answer to who uses a prepared statement whose result is another than it was told (plancache.c).
STALE_PLAN: Final = framed(
    codes.ERROR,
    b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0"
    b"Fplancache.c\0RRevalidateCachedQuery\0\0",
)
