"""Credentials: what is known of a user's password, and what can be done with it.

The userlist is PgBouncer's: a line is `"name" "secret"`, quotes inside doubled, `;` or `#` begin a comment. A
secret is the password itself, `md5` and its hash, or a SCRAM verifier. They differ in reach:

    secret     proves a client by           logs in to a server by
    plain      SCRAM, md5, password         SCRAM, md5, password
    md5        md5, password                md5
    verifier   SCRAM, password              SCRAM with the ClientKey the client's own login gave away

A user who is not in the userlist gets credentials too, which no password satisfies (`strangers`), so that a client that tries
names learns nothing. Hashing takes milliseconds of CPU and runs in worker threads, few at a time. Each password of the userlist
is hashed once, after the userlist has been read (`Keyring.derive`); nothing is hashed for unknown names. The work of a login
depends on the method and on the userlist, never on the name.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import trio
from scramp import ScramException  # type: ignore[import-untyped]
from scramp.utils import saslprep  # type: ignore[import-untyped]

from rwsplit.config.files import read_file
from rwsplit.config.model import Config
from rwsplit.errors import ConfigError
from rwsplit.protocol.fields import text_of
from rwsplit.protocol.scram import ITERATIONS, SALT_SIZE, ScramKeys, ScramVerifier, derive_keys
from rwsplit.server.strangers import Strangers

#: How many hashes are computed at once, for all clients together.
HASHING: Final = trio.CapacityLimiter(2)
#: Derived keys kept per user: one for every verifier the nodes have for it, which is one in practice.
MAX_DERIVED: Final = 4
#: Names of users told of a change of the userlist, of each kind.
MAX_TOLD: Final = 5
#: Bytes of a userlist.
MAX_USERLIST: Final = 1 << 26
#: Seconds for which refusals are held back while the passwords of a userlist are hashed.
HOLD_BACK: Final = 10.0

_MD5: Final = re.compile(r"md5[0-9a-fA-F]{32}")
#: Secrets that look like an md5 hash or a verifier but are neither: cut off, or of an unknown kind.
_BROKEN_MD5: Final = re.compile(r"md5(?:.{32}|[0-9a-fA-F]{20,64})")
_BROKEN_VERIFIER: Final = re.compile(r"SCRAM-SHA-\d+(?:-PLUS)?\$", re.IGNORECASE)
_LINE: Final = re.compile(r'\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"')


@attrs.frozen
class Plain:
    """The password itself."""

    password: bytes = attrs.field(repr=False)

    @property
    def prepared(self) -> bytes:
        """The password as SCRAM hashes it."""
        return prepare_password(self.password)

    def md5_hash(self, user: bytes) -> bytes:
        """Return what PostgreSQL stores for the password of *user* when asked for md5."""
        return hash_md5(self.password, user)


@attrs.frozen
class Md5:
    """An md5 hash of password and user name, without its `md5`, in hexadecimal."""

    digest: bytes = attrs.field(repr=False)

    def md5_hash(self, _user: bytes) -> bytes:
        """Return the hash, which is computed once and shared."""
        return self.digest


Secret = Plain | Md5 | ScramVerifier


def prepare_password(password: bytes) -> bytes:
    """Apply SASLprep to *password*; what it cannot prepare is used as it is, as PostgreSQL does."""
    if password.isascii():
        return password
    try:
        prepared: str = saslprep(password.decode("utf-8"))
    except (ScramException, UnicodeDecodeError):
        return password
    return prepared.encode() or password


def hash_md5(password: bytes, salt: bytes) -> bytes:
    """Return `md5(password, salt)` in hexadecimal; what it is good for is PostgreSQL's to say."""
    return hashlib.md5(password + salt, usedforsecurity=False).hexdigest().encode()


def parse_secret(text: str) -> Secret:
    """Read the second column of a userlist."""
    if _MD5.fullmatch(text):
        return Md5(text[3:].lower().encode())
    return ScramVerifier.parse(text) or Plain(text.encode("utf-8", "surrogateescape"))


def why_malformed(text: str) -> str | None:
    """Return why *text*, the secret of a userlist's line, is a malformed hash or verifier; None if it is not.

    Taken for a password it would let in those who can read the userlist, and keep out the user.
    """
    if _MD5.fullmatch(text) or ScramVerifier.parse(text) is not None:
        return None
    if _BROKEN_MD5.fullmatch(text):
        return "an md5 hash is `md5` and 32 hexadecimal digits"
    if _BROKEN_VERIFIER.match(text):
        return "a verifier is SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as in pg_authid.rolpassword"
    return None


class Credentials:
    """One user's secret and what was derived or learned from it since."""

    __slots__ = ("_derived", "_verifier", "client_key", "exists", "salt", "secret", "user")

    def __init__(
        self, user: str, secret: Secret, *, salt: bytes | None = None, exists: bool = True
    ) -> None:
        self.user = user
        self.secret = secret
        self.salt = salt or secrets.token_bytes(SALT_SIZE)
        self.exists = exists
        """False for a stranger: nothing it says is right."""
        self.client_key: bytes | None = None
        """The ClientKey a client's login gave away; only of use beside a verifier."""
        self._verifier = secret if isinstance(secret, ScramVerifier) else None
        self._derived: OrderedDict[tuple[bytes, int], ScramKeys] = OrderedDict()

    @classmethod
    def from_text(cls, user: str, text: str) -> Credentials:
        """Make the credentials of *user* from a password, an md5 hash or a verifier."""
        return cls(user, parse_secret(text))

    def __repr__(self) -> str:
        return f"<Credentials {self.user} {type(self.secret).__name__}>"

    @property
    def user_bytes(self) -> bytes:
        """The user's name as md5 hashes it."""
        return _name(self.user)

    def learn_client_key(self, client_key: bytes) -> None:
        """Remember the ClientKey of a client that proved itself, if it fits the verifier."""
        if isinstance(self.secret, ScramVerifier) and self.secret.accepts(client_key):
            self.client_key = client_key

    def challenge(self) -> ScramVerifier | None:
        """Return a verifier with the right salt and iteration count, its keys perhaps not derived yet; None for an md5 hash.

        A SCRAM login begins with these two, and they need no hashing.
        """
        if self._verifier is None and isinstance(self.secret, Plain):
            return ScramVerifier(ITERATIONS, self.salt, b"", b"")
        return self._verifier

    async def verifier(self) -> ScramVerifier | None:
        """Return the verifier a client's SCRAM login is checked against; None of an md5 hash."""
        if self._verifier is None and isinstance(self.secret, Plain):
            keys = await derive_in_thread(self.secret.prepared, self.salt, ITERATIONS)
            self._verifier = ScramVerifier.from_keys(keys, self.salt, ITERATIONS)
        return self._verifier

    async def keys_for(self, salt: bytes, iterations: int) -> ScramKeys | None:
        """Return the keys for a server's *salt* and *iterations*; None if they cannot be known."""
        secret = self.secret
        if isinstance(secret, ScramVerifier):
            same = (secret.salt, secret.iterations) == (salt, iterations)
            if same and self.client_key is not None:
                return ScramKeys(self.client_key, secret.server_key)
            return None
        if isinstance(secret, Md5):
            return None
        # The nodes of a cluster are copies of one another: they have one salt for a user.
        keys = self._derived.get((salt, iterations))
        if keys is None:
            keys = await derive_in_thread(secret.prepared, salt, iterations)
            self._derived[salt, iterations] = keys
            if len(self._derived) > MAX_DERIVED:
                self._derived.popitem(last=False)
        return keys


async def derive_in_thread(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
    """Run `derive_keys` beside the event loop."""
    return await trio.to_thread.run_sync(
        derive_keys, password, salt, iterations, limiter=HASHING, abandon_on_cancel=True
    )


class Keyring:
    """The users of a userlist."""

    def __init__(
        self,
        entries: dict[str, Secret] | None = None,
        *,
        previous: Keyring | None = None,
        seed: bytes | None = None,
    ) -> None:
        """Hold *entries*; one that is the same in *previous* keeps what was learned about it.

        *seed* is the secret that salts are made from where there is no *previous*, else one of this process.
        """
        if previous is not None:
            seed = previous._seed
        self._seed: bytes = seed or secrets.token_bytes(32)
        known = (entries or {}).values()
        verifiers = [secret for secret in known if isinstance(secret, ScramVerifier)]
        self.has_verifiers = bool(verifiers)
        """Whether some secret is a verifier, so that a password sent in the clear must be hashed to be compared with it."""
        self._strangers = Strangers(self._seed, verifiers, others=len(known) - len(verifiers))
        self._deriving: trio.Event | None = None
        self._users: dict[str, Credentials] = {}
        for user, secret in (entries or {}).items():
            old = None if previous is None else previous.get(user)
            if old is None or old.secret != secret:
                old = Credentials(user, secret, salt=self._strangers.salt(_name(user)))
            self._users[user] = old

    def __len__(self) -> int:
        return len(self._users)

    @classmethod
    def load(cls, path: Path, previous: Keyring | None = None) -> Keyring:
        """Read the userlist at *path*; entries unchanged since *previous* keep what was learned.

        Raises:
            ConfigError: it cannot be read, or has lines that are not users.
        """
        try:
            text = text_of(read_file(path, MAX_USERLIST))
        except OSError as exc:
            raise ConfigError([f"users.file: cannot read {path}: {exc.strerror}"]) from exc
        entries: dict[str, Secret] = {}
        problems: list[str] = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line.lstrip().startswith((";", "#")):
                continue
            match = _LINE.match(line)
            if match is None:
                problems.append(
                    f'users.file: {path}, line {number}: expected "user" "password"'
                )
                continue
            user, secret = (group.replace('""', '"') for group in match.groups())
            if user in entries:
                problems.append(
                    f"users.file: {path}, line {number}: user {user!r} is here twice"
                )
            wrong = why_malformed(secret)
            if wrong is not None:
                problems.append(
                    f"users.file: {path}, line {number}: the secret of {user!r} is malformed: {wrong}"
                )
            entries[user] = parse_secret(secret)
        if problems:
            raise ConfigError(problems)
        return cls(entries, previous=previous)

    def names(self) -> list[str]:
        """Return the names of all users."""
        return list(self._users)

    def lacking(self, config: Config) -> list[str]:
        """Return as problems of *config* which of its admins are no users: nobody could log in as one of them."""
        return [
            f"admin.users: {name!r} is not in {config.users.file}"
            for name in config.admin.users
            if name not in self._users
        ]

    def differences(self, previous: Keyring) -> list[str]:
        """Return in sentences which users are others than in *previous*; of their secrets only that they changed."""
        old, new = previous._users, self._users
        changed = [name for name in new if name in old and new[name].secret != old[name].secret]
        found = {
            "added": [name for name in new if name not in old],
            "removed": [name for name in old if name not in new],
            "secret changed": changed,
        }
        return [f"users: {what}: {_listed(names)}" for what, names in found.items() if names]

    def get(self, user: str) -> Credentials | None:
        """Return the credentials of *user*, None if there is no such user."""
        return self._users.get(user)

    def get_or_stranger(self, user: str) -> Credentials:
        """Return the credentials of *user*; if there is no such user, credentials that no password satisfies."""
        stranger = self.stranger(user)  # for existing users, too, since making it takes time
        found = self._users.get(user)
        # PostgreSQL has no user with an empty password either: it only has users without one.
        if found is None or found.secret == Plain(b""):
            return stranger
        return found

    def stranger(self, user: str) -> Credentials:
        """Return credentials for the unknown name *user* that no password satisfies, the same ones every time."""
        name = _name(user)
        verifier = self._strangers.verifier(name)
        mock = self._strangers.mock(name)
        secret = verifier or Md5(mock.stored_key[:16].hex().encode())
        return Credentials(user, secret, salt=mock.salt, exists=False)

    def mock_verifier(self, user: str) -> ScramVerifier:
        """Return the verifier for SCRAM with a user who has none; no password satisfies it."""
        return self._strangers.mock(_name(user))

    async def derive(self, is_in_force: Callable[[], bool] = lambda: True) -> None:
        """Hash the passwords of the userlist, one after the other, so that no login takes longer by the hashing.

        It ends early when *is_in_force* returns False: the keyring in force hashes its own.
        """
        if self._deriving is not None:
            return
        self._deriving = over = trio.Event()
        try:
            for credentials in list(self._users.values()):
                if not is_in_force():
                    break
                await credentials.verifier()
        finally:
            over.set()
            self._deriving = None

    async def wait_derived(self) -> None:
        """Block while passwords are being hashed: until then the time of a refusal would tell users from unknown names."""
        if self._deriving is not None:
            with trio.move_on_after(HOLD_BACK):
                await self._deriving.wait()

    def learn_client_key(self, user: str, client_key: bytes) -> None:
        """Remember the ClientKey that a login of *user* gave away."""
        found = self._users.get(user)
        if found is not None:
            found.learn_client_key(client_key)


def _name(user: str) -> bytes:
    return user.encode("utf-8", "surrogateescape")


def _listed(names: list[str]) -> str:
    """Return the first of *names*, and how many there are besides."""
    more = len(names) - MAX_TOLD
    text = ", ".join(names[:MAX_TOLD])
    return f"{text} and {more} more" if more > 0 else text
