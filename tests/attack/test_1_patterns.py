"""Regular expressions: what a client sends is looked through in linear time, whatever it is.

Every pattern of rwsplit is tried with texts of one piece again and again. A pattern that can read such a text in more than one way takes four times as long
for twice as much, and a tenth of a second or more for 8 kB, where others take a millisecond.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rwsplit

#: Seconds of processor time, for each text; one that is slower is tried again.
ENDS_SOON = 0.03
#: Bytes: so much more costs a hundredth of a second if time is quadratic, and a tenth with the next.
SIZES = (1 << 10, 1 << 13)
TRIES = 3
SEARCHES = re.compile(r"(\w+)\.(?:finditer|findall|subn?|search|split)\(")
HEADS = [
    *(
        "",
        "1",
        "1.",
        ".1",
        "a",
        "'",
        '"',
        "U&'",
        'U&"',
        "E'",
        "$a$",
        "/*",
        "--",
        "(",
        "%1$",
        ".",
        "'x'",
    ),
    *(
        "EXECUTE",
        "DEALLOCATE",
        "DEALLOCATE PREPARE",
        "select pg_cancel_backend(1",
        "select",
        "rwsplit",
        "rwsplit:",
    ),
    *("pg_temp_", "a=", '"a" "', "md5", "SCRAM-SHA-"),
]
PIECES = [
    *(
        " ",
        "\n",
        "\t",
        "a",
        "1",
        "0",
        "'",
        "''",
        '"',
        '""',
        "\\",
        "\\'",
        ".",
        ",",
        "(",
        ")",
        "%",
        "%1$",
        "+",
        "-",
    ),
    *(
        "*",
        "/",
        "/*",
        "/**/",
        "*/",
        "--\n",
        "--",
        "a ",
        "1 ",
        "1,",
        "'x',",
        "$1",
        ", ",
        "a.",
        '"a".',
        "('x'),",
        "=",
        "é",
    ),
    *("'a'\n", "\\1234", "min", "rwsplit", "$"),
]
TAILS = ["", "!", "'", '"', "x", "\0"]


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Yield every pattern that a module of rwsplit has, and its name."""
    for module in pkgutil.walk_packages(rwsplit.__path__, "rwsplit."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


PATTERNS = dict(patterns())
SEARCHED = [
    name
    for name in PATTERNS
    if name.rpartition(".")[2]
    in SEARCHES.findall(inspect.getsource(importlib.import_module(name.rpartition(".")[0])))
]
"""Those that look through a text from anywhere in it, not only from where they are told to begin."""


def slow(pattern: re.Pattern[Any], looks: Callable[[Any], object]) -> list[tuple[str, ...]]:
    """Return head, piece and tail of the texts with which *looks* takes too long."""
    found = []
    for head, piece, tail in itertools.product(HEADS, PIECES, TAILS):
        for size in SIZES:
            text: Any = head + piece * (size // len(piece)) + tail
            if isinstance(pattern.pattern, bytes):
                text = text.encode()
            if _takes_long(looks, text):
                found.append((head, piece, tail))
                break
    return found


def _takes_long(looks: Callable[[Any], object], text: object) -> bool:
    for _ in range(TRIES):
        before = time.thread_time()
        looks(text)
        if time.thread_time() - before <= ENDS_SOON:
            return False
    return True


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_that_is_matched_takes_linear_time(name: str):
    pattern = PATTERNS[name]
    assert slow(pattern, lambda text: (pattern.match(text), pattern.fullmatch(text))) == []


@pytest.mark.parametrize("name", SEARCHED)
def test_a_pattern_that_is_searched_for_takes_linear_time(name: str):
    pattern = PATTERNS[name]
    assert slow(pattern, lambda text: sum(1 for _ in pattern.finditer(text))) == []
