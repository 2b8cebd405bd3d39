"""The classifier against statements other proxies' tests and manuals assert a node for.

`tests/fixtures/routing_cases.jsonl`: each was tried on a live hot standby. What the text alone cannot decide is
listed here with its reason; everything else must come out as asserted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from rwsplit.sql.cache import StatementCache
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script

FIXTURE: Final = Path(__file__).parent.parent / "fixtures" / "routing_cases.jsonl"
CASES: Final[list[dict[str, Any]]] = [
    json.loads(line) for line in FIXTURE.read_text().splitlines()
]
BOOK: Final = FunctionBook()

TRANSACTION = "belongs to the transaction it stands in, which the session routes as a whole"
TEMPORARY = (
    "reads a table that a temporary one shadows; its session is pinned since CREATE TEMP"
)
AFTER_WRITE = (
    "follows a write; the session's consistency or its transaction keeps it on the primary"
)
UNLOGGED = "needs the catalog to be known; the replica's 0A000 sends it to the primary"
REPLICA_IS_FINE = "rwsplit decides otherwise: what it answers on a replica is right"
USER_FUNCTION = "needs the catalog; an unknown function goes to the primary"
NODE_ROLE = "tells the role of its node, which is the primary's unless a session asks a replica"
SQL_PREPARE = (
    "PREPARE leaves a name in its server, and EXECUTE must find it: the session is pinned"
)

NOT_IN_THE_TEXT: Final = {
    **dict.fromkeys((23, 25, 28, 135, 137, 140, 141, 203), TRANSACTION),
    **dict.fromkeys((41, 42, 43, 44), TEMPORARY),
    **dict.fromkeys((49, 53, 55, 57, 59, 61, 63, 65, 67, 68, 70, 73, 74, 75), AFTER_WRITE),
    110: "its transaction is SERIALIZABLE, which BEGIN said",
    113: UNLOGGED,
    165: NODE_ROLE,
    38: REPLICA_IS_FINE,
    112: REPLICA_IS_FINE,
    **dict.fromkeys((8, 9), USER_FUNCTION),
    **dict.fromkeys((13, 14, 15, 16, 17, 288, 334), SQL_PREPARE),
}
"""Line of the fixture -> why the text alone comes out otherwise."""


def is_safe(script: Script) -> bool:
    return script.primary_only is None and script.state is None and not script.needs_session


def name(case: dict[str, Any]) -> str:
    return f"{case['expect']}-{case['strength']}-{case['sql'][:40]}"


@pytest.mark.parametrize(("line", "case"), list(enumerate(CASES, 1)), ids=map(name, CASES))
def test_case(line, case):
    script = parse(case["sql"].encode(), BOOK)

    as_asserted = is_safe(script) == (case["expect"] == "replica")
    assert as_asserted == (line not in NOT_IN_THE_TEXT)


def test_no_statement_a_standby_refuses_is_safe_but_for_those_listed():
    wrong = [
        line
        for line, case in enumerate(CASES, 1)
        if case["expect"] == "primary"
        and case["strength"] in {"hard", "soft"}
        and is_safe(parse(case["sql"].encode(), BOOK))
    ]
    assert set(wrong) <= set(NOT_IN_THE_TEXT)


def test_plain_reads_are_safe():
    reads = [case for case in CASES if case["strength"] == "safe"]
    safe = [case for case in reads if is_safe(parse(case["sql"].encode(), BOOK))]
    assert len(safe) >= 0.95 * len(reads)


def test_the_cache_says_the_same_whatever_it_met_before():
    cache = StatementCache(BOOK, size=1000)
    for _ in range(3):
        for case in CASES:
            query = case["sql"].encode()
            assert cache.lookup(query).statements == parse(query, BOOK).statements
