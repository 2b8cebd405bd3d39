"""Reading the words of a utility statement."""

from __future__ import annotations

from rwsplit.sql.cursor import Cursor
from rwsplit.sql.tokens import MARK, WORD, scan


def cursor(text: str) -> Cursor:
    found = scan(text.encode())
    assert found is not None
    return Cursor(found.tokens)


def test_words_are_taken_in_order_or_not_at_all():
    at = cursor("read only x")
    assert not at.take("read", "write")
    assert at.take("read", "only")
    assert at.take_any("y", "x") == "x"
    assert at.take_any("y") == ""
    assert at.token == (MARK, "")
    assert at.word == ""


def test_names_may_be_quoted_or_literals():
    at = cursor("a \"B\" 'c' 1")
    assert [at.name(), at.name(), at.name(), at.name()] == ["a", "B", "c", None]


def test_dotted_names():
    assert cursor("a.b.c").dotted_name() == "a.b.c"
    assert cursor("1").dotted_name() is None


def test_marks():
    at = cursor(", a")
    assert at.mark(",")
    assert not at.mark(",")
    assert at.take("a")
    assert not at.mark("")


def test_parentheses_are_skipped_as_a_whole():
    at = cursor("(a (b) 1) c")
    assert at.skip_parentheses()
    assert not at.skip_parentheses()
    assert list(at.rest) == [(WORD, "c")]


def test_open_parentheses_end_with_the_text():
    at = cursor("(a")
    assert at.skip_parentheses()
    assert not at.rest


def test_finding_a_word_outside_parentheses():
    at = cursor("a (as) b as c")
    assert at.find("as")
    assert at.position == 5
    assert not at.find("nothing")
