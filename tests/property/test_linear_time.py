"""Texts of which twice the length must not take four times the time: a hundredfold of it shows in seconds."""

from __future__ import annotations

import time

import pytest

from rwsplit.sql.body import read_body
from rwsplit.sql.classify import parse
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
