"""Making the first primary: its data directory, who may log in, the roles, certificates.

Everybody logs in over TCP by SCRAM-SHA-256. Besides the superuser there are the role rwsplit's
monitor uses, one for replication, and an application with a database of its name.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from psycopg import sql

from rwsplit.embedded.certificates import make_certificates
from rwsplit.embedded.node import SETTINGS_FILE, EmbeddedNode
from rwsplit.embedded.ports import LOOPBACK
from rwsplit.embedded.postgres import Binaries, EmbeddedError
from rwsplit.embedded.reachable import ReachableNode

SUPERUSER: Final = "postgres"
MONITOR: Final = "rwsplit"
REPLICATOR: Final = "replicator"
APPLICATION: Final = "app"
"""The role, and its database, of a demo's application."""

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    # In the data directory: a killed node leaves nothing in /dev/shm, which containers keep small.
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_init_zero": "off",
    "wal_level": "replica",
    "hot_standby": "on",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
    "wal_sender_timeout": "15s",
    "wal_receiver_timeout": "15s",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
}
HBA: Final = (
    f"host all all {LOOPBACK}/32 scram-sha-256",
    f"host replication {REPLICATOR} {LOOPBACK}/32 scram-sha-256",
)


def random_passwords() -> dict[str, str]:
    """Return a new password for each role a cluster starts with."""
    return {
        user: secrets.token_hex(12) for user in (SUPERUSER, MONITOR, REPLICATOR, APPLICATION)
    }


def initialise(
    primary: EmbeddedNode, binaries: Binaries, *, password: str, hba: Sequence[str]
) -> None:
    """Run initdb for *primary*, the superuser's *password* set, *hba* lines before ours.

    Raises: EmbeddedError with what initdb says.
    """
    directory = primary.data.parent
    password_file = directory / "superuser.password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    binaries.account.own(password_file)
    try:
        binaries.run(
            "initdb",
            f"--pgdata={primary.data}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
            directory=directory,
        )
    finally:
        password_file.unlink()

    with (primary.data / "postgresql.conf").open("a") as file:
        file.write(f"\ninclude '{SETTINGS_FILE}'\n")
    (primary.data / "pg_hba.conf").write_text("".join(f"{line}\n" for line in (*hba, *HBA)))
    primary.configure({})


def turn_on_ssl(primary: EmbeddedNode, binaries: Binaries) -> tuple[Path, dict[str, str]]:
    """Give *primary* a certificate, which copies of it share; return the CA's and the settings.

    Raises: EmbeddedError when this PostgreSQL, or the machine, has no OpenSSL.
    """
    asking = ("postgres", "-D", str(primary.data), "-C", "ssl_library")
    library = binaries.finish(binaries.begin(*asking, directory=primary.data.parent))
    if not library.strip():
        raise EmbeddedError(
            f"the PostgreSQL in {binaries.tools} is built without OpenSSL; "
            "name one that has it, such as the distribution's, by --postgres DIR"
        )

    made = make_certificates(primary.data.parent / "tls")
    for source in (made.certificate, made.key):
        target = primary.data / source.name
        target.touch(mode=0o600)
        target.write_bytes(source.read_bytes())
        binaries.account.own(target)
    settings = {
        "ssl": "on",
        "ssl_cert_file": made.certificate.name,
        "ssl_key_file": made.key.name,
    }
    return made.authority, settings


def make_roles(primary: ReachableNode) -> None:
    """Make the roles beside the superuser, and the application's database."""
    with primary.connect() as connection:
        for name, attributes in (
            (REPLICATOR, sql.SQL("login replication")),
            (MONITOR, sql.SQL("login in role pg_monitor")),
            (APPLICATION, sql.SQL("login")),
        ):
            connection.execute(
                sql.SQL("create role {} {} password {}").format(
                    sql.Identifier(name), attributes, sql.Literal(primary.passwords[name])
                )
            )
        owner = sql.Identifier(APPLICATION)
        connection.execute(sql.SQL("create database {} owner {}").format(owner, owner))
