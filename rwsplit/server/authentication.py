"""Authentication to a node: rwsplit in the client's role.

The node says what it wants; the user's credentials decide whether that can be given (see the table in
`credentials`). What cannot be given is refused here in the shape of the ErrorResponse the client will see,
naming the node, what it asked for and what is in the userlist.

Over TLS the channel is bound (SCRAM-SHA-256-PLUS) where the node offers it. A node that never proves that it
knows the user's verifier, but says AuthenticationOk in the middle of SCRAM, is an impostor. `demands` has the methods a node
must not ask for.
"""

from __future__ import annotations

import secrets
import ssl
from struct import Struct
from typing import Final

from scramp import ScramException  # type: ignore[import-untyped]
from scramp.core import CBindData  # type: ignore[import-untyped]

from rwsplit.errors import DemandNotMet, ProtocolViolation, ServerRefused
from rwsplit.protocol import backend, frontend
from rwsplit.protocol.fields import printable
from rwsplit.protocol.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClient, ScramVerifier
from rwsplit.server.credentials import Credentials, Md5, Plain, hash_md5
from rwsplit.server.demands import Demands

_uint32 = Struct("!I").unpack_from

INVALID_PASSWORD: Final = "28P01"  # noqa: S105 - an SQLSTATE
#: Bytes of randomness in a SCRAM nonce, as in PostgreSQL.
NONCE_SIZE: Final = 18

#: The names in libpq's `require_auth` of what a node may ask for.
METHODS: Final = {
    backend.AUTHENTICATION_CLEARTEXT: "password",
    backend.AUTHENTICATION_MD5: "md5",
    backend.AUTHENTICATION_SASL: "scram-sha-256",
    7: "gss",
    9: "sspi",
}
#: Methods that are not built: no user has asked for them.
UNSUPPORTED: Final = {2: "Kerberos V5", 6: "SCM credentials", 7: "GSSAPI", 9: "SSPI"}


def end_point_binding(certificate: bytes) -> bytes | None:
    """Return the `tls-server-end-point` data (RFC 5929) of a DER *certificate*.

    None for a certificate whose signature has no single hash function (Ed25519): no binding is defined.
    """
    try:
        data: bytes = CBindData.from_der(certificate).data
    except ScramException:
        return None
    return data


def make_nonce() -> str:
    """Return a fresh SCRAM nonce."""
    return secrets.token_urlsafe(NONCE_SIZE)


class Authentication:
    """The dialogue with one node about one user."""

    def __init__(
        self,
        node: str,
        user: str,
        credentials: Credentials | None,
        tls: ssl.SSLObject | None,
        *,
        demands: Demands | None = None,
        is_local: bool = False,
    ) -> None:
        """*is_local* says that the connection is a Unix socket."""
        self._node = node
        self._demands = demands or Demands()
        self._is_private = is_local or tls is not None
        self._asked = False
        self._user = user
        self._credentials = credentials
        self._tls = tls
        self._scram: ScramClient | None = None
        self._verified = False
        self.finished = False
        """The node has said AuthenticationOk."""

    async def answer(self, payload: bytes) -> bytes | None:
        """Take the *payload* of an Authentication message; return the frame to send, if any.

        Raises:
            ServerRefused: the userlist lacks the kind of secret that the node's method needs.
            DemandNotMet: the configuration does not allow the node's method.
            ProtocolViolation: the node breaks the exchange.
        """
        if len(payload) < 4:
            raise ProtocolViolation("an authentication request is too short")
        code, data = _uint32(payload)[0], payload[4:]
        self._check_demands(code)
        match code:
            case backend.AUTHENTICATION_OK:
                if self._scram is not None and not self._verified:
                    raise ProtocolViolation("it ended SCRAM without proving itself")
                self.finished = True
                return None
            case backend.AUTHENTICATION_CLEARTEXT:
                return self._cleartext()
            case backend.AUTHENTICATION_MD5:
                return self._md5(data)
            case backend.AUTHENTICATION_SASL:
                return self._begin_scram(data)
            case backend.AUTHENTICATION_SASL_CONTINUE:
                return await self._prove(data)
            case backend.AUTHENTICATION_SASL_FINAL:
                self._exchange().verify(data)
                self._verified = True
                return None
            case _:
                name = UNSUPPORTED.get(code, f"authentication method {code}")
                raise self._refusal(f"asks for {name}, which rwsplit does not support")

    def _check_demands(self, code: int) -> None:
        """Refuse what a node must not ask for. Raises ServerRefused."""
        method = METHODS.get(code)
        if code == backend.AUTHENTICATION_OK and not self._asked:
            method = "none"
        self._asked = True
        if method is not None:
            objection = self._demands.objection(method, is_private=self._is_private)
            if objection is not None:
                raise self._refusal(objection, DemandNotMet)

    def _cleartext(self) -> bytes:
        secret = self._known().secret
        if isinstance(secret, Plain):
            return frontend.password_message(secret.password)
        raise self._refusal(
            "asks for the password itself, of which the userlist has only a hash"
        )

    def _md5(self, salt: bytes) -> bytes:
        credentials = self._known()
        if isinstance(credentials.secret, ScramVerifier):
            raise self._refusal("asks for md5, and the userlist has only a SCRAM verifier")
        stored = credentials.secret.md5_hash(credentials.user_bytes)
        return frontend.password_message(b"md5" + hash_md5(stored, salt[:4]))

    def _begin_scram(self, data: bytes) -> bytes:
        credentials = self._known()
        if isinstance(credentials.secret, Md5):
            raise self._refusal("asks for SCRAM, and the userlist has only an md5 hash")
        if isinstance(credentials.secret, ScramVerifier) and credentials.client_key is None:
            raise self._refusal(
                "asks for SCRAM, and the userlist has only a verifier:"
                " a client must have logged in as that user by SCRAM before"
            )
        offered = [name.decode("ascii", "replace") for name in data.split(b"\0") if name]
        certificate = self._tls.getpeercert(binary_form=True) if self._tls else None
        binding = end_point_binding(certificate) if certificate else None
        if binding is not None and SCRAM_SHA_256_PLUS in offered:
            mechanism = SCRAM_SHA_256_PLUS
            self._scram = ScramClient(make_nonce(), binding=binding)
        elif SCRAM_SHA_256 in offered:
            mechanism = SCRAM_SHA_256
            self._scram = ScramClient(make_nonce(), could_bind=binding is not None)
        else:
            names = printable(", ".join(offered)) or "nothing"
            raise self._refusal(f"offers only {names} for SASL, which rwsplit does not support")
        return frontend.sasl_initial_response(mechanism, self._scram.first())

    async def _prove(self, data: bytes) -> bytes:
        scram = self._exchange()
        salt, iterations = scram.challenged(data)
        keys = await self._known().keys_for(salt, iterations)
        if keys is None:
            raise self._refusal("has another SCRAM verifier for the user than the userlist")
        return frontend.sasl_response(scram.final(keys))

    def _exchange(self) -> ScramClient:
        if self._scram is None:
            raise ProtocolViolation("it goes on with SCRAM before it began")
        return self._scram

    def _known(self) -> Credentials:
        if self._credentials is None:
            raise self._refusal("asks for a password, and the userlist has none for the user")
        return self._credentials

    def _refusal(self, reason: str, kind: type[ServerRefused] = ServerRefused) -> ServerRefused:
        message = (
            f'cannot log in to {self._node} as user "{printable(self._user)}": it {reason}'
        )
        response = backend.error_response("FATAL", INVALID_PASSWORD, message)
        return kind(message, response=response, server_sqlstate=INVALID_PASSWORD)
