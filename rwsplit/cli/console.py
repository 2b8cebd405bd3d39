"""`rwsplit console`: type console commands, or give one as an argument."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated

import typer

from rwsplit.cli.options import ConfigFile, Url
from rwsplit.cli.proxy import (
    Connection,
    ProxyError,
    Row,
    Unreachable,
    connected,
    find_proxy,
    translated,
)

PROMPT = "rwsplit=> "


def console(
    command: Annotated[
        str | None, typer.Argument(metavar="[COMMAND]", help="One command; else they are read.")
    ] = None,
    url: Url = None,
    config: ConfigFile = None,
) -> None:
    """Speak to the console of a running rwsplit; `help` lists its commands, \\q ends it."""
    place = find_proxy(url, config)
    with connected(place) as connection:
        connection.add_notice_handler(
            lambda notice: print(f"NOTICE:  {notice.message_primary}")
        )
        if command is not None:
            _run(connection, command)
            return
        for line in _lines():
            try:
                with translated(connection, place):
                    _run(connection, line)
            except Unreachable:
                raise
            except ProxyError as exc:
                print(f"ERROR:  {exc}", file=sys.stderr)
                if exc.hint:
                    print(f"HINT:  {exc.hint}", file=sys.stderr)


def _run(connection: Connection, command: str) -> None:
    cursor = connection.execute(command.encode())
    while True:
        if cursor.description:
            _print([column.name for column in cursor.description], cursor.fetchall())
        elif cursor.statusmessage:
            print(cursor.statusmessage)
        if not cursor.nextset():
            return


def _print(names: list[str], found: list[Row]) -> None:
    """Print aligned columns, as wide as they are: output may go into a pipe."""
    lines = [names, *(["" if row[n] is None else str(row[n]) for n in names] for row in found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("   ".join(padded).rstrip())


def _lines() -> Iterator[str]:
    """Yield what is typed, or comes through a pipe, until its end or \\q."""
    if is_terminal():
        # Importing it gives `input` a history and arrow keys.
        with suppress(ImportError):
            import readline  # noqa: F401
        while True:
            try:
                line = input(PROMPT)
            except EOFError:
                print()
                return
            if line.strip() in {"\\q", "quit", "exit"}:
                return
            if line.strip() in {"\\?", "\\h"}:  # as in psql
                line = "HELP"
            if line.strip():
                yield line
    else:
        yield from (line for line in sys.stdin if line.strip())


def is_terminal() -> bool:
    """Tell whether commands are typed, not read from a pipe."""
    return sys.stdin.isatty()
