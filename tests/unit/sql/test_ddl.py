"""Which DDL gives a name another meaning that is not one of a function or view alone."""

from __future__ import annotations

import pytest

from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import parse
from rwsplit.sql.facts import ABOUT_THE_PRIMARY, HARMLESS, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import PrimaryOnly, Redefined, StateKind

BOOK = FunctionBook().within(
    Catalog(
        functions={
            ("public", "locks"): leaving(StateKind.ADVISORY_LOCK),
            ("public", "computes"): HARMLESS,
        },
        relations={
            ("public", "locking"): leaving(StateKind.ADVISORY_LOCK),
            ("public", "unlogged"): ABOUT_THE_PRIMARY,
        },
        types={"checked": leaving(StateKind.ADVISORY_LOCK)},
    ),
    ("public",),
)


def state_of(text: str) -> StateKind | None:
    script = parse(text.encode(), BOOK)
    assert script.primary_only is PrimaryOnly.MAY_WRITE
    return script.state


@pytest.mark.parametrize(
    "text",
    [
        "alter schema a rename to b",
        "alter extension e set schema b",
        "alter table locking rename to t",
        "alter table if exists only public.locking rename to t",
        "alter table locking set schema b",
        "alter index locking rename to t",
        "alter domain checked rename to e",
        "alter domain checked set schema b",
        "alter domain d add check (locks(value))",
        "alter type checked rename to u",
        "alter type t add attribute a checked",
        "create domain d as int check (locks(value))",
        "create domain d as public.checked",
        "create type t as (a int, b checked[])",
        "create cast (a as b) with function locks(a)",
        "create cast (a as b) with function nobody_knows(a)",
    ],
)
def test_a_session_that_may_use_the_new_meaning_keeps_its_server(text: str):
    assert state_of(text) is StateKind.REDEFINED


@pytest.mark.parametrize(
    "text",
    [
        "alter schema a owner to b",
        "alter extension e update",
        "alter table t rename to u",
        "alter table locking rename column a to b",
        "alter table t set schema b",
        "alter materialized view m rename to n",
        "alter index i rename to j",
        "alter foreign table unlogged rename to t",
        "alter sequence s rename to t",
        "alter type t rename to u",
        "alter type t rename value 'checked' to 'b'",
        "alter domain d rename to e",
        "alter domain d set schema b",
        "alter domain d add check (value > 0)",
        "alter domain d drop not null",
        "alter type t add value 'checked'",
        "alter type t owner to b",
        "create domain d as text check (computes(value) ~ 'a')",
        "create type t as enum ('checked')",
        "create type t as (a int, b text)",
        "create cast (a as b) with function computes(a)",
        "create cast (a as b) with inout",
        "create schema a",
        "alter view v rename to w",  # its name is doubted, as a function's is
    ],
)
def test_what_computes_only_means_nothing(text: str):
    assert state_of(text) is None


def test_what_is_made_with_a_schema():
    made = parse(b"create schema a create view v as select 1 create table t (a int)", BOOK)
    assert made.redefines is not None
    assert {"v", "t"} < made.redefines.views
    assert parse(b"create schema a create table t (a int)", BOOK).redefines == Redefined()
