"""Programs are drawn from a seed, and contain every form they are there for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support.guarantees.programs import Burst, Episode, Program, Style
from tests.support.guarantees.statements import (
    HINTS,
    WAYS_TO_READ,
    WAYS_TO_READ_ALL,
    WAYS_TO_WRITE,
    WAYS_TO_WRITE_ALONE,
    Reading,
    Writing,
)
from tests.support.guarantees.wording import encoded


def episodes(seed: int, sessions: int = 100) -> Iterator[Episode]:
    program = Program(1, 4, seed, two_phases=True)
    for _ in range(sessions):
        program.begin_session()
        for number in range(program.length()):
            yield program.episode(may_write=number % 2 == 0)


@cache
def bursts() -> tuple[Burst, ...]:
    return tuple(itertools.chain.from_iterable(episodes(1)))


def test_the_same_seed_makes_the_same_program_and_another_one_another():
    some = [list(itertools.islice(episodes(seed), 50)) for seed in (5, 5, 6)]
    assert some[0] == some[1] != some[2]


def test_values_of_a_register_only_grow_and_only_its_writer_writes_it():
    values: dict[int, list[int]] = {}
    for burst in bursts():
        for statement in burst.statements:
            if isinstance(statement, Writing):
                values.setdefault(statement.register, []).append(statement.value)
    assert values.keys() == {2, 3}
    for written in values.values():
        assert written == sorted(set(written))


def test_without_may_write_nothing_is_written():
    program = Program(0, 4, 3)
    program.begin_session()
    for _ in range(500):
        for burst in program.episode(may_write=False):
            assert not any(isinstance(s, Writing) for s in burst.statements), burst


def test_no_prepared_transactions_where_the_nodes_allow_none():
    program = Program(0, 4, 3)
    for _ in range(2000):
        assert "prepare" not in " ".join(map(str, program.episode(may_write=True)))


#: Consecutive statements of one burst, as parts of `style: statement; statement`.
FORMS = {
    "begin, write and commit in one string": ("string: begin; ", "; commit"),
    "what follows a commit in one string": ("string: ", "commit; begin"),
    "a pipeline that begins again": ("pipeline: ", "commit; begin"),
    "a chain": ("commit and chain",),
    "a chain in a pipeline": ("pipeline: ", "commit and chain; "),
    "a commit before a Flush": ("flush: ", "commit"),
    "a failed transaction that ends and writes in one string": ("string: rollback; update",),
    "a failure behind a chain": ("commit and chain; select 1/0",),
    "a prepared transaction": ("prepare transaction ",),
    "a prepared transaction that is committed": ("commit prepared ",),
    "a READ ONLY transaction": ("begin read only",),
    "a READ ONLY snapshot": ("begin isolation level repeatable read read only",),
    "a SET below the level": ("set rwsplit.consistency = 'eventual'",),
    "a cursor": ("declare ", "fetch all from ", "close "),
    "a hint in a transaction": ("begin; /* rwsplit: node=replica2 */ ",),
}


@pytest.mark.parametrize("parts", FORMS.values(), ids=list(FORMS))
def test_every_form_occurs(parts: tuple[str, ...]):
    def has(said: str) -> bool:
        at = 0
        for part in parts:
            at = said.find(part, at)
            if at < 0:
                return False
        return True

    assert any(has(str(burst)) for burst in bursts())


def test_every_way_to_read_and_to_write_occurs():
    said = {statement.sql for burst in bursts() for statement in burst.statements}
    reads = [make(r).sql for make in WAYS_TO_READ.values() for r in (2,)]
    reads += [make(None).sql for make in WAYS_TO_READ_ALL.values()]
    assert not [sql for sql in reads if sql not in said]
    for name, make in {**WAYS_TO_WRITE, **WAYS_TO_WRITE_ALONE}.items():
        shape = make(2, 12345).sql.partition("12345")[0]
        assert any(sql.startswith(shape) for sql in said), name
    for hint in HINTS:
        assert any(sql.startswith(f"/* rwsplit: {hint} */") for sql in said), hint


def test_an_open_unit_is_always_ended_and_never_by_a_query():
    for episode in episodes(2, sessions=10):
        for burst, following in itertools.pairwise([*episode, None]):
            if burst is not None and burst.style is Style.FLUSH:
                assert following is not None
                assert following.style in {Style.PIPELINE, Style.SYNCS, Style.FLUSH}


def test_a_write_with_data_and_a_procedure_that_commits_are_alone_in_a_query():
    for burst in bursts():
        for statement in burst.statements:
            if isinstance(statement, Writing) and (statement.data or statement.commits):
                assert (burst.style, len(burst.statements)) == (Style.STRING, 1)


def test_units_and_messages_agree():
    read = Reading("select 1", 0)
    for style, units, codes in (
        (Style.STRING, 1, b"Q"),
        (Style.QUERIES, 2, b"QQ"),
        (Style.PIPELINE, 1, b"PBEPBES"),
        (Style.SYNCS, 2, b"PBESPBES"),
        (Style.FLUSH, 1, b"PBEPBEH"),
    ):
        burst = Burst(style, (read, read))
        assert len(burst.units) == units
        assert _codes(encoded(burst)) == codes
    named = read._replace(name="read_one")
    assert _codes(encoded(Burst(Style.SYNCS, (named,)))) == b"BES"


def _codes(data: bytes) -> bytes:
    codes = b""
    while data:
        codes += data[:1]
        data = data[1 + int.from_bytes(data[1:5], "big") :]
    return codes
