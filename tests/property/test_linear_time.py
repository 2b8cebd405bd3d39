"""Texts of which twice the length must not take four times the time: a hundredfold of it shows in seconds."""

from __future__ import annotations

import time

import pytest

from rwsplit.sql.body import read_body
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import parse
from rwsplit.sql.facts import HARMLESS, FunctionFacts
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.tokens import scan

#: Seconds of CPU that 100 000 pieces may take; in quadratic time it was minutes.
PATIENCE = 20.0
PIECES = 100_000
#: For texts that took two seconds.
SHORT_PATIENCE = 1.5


@pytest.mark.parametrize("piece", ["+", "- ", "not ", "<+", "(", "'' ", "/*", "$a$ ", '"" '])
def test_the_lexer_takes_linear_time(piece: str):
    began = time.process_time()
    scan(f"select 1 {piece * PIECES}1".encode())
    assert time.process_time() - began < PATIENCE


@pytest.mark.parametrize(
    "body",
    [
        "select 1 " + "+" * PIECES + "1",
        "begin execute " + "'' || " * PIECES + "''; end",
        "begin execute " + "quote_ident(a) || " * (PIECES // 4) + "''; end",
        "begin " + "execute " * PIECES + "''; end",
        "begin " + "execute (" * PIECES + "''; end",
    ],
    ids=["signs", "literals", "calls", "executes", "nested"],
)
def test_a_body_is_read_in_linear_time(body: str):
    began = time.process_time()
    read_body(body)
    assert time.process_time() - began < PATIENCE


@pytest.mark.parametrize(
    ("text", "patience"),
    [
        ("select operator, a" + ".b" * PIECES, PATIENCE),
        ("select " + "operator(a.+) " * (PIECES // 4) + "1", PATIENCE),
        # As many words as sqlglot is given.
        (" union ".join(["table a"] * 1600), SHORT_PATIENCE),
        ("with a as (select 1) " + " union ".join(["table a"] * 1600), SHORT_PATIENCE),
        (
            "with " + ", ".join(f"a{n} as (select 1)" for n in range(600)) + " select 1",
            SHORT_PATIENCE,
        ),
    ],
    ids=["names", "operators", "tables", "ctes", "with"],
)
def test_a_text_is_classified_in_linear_time(text: str, patience: float):
    began = time.process_time()
    parse(text.encode(), FunctionBook())
    assert time.process_time() - began < patience


@pytest.mark.parametrize(
    "text",
    ["select x y z; " * 250, "do $$begin " + "perform f(), v; " * 100 + "end$$"],
    ids=["unparsed", "a body"],
)
def test_a_text_costs_the_same_however_much_the_catalog_holds(text: str):
    """One client may make the catalog large, and another one ask about it."""
    looks = []
    for size in (1, 300):
        relations = Counted({(f"s{n}", "v"): HARMLESS for n in range(size)})
        functions = Counted({(f"s{n}", "f"): HARMLESS for n in range(size)})
        book = FunctionBook().within(Catalog(relations=relations, functions=functions), ("s0",))
        relations.looks = functions.looks = 0
        parse(text.encode(), book)
        looks.append(relations.looks + functions.looks)
    assert looks[1] <= looks[0] + 10


class Counted(dict[tuple[str, str], FunctionFacts]):
    """Facts that count how many of them are looked at."""

    looks = 0

    def items(self):
        self.looks += len(self)
        return super().items()

    def values(self):
        self.looks += len(self)
        return super().values()

    def __iter__(self):
        self.looks += len(self)
        return super().__iter__()
