"""What a configuration needs before it is in force."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rwsplit.app.preparation import prepare, prepare_file
from rwsplit.config.model import Config
from rwsplit.embedded.certificates import make_certificates
from rwsplit.errors import ConfigError
from rwsplit.server.credentials import Keyring

TEXT = "nodes: {pg0: h}\nusers: {file: userlist.txt}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "userlist.txt").touch(mode=0o600)
    (tmp_path / "userlist.txt").write_text('"app" "secret"\n')
    path = tmp_path / "rwsplit.yaml"
    path.write_text(TEXT)
    return path


def problems(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        prepare_file(file)
    return caught.value.problems


def certificate(directory: Path, *options: str, name: str = "made") -> tuple[Path, Path]:
    """Make a certificate of its own; *options* say from when to when it holds."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", directory / "request", "-subj", "/CN=x"],
        capture_output=True, check=True,
    )  # fmt: skip
    subprocess.run(
        ["openssl", "x509", "-req", "-in", directory / "request", "-signkey", key, "-out", cert, *options],
        capture_output=True, check=True,
    )  # fmt: skip
    return cert, key


def expired(directory: Path, begins: str, ends: str) -> tuple[Path, Path]:
    """Make a certificate that holds from *begins* to *ends*, YYYYMMDDHHMMSSZ, by openssl's small CA."""
    cert, key = directory / "dated.crt", directory / "dated.key"
    ca = make_certificates(directory / "ca")
    (directory / "index").write_text("")
    (directory / "ca.conf").write_text(
        "[ca]\ndefault_ca=c\n[c]\nnew_certs_dir=.\ndatabase=index\nserial=serial\ndefault_md=sha256\npolicy=p\n[p]\n"
        "commonName=supplied\n"
    )
    (directory / "serial").write_text("01\n")
    certificate(directory, name="dated")
    subprocess.run(
        ["openssl", "ca", "-batch", "-config", "ca.conf", "-cert", ca.authority, "-keyfile", ca.authority.with_suffix(".key"),
         "-in", "request", "-out", cert, "-startdate", begins, "-enddate", ends, "-notext"],
        cwd=directory, capture_output=True, check=True,
    )  # fmt: skip
    return cert, key


def test_a_good_file_comes_to_users_and_no_tls(file: Path):
    prepared = prepare_file(file)
    assert (len(prepared.keyring), prepared.tls_context, prepared.warnings) == (1, None, ())


def test_without_a_userlist_the_users_of_before_stay():
    before = Keyring()
    assert prepare(Config(), before).keyring is before


def test_a_certificate_that_fits_its_key_is_taken_and_one_that_does_not_is_refused(
    file: Path, tmp_path: Path
):
    cert, key = certificate(tmp_path, "-days", "90")
    other = certificate(tmp_path, "-days", "90", name="other")[1]
    for side, more in (("client", "client_tls_sslmode: allow, "), ("server", "")):
        tls = f"tls: {{{more}{side}_tls_cert_file: {cert}, {side}_tls_key_file: %s}}\n"
        file.write_text(TEXT + tls % key)
        prepared = prepare_file(file)
        assert prepared.warnings == ()
        assert (prepared.tls_context is not None) is (side == "client")

        file.write_text(TEXT + tls % other)
        assert problems(file) == [
            f"tls.{side}_tls_cert_file: cannot use {cert}: the certificate and the key do not fit each other"
        ]


@pytest.mark.parametrize(
    ("begins", "ends", "sentence"),
    [
        ("20200101000000Z", "20210101000000Z", "has expired on 2021-01-01 00:00 UTC"),
        ("20900101000000Z", "20910101000000Z", "is not valid before 2090-01-01 00:00 UTC"),
    ],
)
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_certificate_out_of_its_time_is_refused(
    file: Path, tmp_path: Path, begins: str, ends: str, sentence: str, side: str
):
    cert, key = expired(tmp_path, begins, ends)
    mode = "client_tls_sslmode: allow, " if side == "client" else ""
    file.write_text(
        f"{TEXT}tls: {{{mode}{side}_tls_cert_file: {cert}, {side}_tls_key_file: {key}}}\n"
    )
    assert problems(file) == [f"tls.{side}_tls_cert_file: {cert} {sentence}"]


def test_a_certificate_that_ends_soon_is_a_warning(file: Path, tmp_path: Path):
    cert, key = certificate(tmp_path, "-days", "20")
    file.write_text(
        f"{TEXT}tls: {{server_tls_cert_file: {cert}, server_tls_key_file: {key}}}\n"
    )
    (warning,) = prepare_file(file).warnings
    assert warning.startswith(f"tls.server_tls_cert_file: {cert} expires on ")


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(file: Path, tmp_path: Path):
    cert, key = certificate(tmp_path, "-days", "90")
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-out", tmp_path / "locked", "-passout", "pass:x"],
        capture_output=True, check=True,
    )  # fmt: skip
    (tmp_path / "locked").chmod(0o600)
    file.write_text(
        f"{TEXT}tls: {{server_tls_cert_file: {cert}, server_tls_key_file: locked}}\n"
    )
    (problem,) = problems(file)
    assert problem.startswith(f"tls.server_tls_cert_file: cannot use {cert}: ")


def test_a_key_that_everybody_may_read_is_refused_and_one_of_a_group_a_warning(
    file: Path, tmp_path: Path
):
    cert, key = certificate(tmp_path, "-days", "90")
    file.write_text(
        f"{TEXT}tls: {{server_tls_cert_file: {cert}, server_tls_key_file: {key}}}\n"
    )
    key.chmod(0o640)
    assert prepare_file(file).warnings == (
        f"tls.server_tls_key_file: its group may read or change it: {key}",
    )
    key.chmod(0o644)
    assert problems(file) == [
        f"tls.server_tls_key_file: everybody may read or change it: chmod 600 {key}"
    ]


def test_all_that_is_wrong_is_said_at_once(file: Path, tmp_path: Path):
    (tmp_path / "userlist.txt").write_text('"app" "SCRAM-SHA-256$x"\n')
    (tmp_path / "c").write_text("no certificate")
    file.write_text(
        f"{TEXT}tls: {{client_tls_sslmode: allow, client_tls_cert_file: c, client_tls_key_file: userlist.txt, "
        "server_tls_ca_file: c}\n"
    )
    found = problems(file)
    assert [each.partition(":")[0] for each in found] == [
        "users.file",
        "tls.client_tls_cert_file",
        "tls.server_tls_ca_file",
    ]


def test_a_password_in_a_configuration_that_others_may_read_is_warned_of(file: Path):
    file.write_text(TEXT + "monitor: {password: secret}\n")
    file.chmod(0o644)
    assert [warning.partition(";")[0] for warning in prepare_file(file).warnings] == [
        f"monitor.password: everybody may read or change it: {file}"
    ]
    file.chmod(0o640)
    [warning] = prepare_file(file).warnings
    assert "its group may read or change it" in warning
    assert "monitor.password_file" in warning
    file.chmod(0o600)
    assert prepare_file(file).warnings == ()


def test_a_configuration_without_a_password_is_everybodys_to_read(file: Path):
    (file.parent / "password").touch(mode=0o600)
    (file.parent / "password").write_text("secret\n")
    file.write_text(TEXT + "monitor: {password_file: password}\n")
    file.chmod(0o644)
    assert prepare_file(file).warnings == ()
