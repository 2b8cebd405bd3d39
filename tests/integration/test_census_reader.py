"""Reading the system catalogs of a real database: what is read again, and what cannot be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import trio

from rwsplit.embedded.reachable import ReachableCluster
from rwsplit.monitor import bodies, catalog_reader, census_reader
from rwsplit.monitor.catalog_reader import CatalogReader
from rwsplit.monitor.census_reader import CensusFailed, CensusReader, Parameters
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.census import compose
from rwsplit.sql.facts import HARMLESS, UNKNOWN, VOLATILE
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.statement import StateKind

pytestmark = pytest.mark.integration

LISTED = FunctionBook().listed


@pytest.fixture
def owner(cluster: ReachableCluster[Any]) -> Iterator[psycopg.Connection[Any]]:
    with cluster.primary.connect("app", "app") as connection:
        connection.execute("create schema read")
        yield connection
        connection.execute("drop schema read cascade")


@pytest.fixture
def place(cluster: ReachableCluster[Any]) -> Parameters:
    node = cluster.primary
    return {"host": node.host, "port": node.port, "user": "rwsplit", "dbname": "app"}


@pytest.fixture
def password(cluster: ReachableCluster[Any]) -> str:
    return cluster.passwords["rwsplit"]


def test_only_what_changed_is_read_again(
    owner: psycopg.Connection[Any],
    place: Parameters,
    password: str,
    monkeypatch: pytest.MonkeyPatch,
):
    texts: list[str] = []
    read_body = bodies.read_body
    monkeypatch.setattr(
        bodies, "read_body", lambda text: (texts.append(text), read_body(text))[1]
    )
    reader = CensusReader()

    def look() -> tuple[Catalog, list[str]]:
        texts.clear()
        catalog = compose(reader.read(place, password), LISTED)
        return catalog, [text for text in texts if "read" in text]

    owner.execute(
        "create function read.f() returns int language sql stable as 'select 1 as read';"
        "create view read.v as select read.f() as read"
    )
    catalog, read = look()
    assert len(read) == 2
    assert catalog.functions["read", "f"] == HARMLESS
    assert ("read", "v") not in catalog.relations
    assert look() == (catalog, [])

    owner.execute(
        "create or replace function read.f() returns int language sql as 'select 2 as read'"
    )
    catalog, read = look()
    assert len(read) == 1
    assert catalog.relations["read", "v"] == VOLATILE

    owner.execute("alter function read.f rename to g")
    catalog, read = look()
    assert len(read) == 2
    assert catalog.relations["read", "v"] == VOLATILE


def test_what_is_called_under_another_name(
    owner: psycopg.Connection[Any], place: Parameters, password: str
):
    owner.execute(
        """
        create aggregate read.sets(text, bool) (sfunc = set_config, stype = text, initcond = 'a.b');
        create aggregate read.adds(int) (sfunc = int4pl, stype = int);
        create operator read.@@@ (function = pg_try_advisory_lock, leftarg = int, rightarg = int);
        create function read.unconforming() returns void language plpgsql stable
            set standard_conforming_strings = off
            as $$begin perform length('a\\'' || set_config('a.b', 'c', false) || 'b'); -- '
            end$$;
        create function read.makes() returns void language plpgsql
            set search_path = pg_temp, public as 'begin create table made (a int); end';
        create function read.lasts() returns bool language sql volatile as 'select true';
        create domain read.checked as int check (read.lasts());
        create domain read.over as read.checked;
        create type read.composed as (a int, b read.over[]);
        create table read.filled (a read.over);
        create function read.steady(int, int) returns bool language sql stable as 'select true';
        create function read.fickle(int, int) returns bool language sql volatile as 'select true';
        create operator read.~@~ (function = read.steady, leftarg = int, rightarg = int, negator = operator(read.!~@~));
        create operator read.!~@~ (function = read.fickle, leftarg = int, rightarg = int, negator = operator(read.~@~));
        create operator read.<@< (function = read.steady, leftarg = int, rightarg = int, commutator = operator(read.>@>));
        create operator read.>@> (function = read.fickle, leftarg = int, rightarg = int, commutator = operator(read.<@<));
        create type read.kind as enum ('a');
        create function read.as_json(read.kind) returns json language sql volatile as 'select to_json(1)';
        create cast (read.kind as json) with function read.as_json(read.kind);
        """
    )
    catalog = compose(CensusReader().read(place, password), LISTED)
    functions = {name: facts for (schema, name), facts in catalog.functions.items()}
    assert functions["sets"].state is StateKind.PARAMETER
    assert functions["adds"] == HARMLESS
    assert catalog.operators["@@@"].state is StateKind.ADVISORY_LOCK
    assert functions["unconforming"].state is StateKind.UNKNOWN_FUNCTION
    assert functions["makes"].state is StateKind.TEMP_TABLE
    made = {"checked", "_checked", "over", "_over", "composed", "_composed"}
    assert catalog.types.keys() == made | {"json"}
    assert {catalog.operators[symbol] for symbol in ("~@~", "!~@~", "<@<", ">@>")} == {VOLATILE}
    assert catalog.functions["pg_catalog", "to_json"] == VOLATILE


def test_a_text_that_is_locked_is_unknown_and_all_others_are_read(
    owner: psycopg.Connection[Any], place: Parameters, password: str
):
    """To deparse a view takes a lock on what it reads, and so may a policy's condition."""
    owner.execute(
        """
        create table read.t (a int);
        create function read.f() returns bool language sql stable as 'select true';
        create policy p on read.t using (read.f());
        alter table read.t enable row level security;
        create view read.v as select a from read.t;
        create view read.w as select 1 as a;
        """
    )
    short = {**place, "options": "-c lock_timeout=300"}
    reader = CensusReader()
    with owner.transaction():
        owner.execute("lock table read.t in access exclusive mode")
        catalog = compose(reader.read(short, password), LISTED)
        assert catalog.functions["read", "f"] == HARMLESS
        assert catalog.relations["read", "v"] == UNKNOWN
        assert ("read", "w") not in catalog.relations
    catalog = compose(reader.read(short, password), LISTED)
    assert not catalog.relations.keys() & {("read", "v"), ("read", "t")}


def test_a_table_hides_what_is_not_one(
    owner: psycopg.Connection[Any], place: Parameters, password: str
):
    owner.execute("create unlogged table read.t (a int); create table public.t (a int)")
    try:
        catalog = compose(CensusReader().read(place, password), LISTED)
        assert catalog.relation(None, "t", ("public", "read")) == HARMLESS
        assert catalog.relation(None, "t", ("read", "public")) != HARMLESS
    finally:
        owner.execute("drop table public.t")


def test_the_search_paths_sessions_start_with(
    cluster: ReachableCluster[Any], place: Parameters, password: str
):
    with cluster.primary.connect("app") as connection:
        connection.execute(
            "alter database app set search_path = of_database; "
            "alter role app set search_path = of_role; "
            "alter role rwsplit set search_path = everywhere; "
            "alter role rwsplit in database app set search_path = here, public"
        )
        try:
            paths = CensusReader().read(place, password).paths
            assert paths.of("anybody") == "of_database"
            assert paths.of("app") == "of_role"
            assert paths.of("rwsplit") == "here, public"
            connection.execute("alter database app reset search_path")
            assert CensusReader().read(place, password).paths.of("anybody") == '"$user", public'
        finally:
            connection.execute(
                "alter database app reset search_path; alter role app reset search_path; "
                "alter role rwsplit reset search_path; "
                "alter role rwsplit in database app reset search_path"
            )


def test_what_cannot_be_read_is_said(
    owner: psycopg.Connection[Any],
    place: Parameters,
    password: str,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    with pytest.raises(CensusFailed, match="does not exist") as caught:
        CensusReader().read({**place, "dbname": "nowhere"}, password)
    assert caught.value.refused
    with pytest.raises(CensusFailed, match="No such file") as caught:
        CensusReader().read(place, tmp_path / "missing")
    (tmp_path / "password").write_text(password + "\n")
    with pytest.raises(CensusFailed, match="statement timeout") as caught:
        CensusReader().read(
            {**place, "options": "-c statement_timeout=1"}, tmp_path / "password"
        ) and pytest.skip("a machine that fast")
    assert not caught.value.refused
    monkeypatch.setattr(census_reader, "MOST_ROWS", 0)
    with pytest.raises(CensusFailed, match="more than"):
        CensusReader().read(place, password)


async def test_a_look_that_is_given_up_keeps_no_thread(
    owner: psycopg.Connection[Any],
    place: Parameters,
    password: str,
):
    """To deparse a view takes a lock on what it reads; some deparsing takes minutes, and heeds no timeout of PostgreSQL's."""
    owner.execute("create table read.t (a int); create view read.v as select a from read.t")
    limiter = trio.CapacityLimiter(1)
    reader = CatalogReader(limiter, timeout=0.5)
    with owner.transaction():
        owner.execute("lock table read.t in access exclusive mode")
        with pytest.raises(CensusFailed, match="no answer"):
            await reader.read(place, password, LISTED)
        with trio.fail_after(10):
            async with limiter:  # the thread has ended
                pass
        with trio.fail_after(20):
            reason = ""
            while "earlier look has not ended" not in reason:  # once it is old enough
                with pytest.raises(CensusFailed) as caught:
                    await reader.read(place, password, LISTED)
                reason = str(caught.value)
    with trio.fail_after(20):
        while True:  # until PostgreSQL has noticed that nobody listens any more
            with contextlib.suppress(CensusFailed):
                await reader.read(place, password, LISTED)
                break


async def test_a_look_behind_one_that_was_given_up_knows_of_a_renaming(
    owner: psycopg.Connection[Any], place: Parameters, password: str
):
    """What a text mentions has another name, and the text is the same to PostgreSQL: it must be read again."""
    owner.execute(
        "create function read.f() returns int language sql volatile as 'select 1';"
        "create view read.v as select read.f()"
    )
    reader = CatalogReader(trio.CapacityLimiter(1))
    await reader.read(place, password, LISTED)
    reader.timeout = 0.0
    with pytest.raises(CensusFailed, match="no answer"):
        await reader.read(place, password, LISTED)
    reader.timeout = 60.0
    owner.execute("alter function read.f() rename to g")
    catalog = await reader.read(place, password, LISTED)
    assert catalog.relations["read", "v"] == VOLATILE


def test_a_look_is_abandoned_whatever_has_become_of_its_connection(
    place: Parameters, password: str
):
    reader = CensusReader()
    reader._connection = census_reader.connect(place, password)
    reader._connection.close()
    reader.abandon()
    with pytest.raises(CensusFailed, match="abandoned"):
        reader.read(place, password)


def test_what_takes_long_to_deparse_is_not_read(
    owner: psycopg.Connection[Any], place: Parameters, password: str
):
    """One such join takes PostgreSQL 16 some fifteen seconds, whatever `statement_timeout` says."""
    owner.execute(f"create table read.t ({', '.join(f'c{n} int' for n in range(1600))})")
    joined = " cross join ".join(f"read.t a{n}" for n in range(20))
    owner.execute(f"create view read.wide as select 1 as x from ({joined}) j")
    owner.execute("create view read.narrow as select c1 from read.t")
    owner.execute(
        f"create function read.long() returns int language sql stable begin atomic "
        f"select 1 from ({joined}) j; end"
    )
    catalog = compose(CensusReader().read(place, password), LISTED)
    assert catalog.relations["read", "wide"] == UNKNOWN
    assert ("read", "narrow") not in catalog.relations
    assert catalog.functions["read", "long"] == UNKNOWN


def test_names_are_read_by_the_encoding_of_their_database(
    cluster: ReachableCluster[Any], place: Parameters, password: str
):
    """And a role's setting that has no equivalent in it is no obstacle."""
    name = "\u30c6\u30b9\u30c8"
    with cluster.primary.connect() as boss:
        boss.execute("alter role app set search_path = 'caf\u00e9\N{EURO SIGN}'")
        boss.execute(
            "create database japanese encoding euc_jp template template0 lc_collate 'C' lc_ctype 'C'"
        )
    try:
        with cluster.primary.connect("japanese") as anybody:
            anybody.execute(f'create view "{name}" as select pg_try_advisory_lock(1)')
        found = CensusReader().read({**place, "dbname": "japanese"}, password)
        catalog = compose(found, LISTED)
        assert catalog.relations["public", name].state is StateKind.ADVISORY_LOCK
        assert catalog.paths.of("app") != found.paths.anywhere
    finally:
        with cluster.primary.connect() as boss:
            boss.execute("alter role app reset search_path")
            boss.execute("drop database japanese with (force)")


def test_a_view_that_is_too_deep_to_be_deparsed_is_unknown(
    owner: psycopg.Connection[Any], place: Parameters, password: str
):
    depth = 4980
    owner.execute("create table read.t (a int); create view read.v as select a from read.t")
    owner.execute(f"create view read.deep as select {'abs(' * depth}a{')' * depth} from read.t")
    catalog = compose(CensusReader().read(place, password), LISTED)
    assert catalog.relations.keys() & {("read", "v"), ("read", "deep")} == {("read", "deep")}


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("UTF8", "utf-8"),
        ("SQL_ASCII", "utf-8"),
        ("LATIN1", "iso8859-1"),
        ("LATIN9", "iso8859-15"),
        ("WIN1252", "cp1252"),
        ("WIN866", "cp866"),
        ("KOI8R", "koi8-r"),
        ("KOI8U", "koi8-u"),
        ("ISO_8859_5", "iso8859-5"),
        ("EUC_KR", "euc_kr"),
        ("EUC_CN", "gb2312"),
        ("MULE_INTERNAL", "utf-8"),
        ("", "utf-8"),
    ],
)
def test_what_python_calls_an_encoding(encoding: str, codec: str):
    assert census_reader._codec(encoding) == codec


def test_texts_that_are_of_no_encoding(
    cluster: ReachableCluster[Any], place: Parameters, password: str
):
    with cluster.primary.connect() as boss:
        boss.execute(
            "create database ascii encoding sql_ascii template template0 lc_collate 'C' lc_ctype 'C'"
        )
    try:
        with cluster.primary.connect("ascii") as anybody:
            anybody.execute("set client_encoding to sql_ascii")
            anybody.execute(b"alter role app set search_path = 'x\xff'")
            anybody.execute(
                b"create function f() returns int language sql stable as 'select 1 -- \xff'"
            )
            anybody.execute('create view "v\u00e9" as select pg_try_advisory_lock(1)'.encode())
            anybody.execute(b'create unlogged table "t\xe9" (a int)')
        for database in ("ascii", "app"):
            catalog = compose(
                CensusReader().read({**place, "dbname": database}, password), LISTED
            )
            assert catalog.paths.of("app") == '"x\xff"'
            if database == "ascii":
                assert catalog.functions["public", "f"] == HARMLESS
                assert {
                    ("public", "v\u00e9"),
                    ("public", "t\u00e9"),
                } <= catalog.relations.keys()
    finally:
        with cluster.primary.connect() as boss:
            boss.execute("alter role app reset search_path")
            boss.execute("drop database ascii with (force)")


async def test_a_look_that_takes_too_long_or_surprises_is_given_up(
    owner: psycopg.Connection[Any],
    place: Parameters,
    password: str,
    monkeypatch: pytest.MonkeyPatch,
):
    reader = CatalogReader(trio.CapacityLimiter(2))
    first = await reader.read(place, password, LISTED)
    assert await reader.read(place, password, LISTED) is first

    reader.timeout = 0.0
    with pytest.raises(CensusFailed, match="no answer"):
        await reader.read(place, password, LISTED)

    def fail(*_: object) -> Catalog:
        raise KeyError("surprise")

    monkeypatch.setattr(catalog_reader, "compose", fail)
    with pytest.raises(CensusFailed, match="surprise"):
        await CatalogReader(trio.CapacityLimiter(1)).read(place, password, LISTED)
