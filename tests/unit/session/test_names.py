"""What a client calls statements: how many names there may be, and which can be relied on."""

from __future__ import annotations

import pytest

from rwsplit.session.names import BYTES_PER_NAME, Names, UnnamedChange, Unsettled
from rwsplit.session.prepared import Prepared
from rwsplit.session.stand_ins import NOTHING
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook

BOOK = FunctionBook((), ())


def some(number: int, *, in_sql: int = 0) -> Names:
    """Return as many names by Parse messages, and as many made by PREPARE, where three may be."""
    names = Names()
    names.most = 3
    for each in range(number):
        names[b"p%d" % each] = Prepared(b"rwsplit_1", b"\0", b"", NOTHING)
    for each in range(in_sql):
        names.in_sql[b"s%d" % each] = True
    return names


@pytest.mark.parametrize(
    ("number", "in_sql", "are_too_many"),
    [(2, 0, False), (3, 0, True), (1, 1, False), (1, 2, True)],
)
def test_names_of_both_kinds_count(number: int, in_sql: int, *, are_too_many: bool):
    assert some(number, in_sql=in_sql).are_too_many is are_too_many


@pytest.mark.parametrize(("spare", "are_too_many"), [(1, False), (0, True)])
def test_so_do_the_bytes_of_their_statements(spare: int, *, are_too_many: bool):
    names = some(1)
    names.size = names.most * BYTES_PER_NAME - spare
    assert names.are_too_many is are_too_many


@pytest.mark.parametrize("text", [b"prepare a as select 1", b"deallocate b"])
def test_what_changes_names_waits_until_all_are_settled(text: bytes):
    names, script = some(1), parse(text, BOOK)
    names.await_settled(script)
    names.unsettled[b"p0"] = 1
    with pytest.raises(Unsettled):
        names.await_settled(script)
    names.await_settled(parse(b"select 1", BOOK))


def test_a_query_leaves_no_unnamed_statement_whoever_has_changed_it_before():
    names = some(1)
    names[b""] = names[b"p0"]
    names.unnamed_by = UnnamedChange()
    names.drop_unnamed()
    assert [*names] == [b"p0"]
    assert names.unnamed_by is None
