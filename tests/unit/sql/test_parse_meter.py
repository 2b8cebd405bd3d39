"""sqlglot's parser can be stopped, since it does not get far without a look into its tables."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import sqlglot
from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import ParseError

from rwsplit.sql.parse_meter import CHUNK, TABLES, Clock, Metered

POSTGRES = Postgres()
QUERY = "select a, b from t join u on t.a = u.b where c in (1, 2) group by 1, 2"
ENDLESS = "select " + "int(" * 30 + "1" + ")" * 30
PLENTY = 1_000_000

#: What takes twice the time with each level, or word, more: examples, since nothing has to be known of them.
DOUBLED = {
    "type": ENDLESS,
    "type, subscript": "select " + "date[" * 30 + "1" + "]" * 30,
    "limit": "select " + "x limit (select " * 30 + "1" + ")" * 30,
    "array": "select " + "int array, (" * 30 + "1" + ")" * 30,
    "from": "select " + "(from x, " * 30 + "1",
    "join": "select 1 from a" + " join b" * 60,
    "lateral": "select 1 from " + "t, lateral (" * 30 + "1" + ")" * 30,
    "alias": "select " + '(select 1 from t as a(x "int"(' * 20 + "1" + ")) for update)" * 20,
    "cast": "select " + "1::cast[" * 30 + "1" + "]" * 30,
}


@pytest.mark.parametrize("text", DOUBLED.values(), ids=DOUBLED)
def test_what_never_ends_is_stopped(text: str):
    with Metered(12_000) as metered:
        POSTGRES.parse(text)
    assert (metered.stopped, metered.taken) == (True, 12_000)


def test_the_looks_of_a_text_are_counted_and_are_the_same_each_time():
    taken = set()
    for limit in (PLENTY, PLENTY, PLENTY // 3):
        with Metered(limit) as metered:
            assert POSTGRES.parse(QUERY)
        taken.add(metered.taken)
        assert not metered.stopped
    [looks] = taken
    assert looks > len(QUERY.split())


def test_time_counts_as_well_if_there_is_a_clock():
    ticks = iter(range(PLENTY))
    with Metered(PLENTY, clock=lambda: next(ticks), seconds=10) as metered:
        POSTGRES.parse(ENDLESS)
    assert (metered.stopped, metered.taken) == (True, 11 * CHUNK)


@pytest.mark.parametrize("clock", [None, lambda: 0.0])
def test_the_limit_is_exact(clock: Clock | None):
    def read(looks: int) -> Metered:
        with Metered(looks, clock=clock) as metered:
            POSTGRES.parse(QUERY)
        return metered

    taken = read(PLENTY).taken
    for enough in range(taken, taken + CHUNK + 1):
        assert (read(enough).stopped, read(enough).taken) == (False, taken)
    for too_few in range(taken - CHUNK - 1, taken):
        assert (read(too_few).stopped, read(too_few).taken) == (True, too_few)


def test_errors_pass_and_are_paid_for():
    metered = Metered(PLENTY)
    with pytest.raises(ParseError), metered:
        POSTGRES.parse("select x x x from t where y")
    assert not metered.stopped
    assert metered.taken > 0


def test_outside_of_it_there_is_no_limit():
    with Metered(10) as metered:
        POSTGRES.parse(QUERY)
    assert metered.stopped
    assert POSTGRES.parse(QUERY)
    assert POSTGRES.parse("; ".join([QUERY] * 100))


def test_the_tables_say_what_they_said():
    for name in TABLES:
        table = getattr(Postgres.Parser, name)
        plain = getattr(sqlglot.Parser, name, None)
        assert isinstance(table, dict | set | frozenset)
        assert type(table) not in (dict, set, frozenset)
        if plain and name not in vars(Postgres.Parser.__mro__[0]):
            assert table == plain
        assert all(key in table for key in table)
        assert "no such key" not in table


def test_nearly_every_circle_of_the_parsers_methods_asks_a_table():
    """What goes back and reads once more can do so only by a method that is called again."""
    calls, users = _calls_of_the_parser()
    assert len(calls) > 300
    assert {"_parse_types", "_parse_factor", "_parse_unary"} <= users
    circles = _circles({name: calls[name] - users for name in calls if name not in users})
    # None of the first ever goes back. Of the others no text is known that goes round them for long.
    forward = {
        frozenset({"_parse_grouping_set", "_parse_grouping_sets"}),
        frozenset({"_parse_json_column_def", "_parse_json_schema"}),
        frozenset({"_parse_at_time_zone"}),
        frozenset({"_parse_generated_as_identity"}),
        frozenset({"_parse_interval"}),
    }
    others = {
        frozenset({"_parse_column_ops"}),
        frozenset({"_parse_primary_key"}),
        frozenset({"_parse_stream", "_parse_table"}),
        frozenset(
            f"_{name}"
            for name in [
                "can_parse_limit_or_offset",
                "parse_alias",
                "parse_bracket_key_value",
                "parse_colon_as_variant_extract",
                "parse_column",
                "parse_column_def",
                "parse_expression",
                "parse_expressions",
                "parse_function_parameter",
                "parse_limit",
                "parse_paren",
                "parse_pipe_syntax_query",
                "parse_pipe_syntax_set_operator",
                "parse_pivot",
                "parse_pivot_aggregation",
                "parse_pivot_in",
                "parse_pivots",
                "parse_select",
                "parse_select_or_expression",
                "parse_subquery",
                "parse_table_alias",
            ]
        ),
    }
    assert circles == forward | others


def _calls_of_the_parser() -> tuple[dict[str, set[str]], set[str]]:
    """Return which methods each method mentions, by name, and those that ask a table; by the sources of sqlglot."""
    root = Path(sqlglot.__file__).parent
    methods: dict[str, list[ast.AST]] = {}
    for file, name in (("parser.py", "Parser"), ("parsers/postgres.py", "PostgresParser")):
        [node] = [
            each
            for each in ast.parse((root / file).read_text()).body
            if isinstance(each, ast.ClassDef) and each.name == name
        ]
        for each in node.body:
            if isinstance(each, ast.FunctionDef):
                methods.setdefault(each.name, []).append(each)
    calls = {name: _mentioned(nodes) & methods.keys() for name, nodes in methods.items()}
    return calls, {name for name, nodes in methods.items() if any(map(_asks, nodes))}


def _asks(method: ast.AST) -> bool:
    """Return whether *method* asks a table also if it is compiled: others it looks into itself."""
    for node in ast.walk(method):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="_match_set" | "_match_texts" | "_parse_tokens")
            ):
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                if _mentioned(given) & {*TABLES}:
                    return True
            case ast.Subscript(value=ast.Attribute(attr=name)) if name in TABLES:
                return True
    return False


def _mentioned(nodes: Iterable[ast.AST]) -> set[str]:
    return {
        each.attr
        for node in nodes
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute)
    }


def _circles(calls: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Return the sets of names that reach each other."""
    reached = {name: _reached(calls, name) for name in calls}
    return {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in calls
        if name in reached[name]
    }


def _reached(calls: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = calls[ahead.pop()] - found
        found |= new
        ahead += new
    return found
