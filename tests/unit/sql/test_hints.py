"""Hints are words in a comment; nonsense in them is passed over."""

from __future__ import annotations

import pytest

from rwsplit.sql.hints import parse_hints
from rwsplit.sql.statement import Hints


@pytest.mark.parametrize(
    ("comments", "hints"),
    [
        ([], None),
        ([" trace=1 "], None),
        ([" rwsplit: "], None),
        (["rwsplit:primary"], Hints(route="primary")),
        ([" RWSPLIT: Replica max_lag=5s "], Hints(route="replica", max_lag=5.0)),
        ([" rwsplit: node=pg2, max_lag=250ms"], Hints(node="pg2", max_lag=0.25)),
        ([" rwsplit: consistency=SESSION "], Hints(consistency="session")),
        ([" rwsplit: replica", "x", "rwsplit: primary "], Hints(route="primary")),
        ([" rwsplit: replcia node= max_lag=soon consistency= "], None),
        ([" rwsplit: max_lag=1s max_lag=x "], Hints(max_lag=1.0)),
    ],
)
def test_hints(comments, hints):
    assert parse_hints(comments) == hints
