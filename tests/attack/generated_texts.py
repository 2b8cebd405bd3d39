"""Texts that might be dear to classify: made up at random, of what has been dear before and of PostgreSQL's grammar.

Three kinds. A *nest* says a few pieces within each other, tens or thousands of times. An *expression* follows the grammar, so that it is valid to
its end, where a parser goes deepest. A *mutant* is a text known to be dear, or slow so far, with some of it changed, repeated, or taken from another.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from sqlglot.dialects.postgres import Postgres

from rwsplit.sql.builtin import RESERVED
from rwsplit.sql.calls import KEY_WORDS
from tests.attack.expensive_texts import NESTED, TEXTS, nested

MOST: Final = 200_000
#: What a turn reads, and the process does not.
SHORT: Final = 4096

WORDS: Final = sorted(
    {word.lower() for word in Postgres.Tokenizer.KEYWORDS if word[:1].isalpha()}
    | {word.lower() for word in Postgres.Parser.FUNCTION_PARSERS}
    | {*KEY_WORDS, *RESERVED}
)
TYPES: Final = (
    *(
        "int",
        "date",
        "time",
        "timestamp",
        "timestamp with time zone",
        "float",
        "numeric",
        "bit",
    ),
    *(
        "bit varying",
        "char",
        "varchar",
        "double precision",
        "interval",
        "text",
        "json",
        "struct",
    ),
    *(
        "map",
        "array",
        "row",
        "table",
        "enum",
        "decimal",
        "nullable",
        "range",
        "s.mine",
        '"Mine"',
    ),
)
PIECES: Final = (
    *("select ", "from t ", "where ", "x ", "1 ", "'a' ", "$1 ", "t.a ", '"A b" ', "* ", ", "),
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "; ",
        "+",
        "- ",
        "::",
        "=",
        "||",
        ".",
        ":",
        "<",
        ">",
        "~",
        "!",
    ),
    *(
        "@",
        "#",
        "%",
        "^",
        "&",
        "|",
        "?",
        "`",
        "->>",
        "not ",
        "$$",
        "$a$",
        "/*",
        "*/",
        "--",
        "\n",
    ),
    *(
        "\t",
        "\x0b",
        "\x01",
        "\\",
        "é",
        "é$",
        "'",
        "''",
        '"',
        '""',
        "e'",
        "E'\\'",
        "b'1' ",
        "x'f' ",
    ),
    *(
        "union all ",
        "join t ",
        "on x ",
        "using (x) ",
        "limit ",
        "lateral (",
        "as ",
        "with x as (",
    ),
    *(
        "case when ",
        "then ",
        "else ",
        "end ",
        "in (",
        "between ",
        "and ",
        "or ",
        "over (",
        "array[",
    ),
    *(
        "interval ",
        "cast(",
        "e'\\'' ",
        "insert into t values (",
        "do $$ ",
        "query_to_xml('",
        "'', ",
    ),
    *(
        "execute ",
        "U&'\\0061' ",
        'U&"\\0061" ',
        "uescape '!' ",
        "set_config('",
        "begin atomic ",
        "1.",
    ),
    *(
        "1e5 ",
        "0x_f",
        "1_0",
        "/* rwsplit: ",
        "operator(s.+) ",
        "collate c ",
        "at time zone ",
        "::int[",
    ),
    *(
        "values (1), ",
        "(1), ",
        "1, ",
        "'a', ",
        "table t ",
        "grouping sets (",
        "within group (order by ",
    ),
)
#: What something can stand in, by the grammar.
AROUND: Final = (
    *(
        ("(", ")"),
        ("((", "))"),
        ("f(", ")"),
        ("s.f(x, ", ")"),
        ("(select ", ")"),
        ("(x, ", ")"),
    ),
    *(("(select x from t where ", ")"), ("exists (select ", ")"), ("array[", "]"), ("x[", "]")),
    *(("x[1:", "]"), ("not ", ""), ("- ", ""), ("x + ", ""), ("x and ", ""), ("", "::int")),
    *(("", "::int[]"), ("", "::numeric(3, 2)"), ("x in (", ")"), ("x between 1 and ", "")),
    *(
        ("case when ", " then 1 end"),
        ("case x when 1 then 2 else ", " end"),
        ("cast(", " as int)"),
    ),
    *(("coalesce(", ", 1)"), ("f(x) over (order by ", ")"), ("f(x) filter (where ", ")")),
    *(("f(distinct ", " order by y)"), ("row(", ")"), ("(", ").a"), ("(", ")[1]"), ("", "[1]")),
    *(("(with c as (select ", ") select 1)"), ("(values (", "))"), ("x is distinct from ", "")),
    *(("x like ", " escape 'y'"), ("x operator(s.+) ", ""), ("", " at time zone 'z'")),
    *(
        ("extract(day from ", ")"),
        ("trim(both 'x' from ", ")"),
        ("substring(x from ", " for 2)"),
    ),
    *(("position(x in ", ")"), ("overlay(x placing ", " from 1)"), ("x = any (", ")")),
    *(
        ("(select 1 union all select ", ")"),
        ("(select 1 from t join u on ", ")"),
        ("/* ", " */ x"),
    ),
    *(
        ("(select 1 from t, lateral (select ", ") v)"),
        ("(select 1 limit ", ")"),
        ("-- ", "\nx"),
    ),
    *(("(select 1 from f(", ") as g(a int, b text[]))"), ("xmlelement(name x, ", ")")),
    *(
        ("json_object('a': ", ")"),
        ("query_to_xml('select ", "', true, true, '')"),
        ("", " as x"),
    ),
    *(
        ("(select x from t group by grouping sets ((x), (", ")))"),
        ("", " collate c"),
        ("", ", x"),
    ),
    *(("x, ", ""), ("interval '1' day + ", ""), ("(select 1 from t where x limit ", ")")),
    *(("'a' 'b'\n'c' || ", ""), ("$$a$$ || ", ""), ("/* /* */ */ ", ""), ("E'\\'' || ", "")),
)
LEAVES: Final = (
    "x",
    "1",
    "t.a",
    "'a'",
    "$1",
    "null",
    "*",
    '"A"',
    "1.5e3",
    "current_date",
    "",
    "x y",
)
STARTS: Final = (
    *(
        "",
        "select ",
        "select x from t where ",
        "explain ",
        "values (",
        "select x from t order by ",
    ),
    *("insert into t select ", "copy (select ", "do $$begin ", "with c as (select 1) select "),
    *(
        "update t set x = ",
        "prepare p as select ",
        "create view v as select ",
        "select 1; select ",
    ),
)
_ENDS: Final = {"(": ")", "[": "]", "{": "}"}


def text(chance: random.Random, slow: Sequence[str] = ()) -> str:
    """Return some text; *slow* are some that took long."""
    found = chance.choices((_nest, _expression, _mutant), (4, 3, 3))[0](chance, slow)
    return found[: SHORT if chance.random() < 0.6 else MOST]


def _times(chance: random.Random, unit: int) -> int:
    """Return how often something of *unit* characters is said: a few times, or as often as there is room."""
    room = (SHORT if chance.random() < 0.7 else MOST) // max(1, unit)
    return max(1, min(room, int(2 ** chance.uniform(0, 15))))


def _piece(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(PIECES)
    word = chance.choice(TYPES if kind < 0.6 else WORDS)
    return word + chance.choice(
        (" ", "(", "[", "<", " x ", "(x, ", "(select ", ", ", " x (", ".")
    )


def _nest(chance: random.Random, _: Sequence[str]) -> str:
    unit = "".join(_piece(chance) for _ in range(chance.randint(1, 6)))
    closing = "".join(_ENDS.get(sign, "") for sign in reversed(unit))
    between = chance.choice(("", "", ", x", " x", " from t", " end", "; "))
    times = _times(chance, len(unit + closing + between))
    body = unit * times + chance.choice(LEAVES)
    if chance.random() < 0.8:
        body += (closing + between) * times
    if chance.random() < 0.3:
        body = "; select ".join([body] * _times(chance, len(body)))
    return chance.choice(STARTS) + body


def _expression(chance: random.Random, _: Sequence[str]) -> str:
    """Return the same few constructs within each other, or any."""
    few = [chance.choice(AROUND) for _ in range(chance.choice((1, 2, 3, 5, 60)))]
    few += [
        (f"{chance.choice(TYPES)}{bracket}", end) for bracket, end in (("(", ")"), ("[", "]"))
    ]
    found, room = chance.choice(LEAVES), SHORT - 100 if chance.random() < 0.7 else MOST
    depth = int(2 ** chance.uniform(1, 9))
    for _ in range(depth):
        before, after = chance.choice(few)
        found = before + found + after
        if chance.random() < 0.05:
            found = f"{found}, {chance.choice((found[:200], chance.choice(LEAVES)))}"
        if len(found) > room:
            break
    found = chance.choice(STARTS) + found
    return "; ".join([found] * (_times(chance, len(found)) if chance.random() < 0.2 else 1))


def _mutant(chance: random.Random, slow: Sequence[str]) -> str:
    found = _known(chance, slow)[:MOST]
    for _ in range(chance.randint(1, 4)):
        at, end = sorted(chance.randrange(len(found) + 1) for _ in range(2))
        end = min(end, at + int(2 ** chance.uniform(0, 12)))
        part = found[at:end]
        other = _known(chance, slow)[: chance.randint(1, 300)]
        part = chance.choice(
            (
                "",
                part * 2,
                part * _times(chance, len(part)),
                part + _piece(chance),
                other,
                _piece(chance),
            )
        )
        found = (found[:at] + part + found[end:])[:MOST]
    return found


def _known(chance: random.Random, slow: Sequence[str]) -> str:
    kind = chance.random()
    if slow and kind < 0.6:
        return chance.choice(slow)
    if kind < 0.8:
        return nested(chance.choice(NESTED), int(2 ** chance.uniform(0, 9)))
    return chance.choice([*TEXTS.values()])
