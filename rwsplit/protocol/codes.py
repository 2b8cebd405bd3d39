"""Message codes: the one-byte types of frames, as ints (PostgreSQL manual, "Message Formats").

*Frontend* messages are sent by a client, *backend* messages by a server; some letters mean one thing in
one direction and another in the other.
"""

from __future__ import annotations

from typing import Final

# Frontend: what a client sends.
QUERY: Final = ord("Q")
PARSE: Final = ord("P")
BIND: Final = ord("B")
DESCRIBE: Final = ord("D")
EXECUTE: Final = ord("E")
CLOSE: Final = ord("C")
SYNC: Final = ord("S")
FLUSH: Final = ord("H")
FUNCTION_CALL: Final = ord("F")
TERMINATE: Final = ord("X")
PASSWORD: Final = ord("p")

# Both directions.
COPY_DATA: Final = ord("d")
COPY_DONE: Final = ord("c")
COPY_FAIL: Final = ord("f")

# Backend: what a server sends.
AUTHENTICATION: Final = ord("R")
BACKEND_KEY_DATA: Final = ord("K")
BIND_COMPLETE: Final = ord("2")
CLOSE_COMPLETE: Final = ord("3")
COMMAND_COMPLETE: Final = ord("C")
COPY_BOTH: Final = ord("W")
COPY_IN: Final = ord("G")
COPY_OUT: Final = ord("H")
DATA_ROW: Final = ord("D")
EMPTY_QUERY: Final = ord("I")
ERROR: Final = ord("E")
FUNCTION_RESULT: Final = ord("V")
NEGOTIATE_PROTOCOL: Final = ord("v")
NO_DATA: Final = ord("n")
NOTICE: Final = ord("N")
NOTIFICATION: Final = ord("A")
PARAMETER_DESCRIPTION: Final = ord("t")
PARAMETER_STATUS: Final = ord("S")
PARSE_COMPLETE: Final = ord("1")
PORTAL_SUSPENDED: Final = ord("s")
READY: Final = ord("Z")
ROW_DESCRIPTION: Final = ord("T")

# Transaction status, the payload of ReadyForQuery.
IDLE: Final = ord("I")
IN_TRANSACTION: Final = ord("T")
FAILED: Final = ord("E")

#: Answers that need not be looked at where every answer of a unit is forwarded.
PASSED_ON: Final = frozenset(
    {
        DATA_ROW,
        ROW_DESCRIPTION,
        COMMAND_COMPLETE,
        BIND_COMPLETE,
        PARSE_COMPLETE,
        CLOSE_COMPLETE,
        NO_DATA,
        PARAMETER_DESCRIPTION,
        EMPTY_QUERY,
        PORTAL_SUSPENDED,
        COPY_DATA,
        COPY_DONE,
        COPY_OUT,
        FUNCTION_RESULT,
    }
)

#: The last answer to one message of the extended protocol.
COMPLETES: Final = frozenset(
    {
        PARSE_COMPLETE,
        BIND_COMPLETE,
        CLOSE_COMPLETE,
        NO_DATA,
        ROW_DESCRIPTION,
        COMMAND_COMPLETE,
        EMPTY_QUERY,
        PORTAL_SUSPENDED,
    }
)

#: What an established client may send.
FRONTEND: Final = frozenset(
    {
        QUERY,
        PARSE,
        BIND,
        DESCRIBE,
        EXECUTE,
        CLOSE,
        SYNC,
        FLUSH,
        FUNCTION_CALL,
        TERMINATE,
        COPY_DATA,
        COPY_DONE,
        COPY_FAIL,
    }
)
