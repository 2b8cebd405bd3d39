"""What rwsplit answers a node that wants proof."""

from __future__ import annotations

from struct import pack

import pytest

from rwsplit.config.model import AuthConfig
from rwsplit.embedded.certificates import make_certificates
from rwsplit.errors import DemandNotMet, ProtocolViolation, ServerRefused
from rwsplit.protocol.fields import parse_error_fields
from rwsplit.protocol.scram import ScramServer, ScramVerifier, derive_keys
from rwsplit.server.authentication import Authentication, end_point_binding
from rwsplit.server.credentials import Credentials, Md5, Plain, hash_md5
from rwsplit.server.demands import Demands
from tests.support.wires import tls_pair

SALT = b"0123456789abcdef"
KEYS = derive_keys(b"pencil", SALT, 4096)
VERIFIER = ScramVerifier.from_keys(KEYS, SALT, 4096)
OFFER = pack("!i", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"

PLAIN = Credentials("app", Plain(b"pencil"))
MD5 = Credentials("app", Md5(hash_md5(b"pencil", b"app")))


def dialogue(
    credentials: Credentials | None, tls=None, *, is_local: bool = False, **auth: object
) -> Authentication:
    demands = Demands.from_config(AuthConfig(**auth))  # type: ignore[arg-type]
    return Authentication(
        "10.0.0.1:5432", "app", credentials, tls, demands=demands, is_local=is_local
    )


def verifier_only(*, learned: bool) -> Credentials:
    credentials = Credentials("app", VERIFIER)
    if learned:
        credentials.learn_client_key(KEYS.client_key)
    return credentials


def read_initial(message: bytes) -> tuple[bytes, bytes]:
    mechanism, _, rest = message[5:].partition(b"\0")
    return mechanism, rest[4:]


async def hold_scram(authentication: Authentication, server: ScramServer) -> None:
    """Play the node's side to its end."""
    first = await authentication.answer(OFFER)
    assert first is not None
    _, data = read_initial(first)
    final = await authentication.answer(pack("!i", 11) + server.challenge(data))
    assert final is not None
    outcome = server.finish(final[5:])
    assert outcome is not None
    assert await authentication.answer(pack("!i", 12) + outcome[0]) is None
    assert await authentication.answer(pack("!i", 0)) is None
    assert authentication.finished


async def test_trust_needs_nothing():
    authentication = dialogue(None)

    assert await authentication.answer(pack("!i", 0)) is None
    assert authentication.finished


async def test_a_password_is_given_to_who_asks_for_it():
    answer = await dialogue(PLAIN, is_local=True).answer(pack("!i", 3))

    assert answer == b"p\0\0\0\x0bpencil\0"


async def test_a_password_is_told_over_tls_or_where_that_is_allowed(tmp_path):
    asked = pack("!i", 3)
    client, server = await tls_pair(make_certificates(tmp_path / "tls"))

    with pytest.raises(ServerRefused, match=r"without TLS.*auth\.server_cleartext"):
        await dialogue(PLAIN).answer(asked)
    assert await dialogue(PLAIN, client.wire.tls).answer(asked) is not None
    assert await dialogue(PLAIN, server_cleartext=True).answer(asked) is not None
    client.close()
    server.close()


@pytest.mark.parametrize(
    ("required", "request_", "reason"),
    [
        ("scram-sha-256", pack("!i", 3), "asks for the password itself, which"),
        ("scram-sha-256", pack("!i", 5) + b"salt", "asks for md5, which"),
        ("scram-sha-256,md5", pack("!i", 0), "asks for no proof, which"),
        ("!none", pack("!i", 0), "asks for no proof, which"),
        ("!scram-sha-256", OFFER, "asks for SCRAM, which"),
        ("none", OFFER, "asks for SCRAM, which"),
        ("none", pack("!i", 7), "asks for GSSAPI, which"),
    ],
)
async def test_a_node_must_not_ask_for_what_is_not_allowed(required, request_, reason):
    with pytest.raises(DemandNotMet, match=reason) as caught:
        await dialogue(PLAIN, is_local=True, server_require_auth=required).answer(request_)

    assert f"auth.server_require_auth ({required}) does not allow" in str(caught.value)


@pytest.mark.parametrize("required", ["", "scram-sha-256", "!md5,!password"])
async def test_what_is_allowed_goes_on_to_its_end(required):
    authentication = dialogue(PLAIN, server_require_auth=required)

    await hold_scram(authentication, ScramServer(VERIFIER, "nonce"))


@pytest.mark.parametrize("required", ["", "none", "!md5"])
async def test_a_node_may_ask_for_no_proof_unless_it_must(required):
    assert await dialogue(PLAIN, server_require_auth=required).answer(pack("!i", 0)) is None


@pytest.mark.parametrize("credentials", [PLAIN, MD5])
async def test_md5_is_answered_from_a_password_and_from_its_hash(credentials):
    expected = b"md5" + hash_md5(hash_md5(b"pencil", b"app"), b"salt")

    answer = await dialogue(credentials).answer(pack("!i", 5) + b"salt")

    assert answer is not None
    assert answer[5:] == expected + b"\0"


@pytest.mark.parametrize("credentials", [PLAIN, verifier_only(learned=True)])
async def test_scram_is_held_with_a_password_and_with_a_learned_client_key(credentials):
    await hold_scram(dialogue(credentials), ScramServer(VERIFIER, "nonce"))


async def test_the_channel_is_bound_where_there_is_one(tmp_path):
    made = make_certificates(tmp_path / "tls")
    client, server = await tls_pair(made)
    certificate = client.wire.tls.getpeercert(binary_form=True)
    binding = end_point_binding(certificate)

    authentication = dialogue(PLAIN, client.wire.tls)
    await hold_scram(authentication, ScramServer(VERIFIER, "nonce", binding=binding, plus=True))

    first = await dialogue(PLAIN, client.wire.tls).answer(OFFER)
    assert first is not None
    assert read_initial(first)[0] == b"SCRAM-SHA-256-PLUS"
    without = await dialogue(PLAIN, client.wire.tls).answer(
        pack("!i", 10) + b"SCRAM-SHA-256\0\0"
    )
    assert without is not None
    assert read_initial(without)[1].startswith(b"y,,")
    client.close()
    server.close()


def test_a_certificate_that_cannot_be_read_binds_nothing():
    assert end_point_binding(b"not a certificate") is None


@pytest.mark.parametrize(
    ("credentials", "request_", "reason"),
    [
        (None, pack("!i", 3), "the userlist has none for the user"),
        (None, pack("!i", 5) + b"salt", "the userlist has none for the user"),
        (None, OFFER, "the userlist has none for the user"),
        (MD5, pack("!i", 3), "has only a hash"),
        (verifier_only(learned=True), pack("!i", 3), "has only a hash"),
        (verifier_only(learned=True), pack("!i", 5) + b"salt", "has only a SCRAM verifier"),
        (MD5, OFFER, "has only an md5 hash"),
        (verifier_only(learned=False), OFFER, "a client must have logged in"),
        (PLAIN, pack("!i", 7), "asks for GSSAPI"),
        (PLAIN, pack("!i", 99), "asks for authentication method 99"),
        (PLAIN, pack("!i", 10) + b"OAUTHBEARER\0\0", "offers only OAUTHBEARER"),
        (PLAIN, pack("!i", 10) + b"\0", "offers only nothing"),
    ],
)
async def test_what_cannot_be_given_is_refused_in_words_a_client_may_see(
    credentials, request_, reason
):
    with pytest.raises(ServerRefused, match=reason) as caught:
        await dialogue(credentials, is_local=True).answer(request_)

    assert caught.value.server_sqlstate == "28P01"
    fields = parse_error_fields(caught.value.response[5:])
    assert fields["S"] == "FATAL"
    assert fields["M"] == str(caught.value)
    assert '10.0.0.1:5432 as user "app"' in fields["M"]


async def test_another_verifier_than_the_nodes_is_of_no_use():
    authentication = dialogue(verifier_only(learned=True))
    first = await authentication.answer(OFFER)
    assert first is not None
    other = ScramVerifier(4096, b"another salt", VERIFIER.stored_key, VERIFIER.server_key)
    challenge = ScramServer(other, "nonce").challenge(read_initial(first)[1])

    with pytest.raises(ServerRefused, match="another SCRAM verifier"):
        await authentication.answer(pack("!i", 11) + challenge)


async def test_a_node_that_does_not_prove_itself_is_an_impostor():
    authentication = dialogue(PLAIN)
    await authentication.answer(OFFER)

    with pytest.raises(ProtocolViolation, match="without proving"):
        await authentication.answer(pack("!i", 0))
    with pytest.raises(ProtocolViolation, match="signature"):
        await authentication.answer(pack("!i", 12) + b"v=AAAA")


@pytest.mark.parametrize(
    "payload", [b"", b"\0\0\0", pack("!i", 11) + b"r=x", pack("!i", 12) + b"v=x"]
)
async def test_a_broken_exchange_is_a_violation(payload):
    with pytest.raises(ProtocolViolation):
        await dialogue(PLAIN).answer(payload)
