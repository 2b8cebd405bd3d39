"""The words of a console command."""

from __future__ import annotations

import pytest

from rwsplit.admin.tokens import Kind, fill, split, tokenize
from rwsplit.errors import ClientError


def words(text: str) -> list[str]:
    return [token.text for token in tokenize(text)]


def test_sqls_quoting_is_understood():
    assert words("ATTACH NODE 'it''s'") == ["ATTACH", "NODE", "it's"]
    assert words(r"x E'a\'b\\c\n''d'") == ["x", "a'b\\c\n'd"]
    assert words('"pg ""1"""') == ['pg "1"']
    assert words("$$a 'b'$$ $tag$c $$ d$tag$") == ["a 'b'", "c $$ d"]
    assert words("a -- comment\n b /* and ' more */ c") == ["a", "b", "c"]
    assert words("consistency.max_lag=pg-1;") == ["consistency.max_lag", "=", "pg-1", ";"]


@pytest.mark.parametrize("text", ["'a", '"a', "/* a", "$$ a", "$x$ a $$", r"E'a\'"])
def test_what_is_opened_must_be_closed(text):
    with pytest.raises(ClientError, match="unterminated"):
        tokenize(text)


def test_commands_are_split_at_semicolons_outside_quotes():
    assert len(split(tokenize("a; 'b;c' ;; -- d;\n"))) == 2


def test_parameters_become_strings():
    (word, value) = fill(tokenize("DRAIN $2"), ["x", "pg1"])
    assert (word.text, value.kind, value.text) == ("DRAIN", Kind.STRING, "pg1")
    for values in ([], [None], ["x", None]):
        with pytest.raises(ClientError, match=r"parameter \$2 has no value"):
            fill(tokenize("$2"), values)
    with pytest.raises(ClientError, match=r"parameter \$0 has no value"):
        fill(tokenize("$0"), ["x"])
