"""The facts of several texts together."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from rwsplit.session.stand_ins import SEVERAL, Effects, merge, of_prepared
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script

BOOK = FunctionBook()
SCRIPTS = [
    parse(text.encode(), BOOK)
    for text in (
        *("begin", "commit", "savepoint a", "rollback to a", "discard all", "reset all"),
        *("select 1", "select f()", "insert into t values (1)", "set a.b = 1", "reset a.b"),
        *(
            "prepare p as select 1",
            "deallocate p",
            "begin read only",
            "set a.c = 1; select 2",
            "listen x",
        ),
        "/* rwsplit: primary */ select 3",
    )
]


@given(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=40))
def test_what_runs_many_times_is_merged_as_if_each_time_counted(scripts: list[Script]):
    statements = tuple(each for script in scripts for each in script.statements)
    hints = next((script.hints for script in scripts if script.hints is not None), None)
    whole, found = Script(statements, hints=hints), merge(scripts)
    for name in Script.__slots__:
        if name not in {"cost", "statements", "weight"}:
            assert getattr(found, name) == getattr(whole, name), name
    assert found.statements[0] is statements[0]
    assert found.statements[-1] is statements[-1]
    assert len(found.statements) <= 4 * len(SCRIPTS)


def last(statements: tuple[object, ...]) -> list[object]:
    """Return *statements* in the order in which each comes last."""
    return list(dict.fromkeys(reversed(statements)))


@given(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=40))
def test_the_order_of_the_last_and_first_times_is_kept(scripts: list[Script]):
    statements = tuple(each for script in scripts for each in script.statements)
    found = merge(scripts).statements
    assert last(found) == last(statements)
    assert list(dict.fromkeys(found)) == list(dict.fromkeys(statements))


@pytest.mark.parametrize("text", ["select 1", "", ";;"])
def test_a_parse_of_one_statement_is_what_it_is_as_a_query(text: str):
    script = parse(text.encode(), BOOK)
    assert of_prepared(script) is script
    assert of_prepared(None) is None


def test_a_parse_of_several_statements_is_refused_by_postgresql():
    assert of_prepared(parse(b"select 1; select 2", BOOK)) is SEVERAL


def test_an_open_unit_that_never_ends_does_not_grow():
    one, other = parse(b"set a.b = 1", BOOK), parse(b"reset a.c", BOOK)
    effects = Effects(one)
    for _ in range(5000):
        effects.add(other)
        effects.add(one)
    assert len(effects.statements) < 3000
    assert effects.statements[0] is effects.statements[-1] is one.statements[0]
    effects.add(parse(b"discard all", BOOK))
    assert effects.discards
