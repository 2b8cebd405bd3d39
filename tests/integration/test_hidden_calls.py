"""Random texts: whatever PostgreSQL makes of one, no function or table of a user's escapes the facts of it.

PostgreSQL says by EXPLAIN what it would call and read. Most texts it refuses; hundreds are left.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import PrimaryOnly

pytestmark = pytest.mark.integration

TEXTS: Final = 15_000
_WORDS: Final = [
    "select",
    "from",
    "t",
    "u",
    "a",
    "b",
    "d",
    "(",
    ")",
    ",",
    ".",
    "+",
    "=",
    "<",
    "[",
    "]",
    "::",
    "pg_catalog.",
    "f(",
    "second(",
    "zone(",
    "values(",
    "(select",
    "exists(select",
    "cast(a",
    "row(",
    "in(",
    "extract(year",
    "array[",
    "filter(where",
    "over(partition",
    "operator(",
    "distinct",
    "on",
    "order",
    "by",
    "group",
    "limit",
    "union",
    "all",
    "mytype",
    "hidden.mytype",
    "int4",
    "text",
    "varchar",
    "bit",
    "varying",
    "double",
    "precision",
    "date",
    "time",
    "timestamp",
    "interval",
    "day",
    "to",
    "second",
    "as",
    "zone",
    "with",
    "without",
    "at",
    "path",
    '"day"',
    "national",
    "character",
    "char",
    "json",
    "xml",
    "name",
    "(3)",
    "::int",
    "::mytype",
    "::hidden.mytype(3)",
    "::text[]",
    "'1'",
    "'2'",
    "'x'",
    "1",
    "e'a'",
    "$$x$$",
    "u&'\\0061'",
    'u&"f"(',
    'u&"t"',
    "uescape'!'",
    "case",
    "when",
    "then",
    "else",
    "end",
    "between",
    "and",
    "where",
    "null",
    "true",
    "like",
    "escape",
    "not",
    "is",
    'collate"C"',
    "value",
    "using",
]
_FORMS: Final = (
    "select {} from t",
    "select {}",
    "select a from t where {}",
    "select a from t order by {}",
    "select {} from t, u where t.a = u.a",
    "select * from f({})",
)


@pytest.fixture(scope="module")
def connection(cluster: ReachableCluster[Any]) -> Iterator[psycopg.Connection[Any]]:
    with cluster.primary.connect("app", "app") as made:
        made.execute(
            """
            create schema hidden;
            set search_path = hidden, pg_catalog;
            create function f(text) returns text language plpgsql volatile as 'begin return $1; end';
            create function f(int) returns int language plpgsql volatile as 'begin return $1; end';
            create function second(int) returns int language plpgsql volatile as 'begin return $1; end';
            create function zone(int) returns int language plpgsql volatile as 'begin return $1; end';
            create domain mytype as text;
            create domain "day" as text;
            create table t (a int, b text, d date, day int, zone text, path text);
            create table u (a int, b text);
            """
        )
        yield made
        made.execute("drop schema hidden cascade")


def test_nothing_hides(connection: psycopg.Connection[Any]):
    rng = random.Random(20)
    accepted = calls = tables = 0
    for _ in range(TEXTS):
        words = rng.choices(_WORDS, k=rng.randint(1, 6))
        query = rng.choice(_FORMS).format(" ".join(words))
        query += ")" * (query.count("(") - query.count(")"))
        try:
            rows = connection.execute(b"explain (verbose, costs off) " + query.encode())
            plan = "\n".join(row[0] for row in rows)
        except psycopg.Error:
            continue
        accepted += 1
        statements = parse(query.encode(), FunctionBook()).statements
        functions = {name.rpartition(".")[2] for each in statements for name in each.functions}
        called = re.findall(r"\b(f|second|zone)\(", re.sub(r"'[^']*'", "", plan))
        assert functions.issuperset(called), query
        calls += len(called)
        if all(each.primary_only is not PrimaryOnly.UNPARSED for each in statements):
            read = re.findall(r"Scan on hidden\.(t|u)\b", plan)
            assert {name for each in statements for name in each.tables}.issuperset(read), query
            tables += len(read)
    assert accepted > TEXTS // 100
    assert min(calls, tables) > TEXTS // 500
