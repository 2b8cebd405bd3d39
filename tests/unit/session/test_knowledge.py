"""What names mean to sessions: catalogs come, DDL makes them doubtful, sessions share what they can."""

from __future__ import annotations

import gc

import pytest

from rwsplit.cluster.node import NEVER
from rwsplit.session.knowledge import LEAST_SIZE, MOST_DOUBTS, Doubt, Knowledge
from rwsplit.session.parameters import NONE
from rwsplit.session.prologue import is_prologue
from rwsplit.session.session import Session
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.facts import HARMLESS, VOLATILE, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.search_path import DefaultPaths
from rwsplit.sql.statement import PrimaryOnly, Redefined, StateKind
from tests.support.frames import SYNC, bind, execute, parse as parse_frame, query
from tests.unit.session.pieces import one, spelled

CATALOG = Catalog(
    functions={("a", "f"): HARMLESS, ("b", "f"): VOLATILE, ("ann", "f"): VOLATILE},
    paths=DefaultPaths("a, public"),
)


def connected(
    knowledge: Knowledge, database: str = "shop", user: str = "app", **parameters: str
):
    own = knowledge.parameters.intern(parameters)
    return Session(knowledge, user=user, database=database, parameters=own)


def have(session: Session, **parameters: str) -> None:
    """Let *session* have *parameters* from now on."""
    session.parameters = session.knowledge.parameters.intern(parameters)
    session.enter_scope()


def define(session: Session, text: str) -> None:
    """Let *session* send DDL."""
    one(session, query(text))


def verdict(session: Session, text: str = "select f()") -> PrimaryOnly | None:
    script = one(session, query(text)).script
    assert script is not None
    return script.primary_only


def test_without_a_catalog_a_function_is_unknown(session: Session):
    assert verdict(session) is PrimaryOnly.UNKNOWN_FUNCTION


def test_a_catalog_teaches_sessions_that_are_there_already(knowledge: Knowledge):
    before = connected(knowledge)
    assert verdict(before) is PrimaryOnly.UNKNOWN_FUNCTION

    knowledge.publish("shop", CATALOG)

    assert verdict(before) is None
    assert verdict(connected(knowledge)) is None
    assert verdict(connected(knowledge, "other")) is PrimaryOnly.UNKNOWN_FUNCTION
    assert knowledge.catalog("shop") is CATALOG
    assert knowledge.databases() == {"shop"}


def test_databases_have_catalogs_of_their_own(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    session = connected(knowledge)
    script = one(session, query("select f()")).script
    knowledge.publish("other", Catalog(functions={("public", "f"): VOLATILE}))

    assert one(session, query("select f()")).script is script
    assert verdict(connected(knowledge, "other")) is PrimaryOnly.VOLATILE_FUNCTION


def test_a_statement_is_explained_as_in_the_only_database_there_is(knowledge: Knowledge):
    def explained() -> PrimaryOnly | None:
        return knowledge.typical_scope().statements.lookup(b"select f()").primary_only

    assert explained() is PrimaryOnly.UNKNOWN_FUNCTION
    knowledge.publish("shop", CATALOG)
    assert explained() is None
    knowledge.publish("other", CATALOG)
    assert explained() is PrimaryOnly.UNKNOWN_FUNCTION


def test_the_search_path_chooses_between_functions_of_one_name(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    one_, other = connected(knowledge), connected(knowledge, search_path="b")

    assert verdict(one_) is None
    assert verdict(other) is PrimaryOnly.VOLATILE_FUNCTION
    assert verdict(connected(knowledge, user="ann", search_path='"$user"')) is not None
    assert verdict(connected(knowledge, role="ann", search_path='"$user"')) is not None

    have(one_, search_path="b")
    assert verdict(one_) is PrimaryOnly.VOLATILE_FUNCTION
    assert one_.scope is other.scope
    have(one_)
    assert verdict(one_) is None
    assert repr(other.scope) == "<Scope app@shop search_path='b'>"


def test_what_may_be_revealed_is_doubted_once(knowledge: Knowledge):
    """There may be a hundred thousand such names, and as many DROPs in a transaction."""
    leaves = leaving(StateKind.ADVISORY_LOCK)
    catalog = Catalog(relations={("a", "v"): HARMLESS, ("b", "v"): leaves, ("a", "w"): leaves})
    knowledge.publish("shop", catalog)
    session = connected(knowledge, search_path="a, b")
    assert verdict(session, "select * from v") is None
    counted: list[str] = []
    knowledge._teach = counted.append  # type: ignore[method-assign]
    doubts = [knowledge.doubt("shop", Redefined(reveals=True)) for _ in range(5)]
    assert counted == ["shop"]
    assert knowledge._doubted("shop") == {"v"}
    knowledge.settle("shop", doubts[:2])
    knowledge.publish("shop", catalog, knowledge.settled("shop"))
    assert knowledge._doubted("shop") == {"v"}
    knowledge.settle("shop", doubts[2:])
    knowledge.publish("shop", catalog, knowledge.settled("shop"))
    assert knowledge._doubted("shop") == frozenset()


def test_a_session_has_so_many_doubts(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    session = connected(knowledge)
    count = 10 * MOST_DOUBTS
    for n in range(count):
        one(session, query(f"create view v{n} as select 1"))
        assert len(session.doubts) <= MOST_DOUBTS
        assert len(knowledge._doubts["shop"]) <= MOST_DOUBTS
    assert knowledge._doubted("shop") == {f"v{n}" for n in range(count)}
    knowledge.settle("shop", session.doubts)
    knowledge.publish("shop", CATALOG, knowledge.settled("shop"))
    assert not knowledge._doubted("shop")


def test_a_session_that_sets_no_path_has_the_one_its_login_began_with(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    session = connected(knowledge)
    assert verdict(session) is None
    session.adopt_default_path(None)
    assert verdict(session) is None
    session.adopt_default_path("b")
    assert verdict(session) is PrimaryOnly.VOLATILE_FUNCTION
    have(session, search_path="a")
    assert verdict(session) is None
    have(session)
    assert verdict(session) is PrimaryOnly.VOLATILE_FUNCTION
    one(session, query("set search_path = a"))
    session.adopt_default_path("a")
    assert session.is_unsure
    session.be_sure()
    assert verdict(session) is None


@pytest.mark.parametrize(
    "text",
    [
        *("set search_path = b", "set local search_path = b", "set role ann", "reset all"),
        "select set_config('search_path', 'b', true)",
    ],
)
def test_behind_a_change_of_path_a_name_may_be_one_of_any_schema_until_that_is_over(
    knowledge: Knowledge, text: str
):
    knowledge.publish("shop", CATALOG)
    session = connected(knowledge)
    assert verdict(session) is None
    one(session, query(text))
    assert session.is_unsure
    assert verdict(session) is PrimaryOnly.VOLATILE_FUNCTION
    session.adopt_parameters(session.parameters)
    assert session.is_unsure, "another change may be under way"
    session.be_sure()
    assert not session.is_unsure
    assert verdict(session) is None


def test_so_it_may_in_the_same_pipeline(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    session = connected(knowledge)
    first = parse_frame("", "set search_path = b") + bind() + execute()
    unit = one(session, first, parse_frame("", "select f()"), bind(), execute(), SYNC)
    assert unit.script is not None
    assert unit.script.may_write


@pytest.mark.parametrize(
    ("encoding", "is_opaque"), [("SJIS", True), ("utf8", False), ("LATIN1", False)]
)
def test_behind_another_encoding_texts_may_be_read_otherwise_until_that_is_over(
    knowledge: Knowledge, encoding: str, is_opaque: bool
):
    session = connected(knowledge)
    one(session, query(f"set local client_encoding = '{encoding}'"))
    assert session.opaque is is_opaque
    session.be_sure()
    assert not session.opaque


def test_sessions_share_a_vocabulary_where_their_paths_amount_to_the_same(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    one_, other = connected(knowledge), connected(knowledge, user="bob", search_path="x, a")

    assert one_.scope is not other.scope
    assert one_.scope.vocabulary is other.scope.vocabulary
    assert connected(knowledge, user="ann", search_path="b, x").scope.vocabulary is not (
        one_.scope.vocabulary
    )


def test_an_empty_catalog_needs_no_vocabulary_of_its_own(knowledge: Knowledge):
    session = connected(knowledge)
    common = session.scope.vocabulary

    knowledge.publish("shop", Catalog())

    assert session.scope.vocabulary is common


def test_a_new_catalog_may_show_that_a_path_leads_elsewhere(knowledge: Knowledge):
    session = connected(knowledge, search_path="a, b, c")
    knowledge.publish("shop", Catalog(functions={("b", "f"): HARMLESS}))
    assert verdict(session) is None

    knowledge.publish("shop", Catalog(functions={("b", "f"): HARMLESS, ("c", "f"): VOLATILE}))

    assert verdict(session) is PrimaryOnly.VOLATILE_FUNCTION


def test_an_equal_catalog_forgets_nothing(knowledge: Knowledge):
    session = connected(knowledge)
    knowledge.publish("shop", CATALOG)
    script = one(session, query("select f()")).script

    knowledge.publish("shop", Catalog(functions=dict(CATALOG.functions), paths=CATALOG.paths))
    assert one(session, query("select f()")).script is script

    knowledge.publish("shop", None)
    assert verdict(session) is PrimaryOnly.UNKNOWN_FUNCTION
    knowledge.publish("shop", None)
    assert knowledge.catalog("shop") is None


def test_what_ddl_redefines_is_unknown_until_a_catalog_read_after_its_end(knowledge: Knowledge):
    ended: list[str] = []
    knowledge.on_ddl = ended.append
    knowledge.publish("shop", CATALOG)
    session, other = connected(knowledge), connected(knowledge, "other")
    ddl = "create or replace function f() returns int as 'x'"

    define(session, ddl)
    assert verdict(session) is PrimaryOnly.UNKNOWN_FUNCTION
    assert verdict(other) is PrimaryOnly.UNKNOWN_FUNCTION
    assert knowledge.settled("shop") == []
    knowledge.publish("shop", CATALOG, knowledge.settled("shop"))
    assert verdict(session) is PrimaryOnly.UNKNOWN_FUNCTION, "the DDL is not over yet"

    knowledge.settle("shop", session.doubts)
    assert ended == ["shop"]
    assert verdict(session) is PrimaryOnly.UNKNOWN_FUNCTION, "no catalog has been read since"
    dispelled = knowledge.settled("shop")
    define(session, ddl)
    knowledge.publish("shop", CATALOG, dispelled)
    assert verdict(session) is PrimaryOnly.UNKNOWN_FUNCTION, "another one is under way"
    knowledge.settle("shop", session.doubts)
    knowledge.publish("shop", CATALOG, knowledge.settled("shop"))
    assert verdict(session) is None


def test_the_moment_of_the_last_ddl_is_known(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG, at=1.0)
    session = connected(knowledge)
    assert knowledge.defined("shop") == NEVER, "it may be as old as the database"

    define(session, "grant select on f to ann")
    assert knowledge.defined("shop") == NEVER, "it is not over yet"
    knowledge.settle("shop", session.doubts, at=5.0)
    assert knowledge.defined("shop") == 5.0
    knowledge.settle("shop", session.doubts, at=6.0)
    assert knowledge.defined("shop") == 5.0

    knowledge.publish("shop", CATALOG, at=7.0)
    assert knowledge.defined("shop") == 5.0
    other = Catalog(functions={("a", "f"): VOLATILE})
    knowledge.publish("shop", other, at=8.0)
    assert knowledge.defined("shop") == 8.0, "it came by another way"
    knowledge.publish("shop", CATALOG, at=2.0)
    assert knowledge.defined("shop") == 8.0
    assert knowledge.defined("other") == NEVER


def test_what_follows_ddl_in_a_pipeline_does_not_know_what_it_defines(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    session = connected(knowledge)
    one(session, parse_frame("s", "select f()"), SYNC)
    ddl = "create or replace function f() returns int as 'x'"

    unit = one(session, parse_frame("", ddl), bind(), execute(), bind("s"), execute(), SYNC)

    assert unit.script is not None
    assert unit.script.state is StateKind.UNKNOWN_FUNCTION
    assert len(session.doubts) == 1


def test_ddl_that_defines_what_was_unknown_anyway_changes_nothing(knowledge: Knowledge):
    session = connected(knowledge)
    knowledge.publish("shop", CATALOG)
    script = one(session, query("select f()")).script

    define(session, "create function g() returns int as 'x'")
    define(session, "create table f (a int)")

    assert one(session, query("select f()")).script is script


def test_many_doubts_become_one(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    session, other = connected(knowledge), connected(knowledge)
    define(other, "create or replace function g() returns int as 'x'")
    for _ in range(MOST_DOUBTS + 1):
        define(session, "create or replace function f() returns int as 'x'")
        knowledge.settle("shop", session.doubts)

    [doubt] = knowledge.settled("shop")
    assert doubt.redefined.functions == {"f"}
    assert verdict(session) is PrimaryOnly.UNKNOWN_FUNCTION
    knowledge.publish("shop", CATALOG, [doubt])
    assert verdict(session) is None
    knowledge.settle("shop", other.doubts)
    assert len(knowledge.settled("shop")) == 1


def test_a_view_in_the_making_may_do_anything(knowledge: Knowledge):
    session = connected(knowledge)
    define(session, "create view v as select 1")
    assert verdict(session, "select * from v") is None, (
        "without a catalog nothing is known of views"
    )

    knowledge.publish("shop", Catalog())

    assert verdict(session, "select * from v") is PrimaryOnly.UNKNOWN_FUNCTION
    script = one(session, query("select * from v")).script
    assert script is not None
    assert script.state is StateKind.UNKNOWN_FUNCTION


def test_other_patterns_hold_in_every_vocabulary(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    session = connected(knowledge, search_path="b")
    assert verdict(session) is PrimaryOnly.VOLATILE_FUNCTION

    knowledge.reconfigure(["f"], [])

    assert verdict(session) is None


def test_a_transaction_with_a_search_path_of_its_own_leaves_its_replica_if_names_are_known(
    knowledge: Knowledge,
):
    session = connected(knowledge)

    def stays(text: str) -> bool:
        unit = one(session, query(text))
        assert unit.script is not None
        return is_prologue(unit, unit.script)

    assert stays("set local search_path = b")
    knowledge.publish("shop", CATALOG)
    assert not stays("set local search_path = b")
    assert stays("set local work_mem = '1MB'")


@pytest.mark.parametrize("name", ["", "s"])
def test_a_prepared_statement_has_the_facts_of_now(knowledge: Knowledge, name: str):
    session = connected(knowledge)
    one(session, parse_frame(name, "select f()"), SYNC)
    run = bind(name) + execute()

    def facts() -> PrimaryOnly | None:
        script = one(session, run, SYNC).script
        assert script is not None
        return script.primary_only

    assert facts() is PrimaryOnly.UNKNOWN_FUNCTION
    knowledge.publish("shop", CATALOG)
    assert facts() is None
    knowledge.publish("shop", Catalog(functions={("a", "f"): VOLATILE}))
    assert facts() is PrimaryOnly.UNKNOWN_FUNCTION, "`a` is not on the path any more"


def test_a_prepared_statement_follows_the_search_path(knowledge: Knowledge):
    knowledge.publish("shop", CATALOG)
    session, other = connected(knowledge), connected(knowledge)
    for each in (session, other):
        one(each, parse_frame("s", "select f()"), SYNC)
    shared = session.names[b"s"]
    assert other.names[b"s"] is shared

    have(session, search_path="b")
    unit = one(session, bind("s"), execute(), SYNC)

    assert unit.script is not None
    assert unit.script.primary_only is PrimaryOnly.VOLATILE_FUNCTION
    assert session.names[b"s"].name != shared.name
    assert session.names[b"s"].name in spelled(unit)
    by_sql = one(session, query("execute s"))
    assert by_sql.script is not None
    assert by_sql.script.primary_only is PrimaryOnly.VOLATILE_FUNCTION
    assert one(other, bind("s"), execute(), SYNC).script is shared.script


def test_vocabularies_share_what_may_be_remembered_and_end_with_their_sessions():
    functions = FunctionBook()
    knowledge = Knowledge(StatementCache(functions, size=1000), functions)
    schemas = [f"s{number}" for number in range(20)]
    knowledge.publish("shop", Catalog(functions={(s, "f"): HARMLESS for s in schemas}))

    first = connected(knowledge, search_path="s0")
    assert first.scope.statements.size == 500
    sessions = [connected(knowledge, search_path=schema) for schema in schemas]
    assert first.scope.statements.size == LEAST_SIZE
    knowledge.resize(50)
    assert first.scope.statements.size == 50

    del sessions
    gc.collect()
    knowledge.resize(2000)
    assert first.scope.statements.size == 1000
    assert Session(knowledge, user="x", database="y", parameters=NONE).scope.search_path is None


def test_the_same_ddl_once_more_is_one_doubt_and_another_age(knowledge: Knowledge):
    session, age = connected(knowledge), knowledge.age("shop")
    for number in range(1, 4):
        define(session, "create type mood as enum ('fine')")
        assert (len(session.doubts), knowledge.age("shop")) == (1, age + number)
    define(session, "drop type mood")
    assert len(session.doubts) == 2


def test_what_was_taught_before_ddl_is_older(knowledge: Knowledge):
    session = connected(knowledge)
    before = knowledge.age("shop")
    redefined = session.scope.statements.lookup(b"create table t (a int)").redefines
    assert redefined is not None
    knowledge.doubt("shop", redefined)
    assert knowledge.age("shop") > before
    assert knowledge.age("elsewhere") == 0


def test_ddl_about_defaults_and_a_catalog_with_other_settings_tell_of_it():
    knowledge = Knowledge(StatementCache(FunctionBook(), size=100), FunctionBook())
    told: list[str] = []
    knowledge.on_defaults = lambda: told.append("defaults")
    for redefined in (Redefined(), Redefined(defaults=True)):
        knowledge.settle("app", [knowledge.doubt("app", redefined)])
    assert told == ["defaults"]
    for settings in ("a", "a", "b"):
        knowledge.publish("app", Catalog(settings=settings))
    knowledge.publish("app", None)
    assert told == ["defaults", "defaults"]


def test_each_of_thousands_of_definitions_is_looked_at_once(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
):
    """A restore in one transaction: what is doubted was put together anew for each, twice."""
    knowledge.publish("shop", CATALOG)
    looked, about = 0, Doubt.about

    def counting(doubt: Doubt, catalog: Catalog) -> frozenset[str]:
        nonlocal looked
        looked += 1
        return about(doubt, catalog)

    monkeypatch.setattr(Doubt, "about", counting)
    count = 500
    made = [
        knowledge.doubt("shop", Redefined(views=frozenset({f"v{number % 50}"})))
        for number in range(count)
    ]
    assert looked <= 2 * count
    assert knowledge._doubted("shop") == {f"v{number}" for number in range(50)}

    knowledge.settle("shop", made)
    knowledge.publish("shop", CATALOG, knowledge.settled("shop"))
    assert not knowledge._doubted("shop")
