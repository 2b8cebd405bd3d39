"""Strategies: scripts a client could say, sensible or not, for hypothesis to vary and to shrink.

Nothing is left out because it is odd: a Query behind messages that lack their Sync, names never given, values that do
not fit. Two things are never said, because the answer to them is the end of the session: anything but data to a COPY
that takes it in, and a Terminate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import hypothesis.strategies as st

from tests.support.script_texts import KINDS, LASTING, READS, TRANSACTIONS, WRITES
from tests.support.scripts import (
    COPY_DONE,
    FLUSH,
    STARTUPS,
    SYNC,
    Line,
    Script,
    Step,
    bind,
    close_portal,
    close_statement,
    copy_data,
    copy_fail,
    describe_portal,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
)

_PREPARE: Final = "prepare transaction 'kept_2pc'"
Lines = tuple[Line, ...]
#: OID of pg_catalog.factorial(bigint).
FACTORIAL: Final = 1376

texts: Final = st.sampled_from(
    [text for kind, times in KINDS for _ in range(times) for text in kind]
)
strings: Final = st.one_of(
    texts, texts, texts, texts, st.lists(texts, min_size=2, max_size=3).map("; ".join)
)
names: Final = st.sampled_from(("", "", "a", "b", "s"))
portals: Final = st.sampled_from(("", "", "", "p", "c"))
values: Final = st.sampled_from(((), (), (), ("1",), ("1",), ("x",), (None,), ("x", "2")))


def _values_for(text: str) -> tuple[str, ...]:
    return tuple(str(number) for number in range(1, 3) if f"${number}" in text)


def _whole(text: str) -> Lines:
    """Parse, Bind, Describe, Execute."""
    return (parse(text), bind("", _values_for(text)), describe_portal(), execute())


def _named(text: str, name: str, limit: int) -> Lines:
    """Prepare it by name and run it."""
    return (
        *(parse(text, name), SYNC, bind(name, _values_for(text)), describe_portal()),
        *(execute(limit=limit), SYNC),
    )


def _piecemeal(text: str, portal: str, limit: int) -> Lines:
    """Run it in a portal by its rows."""
    return (
        *(
            parse(text),
            bind("", _values_for(text), portal=portal),
            execute(portal, limit=limit),
        ),
        *(execute(portal, limit=limit), FLUSH),
    )


#: One message each: in any order, most of them do not make sense.
words: Final = st.one_of(
    st.builds(parse, texts, names),
    st.builds(
        lambda name, data, portal: bind(name, data, portal=portal), names, values, portals
    ),
    st.builds(bind, names),
    st.builds(describe_statement, names),
    st.builds(describe_portal, portals),
    st.builds(
        lambda portal, limit: execute(portal, limit=limit),
        portals,
        st.sampled_from((0, 0, 1, 3)),
    ),
    st.builds(close_statement, names),
    st.builds(close_portal, portals),
    st.sampled_from((SYNC, SYNC, SYNC, FLUSH)),
)

INTO: Final = "copy kept_ref from stdin"
DATA: Final = (
    (copy_data(b"1\t5\n"), COPY_DONE),
    (copy_data(b"1\t6\n2"), copy_data(b"\t7\n"), COPY_DONE),
    (copy_data(b"x\n"), copy_data(b"1\t8\n"), COPY_DONE),
    (copy_data(b"99\t1\n"), COPY_DONE),
    (copy_data(b"1\t9\n"), copy_fail("no more")),
)
copies: Final = st.one_of(
    st.sampled_from(DATA).map(lambda data: (query(INTO), *data)),
    st.tuples(st.sampled_from(DATA), st.sampled_from(((), (SYNC,), (FLUSH,)))).map(
        lambda both: (SYNC, parse(INTO), bind(), execute(), *both[1], *both[0], SYNC)
    ),
    st.sampled_from(
        (
            (query("copy (table kept order by id) to stdout"),),
            (query("copy (select 1 / (2 - id) from kept order by id) to stdout"),),
            (*_whole("copy (select id from kept order by id) to stdout"), SYNC),
        )
    ),
)

groups: Final[st.SearchStrategy[Lines]] = st.one_of(
    *[strings.map(lambda text: (query(text),))] * 4,
    *[texts.map(lambda text: (*_whole(text), SYNC))] * 3,
    texts.map(_whole),
    st.builds(_named, texts, st.sampled_from(("a", "b", "s")), st.sampled_from((0, 0, 2))),
    st.builds(_piecemeal, texts, portals, st.sampled_from((1, 2))),
    *[words.map(lambda line: (line,))] * 4,
    copies,
    st.just((function_call(FACTORIAL, b"5"),)),
)


def _transactions(reads: Sequence[str]) -> st.SearchStrategy[Lines]:
    """Transactions as drivers have them: BEGIN, some of *reads*, a write or not, an end."""
    return st.builds(
        lambda begin, reads, writes, end, extended: tuple(
            line
            for text in (begin, *reads, *writes, end)
            for line in ((*_whole(text), SYNC) if extended else (query(text),))
        ),
        st.sampled_from([text for text in TRANSACTIONS if text.startswith(("begin", "start"))]),
        st.lists(st.sampled_from(reads), max_size=3),
        st.lists(st.one_of(st.sampled_from(WRITES), texts), max_size=2),
        st.sampled_from(("commit", "commit", "end", "rollback", "commit and chain", _PREPARE)),
        st.booleans(),
    )


def _snapshots(reads: Sequence[str]) -> st.SearchStrategy[Lines]:
    """Transactions whose snapshot keeps them on their replicas: what only a primary does is refused there, in rwsplit's own words."""
    return st.builds(
        lambda reads, end: tuple(map(query, (f"begin {_SNAPSHOT}", *reads, end))),
        st.lists(
            st.sampled_from((*reads, "select 1/0", "select nowhere from kept")), max_size=4
        ),
        st.sampled_from(("commit", "rollback")),
    )


_SNAPSHOT: Final = "isolation level repeatable read read only"
speeches: Final = st.one_of(
    *[st.lists(groups, min_size=1, max_size=4).map(lambda many: tuple(sum(many, ())))] * 4,
    *[_transactions(READS)] * 2,
    _snapshots(READS),
)
cuts: Final = st.one_of(
    *[st.just(())] * 3, st.lists(st.integers(1, 999), min_size=1, max_size=4).map(tuple)
)
startups: Final = st.sampled_from((0, 0, 0, *range(len(STARTUPS))))
leaving: Final = st.sampled_from((False, False, False, False, True))


def _script(steps: Sequence[Step], parameters: int, leaves: bool) -> Script:
    return Script(tuple(steps), parameters, leaves)


#: Scripts of one session.
alone: Final = st.builds(
    _script,
    st.lists(st.builds(Step, speeches, cuts), min_size=1, max_size=5),
    startups,
    leaving,
)
#: Scripts of two sessions that take turns.
together: Final = st.builds(
    _script,
    st.lists(st.builds(Step, speeches, cuts, st.sampled_from((1, 2))), min_size=2, max_size=8),
    startups,
    leaving,
)


def under_fire(*sessions: int) -> st.SearchStrategy[Script]:
    """Scripts of *sessions* that take turns, in which some reads take a while."""
    reads = (*READS, *LASTING, *LASTING)
    said = st.one_of(
        *[speeches] * 3,
        st.sampled_from(LASTING).map(lambda text: (*_whole(text), SYNC)),
        *[_transactions(reads)] * 2,
        _snapshots(reads),
    )
    steps = st.builds(Step, said, cuts, st.sampled_from(sessions))
    return st.builds(_script, st.lists(steps, min_size=1, max_size=5), startups, leaving)
