"""Errors, sorted by whose fault they are; each knows its SQLSTATE.

They are translated into a wire ErrorResponse or a CLI sentence once, at the boundary. Outcomes that
are expected (no eligible replica, a full pool) are return values in the core, not exceptions.
"""

from __future__ import annotations

from typing import ClassVar


class RwsplitError(Exception):
    """Root of everything rwsplit raises on purpose."""

    sqlstate: ClassVar[str] = "XX000"


class ClientError(RwsplitError):
    """The application's fault; its session continues."""

    sqlstate = "42601"


class FeatureNotSupported(ClientError):
    """Something PostgreSQL can do and rwsplit refuses, with a clear error."""

    sqlstate = "0A000"


class ProtocolViolation(RwsplitError):
    """A peer broke the wire protocol; its connection ends."""

    sqlstate = "08P01"


class NotAStartup(ProtocolViolation):
    """What came instead of a startup packet cannot be one; PostgreSQL closes the connection without a word."""


class AuthenticationFailed(RwsplitError):
    """A client could not prove who it is; the text never says which part was wrong."""

    sqlstate = "28P01"


class NodeError(RwsplitError):
    """PostgreSQL's (or its host's) fault; the node's health hears of it, unless it is a login's own."""

    sqlstate = "08006"


class NodeUnreachable(NodeError):
    """No connection could be made: refused, timed out, unresolvable, TLS failed."""

    sqlstate = "08001"


class LoginUnfinished(NodeUnreachable):
    """A node took a connection and did not finish the login.

    That may be due to what the role or the startup parameters ask for (post_auth_delay, idle_session_timeout), so it says nothing about the
    node: its health does not hear of it. If the node is at fault, probes fail as well.
    """


class ServerRefused(NodeError):
    """The node answered the startup of a server with an ErrorResponse.

    *response* is the ErrorResponse frame, byte for byte, so that a client may be shown it.
    """

    def __init__(self, message: str, *, response: bytes, server_sqlstate: str) -> None:
        super().__init__(message)
        self.response = response
        self.server_sqlstate = server_sqlstate


class DemandNotMet(ServerRefused):
    """The node asked for a method the configuration does not allow (`auth.server_require_auth`); the response is rwsplit's own."""


class CapacityError(RwsplitError):
    """A limit of rwsplit's was reached; the client may try again later."""

    sqlstate = "53300"


class OutOfFiles(CapacityError):
    """This process has no file descriptor left for a connection; the node is not at fault."""

    sqlstate = "53000"


class NoEligibleNode(CapacityError):
    """No node may answer now; the message says which were considered and why each was refused."""

    sqlstate = "57P03"


class ConfigError(RwsplitError):
    """The operator's configuration cannot be used; *problems* are `path: sentence` lines."""

    sqlstate = "F0000"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
