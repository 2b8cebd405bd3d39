"""Inquiry: what a server that was just opened says of its parameters' defaults."""

from __future__ import annotations

from typing import Final

import trio

from rwsplit.errors import LoginUnfinished, ProtocolViolation
from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from rwsplit.relay.readback import row_values
from rwsplit.server.dialer import Dialed
from rwsplit.server.stream import WireStream
from rwsplit.session.defaults import QUERY, Defaults, read

#: Seconds a node that accepted a login may take to answer one question.
ANSWER_TIMEOUT: Final = 5.0
#: Bytes the answer may have; PostgreSQL's has some 4 000.
LARGEST: Final = 1024 * 1024


async def ask_defaults(dialed: Dialed) -> tuple[Defaults | None, bytes]:
    """Return the defaults of *dialed*, None if it refuses to say them, and what it has said beyond them.

    Raises:
        LoginUnfinished: it does not say; it is closed then.
    """
    stream = WireStream(dialed.wire, dialed.unread)
    row: list[bytes | None] = []
    try:
        with trio.fail_after(ANSWER_TIMEOUT):
            await stream.send_all(_ASK)
            code = 0
            while code != codes.READY:
                code, payload = await stream.read_frame(LARGEST)
                if code == codes.DATA_ROW:
                    row = row_values(payload)
        return (read(*row[:2]) if len(row) > 1 else None), stream.take_unread()
    except (OSError, EOFError, ProtocolViolation, trio.TooSlowError) as error:
        stream.close()
        raise LoginUnfinished(f"{dialed.wire.peer}: no answer after login") from error
    except BaseException:
        stream.close()
        raise


_ASK: Final = frame(codes.QUERY, QUERY.encode() + b"\0")
