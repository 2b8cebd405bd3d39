"""A certificate authority and one certificate for 127.0.0.1 and localhost, by the openssl program.

For trying TLS, not for keeping: keys are unencrypted and everything expires in two months.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import attrs

from rwsplit.embedded.postgres import EmbeddedError

DAYS: Final = "60"
EXTENSIONS: Final = """\
subjectAltName = IP:127.0.0.1, DNS:localhost
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
"""


@attrs.frozen
class Certificates:
    """Paths of PEM files."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(directory: Path, *, name: str = "server") -> Certificates:
    """Make *directory* with ca.crt, ca.key, *name*.crt and *name*.key; a CA there is used again.

    Raises: EmbeddedError when there is no openssl program, or with what it says.
    """
    if shutil.which("openssl") is None:
        raise EmbeddedError(
            "certificates are made by the openssl program, which is not installed"
        )
    directory.mkdir(mode=0o755, exist_ok=True)
    made = Certificates(
        directory / "ca.crt", directory / f"{name}.crt", directory / f"{name}.key"
    )
    (directory / "extensions").write_text(EXTENSIONS)

    if not made.authority.exists():
        _openssl(directory, "req", "-x509", *_new_key("ca"), "-out", "ca.crt", "-days", DAYS,
                 "-subj", "/CN=rwsplit embedded CA")  # fmt: skip
    _openssl(
        directory, "req", "-new", *_new_key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}"
    )
    _openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
             "-CAcreateserial", "-out", f"{name}.crt", "-days", DAYS, "-extfile", "extensions")  # fmt: skip
    return made


def _new_key(name: str) -> list[str]:
    return ["-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key"]


def _openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments],  # noqa: S607 - wherever this system keeps it
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ.get("PATH", os.defpath)},
    )
    if done.returncode != 0:
        raise EmbeddedError(f"openssl {arguments[0]} failed:\n{done.stderr.strip()}")
