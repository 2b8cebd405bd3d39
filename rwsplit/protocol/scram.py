"""SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it, in both roles, without I/O.

`scramp` prepares passwords (SASLprep) and is what these exchanges are tested against, but it cannot hold them:
it refuses the empty user name libpq sends, iteration counts below 4096 (`scram_iterations` may be 1), and a
login with a ClientKey instead of a password, which is how rwsplit reaches a server as a user of whom it only
has a verifier: the client's proof, checked against the verifier, gives away the ClientKey
(ClientKey = ClientProof XOR ClientSignature), and that is all a proof to a server with the same verifier needs.

The user name inside SCRAM is ignored, as by PostgreSQL: the startup packet's counts. Nonces and channel binding
data are parameters. The only slow function is `derive_keys`.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from typing import Final

import attrs

from rwsplit.errors import FeatureNotSupported, ProtocolViolation

SCRAM_SHA_256: Final = "SCRAM-SHA-256"
SCRAM_SHA_256_PLUS: Final = "SCRAM-SHA-256-PLUS"
BINDING_TYPE: Final = b"tls-server-end-point"
#: What a verifier made here uses, as PostgreSQL's `scram_iterations` does by default.
ITERATIONS: Final = 4096
#: More rounds than this (some seconds) are refused: nobody else's choice may cost that much.
MAX_ITERATIONS: Final = 10_000_000
KEY_SIZE: Final = 32
SALT_SIZE: Final = 16


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _decode(data: bytes) -> bytes:
    try:
        return b64decode(data, validate=True)
    except binascii.Error as exc:
        raise ProtocolViolation("malformed SCRAM message: invalid base64") from exc


def _attribute(part: bytes, name: bytes) -> bytes:
    """Return the value of the attribute *part*, which must be called *name*."""
    if not part.startswith(name + b"=") or len(part) == 2:
        raise ProtocolViolation(f"malformed SCRAM message: attribute {name.decode()} expected")
    return part[2:]


#: What int() takes for a number besides - `4_096`, other scripts - PostgreSQL does not.
_DIGITS: Final = re.compile("[0-9]{1,10}")


@attrs.frozen
class ScramKeys:
    """What proves both sides to each other."""

    client_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)


def derive_keys(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """Derive the keys from a prepared *password*: milliseconds of CPU."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    return ScramKeys(_hmac(salted, b"Client Key"), _hmac(salted, b"Server Key"))


@attrs.frozen
class ScramVerifier:
    """What a server keeps instead of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes = attrs.field(repr=False)
    server_key: bytes = attrs.field(repr=False)

    @classmethod
    def from_keys(cls, keys: ScramKeys, salt: bytes, iterations: int) -> ScramVerifier:
        """Make the verifier of *keys*, which came from *salt* and *iterations*."""
        stored_key = hashlib.sha256(keys.client_key).digest()
        return cls(iterations, salt, stored_key, keys.server_key)

    @classmethod
    def parse(cls, text: str) -> ScramVerifier | None:
        """Read `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, None if it is not one."""
        try:
            mechanism, first, second = text.split("$")
            iterations, salt = first.split(":")
            stored_key, server_key = (
                b64decode(part, validate=True) for part in second.split(":")
            )
            count = int(iterations) if _DIGITS.fullmatch(iterations) else 0
            verifier = cls(count, b64decode(salt, validate=True), stored_key, server_key)
        except ValueError:
            return None
        sizes_match = len(stored_key) == len(server_key) == KEY_SIZE and verifier.salt
        in_range = 1 <= verifier.iterations <= MAX_ITERATIONS
        return verifier if mechanism == SCRAM_SHA_256 and sizes_match and in_range else None

    def accepts(self, client_key: bytes) -> bool:
        """Whether *client_key* belongs to this verifier."""
        return hmac.compare_digest(hashlib.sha256(client_key).digest(), self.stored_key)


class ScramClient:
    """The client's side: `first`, `challenged`, `final`, `verify`, in this order.

    *binding* is the channel binding data when the mechanism is -PLUS; *could_bind* says that it is not, but
    only because the server did not offer it, which the server then can check. PostgreSQL ignores *user*.
    """

    def __init__(
        self,
        nonce: str,
        *,
        user: str = "",
        binding: bytes | None = None,
        could_bind: bool = False,
    ) -> None:
        self._nonce = nonce.encode("ascii")
        if binding is not None:
            self._header = b"p=" + BINDING_TYPE + b",,"
        else:
            self._header = b"y,," if could_bind else b"n,,"
        self._binding = b64encode(self._header + (binding or b""))
        self._first_bare = b"n=" + user.encode() + b",r=" + self._nonce
        self._server_first = b""
        self._server_nonce = b""
        self._server_signature = b""

    def first(self) -> bytes:
        """Return the client-first-message."""
        return self._header + self._first_bare

    def challenged(self, message: bytes) -> tuple[bytes, int]:
        """Take the server-first-message; return the salt and the iteration count.

        Raises:
            ProtocolViolation: it is malformed or answers another exchange.
        """
        parts = message.split(b",")
        if len(parts) < 3:
            raise ProtocolViolation("malformed SCRAM message: attribute missing")
        nonce = _attribute(parts[0], b"r")
        salt = _decode(_attribute(parts[1], b"s"))
        digits = _attribute(parts[2], b"i")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ProtocolViolation("malformed SCRAM message: nonce mismatch")
        if not digits.isdigit() or len(digits) > 8 or not 1 <= int(digits) <= MAX_ITERATIONS:
            raise ProtocolViolation("malformed SCRAM message: invalid iteration count")
        self._server_first, self._server_nonce = message, nonce
        return salt, int(digits)

    def final(self, keys: ScramKeys) -> bytes:
        """Return the client-final-message, with the proof."""
        without_proof = b"c=" + self._binding + b",r=" + self._server_nonce
        auth_message = b",".join((self._first_bare, self._server_first, without_proof))
        stored_key = hashlib.sha256(keys.client_key).digest()
        proof = _xor(keys.client_key, _hmac(stored_key, auth_message))
        self._server_signature = _hmac(keys.server_key, auth_message)
        return without_proof + b",p=" + b64encode(proof)

    def verify(self, message: bytes) -> None:
        """Check the server-final-message: has the server known the user's verifier?

        Raises:
            ProtocolViolation: it has not.
        """
        signature = _decode(_attribute(message.partition(b",")[0], b"v"))
        if not hmac.compare_digest(signature, self._server_signature):
            raise ProtocolViolation("incorrect server signature in SCRAM")


class ScramServer:
    """The server's side: `challenge`, `finish`, in this order.

    *binding* is the channel binding data when -PLUS was offered, *plus* whether the client chose it.
    """

    def __init__(
        self,
        verifier: ScramVerifier,
        nonce: str,
        *,
        binding: bytes | None = None,
        plus: bool = False,
    ) -> None:
        self._verifier = verifier
        self._nonce = nonce.encode("ascii")
        self._binding = binding
        self._plus = plus
        self._header = b""
        self._first_bare = b""
        self._server_first = b""

    def challenge(self, message: bytes) -> bytes:
        """Take the client-first-message; return the server-first-message.

        Raises:
            ProtocolViolation: it is malformed, or not what was agreed on.
            FeatureNotSupported: it asks to act as another user.
        """
        flag, _, rest = message.partition(b",")
        identity, comma, bare = rest.partition(b",")
        if not comma:
            raise ProtocolViolation("malformed SCRAM message")
        self._check_flag(flag)
        if identity:
            raise FeatureNotSupported(
                "client uses authorization identity, but it is not supported"
            )
        parts = bare.split(b",")
        if parts[0].startswith(b"m="):
            raise FeatureNotSupported("client requires an unsupported SCRAM extension")
        if not parts[0].startswith(b"n=") or len(parts) < 2:
            raise ProtocolViolation("malformed SCRAM message: attribute n expected")
        client_nonce = _attribute(parts[1], b"r")
        if not all(0x21 <= byte <= 0x7E for byte in client_nonce):
            raise ProtocolViolation(
                "malformed SCRAM message: non-printable characters in nonce"
            )
        self._header, self._first_bare = flag + b",,", bare
        self._nonce = client_nonce + self._nonce
        self._server_first = b"r=%b,s=%b,i=%d" % (
            self._nonce,
            b64encode(self._verifier.salt),
            self._verifier.iterations,
        )
        return self._server_first

    def _check_flag(self, flag: bytes) -> None:
        """Hold the client's word on channel binding against what was offered and chosen."""
        if flag.startswith(b"p="):
            if not self._plus:
                raise ProtocolViolation("client binds the channel without SCRAM-SHA-256-PLUS")
            if flag[2:] != BINDING_TYPE:
                raise ProtocolViolation("unsupported SCRAM channel-binding type")
        elif flag not in (b"n", b"y"):
            raise ProtocolViolation("malformed SCRAM message: unexpected channel-binding flag")
        elif self._plus:
            raise ProtocolViolation("SCRAM-SHA-256-PLUS needs channel binding data")
        elif flag == b"y" and self._binding is not None:
            # The offer of -PLUS was taken out on its way.
            raise ProtocolViolation(
                "client did not see that the server supports channel binding"
            )

    def finish(
        self, message: bytes, verifier: ScramVerifier | None = None
    ) -> tuple[bytes, bytes] | None:
        """Take the client-final-message; return the server-final-message and the ClientKey.

        None when the proof is wrong. *verifier* is the one to check against, if only its salt and iteration count were
        known at the challenge.

        Raises:
            ProtocolViolation: it is malformed or bound to another channel.
        """
        without_proof, _, proof_text = message.rpartition(b",p=")
        parts = without_proof.split(b",")
        if len(parts) < 2:
            raise ProtocolViolation("malformed SCRAM message: attribute p expected")
        proof = _decode(proof_text)
        expected = self._header + (self._binding or b"" if self._plus else b"")
        if not hmac.compare_digest(_decode(_attribute(parts[0], b"c")), expected):
            raise ProtocolViolation("SCRAM channel binding check failed")
        if _attribute(parts[1], b"r") != self._nonce or len(proof) != KEY_SIZE:
            raise ProtocolViolation("malformed SCRAM message: nonce or proof does not match")
        auth_message = b",".join((self._first_bare, self._server_first, without_proof))
        verifier = verifier or self._verifier
        client_key = _xor(proof, _hmac(verifier.stored_key, auth_message))
        if not verifier.accepts(client_key):
            return None
        signature = _hmac(verifier.server_key, auth_message)
        return b"v=" + b64encode(signature), client_key
