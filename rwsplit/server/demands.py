"""Demands: what rwsplit wants of a node before it proves anything to it.

Who answers at a node's address may be somebody else. SCRAM gives such a one nothing; md5 something to guess from, and a
password in the clear everything, as it does to whoever listens. So a password is told only over TLS or a Unix socket
unless `auth.server_cleartext` says otherwise, and `auth.server_require_auth` may leave no method but the strong one:
libpq's `require_auth`, `none` included, a node that lets anybody in.
"""

from __future__ import annotations

import attrs

from rwsplit.config.model import AuthConfig
from rwsplit.config.require_auth import ANY, METHODS, allowed_methods


@attrs.frozen(kw_only=True)
class Demands:
    """Which methods a node may ask for."""

    methods: frozenset[str] = ANY
    required: str = ""
    """`auth.server_require_auth`, for messages."""
    cleartext: bool = False
    """A password may be told over a connection that is not encrypted."""

    @classmethod
    def from_config(cls, auth: AuthConfig) -> Demands:
        """Return what *auth* demands."""
        required = auth.server_require_auth
        return cls(
            methods=allowed_methods(required),
            required=required,
            cleartext=auth.server_cleartext,
        )

    def for_libpq(self, *, is_private: bool) -> str:
        """Return the same as libpq's `require_auth`, empty if anything may be asked for."""
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
