"""What has been done is counted in words."""

from __future__ import annotations

from rwsplit.sql.cache import StatementCache
from rwsplit.sql.effort import PARSE, Effort
from rwsplit.sql.functions import FunctionBook


def test_a_text_counts_once_by_its_words():
    effort = Effort()
    cache = StatementCache(FunctionBook(), size=10, effort=effort)
    cache.lookup(b"select a from t where b = 1")
    first = effort.words
    assert effort.parses == 1
    assert first >= PARSE + 8

    cache.lookup(b"select a from t where b = 1")
    cache.lookup(b"select a from t where b = 2")
    assert (effort.words, effort.parses) == (first, 1)


def test_each_statement_of_a_text_counts():
    effort = Effort()
    cache = StatementCache(FunctionBook(), size=10, effort=effort)
    cache.lookup(b";".join([b"select a"] * 10))
    assert effort.parses == 1
    assert effort.words >= 10 * (PARSE + 2)


def test_caches_may_share_it():
    effort = Effort()
    for text in (b"select a", b"select b"):
        StatementCache(FunctionBook(), size=10, effort=effort).lookup(text)
    assert effort.parses == 2


def test_what_cannot_be_read_counts_by_its_length():
    effort = Effort()
    cache = StatementCache(FunctionBook(), size=10, effort=effort)
    cache.lookup(b"select '" + b"x" * 1000)
    assert effort.words >= PARSE
