"""A fuzzer of classification: looks for texts that take longer than their budget, and keeps those it finds.

    python -m tests.attack.fuzz_classification [--seconds 60] [--seed 7]

Texts up to 4 kB are looked up as in a turn, longer ones are read as in the parser process. Time is the processor's, so the machine may be busy.
What takes too long is made shorter while it still does, and written into tests/attack/corpus, which a test
reads, too. The last line says how many texts there were and what the slowest took.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import sys
import time
from pathlib import Path
from typing import Final

from sqlglot.dialects.postgres import Postgres

from rwsplit.parser import work
from rwsplit.parser.messages import Known, Query
from rwsplit.sql.builtin import RESERVED
from rwsplit.sql.cache import INLINE_LIMIT, StatementCache
from rwsplit.sql.calls import KEY_WORDS
from rwsplit.sql.excerpt import Excerpt
from rwsplit.sql.functions import FunctionBook
from tests.attack.expensive_texts import TEXTS

CORPUS: Final = Path(__file__).parent / "corpus"
#: Seconds of processor time a text may take in a turn, and in the process.
INLINE, ELSEWHERE = 0.15, 1.5
MOST: Final = 200_000
WORDS: Final = sorted(
    {word.lower() for word in Postgres.Tokenizer.KEYWORDS if word[:1].isalpha()}
    | {word.lower() for word in Postgres.Parser.FUNCTION_PARSERS}
    | {*KEY_WORDS, *RESERVED}
)
PIECES: Final = [
    *("select ", "from t ", "where ", "x ", "1 ", "'a' ", "$1 ", "t.a ", '"A b" ', "* ", ", "),
    *(
        "(",
        ")",
        "[",
        "]",
        "; ",
        "+",
        "- ",
        "::",
        "=",
        "||",
        ".",
        ":",
        "<",
        "not ",
        "$$",
        "/*",
        "*/",
    ),
    *(
        "union all ",
        "join t ",
        "on x ",
        "using (x) ",
        "limit ",
        "lateral (",
        "as ",
        "with x as (",
    ),
    *(
        "case when ",
        "then ",
        "else ",
        "end ",
        "in (",
        "between ",
        "and ",
        "or ",
        "over (",
        "array[",
    ),
    *(
        "interval ",
        "cast(",
        "int",
        "date",
        "numeric",
        "timestamp ",
        "double precision",
        "e'\\'' ",
    ),
    *("insert into t values (", "do $$ ", "query_to_xml('", "'', ", "execute ", "U&'\\0061' "),
]

_book: Final = FunctionBook()


def text(chance: random.Random) -> str:
    """Return some text: a few pieces, repeated, or a text known to be expensive with something changed."""
    if chance.random() < 0.1:
        known = chance.choice([*TEXTS.values()])[:MOST]
        at = chance.randrange(len(known))
        return known[:at] + chance.choice(PIECES) + known[at + chance.randrange(8) :]
    few = [
        chance.choice(WORDS) + chance.choice([" ", "(", "[", " x ", "(x, ", "(select "])
        if chance.random() < 0.5
        else chance.choice(PIECES)
        for _ in range(chance.randint(1, 5))
    ]
    unit, times = "".join(few), int(2 ** chance.uniform(0, 12))
    closing = "".join({"(": ")", "[": "]"}.get(sign, "") for sign in reversed(unit))
    body = unit * times + chance.choice(["x", "1", "", "select 1", "'a'"])
    if chance.random() < 0.8:
        body += closing * times
    return (chance.choice(["", "select ", "select x from t where ", "explain "]) + body)[:MOST]


def seconds(query: bytes) -> float:
    """Return how long it takes to look *query* up, or to read it elsewhere."""
    began = time.process_time()
    if len(query) <= INLINE_LIMIT:
        StatementCache(_book, size=10).lookup(query)
    else:
        running = work.classify(Query(query))
        with contextlib.suppress(StopIteration):
            running.send(Known(Excerpt.of(_book, next(running).names)))
    return time.process_time() - began


def is_too_expensive(query: bytes) -> bool:
    """Return whether *query* takes too long, each of three times."""
    patience = INLINE if len(query) <= INLINE_LIMIT else ELSEWHERE
    return all(seconds(query) > patience for _ in range(3))


def shortened(query: bytes) -> bytes:
    """Return a shorter text that takes too long as well."""
    size = len(query) // 2
    while size:
        for start in range(0, len(query), size):
            shorter = query[:start] + query[start + size :]
            if is_too_expensive(shorter):
                query = shorter
                break
        else:
            size //= 2
    return query


def main() -> int:
    """Look for texts until the time is over; return 1 if there were any."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    count, found, slowest = 0, 0, {True: (0.0, ""), False: (0.0, "")}
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        query = text(chance)
        data = query.encode()
        took, count = seconds(data), count + 1
        is_short = len(data) <= INLINE_LIMIT
        slowest[is_short] = max(slowest[is_short], (took, query[:60]))
        if took > (INLINE if is_short else ELSEWHERE) and is_too_expensive(data):
            data, found = shortened(data), found + 1
            CORPUS.mkdir(exist_ok=True)
            path = CORPUS / f"{hashlib.sha256(data).hexdigest()[:12]}.sql"
            path.write_bytes(data)
            print(f"{path}: {took:.2f} s, {len(data)} bytes: {data[:80]!r}", flush=True)
    for is_short, (took, query) in slowest.items():
        where = "in a turn" if is_short else "elsewhere"
        print(f"the slowest {where}: {took * 1000:.0f} ms: {query!r}")
    print(f"{count} texts of seed {options.seed}; {found} took too long")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
