"""Refused: what a node answered when a pool last asked it for a server, and it said no.

It is the pool's business alone: the node may serve others at the same moment. So it is kept with the pool, says
nothing about the node's health, and ends when a server is let in.
"""

from __future__ import annotations

from typing import Final

import attrs

from rwsplit.errors import ServerRefused
from rwsplit.protocol.fields import parse_error_fields, printable

#: SQLSTATE of a node, database or role that has all the connections it may have.
FULL: Final = "53300"


@attrs.frozen(kw_only=True)
class Refused:
    """A node's no."""

    sqlstate: str
    message: str
    """What the node said, one line."""
    response: bytes = attrs.field(repr=False)
    """Its ErrorResponse, byte for byte."""
    since: float
    """When a series of refusals for the same reason began (monotonic seconds)."""

    @classmethod
    def by(cls, error: ServerRefused, before: Refused | None, now: float) -> Refused:
        """Return what *error*, received at *now*, says; *before* is the refusal in force until then."""
        goes_on = before is not None and before.sqlstate == error.server_sqlstate
        return cls(
            sqlstate=error.server_sqlstate,
            message=printable(parse_error_fields(error.response[5:]).get("M", str(error))),
            response=error.response,
            since=before.since if goes_on and before is not None else now,
        )

    @property
    def is_full(self) -> bool:
        """There are too many connections already, so that one may be free later."""
        return self.sqlstate == FULL

    def __str__(self) -> str:
        return f"{self.message} ({self.sqlstate})" if self.sqlstate else self.message
