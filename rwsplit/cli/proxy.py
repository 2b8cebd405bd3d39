"""Proxy: the running rwsplit a command is about, found and spoken to through its console.

Where it is, first match wins: `--url`, the file of `-c`, `$RWSPLIT_URL`, ./rwsplit.yaml, ./config/rwsplit.yaml or
/etc/rwsplit/rwsplit.yaml, a demo of the same user; of several demos one must be named, by a URL with its port, which
needs no password. A file says where rwsplit listens, who its admin users are, and, if its userlist can be read and
holds it in plain, the password; else libpq's own places ($PGPASSWORD, ~/.pgpass) are asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from rwsplit.cli.runtime import find_demos
from rwsplit.errors import ConfigError, RwsplitError

if TYPE_CHECKING:
    from rwsplit.config.model import Config

DEFAULT_FILES = (
    Path("rwsplit.yaml"),
    Path("config/rwsplit.yaml"),
    Path("/etc/rwsplit/rwsplit.yaml"),
)
CONNECT_TIMEOUT = 5

Row = dict[str, Any]
Connection = psycopg.Connection[Row]


class ProxyError(RwsplitError):
    """There is no rwsplit to speak to, or it refused; the text says which and what to do."""

    hint: str | None = None
    """What the console adds for a person who types commands."""


class Unreachable(ProxyError):
    """There is no way to speak to it now."""


@attrs.frozen
class Place:
    """How to reach a console."""

    conninfo: str = attrs.field(repr=False)
    shown: str
    """`127.0.0.1:6432`, for people."""


def default_file() -> Path | None:
    """Return the configuration file used when none is named."""
    return next((path for path in DEFAULT_FILES if path.is_file()), None)


def find_proxy(url: str | None = None, config: Path | None = None) -> Place:
    """Return the place of the rwsplit meant.

    Raises:
        ProxyError, ConfigError: none is, or what was given does not name one.
    """
    url = url or (None if config else os.environ.get("RWSPLIT_URL"))
    if url:
        return _demo_at(place := place_from_url(url)) or place
    if config:
        return place_from_file(config)
    if (path := default_file()) is not None:
        return place_from_file(path)
    demos = [place_from_url(demo.url) for demo in find_demos()]
    if len(demos) > 1:
        known = ", ".join(place.shown for place in demos)
        raise ProxyError(
            f"{len(demos)} demos are running, at {known}: say which one is meant, by "
            f"--url postgresql://{demos[0].shown} or RWSPLIT_URL"
        )
    if demos:
        return demos[0]
    raise ProxyError(
        "no rwsplit to speak to: give --url postgresql://admin@host:6432, set RWSPLIT_URL, or name the "
        "configuration by -c"
    )


def place_from_url(url: str) -> Place:
    """Return the place *url* names; whatever its database is, the console is meant."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as exc:
        raise ProxyError(
            f"not a URL such as postgresql://admin@host:6432: {_first(exc)}"
        ) from None
    given.setdefault("host", "127.0.0.1")
    given.setdefault("port", "6432")
    return _place(given)


def place_from_file(path: Path) -> Place:
    """Return where the configuration *path* listens, with an admin user of its own.

    What it names besides (the userlist, certificates) may be out of this user's reach.
    """
    # Imported here: half a second that a command with a URL, and completion beside a demo, do not need.
    from rwsplit.config.loader import parse, read_text

    config = parse(read_text(path), path=path, files=False)
    if not config.admin.users:
        raise Unreachable(
            f"{path} names no admin user: add `admin: {{users: [NAME]}}`, or give --url"
        )
    address = config.listen[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    user, password = _admin_login(config)
    given: dict[str, Any] = {"host": host, "port": str(address.port), "user": user}
    return _place({**given, "password": password} if password else given)


def _demo_at(place: Place) -> Place | None:
    """Return the place of a running demo with its login, if *place* names its address and no user."""
    if conninfo_to_dict(place.conninfo).get("user"):
        return None
    demos = map(place_from_url, (demo.url for demo in find_demos()))
    return next((demo for demo in demos if demo.shown == place.shown), None)


@contextmanager
def connected(place: Place) -> Iterator[Connection]:
    """Lend a connection to the console at *place*.

    Raises:
        Unreachable: rwsplit cannot be reached, or was lost.
        ProxyError: it refused something inside the block.
    """
    try:
        connection = psycopg.connect(
            place.conninfo, autocommit=True, row_factory=dict_row, prepare_threshold=None
        )
    except psycopg.OperationalError as exc:
        raise Unreachable(
            f"cannot connect to rwsplit at {place.shown}: {_first(exc)}"
        ) from None
    with closing(connection), translated(connection, place):
        yield connection


@contextmanager
def translated(connection: Connection, place: Place) -> Iterator[None]:
    """Turn what psycopg raises inside the block into one sentence. Raises as `connected`."""
    try:
        yield
    except psycopg.Error as exc:
        if connection.closed:
            raise Unreachable(f"lost rwsplit at {place.shown}: {_first(exc)}") from None
        refused = ProxyError(_first(exc))
        refused.hint = exc.diag.message_hint
        raise refused from None


def ask(place: Place, command: str, values: Sequence[str] = ()) -> list[Row]:
    """Return the rows the console answers to *command* with *values* for its `%s`.

    Raises:
        ProxyError: as `connected`.
    """
    with connected(place) as connection:
        return rows(connection, command, values)


def rows(connection: Connection, command: str, values: Sequence[str] = ()) -> list[Row]:
    """Return the rows *connection* gives for *command*; none if it answers with no rows."""
    cursor = connection.execute(command.encode(), values or None)
    return cursor.fetchall() if cursor.description else []


def operate(place: Place, command: str, values: Sequence[str] = ()) -> list[str]:
    """Do *command* and return the notices that came with it. Raises as `connected`."""
    notices: list[str] = []
    with connected(place) as connection:
        connection.add_notice_handler(
            lambda notice: notices.append(str(notice.message_primary))
        )
        rows(connection, command, values)
    return notices


def _place(given: dict[str, Any]) -> Place:
    settings = {"connect_timeout": str(CONNECT_TIMEOUT), "application_name": "rwsplit"}
    conninfo = make_conninfo("", **{**settings, **given, "dbname": "rwsplit"})
    return Place(conninfo, f"{given['host']}:{given['port']}")


def _admin_login(config: Config) -> tuple[str, str | None]:
    """Return an admin user and a password, of the first one whose password can be had."""
    from rwsplit.config.choices import AuthType
    from rwsplit.server.credentials import Keyring, Plain

    first = config.admin.users[0]
    if config.auth.type is AuthType.TRUST or config.users.file is None:
        return first, None
    try:
        keyring = Keyring.load(config.users.file)
    except ConfigError:
        return first, None
    for user in config.admin.users:
        credentials = keyring.get(user)
        if credentials is not None and isinstance(credentials.secret, Plain):
            return user, credentials.secret.password.decode("utf-8", "surrogateescape")
    return first, None


def _first(exc: psycopg.Error) -> str:
    """Return what PostgreSQL's words for *exc* come to in one line."""
    if exc.diag.message_primary:
        detail = (exc.diag.message_detail or "").replace("\n", "; ")
        return f"{exc.diag.message_primary}: {detail}" if detail else exc.diag.message_primary
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[0].removeprefix("connection failed: ") if lines else type(exc).__name__
