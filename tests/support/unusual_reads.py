"""Reads that only PostgreSQL's own grammar knows how to read; every one of them runs on a bare database."""

from __future__ import annotations

from typing import Final

#: A value of each type that comes with PostgreSQL; of pseudo types, and those without input, there are none.
_VALUES: Final = {
    "bool": "t",
    "bytea": r"\x01",
    '"char"': "a",
    "name": "a",
    "int8": "1",
    "int2": "1",
    "int2vector": "1 2",
    "int4": "1",
    "regproc": "now",
    "text": "a",
    "oid": "1",
    "tid": "(0,1)",
    "xid": "1",
    "cid": "1",
    "oidvector": "1 2",
    "xid8": "1",
    "json": "{}",
    "jsonb": "{}",
    "jsonpath": "$.a",
    "point": "(1,1)",
    "lseg": "[(1,1),(2,2)]",
    "path": "((1,1))",
    "box": "(1,1),(2,2)",
    "polygon": "((1,1))",
    "line": "{1,2,3}",
    "circle": "<(1,1),1>",
    "float4": "1",
    "float8": "1",
    "money": "1",
    "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05",
    "inet": "::1",
    "cidr": "10.0.0.0/8",
    "aclitem": "=r/app",
    "bpchar": "a",
    "varchar": "a",
    "date": "2020-01-01",
    "time": "10:00",
    "timetz": "10:00+02",
    "timestamp": "2020-01-01",
    "timestamptz": "2020-01-01",
    "interval": "1 day",
    "bit": "1",
    "varbit": "101",
    "numeric": "1.5",
    "regprocedure": "now()",
    "regoper": "||/",
    "regoperator": "+(int4,int4)",
    "regclass": "pg_class",
    "regcollation": "pg_catalog.default",
    "regtype": "int4",
    "regrole": "app",
    "regnamespace": "pg_catalog",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "pg_lsn": "0/1",
    "tsvector": "a b",
    "gtsvector": None,
    "tsquery": "a & b",
    "regconfig": "simple",
    "regdictionary": "simple",
    "txid_snapshot": "1:2:",
    "pg_snapshot": "1:2:",
    "int4range": "[1,2)",
    "numrange": "[1,2)",
    "tsrange": "[2020-01-01,2020-01-02)",
    "tstzrange": "[2020-01-01,2020-01-02)",
    "daterange": "[2020-01-01,2020-01-02)",
    "int8range": "[1,2)",
    "int4multirange": "{[1,2)}",
    "nummultirange": "{[1,2)}",
    "tsmultirange": "{[2020-01-01,2020-01-02)}",
    "tstzmultirange": "{[2020-01-01,2020-01-02)}",
    "datemultirange": "{[2020-01-01,2020-01-02)}",
    "int8multirange": "{[1,2)}",
}
_SPELLINGS: Final = (
    *(
        "bigint '1'",
        "int '1'",
        "integer '1'",
        "smallint '1'",
        "boolean 't'",
        "real '1'",
        "float '1'",
    ),
    *(
        "float(3) '1'",
        "double precision '1'",
        "decimal '1'",
        "dec '1'",
        "decimal(3,1) '1'",
        "numeric(5,2) '1'",
    ),
    *(
        "bit(3) '101'",
        "bit varying '101'",
        "bit varying(3) '101'",
        "character 'a'",
        "char(3) 'a'",
    ),
    *(
        "character varying 'a'",
        "character varying(3) 'a'",
        "char varying(3) 'a'",
        "varchar(3) 'a'",
    ),
    *(
        "nchar 'a'",
        "nchar varying(3) 'a'",
        "national character(3) 'a'",
        "national char varying(3) 'a'",
    ),
    *("time(3) '10:00'", "time with time zone '10:00+02'", "time(3) without time zone '10:00'"),
    *("timestamp(3) with time zone '2020-01-01'", "timestamp without time zone '2020-01-01'"),
    *(
        "interval '1' day",
        "interval '1' year",
        "interval '1-2' year to month",
        "interval '1 2:3:4' day to second(3)",
    ),
    *(
        "interval '1' second(3)",
        "interval(3) '1 day'",
        "interval '1' minute",
        "interval '1:2' hour to minute",
    ),
    *(
        "pg_catalog.int4 '1'",
        "pg_catalog.varchar(3) 'a'",
        'pg_catalog."char" $$a$$',
        "\"int4\" e'1'",
    ),
    *("int4 u&'\\0031'", "int4 '1'\n'2'", "information_schema.sql_identifier 'a'"),
)
_NAMES: Final = tuple(
    f"{schema}{name} '{value}'"
    for name, value in _VALUES.items()
    if value is not None
    for schema in ("", "pg_catalog.")
    if not (schema and name in {"bit", "bpchar"} and value == "1")
)
_PLACES: Final = (
    "select interval '1' day as day, now() - interval '1' hour, date '2020-01-01' + 1",
    "select 1 where date '2020-01-01' between date '2019-01-01' and timestamp '2021-01-01' - interval '1' month",
    "select case int4 '1' when int4 '1' then int4 '2' else int4 '3' end, cast(int4 '1' as text), - int4 '1'",
    "select array[int4 '1', int4 '2'], row(int4 '1'), (array[1, 2])[int4 '1':int4 '2'], 1 in (int4 '1', 2)",
    "select * from generate_series(date '2020-01-01', date '2020-01-02', interval '1' day)",
    "select oid from pg_class order by oid limit int8 '1' offset int8 '0'",
    "select 1 operator(pg_catalog.+) int4 '1', operator(pg_catalog.-) int4 '1'",
    "select distinct on (a) text 'x' from (values (1)) as v(a)",
    "select sum(a) over (order by a range between interval '1' day preceding and interval '1' day following)"
    " from (values (date '2020-01-01')) v(d), (values (interval '1' day)) w(a) limit 0",
    "select now() at time zone text 'utc', now() at time zone interval '1' hour",
)
_CASTS: Final = (
    "select '101'::bit varying(3), cast('101' as bit varying), 'a'::national character varying(3), '{1}'::int array",
    "select '{pg_class}'::regclass[], cast('{1}' as int[3]), '1 2:3:4'::interval day to second(3) as a, '{1,2}'::int[][1]",
    "select '{10:00}'::time(3) with time zone[] is null where false",
)
_ORDER: Final = (
    "select relname from pg_class order by relname using <",
    "select relname from pg_class order by relname::text using ~<~ nulls last, oid using operator(pg_catalog.>)",
    "select array_agg(oid order by oid using >) from pg_class",
    "select percentile_disc(0.5) within group (order by oid using <) from pg_class",
    "select rank() over (order by relname::text using ~>~) from pg_class",
)
_UNICODE: Final = (
    r"""select U&"rel\006Eame" from U&"pg_cl!0061ss" UESCAPE '!'""",
    r"select U&'d\0061t\+000061', U&'d!0061ta' uescape '!', u&'it''s'",
    r"select 1 as U&" + '"\\0061"',
)
_GIVEN: Final = (
    "select * from ts_stat('select to_tsvector(''simple'', relname) from pg_class')",
    "select ts_rewrite('a & b'::tsquery, 'select ''a''::tsquery, ''c''::tsquery')",
    "select ts_rewrite('a & b'::tsquery, 'a', 'c')",
)
_FUNCTIONS: Final = (
    "select int4pl(1, 2), texteq('a', 'b'), textcat('a', 'b'), date_in('2020-01-01'), int4out(1)",
    "select json_object('{a,1}'), json_object('{a}', '{b}'), json_object(array['a', 'b'])",
    "select int4send(1), record_send(row(1)), box_distance('1,1,2,2', '3,3,4,4'), array_in('{1}', 23, -1)",
)
UNUSUAL_READS: Final = (
    *(f"select {literal}" for literal in (*_NAMES, *_SPELLINGS)),
    *_PLACES,
    *_CASTS,
    *_ORDER,
    *_UNICODE,
    *_GIVEN,
    *_FUNCTIONS,
)
