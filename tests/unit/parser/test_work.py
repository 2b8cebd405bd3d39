"""What the process makes of a text, asked and told by values alone."""

from __future__ import annotations

import pytest

from rwsplit.parser import work
from rwsplit.parser.messages import Known, Query
from rwsplit.sql import classify as classifying
from rwsplit.sql.body import UNREADABLE, Body
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.excerpt import Excerpt
from rwsplit.sql.facts import HARMLESS
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script
from rwsplit.sql.statement import PrimaryOnly

BOOK = FunctionBook().within(Catalog(functions={("public", "f"): HARMLESS}), ("public",))


def classify(text: bytes, *, is_known: bool = True) -> Script:
    running = work.classify(Query(text))
    try:
        names = next(running).names
        running.send(Known(Excerpt.of(BOOK, names) if is_known else None))
    except StopIteration as end:
        script: Script = end.value.script
        return script
    raise AssertionError


def test_names_are_asked_for_and_what_is_known_of_them_counts():
    assert next(work.classify(Query(b"select f() from t"))).names >= {"f", "t"}
    assert classify(b"select f() from t").primary_only is None
    assert classify(b"select g() from t").primary_only is PrimaryOnly.UNKNOWN_FUNCTION


@pytest.mark.parametrize("text", [b"select '", b"\xff\\", b"x" * (classifying.PARSE_LIMIT + 1)])
def test_what_cannot_be_cut_into_tokens_needs_no_names(text: bytes):
    assert classify(text).primary_only is PrimaryOnly.UNPARSED


def test_what_stands_for_too_much_is_not_read_but_keeps_its_hints():
    script = classify(b"/* rwsplit: route=replica */ select f()", is_known=False)
    assert script.primary_only is PrimaryOnly.UNPARSED
    assert script.hints is not None


def test_a_text_may_cost_more_than_in_a_turn():
    text = b"; ".join([b"select a from t"] * 2000)
    assert classifying.parse(text, BOOK).primary_only is PrimaryOnly.UNPARSED
    assert classify(text).primary_only is None


def test_lack_of_memory_is_not_taken_for_a_verdict(monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> Script:
        raise MemoryError

    monkeypatch.setattr(work, "read_scan", fails)
    with pytest.raises(MemoryError):
        classify(b"select 1")
    monkeypatch.setattr(work, "read_body", fails)
    with pytest.raises(MemoryError):
        work.read("select 1")


def test_whatever_else_goes_wrong_is_one(monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> Body:
        raise RecursionError

    monkeypatch.setattr(work, "read_scan", fails)
    assert classify(b"select 1").primary_only is PrimaryOnly.UNPARSED
    monkeypatch.setattr(work, "read_body", fails)
    assert work.read("select 1") is UNREADABLE
