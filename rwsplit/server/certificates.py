"""Certificates: whether a certificate and its key can be used, and for how long.

Python's ssl module checks that the two fit each other, but shows validity dates only of the peer's certificate. The dates have
a fixed place in a certificate's DER (RFC 5280, section 4.1), so they are read there.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs

from rwsplit.config.files import read_file

#: Bytes of a PEM file.
LIMIT: Final = 1 << 20
#: How long before its end a certificate gets a warning.
NOTICE: Final = timedelta(days=30)

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
#: OpenSSL's reasons, and the messages for them.
_REASONS: Final = {
    "KEY_VALUES_MISMATCH": "the certificate and the key do not fit each other",
    "KEY_TYPE_MISMATCH": "the certificate and the key do not fit each other",
    "BAD_DECRYPT": "the key is protected by a passphrase",
    "BAD_PASSWORD_READ": "the key is protected by a passphrase",
    "NO_START_LINE": "it is not PEM, or not of the kind wanted",
    "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in it",
}
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_FORMATS: Final = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}
#: Two-digit years from this one on belong to the last century.
_CENTURY: Final = 50


@attrs.frozen
class Validity:
    """The two dates between which a certificate is valid."""

    begins: datetime
    ends: datetime

    def problem(self, now: datetime) -> str | None:
        """Return why the certificate is not valid at *now*; None if it is."""
        if now > self.ends:
            return f"has expired on {self.ends:%Y-%m-%d %H:%M} UTC"
        if now < self.begins:
            return f"is not valid before {self.begins:%Y-%m-%d %H:%M} UTC"
        return None

    def warning(self, now: datetime) -> str | None:
        """Return a warning if the certificate expires soon, else None."""
        if self.ends - now < NOTICE:
            return f"expires on {self.ends:%Y-%m-%d %H:%M} UTC"
        return None


def tls_reason(exc: OSError) -> str:
    """Return the message for *exc*, which reading a TLS file has raised."""
    if not isinstance(exc, ssl.SSLError):
        return exc.strerror or str(exc)
    return _REASONS.get(exc.reason, exc.reason) or str(exc)


def first_certificate(path: Path) -> bytes | None:
    """Return the DER of the first certificate in the PEM file *path*, the one presented; None if there is none.

    Raises:
        OSError: it cannot be read.
    """
    found = _PEM.search(read_file(path, LIMIT).decode("latin-1"))
    return None if found is None else ssl.PEM_cert_to_DER_cert(found.group())


def validity(der: bytes) -> Validity | None:
    """Return when the certificate *der* is valid, None if that cannot be read."""
    try:
        [certificate] = _elements(der, 0, len(der), most=1)
        [tbs] = _elements(der, *certificate[1:], most=1)
        fields = [each for each in _elements(der, *tbs[1:], most=5) if each[0] != _VERSION]
        # serial number, signature algorithm, issuer, validity
        begins, ends = _elements(der, *fields[3][1:], most=2)
        return Validity(_time(der, *begins), _time(der, *ends))
    except (ValueError, IndexError):
        return None


def _elements(der: bytes, start: int, end: int, *, most: int) -> list[tuple[int, int, int]]:
    """Return tag, start and end of the first elements from *start* to *end*. Raises ValueError, IndexError."""
    return [element for element, _ in zip(_each(der, start, end), range(most), strict=False)]


def _each(der: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    while at < end:
        tag, length, start = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[start : start + size])
            start += size
        if start + length > end:
            raise ValueError("an element is cut off")
        yield tag, start, start + length
        at = start + length


def _time(der: bytes, tag: int, start: int, end: int) -> datetime:
    text = der[start:end].decode("ascii")
    form = _FORMATS.get(tag)
    if form is None:
        raise ValueError("not a time")
    found = datetime.strptime(text, form).replace(tzinfo=UTC)
    if tag == _UTC_TIME:
        short = int(text[:2])
        found = found.replace(year=(1900 if short >= _CENTURY else 2000) + short)
    return found
