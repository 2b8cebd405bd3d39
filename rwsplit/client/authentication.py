"""Authentication of clients: rwsplit in the server's role.

`auth.type` names the method; a user whose secret is a SCRAM verifier is asked for SCRAM also where md5 is configured, as
PostgreSQL does. Every failed login gets the same message after the same work: for a user who does not exist the whole exchange
is held, too (`server.strangers`). Only the log names the cause.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from struct import Struct
from typing import Final

from rwsplit.config.choices import AuthType
from rwsplit.errors import AuthenticationFailed, ProtocolViolation
from rwsplit.protocol import backend, codes
from rwsplit.protocol.fields import printable
from rwsplit.protocol.scram import (
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
    ScramServer,
    ScramVerifier,
)
from rwsplit.server.authentication import make_nonce
from rwsplit.server.credentials import (
    Credentials,
    Keyring,
    Md5,
    derive_in_thread,
    hash_md5,
    prepare_password,
)
from rwsplit.server.stream import WireStream

#: Largest password or SASL message; it comes from a client that has not proved anything yet.
MAX_RESPONSE: Final = 10_000

_int32 = Struct("!i").unpack_from


class LoginRefused(AuthenticationFailed):
    """A client could not prove who it is. *reason* is for the log alone."""

    def __init__(self, user: str, reason: str) -> None:
        super().__init__(f'password authentication failed for user "{printable(user)}"')
        self.reason = reason


async def authenticate(
    stream: WireStream, user: str, method: AuthType, keyring: Keyring, binding: bytes | None
) -> None:
    """Let the client prove that it is *user*; ends with AuthenticationOk sent.

    *binding* is the channel binding data of its TLS connection, if there is one.

    Raises:
        LoginRefused: it could not.
        ProtocolViolation: it broke the exchange.
    """
    credentials = keyring.get_or_stranger(user)
    try:
        final = await _prove(stream, credentials, method, keyring, binding)
    except LoginRefused:
        await keyring.wait_derived()
        raise
    await stream.send_all(final + backend.authentication_ok())


async def _prove(
    stream: WireStream,
    credentials: Credentials,
    method: AuthType,
    keyring: Keyring,
    binding: bytes | None,
) -> bytes:
    """Hold the exchange of *method*; return the last message of it, if one is left to send."""
    if method is AuthType.SCRAM or (
        method is AuthType.MD5 and isinstance(credentials.secret, ScramVerifier)
    ):
        return await _by_scram(stream, credentials, keyring, binding)
    if method is AuthType.MD5:
        await _by_md5(stream, credentials)
    elif method is AuthType.PASSWORD:
        await _by_password(stream, credentials, keyring)
    return b""


async def _by_scram(
    stream: WireStream, credentials: Credentials, keyring: Keyring, binding: bytes | None
) -> bytes:
    """Hold the SCRAM exchange; return its last message, still to be sent."""
    mock = keyring.mock_verifier(credentials.user)
    shown = credentials.challenge() or mock
    mechanisms = [SCRAM_SHA_256] if binding is None else [SCRAM_SHA_256_PLUS, SCRAM_SHA_256]
    await stream.send_all(backend.authentication_sasl(mechanisms))
    mechanism, first = _parse_initial_response(await _response(stream))
    if mechanism not in mechanisms:
        raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
    if first is None:
        await stream.send_all(backend.authentication_sasl_continue(b""))
        first = await _response(stream)
    server = ScramServer(
        shown, make_nonce(), binding=binding, plus=mechanism == SCRAM_SHA_256_PLUS
    )
    await stream.send_all(backend.authentication_sasl_continue(server.challenge(first)))
    proof = await _response(stream)
    verifier = await credentials.verifier()
    outcome = server.finish(proof, verifier or shown)
    if outcome is None or verifier is None or not credentials.exists:
        raise LoginRefused(credentials.user, _why(credentials, scram=True))
    final, client_key = outcome
    credentials.learn_client_key(client_key)
    return backend.authentication_sasl_final(final)


def _parse_initial_response(payload: bytes) -> tuple[str, bytes | None]:
    name, end, rest = payload.partition(b"\0")
    if not end or len(rest) < 4:
        raise ProtocolViolation("malformed SASL initial response")
    size, data = _int32(rest)[0], rest[4:]
    if size == -1 and not data:
        return name.decode("ascii", "replace"), None
    if size != len(data):
        raise ProtocolViolation("malformed SASL initial response")
    return name.decode("ascii", "replace"), data


async def _by_md5(stream: WireStream, credentials: Credentials) -> None:
    salt = secrets.token_bytes(4)
    await stream.send_all(backend.authentication_md5_password(salt))
    given = await _password(stream, credentials.user)
    assert not isinstance(credentials.secret, ScramVerifier)
    stored = credentials.secret.md5_hash(credentials.user_bytes)
    expected = b"md5" + hash_md5(stored, salt)
    if not hmac.compare_digest(given, expected) or not credentials.exists:
        raise LoginRefused(credentials.user, _why(credentials))


async def _by_password(stream: WireStream, credentials: Credentials, keyring: Keyring) -> None:
    await stream.send_all(backend.authentication_cleartext_password())
    given = await _password(stream, credentials.user)
    # If any user's secret must be hashed, the passwords of all users are: the time of a login must not tell one name from another.
    client_key = b""
    if keyring.has_verifiers:
        shown = credentials.challenge() or keyring.mock_verifier(credentials.user)
        keys = await derive_in_thread(prepare_password(given), shown.salt, shown.iterations)
        client_key = keys.client_key
    if not _is_right(credentials, given, client_key) or not credentials.exists:
        raise LoginRefused(credentials.user, _why(credentials))
    credentials.learn_client_key(client_key)


def _is_right(credentials: Credentials, given: bytes, client_key: bytes) -> bool:
    """Compare the password *given*, or the key it was hashed to, with a secret."""
    match credentials.secret:
        case Md5(digest):
            return hmac.compare_digest(hash_md5(given, credentials.user_bytes), digest)
        case ScramVerifier() as verifier:
            return verifier.accepts(client_key)
        case secret:
            return hmac.compare_digest(
                _digest(prepare_password(given)), _digest(secret.prepared)
            )


def _digest(password: bytes) -> bytes:
    """Return a hash of *password*: comparing hashes does not reveal the length of the right one."""
    return hashlib.sha256(password).digest()


async def _password(stream: WireStream, user: str) -> bytes:
    payload = await _response(stream)
    if payload.find(b"\0") != len(payload) - 1:
        raise ProtocolViolation("invalid password packet size")
    if len(payload) == 1:
        raise LoginRefused(user, "empty password")
    return payload[:-1]


async def _response(stream: WireStream) -> bytes:
    code, payload = await stream.read_frame(MAX_RESPONSE)
    if code == codes.TERMINATE:
        raise EOFError
    if code != codes.PASSWORD:
        raise ProtocolViolation(f"expected a password response, got message type {code:#04x}")
    return payload


def _why(credentials: Credentials, *, scram: bool = False) -> str:
    if not credentials.exists:
        return "no such user"
    if scram and isinstance(credentials.secret, Md5):
        return "the userlist has only an md5 hash, with which SCRAM cannot be done"
    return "wrong password"
