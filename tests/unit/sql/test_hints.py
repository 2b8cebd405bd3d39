"""Hints are words in a comment; nonsense in them is passed over, but not lost."""

from __future__ import annotations

import pytest

from rwsplit.sql.hints import MOST_MISSPELT, SHOWN, parse_hints
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
        (
            [" rwsplit: consistency=Cluster, PRIMARY"],
            Hints(route="primary", consistency="cluster"),
        ),
    ],
)
def test_hints(comments, hints):
    assert parse_hints(comments) == hints
    assert hints is None or hints.asks


@pytest.mark.parametrize(
    ("comment", "misspelt", "asked"),
    [
        (" rwsplit: replika ", "replika", {}),
        (" rwsplit: replika max_lag=5s ", "replika", {"max_lag": 5.0}),
        (" rwsplit : primary ", "rwsplit : primary", {}),
        ("rwsplit:node = x", "node = x", {}),
        (" rwsplit: node= max_lag= consistency= ", "node= max_lag= consistency=", {}),
        (" rwsplit: max_lag=1s max_lag=soon ", "max_lag=soon", {"max_lag": 1.0}),
        (" rwsplit: lag=1s, primary ", "lag=1s", {"route": "primary"}),
        (" rwsplit: primary=1 ", "primary=1", {}),
        # Stricter than what is known, so it is heeded, too.
        (" rwsplit: consistency=strong ", "consistency=strong", {"consistency": "strong"}),
        (" rwsplit=primary ", "rwsplit=primary", {}),
        (" rwsplit\n primary ", "rwsplit primary", {}),
        (" RWSPLIT Node = x ", "RWSPLIT Node = x", {}),
        (" rwsplit: " + "x" * 1000, "x" * SHOWN, {}),
    ],
)
def test_what_is_meant_for_a_hint_and_is_none_is_kept(comment, misspelt, asked):
    hints = parse_hints([comment])
    assert hints == Hints(**asked, misspelt=(misspelt,))
    assert hints.asks == bool(asked)


def test_of_very_many_hints_and_very_long_ones_the_beginning_is_kept():
    hints = parse_hints([f"rwsplit:wrong{number}" for number in range(1000)])
    assert hints is not None
    assert hints.misspelt == tuple(f"wrong{number}" for number in range(MOST_MISSPELT))
    long = parse_hints([f"rwsplit: node={'x' * 1000} consistency={'y' * 1000}"])
    assert long is not None
    assert (long.node, long.consistency) == ("x" * SHOWN, "y" * SHOWN)


@pytest.mark.parametrize(
    "comment",
    ["rwsplit", " rwsplit is fine ", " rwsplits: x ", " see rwsplit: primary ", " rwsplit: , "],
)
def test_prose_is_no_hint(comment):
    assert parse_hints([comment]) is None
