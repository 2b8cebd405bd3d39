"""Strangers: mock verifiers for user names that are not in the userlist, made without hashing a password.

PostgreSQL calls this mock authentication. The server's half of SCRAM needs a salt, an iteration count and two keys; only the
client hashes a password. So an unknown name costs two HMACs with a secret that outlives restarts (`app.memory`), and gets the same answers at every
attempt. A login must not show whether the name exists, so mock verifiers imitate the userlist: the same share of unknown names
as of users has a verifier (and is asked for SCRAM also where md5 is configured), with the same iteration counts and salt
sizes. The hash of the name decides which of these it gets.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Final, NamedTuple

from rwsplit.protocol.scram import ITERATIONS, KEY_SIZE, SALT_SIZE, ScramVerifier

#: Bytes of a name's hash that decide which kind of user it imitates.
_SHARE_SIZE: Final = 8


class Shape(NamedTuple):
    """What a login reveals of a verifier."""

    iterations: int = ITERATIONS
    salt_size: int = SALT_SIZE


class Strangers:
    """Makes mock verifiers for names that are not in the userlist."""

    def __init__(self, seed: bytes, verifiers: Iterable[ScramVerifier], others: int) -> None:
        """*verifiers* are those of the userlist, *others* is the number of users with another kind of secret."""
        self._seed = seed
        counts = Counter(Shape(v.iterations, len(v.salt)) for v in verifiers)
        shapes: list[Shape | None] = [None, *sorted(counts)]
        parts = list(accumulate(counts[shape] if shape else others for shape in shapes))
        self._shares = [(part, shape) for part, shape in zip(parts, shapes, strict=True)]

    def verifier(self, user: bytes) -> ScramVerifier | None:
        """Return the mock verifier of *user*; None if it imitates a user without a verifier."""
        total = self._shares[-1][0]
        share = int.from_bytes(self._hmac(b"shape", user)[:_SHARE_SIZE])
        place = share * total >> 8 * _SHARE_SIZE
        shape = next((shape for part, shape in self._shares if place < part), None)
        return None if shape is None else self.mock(user, shape)

    def mock(self, user: bytes, shape: Shape | None = None) -> ScramVerifier:
        """Return a verifier for *user* that no password satisfies, the same one every time."""
        iterations, salt_size = shape or Shape()
        return ScramVerifier(
            iterations,
            self.salt(user, salt_size),
            self._hmac(b"stored", user)[:KEY_SIZE],
            self._hmac(b"server", user)[:KEY_SIZE],
        )

    def salt(self, user: bytes, size: int = SALT_SIZE) -> bytes:
        """Return the salt of *user*, whether it exists or not."""
        salt = b""
        while len(salt) < size:
            salt += self._hmac(b"salt" + salt, user)
        return salt[:size]

    def _hmac(self, purpose: bytes, user: bytes) -> bytes:
        return hmac.digest(self._seed, purpose + b"\0" + user, "sha256")
