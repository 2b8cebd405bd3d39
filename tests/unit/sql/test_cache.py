"""The cache takes the cheapest way that is sound."""

from __future__ import annotations

from rwsplit.sql.cache import (
    HASH_LIMIT,
    INLINE_LIMIT,
    PARSE_LIMIT,
    SHAPE_LIMIT,
    StatementCache,
)
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import PATIENT_BUDGET, ParseBudget
from rwsplit.sql.statement import PrimaryOnly

BOOK = FunctionBook()
LONG = b"select a from " + b"t" * 3 * HASH_LIMIT + b" where a = "


def make(size: int = 100) -> StatementCache:
    return StatementCache(BOOK, size=size)


def test_a_text_without_literals_is_found_by_itself():
    cache = make()
    first = cache.lookup(b"select a from t where b = $1")

    assert cache.lookup(b"select a from t where b = $1") is first
    statistics = cache.statistics()
    assert (statistics.parses, statistics.text_hits, statistics.shape_hits) == (1, 1, 0)


def test_texts_of_one_shape_share_a_script_and_its_cost():
    cache = make()
    first = cache.lookup(b"select a from t where b = 1")

    assert cache.lookup(b"select a from t where b = 2") is first
    assert cache.lookup(b"select a from t where b = 'x'") is first
    statistics = cache.statistics()
    assert (statistics.parses, statistics.shape_hits, statistics.texts) == (1, 2, 0)


def test_a_constant_text_earns_an_entry_when_it_comes_again():
    cache = make()
    for _ in range(3):
        cache.lookup(b"select a from t limit 21")

    statistics = cache.statistics()
    assert (statistics.parses, statistics.shape_hits, statistics.text_hits) == (1, 1, 1)


def test_comments_and_strange_literals_are_parsed_once_by_fingerprint():
    cache = make()
    first = cache.lookup(b"select E'a' /* trace=1 */")

    assert cache.lookup(b"select E'b' /* trace=2 */") is first
    assert cache.lookup(b"select E'b' /* trace=2 */") is first
    statistics = cache.statistics()
    assert (statistics.parses, statistics.fingerprint_hits, statistics.text_hits) == (1, 1, 1)


def test_hints_are_kept_apart():
    cache = make()
    assert cache.lookup(b"select 1 /* x */").hints is None
    assert cache.lookup(b"select 1 /* rwsplit: primary */").hints is not None


def test_values_of_settings_are_kept_apart():
    cache = make()
    assert cache.lookup(b"set a = 1").statements[0].value == "1"
    assert cache.lookup(b"set a = 2").statements[0].value == "2"


def test_what_cannot_be_read_is_counted():
    cache = make()
    assert cache.lookup(b"select 'open").primary_only is PrimaryOnly.UNPARSED
    assert cache.lookup(b"select * form t").primary_only is PrimaryOnly.UNPARSED
    assert cache.statistics().unparsed == 2


def test_peek_never_parses():
    cache = make()
    query = b"select 1"
    assert cache.peek(query) is None

    script = parse(query, BOOK)
    cache.store(query, script)
    assert cache.peek(query) is script
    assert cache.peek(b"select 2") is script

    cache.store(b"listen a", script)
    assert cache.peek(b"listen a") is script
    assert cache.statistics().parses == 0


def test_too_long_a_text_is_not_read_at_all():
    cache = make()
    query = b"x" * (PARSE_LIMIT + 1)
    assert cache.lookup(query).primary_only is PrimaryOnly.UNPARSED
    assert cache.peek(query) is cache.lookup(query)
    assert cache.statistics().parses == 0


def test_long_texts_are_found_by_their_hash():
    assert len(LONG) > INLINE_LIMIT
    cache = make()
    first = cache.lookup(LONG + b"1")
    assert cache.lookup(LONG + b"2") is first
    assert cache.lookup(LONG + b"2") is first

    commented = LONG + b"1 /* x */"
    assert cache.lookup(commented) is first
    assert cache.lookup(commented) is first
    statistics = cache.statistics()
    assert (statistics.parses, statistics.fingerprint_hits, statistics.text_hits) == (1, 1, 1)


def test_it_is_bounded():
    cache = make(size=10)
    for number in range(20):
        cache.lookup(b"select a%d" % number)
        cache.lookup(b"select b%d from t where c = 1" % number)

    assert cache.statistics().texts <= 10
    assert cache.statistics().shapes <= 10


def test_clear_forgets():
    cache = make()
    cache.lookup(b"select 1")
    cache.clear()
    assert cache.peek(b"select 1") is None


def test_new_patterns_of_functions_judge_again():
    cache = make()
    assert cache.lookup(b"select f()").primary_only is PrimaryOnly.UNKNOWN_FUNCTION
    cache.clear(FunctionBook(reads=["f"]))
    assert cache.lookup(b"select f()").primary_only is None


def test_very_long_texts_are_known_by_their_hash_only():
    cache = make()
    query = b"select '" + b"x" * SHAPE_LIMIT + b"'"
    assert cache.peek(query) is None
    script = cache.lookup(query)
    assert script.primary_only is None
    assert cache.peek(query) is script
    assert cache.statistics().shapes == 1


def test_another_size_holds_at_once_for_what_comes():
    cache = make(size=1000)
    cache.resize(2)
    for number in range(20):
        cache.lookup(b"select a from t where b = $1 and c%d" % number)

    assert cache.statistics().texts <= 2


DEAR = b"select " + b"int(" * 11 + b"1" + b")" * 11
"""Over INLINE_BUDGET, not over PATIENT_BUDGET."""


def test_what_is_dear_is_not_parsed_here():
    cache = make()
    assert cache.lookup(DEAR) is None
    assert cache.lookup(DEAR) is None
    statistics = cache.statistics()
    assert (statistics.parses, statistics.dear) == (0, 2)


def test_what_cannot_be_parsed_is_known_to_be_unparsed_at_once():
    cache = make()
    for text in (b"select )", b"select '", b"select a b c"):
        script = cache.lookup(text)
        assert script is not None
        assert script.primary_only is PrimaryOnly.UNPARSED


def test_what_was_read_elsewhere_is_known_whatever_its_literals_and_comments():
    cache = make()
    script = parse(DEAR, BOOK, ParseBudget(PATIENT_BUDGET))
    assert script.primary_only is None
    cache.store(DEAR + b" = 1", script)
    assert cache.lookup(DEAR + b" = 2") is script
    assert cache.lookup(DEAR + b" = 3 /* trace 7 */") is script
    assert cache.lookup(b"/* trace 8 */ " + DEAR + b" = 4") is script


def test_many_short_statements_are_dear_together():
    cache = make()
    few, many = b"select 1; " * 50, b"select 1; " * 400
    assert len(many) <= INLINE_LIMIT
    assert cache.lookup(few) is not None
    assert cache.lookup(many) is None
