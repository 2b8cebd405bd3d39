"""Counts the steps of sqlglot's parser, how often it moves among its tokens, beside the looks that `parse_meter` counts.

    python -m tests.support.counted_parser        a text and a limit of looks as JSON on each line of stdin, both numbers on each line of stdout

The parser is compiled, and nothing can look into it. So this runs in a process of its own, which imports its sources. A text
that takes more than MOST steps counts as MOST.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from typing import Any, Final, NamedTuple

MOST: Final = 1_000_000
#: The methods that ask a table whether it holds something; others look themselves, when they are compiled.
ASKERS: Final = ("_match_set", "_match_texts")


class Counts(NamedTuple):
    """What the parser has done with a text."""

    steps: int
    looks: int
    stopped: bool
    """There were no more looks."""


class CountedParser:
    """The other end of such a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def counts(self, text: str, looks: int) -> Counts:
        """Return what the parser does with *text* if it may look so many times."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([text, looks]) + "\n")
        self._process.stdin.flush()
        return Counts(*json.loads(self._process.stdout.readline()))


@contextmanager
def counted_parser() -> Iterator[CountedParser]:
    """Run such a process."""
    command = [sys.executable, "-m", "tests.support.counted_parser"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield CountedParser(process)
        finally:
            process.kill()


def _sources_only(path: str) -> FileFinder:
    if "sqlglot" not in path:
        raise ImportError
    return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))


def _ask_as_compiled(kind: Any) -> None:
    """Have the tables of *kind* count only the looks that the compiled parser does not take by itself."""
    counts = kind.__contains__
    plain = next(base for base in kind.__mro__ if base in (dict, set, frozenset))

    def asked(self: Any, key: object) -> bool:
        asker = sys._getframe(1).f_code.co_name
        return bool((counts if asker in ASKERS else plain.__contains__)(self, key))

    kind.__contains__ = asked
    if plain is dict:
        kind.get = dict.get


class _TooManyError(Exception):
    """Its steps are counted no further."""


def _serve() -> None:
    sys.path_hooks.insert(0, _sources_only)
    sys.path_importer_cache.clear()
    from sqlglot import parser
    from sqlglot.dialects.postgres import Postgres
    from sqlglot.errors import SqlglotError

    from rwsplit.sql.parse_meter import TABLES, Metered

    assert str(parser.__file__).endswith(".py")
    advance, steps = parser.Parser._advance, 0

    def counted(self: parser.Parser, times: int = 1) -> None:
        nonlocal steps
        steps += 1
        if steps >= MOST:
            raise _TooManyError
        advance(self, times)

    parser.Parser._advance = counted  # type: ignore[method-assign]
    for kind in {type(getattr(Postgres.Parser, name)) for name in TABLES}:
        _ask_as_compiled(kind)
    dialect = Postgres()
    for line in sys.stdin:
        steps = 0
        text, looks = json.loads(line)
        metered = Metered(looks)
        # KeyError: CONNECT BY within CONNECT BY, which sqlglot forgets twice.
        with suppress(SqlglotError, RecursionError, KeyError, _TooManyError), metered:
            dialect.parse(text)
        print(json.dumps([steps, metered.taken, metered.stopped]), flush=True)


if __name__ == "__main__":
    _serve()
