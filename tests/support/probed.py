"""Nodes that answer probes as they are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rwsplit.protocol import backend
from rwsplit.server.stream import WireStream
from tests.support.scripted import KEY, OK, READY, Script, read_question

Values = Sequence[str | None]

#: What PostgreSQL says of itself when a probe connects: version, block size, segment size, identifier.
IDENTITY: Final = ("16.4", "8192", "16777216", "7")
#: What it says when looked at: in recovery, position, timeline, age of the last replayed commit.
PRIMARY: Final = ("f", "0/3000140", "1", None)
REPLICA: Final = ("t", "0/3000100", "1", "0.25")


def answer(values: Values) -> bytes:
    """Return the messages that answer a question with one row."""
    row = [None if value is None else value.encode() for value in values]
    return (
        backend.bind_complete()
        + backend.data_row(row)
        + backend.command_complete("SELECT 1")
        + READY
    )


def probed(
    *looks: Values | bytes,
    identity: Values | bytes = IDENTITY,
    heard: list[bytes] | None = None,
    stays: bool = True,
) -> Script:
    """Let any client log in and answer the questions of a probe, then keep silent until it has gone.

    An answer given as bytes is said as it is. What the probe sends goes into *heard*. A node that does
    not stay leaves after its last answer.
    """

    async def script(stream: WireStream) -> None:
        received = [] if heard is None else heard
        received.append(await stream.receive_some())
        await stream.send_all(OK + KEY + READY)
        for said in (identity, *looks):
            received.append(await read_question(stream))
            await stream.send_all(said if isinstance(said, bytes) else answer(said))
        while stays and (rest := await stream.receive_some()):
            received.append(rest)

    return script
