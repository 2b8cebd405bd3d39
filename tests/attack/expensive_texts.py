"""Texts that have stopped or slowed all clients, or might: by name, some hundred bytes to a megabyte each.

PostgreSQL answers each in milliseconds, mostly with a syntax error, but for long operators and comments within comments (it takes quadratic time itself).
"""

from __future__ import annotations

from typing import Final

DEPTH: Final = 30
NESTED: Final = (
    *("int(", "time(", "float(", "numeric(", "bit(", "timestamp(", "interval(", "varchar("),
    *("union(", "double precision(", "decimal(", "date(", "date[", "int[", "text["),
    *("x limit (select ", "x offset (select "),
)


def nested(opening: str, depth: int = DEPTH) -> str:
    """Return a SELECT of *depth* levels of *opening*."""
    return f"select {opening * depth}1{(']' if opening.endswith('[') else ')') * depth}"


TEXTS: Final[dict[str, str]] = {
    **{f"{opening}{DEPTH}": nested(opening) for opening in NESTED},
    **{
        f"{opening}8, many": "; ".join([nested(opening, 8)] * 60)
        for opening in ("int(", "date[")
    },
    "date[ 11": nested("date[", 11),
    "subscripts": "select a" + "[b]" * 1300,
    "fewer subscripts": "select a" + "[b]" * 250,
    "six subscripts, many columns": "select " + ", ".join(["a[1][2][3][4][5][6]"] * 100),
    "plus 4 kB": "select 1 " + "+" * 4000 + "1",
    "plus 8 kB": "select 1 " + "+" * 8000 + "1",
    "minus 64 kB": "select 1 " + "- " * 32_000 + "1",
    "long list, then nested": f"select 'x' as y{', 1 as ccccccccccccccccc' * 200}, {nested('int(', 17)[7:]}",
    "parentheses": "select " + "(" * 3000 + "1" + ")" * 3000,
    "case": "select " + "case when true then " * 800 + "1" + " else 2 end" * 800,
    "comments": "/*" * 2000 + "*/" * 2000 + " " * 60_000 + "select 1",
    "not": "select " + "not " * 5000 + "true",
    "casts": "select 1" + "::int" * 5000,
    "or": "select 1 where " + " or ".join(f"a = {n}" for n in range(6000)),
    "in": f"select 1 where 7 in ({', '.join(map(str, range(12_000)))})",
    "joins": "select 1 from a" + " join b using (x)" * 2000,
    "joins without conditions": "select 1 from a" + " join b" * DEPTH,
    "lateral behind commas": "select " + "(select 1 from t, lateral (select " * DEPTH + "1",
    "lateral functions behind commas": "select "
    + "(select 1 from t, lateral f(" * DEPTH
    + "1 2"
    + "))" * DEPTH,
    **{
        f"{kind} apply behind commas": "select "
        + f"(select 1 from t, {kind} apply f(" * DEPTH
        + "1 2"
        + "))" * DEPTH
        for kind in ("cross", "outer")
    },
    **{
        f"{type_} array behind commas": "select "
        + f"{type_} array, (" * DEPTH
        + "1"
        + ")" * DEPTH
        for type_ in ("int", "map", "x::int", "x::foo")
    },
    "map array": "select array" + ", map array" * 340,
    "subscripts of a cast": "select " + "x::cast[" * DEPTH + "1" + "]" * DEPTH,
    "joins without conditions, not closed": "select "
    + "(select 1 from t join x, " * DEPTH
    + "1",
    "joins of natural": "select 1 from t" + " join natural" * DEPTH,
    "columns of an alias": "select "
    + '(select 1 from t as a(x "int"(' * DEPTH
    + "1"
    + ")) for update)" * DEPTH,
    "queries of FROM": "select " + "(from x, " * DEPTH + "1",
    "queries of FROM behind lateral": "select " + "from x, lateral " * DEPTH + "1",
    "queries of FROM in unions": "select " + "from x, select 1 union " * DEPTH + "1",
    "unions": " union all ".join(["select 1"] * 2000),
    "statements": "; ".join(["select 1"] * 8000),
    "different statements": "; ".join(f"select {n} as c{n}" for n in range(1500)),
    "calls": "select " + ", ".join(f"no_such_f{n}(1 + 2)" for n in range(25_000)),
    "a body": "do $$begin " + "perform no_such_f(1 + 2); " * 9000 + "end$$",
}
