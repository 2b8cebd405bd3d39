"""Whose cluster it is."""

from __future__ import annotations

import pytest

from rwsplit.cluster.identity import majority


@pytest.mark.parametrize(
    ("identifiers", "found"),
    [("", None), ("7", "7"), ("778", "7"), ("78", None), ("7788", None), ("77889", None)],
)
def test_the_most_frequent_identifier_is_ours(identifiers: str, found: str | None):
    assert majority(identifiers) == found
