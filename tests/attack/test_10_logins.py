"""Logins tell nothing: neither what is said nor the work that is done depends on whether a name is somebody's.

Work is counted, not timed: what takes milliseconds in a login is `derive_keys`, and nothing else does.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter

import pytest
import trio
import trio.testing

from rwsplit.config.choices import AuthType
from rwsplit.protocol import frontend
from rwsplit.protocol.scram import ScramClient, ScramVerifier, derive_keys
from rwsplit.server import credentials
from rwsplit.server.credentials import Keyring, hash_md5, parse_secret
from tests.support.lobby import OpenLobby
from tests.support.startup_client import Client, Connect, connect

__all__ = ["connect"]

SALT = b"0123456789abcdef"
VERIFIER = ScramVerifier.from_keys(derive_keys(b"secret", SALT, 4096), SALT, 4096)


def text_of(verifier: ScramVerifier) -> str:
    salt, stored, server = (
        b64encode(part).decode()
        for part in (verifier.salt, verifier.stored_key, verifier.server_key)
    )
    return f"SCRAM-SHA-256${verifier.iterations}:{salt}${stored}:{server}"


PLAIN = {"plain": "secret"}
MD5 = {"md5": "md5" + hash_md5(b"secret", b"md5").decode()}
SCRAM = {"scram": text_of(VERIFIER)}
STRANGERS = [f"nobody{number}" for number in range(40)]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The iteration counts of everything that is hashed."""
    done: list[int] = []

    def derive(password: bytes, salt: bytes, iterations: int) -> object:
        done.append(iterations)
        return derive_keys(password, salt, iterations)

    monkeypatch.setattr(credentials, "derive_keys", derive)
    return done


async def fails(client: Client, user: str) -> tuple[tuple[object, ...], ...]:
    """Log in as *user* with a wrong password; return the shapes of what is said: kinds, lengths, iteration counts."""
    await client.starts(user=user)
    shapes: list[tuple[object, ...]] = []
    scram = ScramClient("nonce")
    while True:
        code, payload = await client.hears()
        if code == b"E":
            # The name is in the sentence, and as long as it is.
            shapes.append((code, payload.replace(user.encode(), b"")))
            return tuple(shapes)
        asked = int.from_bytes(payload[:4])
        if asked != 11:
            shapes.append((code, asked, len(payload)))
        match asked:
            case 3:
                await client.says(frontend.password_message("wrong"))
            case 5:
                await client.says(frontend.password_message("md5" + "0" * 32))
            case 10:
                await client.says(
                    frontend.sasl_initial_response("SCRAM-SHA-256", scram.first())
                )
            case _:
                salt, iterations = scram.challenged(payload[4:])
                shapes.append((code, asked, len(payload), len(salt), iterations))
                keys = derive_keys(b"wrong", salt, iterations)
                await client.says(frontend.sasl_response(scram.final(keys)))


async def looks(connect: Connect, lobby: OpenLobby, users: list[str]) -> Counter[object]:
    found: Counter[object] = Counter()
    for user in users:
        found[await fails(connect(lobby), user)] += 1
    return found


@pytest.mark.parametrize("method", [AuthType.SCRAM, AuthType.MD5, AuthType.PASSWORD])
@pytest.mark.parametrize("users", [PLAIN, MD5, SCRAM], ids=lambda users: next(iter(users)))
async def test_a_stranger_hears_and_costs_what_a_user_does(connect, hashed, method, users):
    lobby = OpenLobby(users=users, method=method)
    await lobby.keyring.derive()
    hashed.clear()

    [known] = await looks(connect, lobby, list(users))
    work = len(hashed)
    strangers = await looks(connect, lobby, STRANGERS[:5])

    assert strangers == {known: 5}
    assert len(hashed) - work == 5 * work


@pytest.mark.parametrize("method", [AuthType.SCRAM, AuthType.MD5])
async def test_strangers_cost_no_hash_however_many_names_are_tried(connect, hashed, method):
    lobby = OpenLobby(users=PLAIN | MD5 | SCRAM, method=method)

    await looks(connect, lobby, STRANGERS)

    assert hashed == []


async def test_where_users_are_asked_by_two_methods_strangers_are_too(connect):
    """`auth.type: md5` asks a user with a verifier for SCRAM: that alone must not say that there is one."""
    lobby = OpenLobby(users=PLAIN | MD5 | SCRAM, method=AuthType.MD5)

    users = await looks(connect, lobby, list(PLAIN | MD5 | SCRAM))
    strangers = await looks(connect, lobby, STRANGERS)
    again = await looks(connect, lobby, STRANGERS)

    assert set(strangers) == set(users)
    assert strangers == again
    # A third of the users are asked for SCRAM.
    [by_scram] = [count for shape, count in strangers.items() if shape[0][1] == 10]
    assert 4 <= by_scram <= 24


async def test_unusual_verifiers_do_not_stand_out(connect):
    salt = b"a salt of another size, as other tools make them"
    unusual = ScramVerifier.from_keys(derive_keys(b"secret", salt, 600), salt, 600)
    lobby = OpenLobby(users={"odd": text_of(unusual)})

    [known] = await looks(connect, lobby, ["odd"])

    assert await looks(connect, lobby, STRANGERS[:3]) == {known: 3}


async def test_a_stranger_is_the_same_after_a_reload():
    before = Keyring({"app": VERIFIER})
    after = Keyring({"app": VERIFIER, "new": VERIFIER}, previous=before)

    for name in STRANGERS:
        assert before.stranger(name).secret == after.stranger(name).secret


async def test_nobody_is_refused_while_passwords_are_still_hashed(connect, monkeypatch):
    """A user whose password is not hashed yet would take longer than a stranger, and be known by that."""
    derive = trio.Event()

    async def derive_in_thread(password: bytes, salt: bytes, iterations: int) -> object:
        await derive.wait()
        return derive_keys(password, salt, iterations)

    monkeypatch.setattr(credentials, "derive_in_thread", derive_in_thread)
    lobby = OpenLobby(users=PLAIN)
    refused = []

    async def stranger(client: Client) -> None:
        await fails(client, "nobody")
        refused.append(client)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lobby.keyring.derive)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(stranger, connect(lobby))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert refused == []
        derive.set()
    assert len(refused) == 1


async def test_a_user_gets_in_while_passwords_are_still_hashed(connect, monkeypatch):
    lobby = OpenLobby(users={"app": "secret"})
    lobby.keyring._deriving = trio.Event()
    client = connect(lobby)
    await client.starts()
    await client.proves_by_scram()
    await client.hears()

    await client.is_ready()


def test_a_restart_changes_nothing_that_a_login_shows():
    """A user of whom there is a verifier is shown its salt for ever: so must be a stranger, or a restart tells them apart."""
    entries = {"plain": parse_secret("secret"), "scram": VERIFIER}

    def shown(keyring: Keyring) -> list[object]:
        found = [keyring.get_or_stranger(name) for name in (*entries, *STRANGERS)]
        return [
            (each.salt, each.challenge(), keyring.mock_verifier(each.user)) for each in found
        ]

    before, after = (Keyring(entries, previous=Keyring(seed=b"s" * 32)) for _ in range(2))
    assert shown(before) == shown(after)
    assert shown(before) != shown(Keyring(entries))
