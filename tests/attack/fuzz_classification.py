"""A fuzzer of classification: looks for texts that take longer than their budget, and keeps them.

    python -m tests.attack.fuzz_classification [--seconds 60] [--seed 7]

Each text goes the way it would: up to 4 kB it is looked up as in a turn; a longer one, or one that is dear, is read as in the parser process, and what the turn
does about that is timed apart. One in ten is the body of a function. Time is the processor's, so the machine may be busy. Texts that took longest so far
are changed and tried again, so that the search climbs. What takes too long in a turn is made shorter while it still does, and written into
tests/attack/corpus, which a test reads, too. The last lines say how many texts there were and what the slowest took.

What is read as in the parser process is read in a process of its own, which the kernel ends when it has worked for as long as the parser process may: then the
statement goes to the primary unread, and nobody has waited but its session. How many texts that happened to is said as well.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Final

from rwsplit.parser import work
from rwsplit.parser.frames import BrokenFrame, Frames, encode
from rwsplit.parser.messages import Facts, Known, Message, Names, Query, Read
from rwsplit.parser.process import Limits
from rwsplit.sql.body import read_body
from rwsplit.sql.cache import INLINE_LIMIT, StatementCache
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.effort import Effort
from rwsplit.sql.excerpt import Excerpt
from rwsplit.sql.facts import HARMLESS, UNKNOWN, VOLATILE
from rwsplit.sql.functions import FunctionBook
from tests.attack.generated_texts import WORDS, text

CORPUS: Final = Path(__file__).parent / "corpus"
#: Seconds of processor time a parser process has for one text, or body.
LIMIT: Final = Limits().seconds
#: How often a text must take too long.
TRIES: Final = 4
#: A text, and what it takes on a machine with two processors of which others use both. Hyperthreads, caches, a hypervisor make it more.
ORDINARY: Final = b"select " + b", ".join(b"a%d" % number for number in range(400)) + b" from t"
ORDINARY_SECONDS: Final = 0.006
#: As many of the slowest texts of each place are changed and tried again.
SLOW: Final = 20
#: Seconds for making one text shorter.
SHORTENING: Final = 30.0


class Place(Enum):
    """Where a text takes time: its value is how many seconds of processor time it may; in the process the kernel sees to that."""

    TURN = 0.05
    PROCESS = LIMIT


class Kind(Enum):
    """What a text is."""

    STATEMENT = ".sql"
    BODY = ".body"


Times = dict[Place, float]


def times(query: bytes, kind: Kind = Kind.STATEMENT) -> Times:
    """Return how long *query* takes in each place, at most LIMIT in the process."""
    if kind is Kind.BODY:
        return apart(lambda took: _read_as_body(query, took))
    took = dict.fromkeys(Place, 0.0)
    cache = StatementCache(BOOK, size=10, effort=Effort(time.thread_time))
    with _timed(took, Place.TURN):
        known = cache.lookup(query) if len(query) <= INLINE_LIMIT else cache.peek(query)
    if known is None:
        elsewhere = apart(lambda took: _read_as_statement(query, cache, took))
        took = {place: took[place] + elsewhere[place] for place in Place}
    return took


def apart(work: Callable[[Times], None]) -> Times:
    """Return what *work* notes in a process of its own; the kernel ends that when it has worked for as long as a parser process may."""
    took = dict.fromkeys(Place, 0.0)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, LIMIT)
            work(took)
            os.write(writing, json.dumps([took[place] for place in Place]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        return {**took, Place.PROCESS: LIMIT}
    assert status == 0, f"the process has ended with {status}"
    return dict(zip(Place, json.loads(said), strict=True))


def _read_as_body(query: bytes, took: Times) -> None:
    """Have the body *query* read as in the parser process, and told."""
    with _timed(took, Place.PROCESS):
        body = read_body(query.decode(errors="replace"))
    with _timed(took, Place.TURN):
        _received(encode(Read(body)))


def _read_as_statement(query: bytes, cache: StatementCache, took: Times) -> None:
    """Have *query* read as in the parser process, and told to *cache*."""
    reading = work.classify(Query(query))
    with contextlib.suppress(StopIteration, BrokenFrame):
        try:
            with _timed(took, Place.PROCESS):
                names = encode(next(reading))
            with _timed(took, Place.TURN):
                asked = _received(names)
                assert isinstance(asked, Names)
                known = encode(Known(Excerpt.of(BOOK, asked.names)))
            with _timed(took, Place.PROCESS):
                told = _received(known)
                assert isinstance(told, Known)
                reading.send(told)
        except StopIteration as end:
            with _timed(took, Place.PROCESS):
                facts = encode(end.value)
            with _timed(took, Place.TURN):
                answer = _received(facts)
                assert isinstance(answer, Facts)
                cache.store(query, answer.script)


@contextmanager
def _timed(took: Times, place: Place) -> Iterator[None]:
    began = time.process_time()
    try:
        yield
    finally:
        took[place] += time.process_time() - began


def is_too_dear(query: bytes, kind: Kind = Kind.STATEMENT) -> bool:
    """Return whether *query* takes too long in a turn, each of some times; a machine that is slow just now may take longer."""
    limit = Place.TURN.value
    for _ in range(TRIES):
        took = times(query, kind)[Place.TURN]
        if took <= limit or took <= limit * slowness():
            return False
    return True


def slowness() -> float:
    """Return how many times as long as ORDINARY_SECONDS an ordinary text takes now, if longer."""
    took = [times(ORDINARY)[Place.TURN] for _ in range(5)]
    return max(1.0, min(took) / ORDINARY_SECONDS)


def shortened(query: bytes, kind: Kind) -> bytes:
    """Return a shorter text that takes too long as well, if one is found soon."""
    size, end = len(query) // 2, time.monotonic() + SHORTENING
    while size and time.monotonic() < end:
        for start in range(0, len(query), size):
            if time.monotonic() > end:
                return query
            shorter = query[:start] + query[start + size :]
            if is_too_dear(shorter, kind):
                query = shorter
                break
        else:
            size //= 2
    return query


def corpus() -> Iterator[tuple[Path, Kind]]:
    """Yield what was found before."""
    for path in sorted(CORPUS.iterdir()) if CORPUS.is_dir() else ():
        yield path, Kind(path.suffix)


def keep(query: bytes, kind: Kind) -> Path:
    """Write *query* into the corpus; return where."""
    path = CORPUS / (hashlib.sha256(query).hexdigest()[:12] + kind.value)
    CORPUS.mkdir(exist_ok=True)
    path.write_bytes(query)
    return path


def main() -> int:
    """Look for texts until the time is over; return 1 if there were any."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    count = found = cut = 0
    slowest: dict[Place, list[tuple[float, str]]] = {place: [] for place in Place}
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        query = text(chance, [each for slow in slowest.values() for _, each in slow])
        data = query.encode()
        kind = Kind.BODY if chance.random() < 0.1 else Kind.STATEMENT
        took, count = times(data, kind), count + 1
        cut += took[Place.PROCESS] >= LIMIT
        if took[Place.TURN] > Place.TURN.value and is_too_dear(data, kind):
            data, found = shortened(data, kind), found + 1
            seconds = times(data, kind)[Place.TURN]
            print(
                f"{keep(data, kind)}: {seconds:.2f} s, {len(data)} bytes: {data[:80]!r}",
                flush=True,
            )
            continue  # not to be found again and again
        for place, slow in slowest.items():
            slow.append((took[place], query))
            slow.sort(reverse=True)
            del slow[SLOW:]
    for place, slow in slowest.items():
        seconds, query = slow[0]
        print(f"the slowest, {place.name}: {seconds * 1000:.0f} ms: {query[:60]!r}")
    print(
        f"{count} texts of seed {options.seed}; {found} took too long in a turn; "
        f"{cut} were given up by the parser process"
    )
    return int(bool(found))


def _received(frame: bytes) -> Message:
    frames = Frames()
    frames.feed(frame)
    message = frames.next()
    assert message is not None
    return message


def _some_book() -> FunctionBook:
    """Return a book of a database where any word is a function, or a relation that matters, of some schemas."""
    schemas = "pg_catalog", "public", "s", "t"
    catalog = Catalog(
        functions={(schema, word): VOLATILE for schema in schemas for word in WORDS},
        relations={("public", word): UNKNOWN for word in WORDS},
        operators={"+": HARMLESS, "<->": VOLATILE},
    )
    return FunctionBook().within(catalog, ("public", "s"))


BOOK: Final = _some_book()

if __name__ == "__main__":
    sys.exit(main())
