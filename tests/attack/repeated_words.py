"""Looks for words that sqlglot reads again and again: every word it knows, with every companion, said again and again.

    python -m tests.attack.repeated_words [--seconds 60] [--seed 7]

What has been dear so far was always some few words within each other: `int(`, `x limit (`, `int array, (`. So all such texts are tried, in a random
order, as far as the time allows (all are two million, an hour's work). Each is said a few times; if that takes longer than it should, more often, until
the turn loop would leave it to the parser process, or it takes longer than a turn may. That is kept in tests/attack/corpus, as by `fuzz_classification`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from rwsplit.sql.cache import INLINE_LIMIT, StatementCache
from rwsplit.sql.effort import Effort
from tests.attack.fuzz_classification import BOOK, Kind, Place, is_too_dear, keep
from tests.attack.generated_texts import WORDS

COMPANIONS: Final = (
    *("", "x", "1", "'s'", ",", "x,", "int", "int,", "array", "select 1", "select 1 from t,"),
    *("select", "from", "from x", "join", "t join", "not", "-", "case when", "interval", "x."),
    *("as", "x as", "=", "1 +", "1::int", "limit 1", "values", "with", "row", "map", "date"),
    *("exists", "lateral", "unnest", "table", "over", "if", "x in", "between 1 and", "set"),
    *("distinct", "order by", "group by", "x ->", "select 1 union", "cast", "for", "x <"),
)
STARTS: Final = ("select ", "select 1 from t ")
#: What is innermost: an end, and an error.
ENDS: Final = ("1", "= =")
#: Seconds that so many levels, or repetitions, take at most if each costs as much as the others.
FEW, MANY, LINEAR = 8, 60, 0.004
#: The next number of repetitions, as a factor.
MORE: Final = 1.3


class Pattern(NamedTuple):
    """Words to be said again and again, and what closes them."""

    start: str
    opening: str
    closing: str
    end: str

    def text(self, times: int) -> str:
        """Return a text that says the words *times* times."""
        closing = f" {self.closing}" * times if self.closing else ""
        return f"{self.start}{f'{self.opening} ' * times}{self.end}{closing}"


def patterns(word: str, companion: str) -> Iterator[Pattern]:
    """Yield *word* and *companion*, within brackets and without."""
    pairs = f"{word} {companion}", f"{companion} {word}"
    for pair, start in itertools.product(pairs, STARTS):
        for end in ENDS:
            for opening in (f"{pair} (", f"{pair}, (", f"( {pair}", f"{pair} (select"):
                yield Pattern(start, opening, ")", end)
            yield Pattern(start, f"( select 1 from t {pair}", ")", end)
            yield Pattern(start, f"{pair} [", "]", end)
            yield Pattern(start, f"{pair} <", ">", end)
        for flat in (pair, f"{pair},", f"({pair}),", f"f({pair})"):
            yield Pattern(start, flat, "", "1")


def too_dear(pattern: Pattern) -> bytes | None:
    """Return a text of *pattern* that takes too long in a turn, None if there is none."""
    times = FEW
    while True:
        text = pattern.text(times).encode()
        if len(text) > INLINE_LIMIT:
            return None  # the parser process reads it
        seconds, is_read = _turn(text)
        if seconds > Place.TURN.value and is_too_dear(text):
            return text
        if not is_read:
            return None  # it was given up in time
        if seconds < LINEAR and (pattern.closing or times >= MANY):
            return None
        times = int(times * MORE) + 1


def _turn(text: bytes) -> tuple[float, bool]:
    """Return how long *text* takes in a turn, and whether it is read there."""
    cache = StatementCache(BOOK, size=10, effort=Effort(time.thread_time))
    began = time.process_time()
    read = cache.lookup(text)
    return time.process_time() - began, read is not None


def main() -> int:
    """Try them until the time is over, or all are tried; return 1 if there was one that is too dear."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    pairs = list(itertools.product(WORDS, COMPANIONS))
    random.Random(options.seed).shuffle(pairs)
    end = time.monotonic() + options.seconds
    tried = found = 0
    for pair in pairs:
        if time.monotonic() > end:
            break
        tried += 1
        for text in filter(None, map(too_dear, patterns(*pair))):
            found += 1
            print(f"{keep(text, Kind.STATEMENT)}: {text[:80]!r}", flush=True)
    print(
        f"{tried} of {len(pairs)} pairs of seed {options.seed}; {found} took too long in a turn"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
