"""Demands: which authentication methods rwsplit accepts from a node.

An attacker may answer at a node's address. SCRAM gives it nothing; md5 a hash to guess from; a cleartext password everything,
and to anybody who listens, too. So rwsplit sends a password in the clear only over TLS or a Unix socket, unless
`auth.server_cleartext` allows more. `auth.server_require_auth` restricts the methods, as libpq's `require_auth`; `none` is a
node that asks for no proof.
"""

from __future__ import annotations

import attrs

from rwsplit.config.model import AuthConfig
from rwsplit.config.require_auth import ANY, METHODS, allowed_methods


@attrs.frozen(kw_only=True)
class Demands:
    """The methods a node may ask for."""

    methods: frozenset[str] = ANY
    required: str = ""
    """`auth.server_require_auth`, for messages."""
    cleartext: bool = False
    """Whether a password may be sent over a connection that is not encrypted."""

    @classmethod
    def from_config(cls, auth: AuthConfig) -> Demands:
        """Return the demands of the settings *auth*."""
        required = auth.server_require_auth
        return cls(
            methods=allowed_methods(required),
            required=required,
            cleartext=auth.server_cleartext,
        )

    def for_libpq(self, *, is_private: bool) -> str:
        """Return the demands as a value of libpq's `require_auth`, empty if every method is allowed."""
        methods = self.methods
        if not (is_private or self.cleartext):
            methods -= {"password"}
        return "" if methods == ANY else ",".join(name for name in METHODS if name in methods)

    def objection(self, method: str, *, is_private: bool) -> str | None:
        """Return why a node must not ask for *method*, in words that follow "it"; None: it may.

        *is_private* says that nobody else can read the connection.
        """
        if method not in self.methods:
            asks = "asks for no proof" if method == "none" else f"asks for {_WORDS[method]}"
            return f"{asks}, which auth.server_require_auth ({self.required}) does not allow"
        if method == "password" and not (is_private or self.cleartext):
            return (
                "asks for the password itself over a connection without TLS: turn on TLS there, have it use "
                "scram-sha-256, or set auth.server_cleartext"
            )
        return None


_WORDS = {
    "password": "the password itself",
    "md5": "md5",
    "scram-sha-256": "SCRAM",
    "gss": "GSSAPI",
    "sspi": "SSPI",
}
