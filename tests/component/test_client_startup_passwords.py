"""Clients that prove who they are, and those that cannot."""

from __future__ import annotations

from base64 import b64encode
from struct import pack

import pytest
from structlog.testing import capture_logs

from rwsplit.config.choices import AuthType
from rwsplit.protocol import frontend
from rwsplit.protocol.scram import ScramClient, ScramVerifier, derive_keys
from rwsplit.server.credentials import hash_md5
from tests.support.lobby import OpenLobby
from tests.support.startup_client import connect

__all__ = ["connect"]


SALT = b"0123456789abcdef"
KEYS = derive_keys(b"secret", SALT, 4096)
VERIFIER = ScramVerifier.from_keys(KEYS, SALT, 4096)
VERIFIER_TEXT = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==${}:{}".format(
    *(b64encode(key).decode() for key in (VERIFIER.stored_key, VERIFIER.server_key))
)
MD5_TEXT = "md5" + hash_md5(b"secret", b"app").decode()


@pytest.mark.parametrize("secret", ["secret", VERIFIER_TEXT])
async def test_scram_lets_in_who_knows_the_password(connect, secret):
    lobby = OpenLobby(users={"app": secret})
    client = connect(lobby)
    await client.starts()
    await client.proves_by_scram()

    code, payload = await client.hears()
    assert (code, payload[:4]) == (b"R", pack("!i", 12))
    client.scram.verify(payload[4:])
    await client.is_ready()


async def test_a_scram_login_gives_away_the_client_key_a_verifier_lacks(connect):
    lobby = OpenLobby(users={"app": VERIFIER_TEXT})
    client = connect(lobby)
    await client.starts()
    await client.proves_by_scram()
    await client.is_ready()

    assert lobby.keyring.get("app").client_key == KEYS.client_key


@pytest.mark.parametrize(
    ("users", "reason"),
    [
        ({"app": "other"}, "wrong password"),
        (
            {"app": MD5_TEXT},
            "the userlist has only an md5 hash, with which SCRAM cannot be done",
        ),
        ({"app": ""}, "no such user"),
        ({}, "no such user"),
    ],
)
async def test_whatever_is_wrong_the_client_hears_the_same_and_the_log_the_reason(
    connect, users, reason
):
    with capture_logs() as logs:
        client = connect(OpenLobby(users=users))
        await client.starts()
        await client.proves_by_scram()
        error = await client.hears_error()

    assert error["C"] == "28P01"
    assert error["M"] == 'password authentication failed for user "app"'
    assert [(log["log_level"], log["reason"]) for log in logs] == [("info", reason)]


@pytest.mark.parametrize("secret", ["secret", MD5_TEXT])
async def test_md5_lets_in_who_knows_the_password(connect, secret):
    lobby = OpenLobby(users={"app": secret}, method=AuthType.MD5)
    client = connect(lobby)
    await client.starts()
    _, payload = await client.hears()
    assert payload[:4] == pack("!i", 5)
    await client.says(
        frontend.password_message(b"md5" + hash_md5(MD5_TEXT[3:].encode(), payload[4:]))
    )

    await client.is_ready()


@pytest.mark.parametrize("users", [{"app": "secret"}, {}])
async def test_md5_turns_away_who_does_not(connect, users):
    client = connect(OpenLobby(users=users, method=AuthType.MD5))
    await client.starts()
    await client.hears()
    await client.says(frontend.password_message("md5" + "0" * 32))

    assert (await client.hears_error())["C"] == "28P01"


async def test_where_md5_is_configured_a_verifier_asks_for_scram(connect):
    client = connect(OpenLobby(users={"app": VERIFIER_TEXT}, method=AuthType.MD5))
    await client.starts()
    await client.proves_by_scram()

    await client.hears()
    await client.is_ready()


@pytest.mark.parametrize("secret", ["secret", MD5_TEXT, VERIFIER_TEXT])
async def test_a_password_in_clear_is_held_against_any_secret(connect, secret):
    lobby = OpenLobby(users={"app": secret}, method=AuthType.PASSWORD)
    for password, welcome in (("secret", True), ("wrong", False)):
        client = connect(lobby)
        await client.starts()
        assert (await client.hears())[1] == pack("!i", 3)
        await client.says(frontend.password_message(password))
        if welcome:
            await client.is_ready()
        else:
            assert (await client.hears_error())["C"] == "28P01"


async def test_an_unknown_user_cannot_guess_the_strangers_password(connect):
    client = connect(OpenLobby(method=AuthType.PASSWORD))
    await client.starts()
    await client.hears()
    await client.says(frontend.password_message("guess"))

    assert (await client.hears_error())["C"] == "28P01"


@pytest.mark.parametrize(
    ("method", "answer", "sqlstate"),
    [
        (AuthType.PASSWORD, frontend.password_message(""), "28P01"),
        (AuthType.PASSWORD, b"p\0\0\0\x06pw", "08P01"),
        (AuthType.PASSWORD, b"p\0\0\0\x08p\0w\0", "08P01"),
        (AuthType.PASSWORD, frontend.query("select 1"), "08P01"),
        (AuthType.PASSWORD, b"p\x7f\xff\xff\xff", "08P01"),
        (AuthType.PASSWORD, b"p\0\0\0\0", "08P01"),
        (AuthType.SCRAM, b"p\0\0\0\x04", "08P01"),
        (AuthType.SCRAM, b"p\0\0\0\x08ABC\0", "08P01"),
        (AuthType.SCRAM, frontend.sasl_initial_response("SCRAM-SHA-1", b"n,,"), "08P01"),
        (AuthType.SCRAM, frontend.sasl_initial_response("SCRAM-SHA-256-PLUS", b"n,,"), "08P01"),
        (AuthType.SCRAM, frontend.sasl_initial_response("SCRAM-SHA-256", b"n,,"), "08P01"),
        (AuthType.SCRAM, b"p\0\0\0\x16SCRAM-SHA-256\0\0\0\0\x05", "08P01"),
        (
            AuthType.SCRAM,
            frontend.sasl_initial_response("SCRAM-SHA-256", b"n,a=x,n=,r=a"),
            "0A000",
        ),
    ],
)
async def test_a_broken_exchange_ends_in_words(connect, method, answer, sqlstate):
    client = connect(OpenLobby(users={"app": "secret"}, method=method))
    await client.starts()
    await client.hears()
    await client.says(answer)

    assert (await client.hears_error())["C"] == sqlstate


async def test_a_client_may_leave_when_asked_for_a_password(connect):
    client = connect(OpenLobby(users={"app": "secret"}))
    await client.starts()
    await client.hears()
    await client.says(frontend.terminate())

    await client.hears_nothing_more()


async def test_the_first_scram_message_may_come_separately(connect):
    lobby = OpenLobby(users={"app": "secret"})
    client = connect(lobby)
    await client.starts()
    await client.hears()
    scram = ScramClient("nonce")
    await client.says(b"p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff")
    assert await client.hears() == (b"R", pack("!i", 11))
    await client.says(frontend.sasl_response(scram.first()))
    salt, iterations = scram.challenged((await client.hears())[1][4:])
    await client.says(
        frontend.sasl_response(scram.final(derive_keys(b"secret", salt, iterations)))
    )

    await client.hears()
    await client.is_ready()
