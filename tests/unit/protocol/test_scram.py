"""SCRAM-SHA-256 against the RFC's example, against scramp, and against those who cheat."""

from __future__ import annotations

from base64 import b64encode

import pytest
from scramp import ScramClient as TheirClient, ScramMechanism

from rwsplit.errors import FeatureNotSupported, ProtocolViolation
from rwsplit.protocol.scram import (
    MAX_ITERATIONS,
    ScramClient,
    ScramKeys,
    ScramServer,
    ScramVerifier,
    derive_keys,
)

# RFC 7677, section 3: user "user", password "pencil".
CLIENT_NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

BINDING = b"\x01" * 32


@pytest.fixture(scope="module")
def keys() -> ScramKeys:
    salt, _ = ScramClient(CLIENT_NONCE).challenged(SERVER_FIRST)
    return derive_keys(b"pencil", salt, 4096)


@pytest.fixture(scope="module")
def verifier(keys: ScramKeys) -> ScramVerifier:
    salt, _ = ScramClient(CLIENT_NONCE).challenged(SERVER_FIRST)
    return ScramVerifier.from_keys(keys, salt, 4096)


def server_at_the_end(verifier: ScramVerifier) -> ScramServer:
    server = ScramServer(verifier, SERVER_NONCE)
    server.challenge(CLIENT_FIRST)
    return server


# -- the RFC's example ------------------------------------------------------------------------------


def test_the_client_says_what_the_rfc_says(keys):
    client = ScramClient(CLIENT_NONCE, user="user")

    assert client.first() == CLIENT_FIRST
    salt, iterations = client.challenged(SERVER_FIRST)
    assert (len(salt), iterations) == (16, 4096)
    assert client.final(keys) == CLIENT_FINAL
    client.verify(SERVER_FINAL)


def test_the_server_says_what_the_rfc_says(verifier, keys):
    server = ScramServer(verifier, SERVER_NONCE)

    assert server.challenge(CLIENT_FIRST) == SERVER_FIRST
    assert server.finish(CLIENT_FINAL) == (SERVER_FINAL, keys.client_key)


def test_the_client_key_of_a_login_logs_in_elsewhere_without_the_password(verifier):
    outcome = server_at_the_end(verifier).finish(CLIENT_FINAL)
    assert outcome is not None
    _, client_key = outcome

    client, server = ScramClient("one"), ScramServer(verifier, "two")
    client.challenged(server.challenge(client.first()))
    second = server.finish(client.final(ScramKeys(client_key, verifier.server_key)))

    assert second is not None
    client.verify(second[0])


# -- against another implementation -----------------------------------------------------------------


@pytest.mark.parametrize("bound", [False, True])
def test_their_client_logs_in_here(verifier, bound):
    mechanism = "SCRAM-SHA-256-PLUS" if bound else "SCRAM-SHA-256"
    binding = ("tls-server-end-point", BINDING) if bound else None
    theirs = TheirClient([mechanism], "user", "pencil", channel_binding=binding)
    server = ScramServer(verifier, "nonce", binding=BINDING if bound else None, plus=bound)

    theirs.set_server_first(server.challenge(theirs.get_client_first().encode()).decode())
    outcome = server.finish(theirs.get_client_final().encode())

    assert outcome is not None
    theirs.set_server_final(outcome[0].decode())


@pytest.mark.parametrize("bound", [False, True])
def test_our_client_logs_in_there(bound):
    mechanism = ScramMechanism("SCRAM-SHA-256-PLUS" if bound else "SCRAM-SHA-256")
    stored = mechanism.make_auth_info("pencil")
    binding = ("tls-server-end-point", BINDING) if bound else None
    theirs = mechanism.make_server(lambda _user: stored, channel_binding=binding)
    client = ScramClient("nonce", user="user", binding=BINDING if bound else None)

    theirs.set_client_first(client.first().decode())
    salt, iterations = client.challenged(theirs.get_server_first().encode())
    theirs.set_client_final(client.final(derive_keys(b"pencil", salt, iterations)).decode())

    client.verify(theirs.get_server_final().encode())


def test_the_empty_user_name_of_libpq_is_welcome(verifier):
    assert ScramServer(verifier, "x").challenge(b"n,,n=,r=abc").startswith(b"r=abcx,")


# -- verifiers --------------------------------------------------------------------------------------


def test_a_verifier_is_read_from_postgresqls_text(verifier):
    text = "SCRAM-SHA-256${}:{}${}:{}".format(
        verifier.iterations,
        *(
            b64encode(part).decode()
            for part in (verifier.salt, verifier.stored_key, verifier.server_key)
        ),
    )

    assert ScramVerifier.parse(text) == verifier


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$4096:c2FsdA==$a:b",
        "SCRAM-SHA-256$4096:c2FsdA==$YQ==:YQ==",
        "SCRAM-SHA-256$x:c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$0:c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$4096:$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$4096:é$" + "A" * 43 + "=:" + "A" * 43 + "=",
        f"SCRAM-SHA-256${MAX_ITERATIONS + 1}:c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-512$4096:c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$4_096:c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "=",
        "SCRAM-SHA-256$\u0664\u0660:c2FsdA==$" + "A" * 43 + "=:" + "A" * 43 + "=",
    ],
)
def test_anything_else_is_not_a_verifier(text):
    assert ScramVerifier.parse(text) is None


def test_a_verifier_does_not_show_its_keys(verifier):
    assert str(verifier.stored_key) not in repr(verifier)


# -- a client does not trust its server -------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "missing"),
        (b"r=abcd,s=c2FsdA==", "missing"),
        (b"s=c2FsdA==,r=abcd,i=1", "attribute r"),
        (b"r=,s=c2FsdA==,i=1", "attribute r"),
        (b"r=other,s=c2FsdA==,i=1", "nonce"),
        (b"r=abc,s=c2FsdA==,i=1", "nonce"),
        (b"r=abcd,s=*,i=1", "base64"),
        (b"r=abcd,s=c2FsdA==,i=x", "iteration"),
        (b"r=abcd,s=c2FsdA==,i=0", "iteration"),
        (b"r=abcd,s=c2FsdA==,i=99999999", "iteration"),
        (b"r=abcd,s=c2FsdA==,i=999999999", "iteration"),
    ],
)
def test_a_malformed_challenge_is_refused(message, reason):
    with pytest.raises(ProtocolViolation, match=reason):
        ScramClient("abc").challenged(message)


@pytest.mark.parametrize("message", [b"", b"e=other-error", b"v=", b"v=*", b"v=AAAA"])
def test_a_server_that_does_not_know_the_verifier_is_refused(keys, message):
    client = ScramClient(CLIENT_NONCE, user="user")
    client.challenged(SERVER_FIRST)
    client.final(keys)

    with pytest.raises(ProtocolViolation):
        client.verify(message)


def test_a_server_cannot_skip_to_the_end():
    with pytest.raises(ProtocolViolation, match="signature"):
        ScramClient(CLIENT_NONCE).verify(SERVER_FINAL)


def test_a_client_says_when_it_could_have_bound_the_channel():
    assert ScramClient("x").first().startswith(b"n,,")
    assert ScramClient("x", could_bind=True).first().startswith(b"y,,")
    assert ScramClient("x", binding=BINDING).first().startswith(b"p=tls-server-end-point,,")


# -- a server does not trust its client -------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", ProtocolViolation),
        (b"n,", ProtocolViolation),
        (b"n,,", ProtocolViolation),
        (b"n,,n=user", ProtocolViolation),
        (b"n,,r=abc,n=user", ProtocolViolation),
        (b"n,,n=user,r=", ProtocolViolation),
        (b"n,,n=user,r=a\x80c", ProtocolViolation),
        (b"x,,n=user,r=abc", ProtocolViolation),
        (b"p=tls-server-end-point,,n=user,r=abc", ProtocolViolation),
        (b"n,a=root,n=user,r=abc", FeatureNotSupported),
        (b"n,,m=ext,n=user,r=abc", FeatureNotSupported),
    ],
)
def test_a_malformed_first_message_is_refused(verifier, message, error):
    with pytest.raises(error):
        ScramServer(verifier, "x").challenge(message)


@pytest.mark.parametrize("flag", [b"n", b"y", b"p=tls-unique"])
def test_a_client_that_chose_plus_binds_the_channel(verifier, flag):
    with pytest.raises(ProtocolViolation):
        ScramServer(verifier, "x", binding=BINDING, plus=True).challenge(
            flag + b",,n=user,r=abc"
        )


def test_an_offer_that_was_taken_out_on_its_way_is_noticed(verifier):
    server = ScramServer(verifier, "x", binding=BINDING)

    with pytest.raises(ProtocolViolation, match="did not see"):
        server.challenge(b"y,,n=user,r=abc")


def test_a_client_that_could_bind_may_log_in_where_nothing_can_be_bound(verifier, keys):
    client, server = ScramClient("a", could_bind=True), ScramServer(verifier, "b")
    client.challenged(server.challenge(client.first()))

    assert server.finish(client.final(keys)) is not None


def test_a_channel_bound_to_another_certificate_is_refused(verifier, keys):
    client = ScramClient("a", binding=b"\x02" * 32)
    server = ScramServer(verifier, "b", binding=BINDING, plus=True)
    client.challenged(server.challenge(client.first()))

    with pytest.raises(ProtocolViolation, match="channel binding"):
        server.finish(client.final(keys))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"c=biws",
        b"c=biws,r=abc",
        CLIENT_FINAL[:-1],
        CLIENT_FINAL.replace(b"p=dHzb", b"p=*Hzb"),
        CLIENT_FINAL.replace(b"c=biws", b"c=eSws"),
        CLIENT_FINAL.replace(b"r=rO", b"r=Or"),
        CLIENT_FINAL[: CLIENT_FINAL.index(b"p=")] + b"p=AAAA",
    ],
)
def test_a_malformed_final_message_is_refused(verifier, message):
    with pytest.raises(ProtocolViolation):
        server_at_the_end(verifier).finish(message)


def test_a_wrong_password_fails(verifier):
    wrong = derive_keys(b"pencils", verifier.salt, verifier.iterations)
    client, server = ScramClient("a"), ScramServer(verifier, "b")
    client.challenged(server.challenge(client.first()))

    assert server.finish(client.final(wrong)) is None
