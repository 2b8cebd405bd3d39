"""Refusals: what a node says that does not let a server in."""

from __future__ import annotations

from rwsplit.errors import ServerRefused
from rwsplit.protocol import backend


def refusal(
    sqlstate: str = "3D000", message: str = 'database "shop" does not exist'
) -> ServerRefused:
    """Return what dialing raises when a node answers the startup by such an error."""
    response = backend.error_response("FATAL", sqlstate, message)
    return ServerRefused(f"pg0: {message}", response=response, server_sqlstate=sqlstate)
