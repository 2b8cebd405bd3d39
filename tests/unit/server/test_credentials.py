"""Userlists and what is known of a user's password."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import pytest
import trio

from rwsplit.errors import ConfigError
from rwsplit.protocol.scram import ScramKeys, ScramVerifier, derive_keys
from rwsplit.server.credentials import (
    MAX_DERIVED,
    Credentials,
    Keyring,
    Md5,
    Plain,
    hash_md5,
    parse_secret,
    prepare_password,
)

# The password is "pencil".
SALT = bytes.fromhex("30313233343536373839616263646566")
KEYS = derive_keys(b"pencil", SALT, 4096)
VERIFIER = ScramVerifier.from_keys(KEYS, SALT, 4096)


@pytest.fixture
def userlist(tmp_path: Path) -> Path:
    return tmp_path / "userlist.txt"


# -- secrets ----------------------------------------------------------------------------------------


def test_a_secret_is_recognised_by_its_looks():
    md5 = "md5" + "0123456789ABCDEF" * 2

    assert parse_secret("secret") == Plain(b"secret")
    assert parse_secret(md5) == Md5(b"0123456789abcdef" * 2)
    assert parse_secret("md5 is my password") == Plain(b"md5 is my password")
    assert parse_secret("SCRAM-SHA-256$nonsense") == Plain(b"SCRAM-SHA-256$nonsense")


def test_secrets_do_not_show_in_a_log():
    assert "secret" not in repr(Credentials.from_text("app", "secret"))
    assert "secret" not in repr(Plain(b"secret"))


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("plain", "plain"),
        ("tab\t", "tab\t"),
        ("I\u00adX", "IX"),
        ("\u2168", "IX"),
        ("non\u00a0break", "non break"),
        ("\u0627\u0031", "\u0627\u0031"),  # a bidirectional mix SASLprep refuses
        ("\U0001f511", "\U0001f511"),  # unassigned in Unicode 3.2
        ("\u00ad", "\u00ad"),  # nothing left of it
    ],
)
def test_passwords_are_prepared_as_postgresql_does(password, prepared):
    assert prepare_password(password.encode()) == prepared.encode()


def test_a_password_that_is_not_utf8_is_used_as_it_is():
    assert prepare_password(b"x\xe9") == b"x\xe9"


def test_md5_hashes_password_and_name():
    # md5('pwapp'), as `select md5('pwapp')` says.
    assert hash_md5(b"pw", b"app") == b"81ad3d00fcdf98fbc5f8f9a859590b46"
    assert Plain(b"pw").md5_hash(b"app") == hash_md5(b"pw", b"app")
    assert Md5(b"stored").md5_hash(b"anyone") == b"stored"


# -- what can be done with them ---------------------------------------------------------------------


async def test_the_verifier_of_a_password_is_made_once():
    credentials = Credentials("app", Plain(b"pencil"), salt=SALT)

    made = await credentials.verifier()

    assert made == VERIFIER
    assert await credentials.verifier() is made


async def test_an_md5_hash_has_no_verifier_and_no_keys():
    credentials = Credentials("app", Md5(b"0" * 32))

    assert await credentials.verifier() is None
    assert await credentials.keys_for(SALT, 4096) is None


async def test_a_password_has_keys_for_every_salt_and_remembers_some():
    credentials = Credentials("app", Plain(b"pencil"))

    first = await credentials.keys_for(SALT, 4096)
    assert first == KEYS
    assert await credentials.keys_for(SALT, 4096) is first
    for number in range(MAX_DERIVED):
        await credentials.keys_for(SALT, number + 1)
    assert await credentials.keys_for(SALT, 4096) is not first


async def test_a_verifier_gives_keys_once_a_client_has_shown_its_own():
    credentials = Credentials("app", VERIFIER)
    assert await credentials.keys_for(SALT, 4096) is None

    credentials.learn_client_key(b"x" * 32)
    assert credentials.client_key is None

    credentials.learn_client_key(KEYS.client_key)
    assert await credentials.keys_for(SALT, 4096) == KEYS
    assert await credentials.keys_for(b"another salt", 4096) is None
    assert await credentials.keys_for(SALT, 4097) is None


def test_a_password_has_nothing_to_learn():
    credentials = Credentials("app", Plain(b"pencil"))

    credentials.learn_client_key(KEYS.client_key)

    assert credentials.client_key is None


# -- the userlist -----------------------------------------------------------------------------------


def test_a_userlist_has_a_user_a_line(userlist):
    userlist.write_bytes(
        b'; a comment\n\n# another\n"app" "pw" and what else is on the line\n'
        b'  "od""d"   "p""w"\r\n"x\xe9" "\xff"\n'
    )

    keyring = Keyring.load(userlist)

    assert len(keyring) == 3
    app, odd, cafe = (keyring.get(name) for name in ("app", 'od"d', "x\udce9"))
    assert app is not None
    assert app.secret == Plain(b"pw")
    assert odd is not None
    assert odd.secret == Plain(b'p"w')
    assert cafe is not None
    assert cafe.secret == Plain(b"\xff")
    assert cafe.user_bytes == b"x\xe9"
    assert keyring.get("nobody") is None
    assert keyring.names() == ["app", 'od"d', "x\udce9"]


def test_every_wrong_line_is_named(userlist):
    userlist.write_text('"app" "pw"\napp pw\n"app" "other"\n"half\n')

    with pytest.raises(ConfigError) as caught:
        Keyring.load(userlist)

    assert [problem.split("userlist.txt, ")[1] for problem in caught.value.problems] == [
        'line 2: expected "user" "password"',
        "line 3: user 'app' is here twice",
        'line 4: expected "user" "password"',
    ]


STORED = "SCRAM-SHA-256$4096:{}${}:{}".format(
    *(b64encode(part).decode() for part in (SALT, VERIFIER.stored_key, VERIFIER.server_key))
)


@pytest.mark.parametrize(
    "secret",
    [
        STORED[:-1],
        STORED[:40],
        STORED + "=",
        STORED.replace("$4096", "$-1"),
        STORED.replace("$4096:", "$"),
        STORED.replace("$4096", "$" + "9" * 5000),
        STORED.lower(),
        STORED.replace("256", "512"),
        STORED.replace("256", "1"),
        "SCRAM-SHA-256$4096",
        "md5" + "0123456789abcdef" * 2 + "0",
        "md5" + "0123456789abcdef" * 2 + "01234567",
        "md5" + "0123456789abcdef" + "0123456789abcde",
        "md5" + "0123456789abcdeg" * 2,
    ],
)
def test_a_hash_or_verifier_that_is_malformed_is_not_taken_for_a_password(userlist, secret):
    userlist.write_text(f'"a" "{secret}"\n')
    with pytest.raises(
        ConfigError, match=r"line 1: the secret of 'a' is malformed: an? "
    ) as caught:
        Keyring.load(userlist)
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "secret", [STORED, "md5" + "0123456789abcdef" * 2, "md5", "md5isbroken", "md5cafe", "SCRAM", "a$b:c$d:e"]
)  # fmt: skip
def test_what_is_well_or_a_password_is_taken(userlist, secret):
    userlist.write_text(f'"a" "{secret}"\n')
    assert len(Keyring.load(userlist)) == 1


def test_a_userlist_that_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match=r"users\.file: cannot read"):
            Keyring.load(path)


def test_a_userlist_that_cannot_be_read_is_a_problem_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"users\.file: cannot read .*: No such file"):
        Keyring.load(tmp_path / "missing.txt")


async def test_a_reload_keeps_what_was_learned_of_entries_that_stayed(userlist):
    userlist.write_text('"same" "pw"\n"changed" "old"\n')
    before = Keyring.load(userlist)
    userlist.write_text('"same" "pw"\n"changed" "new"\n"added" "pw"\n')
    after = Keyring.load(userlist, before)

    assert after.get("same") is before.get("same")
    assert after.get("changed") is not before.get("changed")
    assert after.get("added") is not None


def test_a_client_key_is_learned_by_name():
    keyring = Keyring({"app": VERIFIER})

    keyring.learn_client_key("app", KEYS.client_key)
    keyring.learn_client_key("nobody", KEYS.client_key)

    app = keyring.get("app")
    assert app is not None
    assert app.client_key == KEYS.client_key


# -- strangers --------------------------------------------------------------------------------------


async def test_a_stranger_looks_the_same_at_every_attempt():
    keyring = Keyring({"app": Plain(b"pw")})

    first = keyring.mock_verifier("nobody")
    reloaded = Keyring(previous=keyring).mock_verifier("nobody")
    other = keyring.mock_verifier("somebody")

    assert keyring.get_or_stranger("nobody").secret == keyring.get_or_stranger("nobody").secret
    assert first == keyring.mock_verifier("nobody")
    assert first.salt == reloaded.salt != other.salt
    assert (len(first.salt), first.iterations) == (16, 4096)


def test_a_user_that_exists_is_no_stranger():
    keyring = Keyring({"app": Plain(b"pw")})

    assert keyring.get_or_stranger("app") is keyring.get("app")
    assert keyring.get_or_stranger("app").exists
    assert not keyring.get_or_stranger("nobody").exists


def test_a_user_with_an_empty_password_cannot_log_in_with_it():
    assert not Keyring({"app": Plain(b"")}).get_or_stranger("app").exists


async def test_nothing_is_hashed_for_a_stranger(monkeypatch):
    monkeypatch.setattr("rwsplit.server.credentials.derive_keys", None)
    keyring = Keyring({"app": Plain(b"pw")})

    assert isinstance(keyring.stranger("nobody").secret, Md5)
    assert keyring.mock_verifier("nobody") == keyring.mock_verifier("nobody")
    assert isinstance(Keyring({"app": VERIFIER}).stranger("nobody").secret, ScramVerifier)


async def test_passwords_are_hashed_once_for_all_logins_to_come():
    keyring = Keyring({"app": Plain(b"pencil"), "etl": Md5(b"0" * 32)})
    app = keyring.get("app")
    assert app is not None
    before = app.challenge()
    assert before is not None
    assert before.stored_key == b""

    await keyring.derive()
    await keyring.wait_derived()

    made = app.challenge()
    assert made is not None
    assert (made.salt, made.iterations) == (before.salt, before.iterations)
    assert made is await app.verifier()


def test_what_differs_from_a_userlist_before_is_told_without_secrets():
    before = Keyring({"app": Plain(b"one"), "etl": Plain(b"same"), "old": VERIFIER})
    after = Keyring({"app": Plain(b"two"), "etl": Plain(b"same"), "new": VERIFIER})

    assert after.differences(before) == [
        "users: added: new",
        "users: removed: old",
        "users: secret changed: app",
    ]
    assert before.differences(Keyring(dict.fromkeys(before.names(), VERIFIER))) == [
        "users: secret changed: app, etl"
    ]
    assert before.differences(before) == []
    many = Keyring({f"u{number}": VERIFIER for number in range(8)})
    assert many.differences(Keyring()) == ["users: added: u0, u1, u2, u3, u4 and 3 more"]


async def test_a_keyring_that_is_replaced_hashes_no_further(monkeypatch):
    """Reloads in quick succession: each would hash the same passwords, and whose users have gone, too."""
    hashed: list[bytes] = []

    async def derive(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
        await trio.lowlevel.checkpoint()
        hashed.append(password)
        return ScramKeys(b"", b"")

    monkeypatch.setattr("rwsplit.server.credentials.derive_in_thread", derive)
    keyring = Keyring({f"user{n}": Plain(b"%d" % n) for n in range(10)})
    await keyring.derive(lambda: len(hashed) < 3)

    assert hashed == [b"0", b"1", b"2"]
    await keyring.wait_derived()
