"""When a certificate is valid."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from rwsplit.embedded.certificates import make_certificates
from rwsplit.server.certificates import Validity, first_certificate, validity

DAY = timedelta(days=1)
NOW = datetime(2030, 6, 1, tzinfo=UTC)


def test_the_dates_of_a_certificate_are_those_openssl_shows(tmp_path: Path):
    made = make_certificates(tmp_path / "tls")
    for file in (made.certificate, made.authority):
        shown = subprocess.run(
            ["openssl", "x509", "-in", file, "-noout", "-dates"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        begins, ends = (
            datetime.strptime(line.partition("=")[2], "%b %d %H:%M:%S %Y GMT").replace(
                tzinfo=UTC
            )
            for line in shown.splitlines()
        )
        der = first_certificate(file)
        assert der is not None
        assert validity(der) == Validity(begins, ends)


def test_dates_of_this_century_and_the_last_and_of_the_far_future_are_read(tmp_path: Path):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "k",
         "-out", "c", "-subj", "/CN=x", "-days", "20000"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    der = first_certificate(tmp_path / "c")
    assert der is not None
    found = validity(der)
    assert found is not None
    assert found.ends - found.begins == 20_000 * DAY
    old = der.replace(der[der.index(b"\x17\x0d") :][:15], b"\x17\x0d700101000000Z", 1)
    earlier = validity(old)
    assert earlier is not None
    assert earlier.begins == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("begins", "ends", "problem", "warning"),
    [
        (-DAY, 31 * DAY, None, None),
        (-DAY, 29 * DAY, None, "expires on 2030-06-30 00:00 UTC"),
        (
            -2 * DAY,
            -DAY,
            "has expired on 2030-05-31 00:00 UTC",
            "expires on 2030-05-31 00:00 UTC",
        ),
        (DAY, 99 * DAY, "is not valid before 2030-06-02 00:00 UTC", None),
    ],
)
def test_what_is_wrong_with_the_dates_is_said(begins, ends, problem, warning):
    found = Validity(NOW + begins, NOW + ends)
    assert (found.problem(NOW), found.warning(NOW)) == (problem, warning)


def test_a_file_without_a_certificate_has_none(tmp_path: Path):
    (tmp_path / "empty").write_text("nothing")
    assert first_certificate(tmp_path / "empty") is None


@given(
    st.binary(max_size=60) | st.binary(max_size=20).map(lambda rest: b"\x30\x82\xff\xff" + rest)
)
def test_nonsense_has_no_dates(der: bytes):
    assert validity(der) is None
