"""One sentence out of an exception group."""

from __future__ import annotations

import pytest

from rwsplit.cli.groups import first_error
from rwsplit.errors import ConfigError, RwsplitError


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (
            ExceptionGroup("", [ExceptionGroup("", [ConfigError(["a: b"])])]),
            ConfigError,
            "a: b",
        ),
        (OSError(98, "Address already in use"), RwsplitError, "Address already in use"),
        (ExceptionGroup("", [OSError("taken"), ConfigError(["x"])]), RwsplitError, "taken"),
        (ExceptionGroup("", [OSError(), KeyError("bug")]), ExceptionGroup, None),
        (KeyError("bug"), KeyError, "bug"),
    ],
)
def test_what_has_a_sentence_is_said_and_the_rest_is_a_bug(error, kind, sentence):
    with pytest.raises(kind, match=sentence), first_error():
        raise error
