"""Strangers: what a name that is nobody's looks like to whoever tries it, made without hashing anything.

The server's half of SCRAM needs a salt, an iteration count and two keys; only whoever proves a password hashes it. So a
stranger costs two HMACs with a secret that outlives restarts (`app.memory`), and looks the same at every attempt (PostgreSQL's mock
authentication, which is as cheap). It takes after the users there are, or it would be told apart by what they have and
it lacks: as many strangers as users, in proportion, have a verifier (asked for SCRAM also where md5 is configured), with
iteration counts and sizes of salts as theirs. Which of them a stranger takes after is decided by its name.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Final, NamedTuple

from rwsplit.protocol.scram import ITERATIONS, KEY_SIZE, SALT_SIZE, ScramVerifier

#: Bytes of a name's hash that decide whom it takes after.
_SHARE_SIZE: Final = 8


class Shape(NamedTuple):
    """What of a verifier can be seen in a login."""

    iterations: int = ITERATIONS
    salt_size: int = SALT_SIZE


class Strangers:
    """Makes up verifiers for names that are nobody's."""

    def __init__(self, seed: bytes, verifiers: Iterable[ScramVerifier], others: int) -> None:
        """*verifiers* are those of the userlist, *others* is how many users have another kind of secret."""
        self._seed = seed
        counts = Counter(Shape(v.iterations, len(v.salt)) for v in verifiers)
        shapes: list[Shape | None] = [None, *sorted(counts)]
        parts = list(accumulate(counts[shape] if shape else others for shape in shapes))
        self._shares = [(part, shape) for part, shape in zip(parts, shapes, strict=True)]

    def verifier(self, user: bytes) -> ScramVerifier | None:
        """Return the verifier *user* has; None: it takes after a user of whom there is none."""
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
