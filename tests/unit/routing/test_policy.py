"""The verdict on a script: its facts, hints, SET rwsplit.route and the operator's rules."""

from __future__ import annotations

import pytest

from rwsplit.config.model import RuleConfig
from rwsplit.routing.policy import (
    READ,
    Rules,
    route_facts,
    route_hints,
    route_setting,
)
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Hints, PrimaryOnly, Statement, Verb

REPLICA_READ = Script((Statement(Verb.QUERY),))
BEGIN = Statement(Verb.BEGIN)
BEGIN_READ_ONLY = Statement(Verb.BEGIN, read_only=True)
COMMIT = Statement(Verb.COMMIT)


def script(*statements: Statement) -> Script:
    return Script(statements)


def only(fact: PrimaryOnly, verb: Verb = Verb.QUERY) -> Script:
    return script(Statement(verb, primary_only=fact))


def learned() -> Script:
    found = script(Statement(Verb.QUERY))
    found.cost.writes = True
    return found


def where(route: Route | None) -> tuple[Target, RouteReason]:
    assert route is not None
    return route.target, route.reason


# Facts...


def test_a_script_of_which_everything_is_known_to_be_safe_is_read_from_a_replica():
    assert route_facts(REPLICA_READ) is READ


def test_nothing_at_all_is_a_read():
    assert route_facts(script()) is READ


def test_a_read_only_transaction_like_one_that_wanted_more_begins_on_the_primary():
    found = script(BEGIN_READ_ONLY, Statement(Verb.QUERY))
    assert where(route_facts(found))[0] is Target.REPLICA
    found.cost.precedes_state = True
    assert where(route_facts(found)) == (Target.PRIMARY, RouteReason.LEARNED_STATE)


@pytest.mark.parametrize("fact", PrimaryOnly)
def test_one_fact_that_demands_the_primary_is_the_reason(fact: PrimaryOnly):
    assert where(route_facts(only(fact))) == (Target.PRIMARY, RouteReason[fact.name])


def test_parameters_can_be_set_where_the_session_reads():
    statement = Statement(Verb.SET, primary_only=PrimaryOnly.SESSION_STATE, anywhere=True)
    assert where(route_facts(script(statement))) == (Target.REPLICA, RouteReason.PARAMETER)
    both = script(statement, Statement(Verb.QUERY))
    assert where(route_facts(both)) == (Target.PRIMARY, RouteReason.SESSION_STATE)


def test_the_strictest_statement_of_a_string_wins():
    both = script(
        Statement(Verb.QUERY, primary_only=PrimaryOnly.VOLATILE_FUNCTION),
        Statement(Verb.DML, primary_only=PrimaryOnly.MAY_WRITE),
    )

    assert where(route_facts(both)) == (Target.PRIMARY, RouteReason.MAY_WRITE)


def test_a_shape_a_replica_refused_before_goes_to_the_primary():
    assert where(route_facts(learned())) == (Target.PRIMARY, RouteReason.LEARNED_WRITE)


ROLE = Statement(Verb.QUERY, primary_only=PrimaryOnly.NODE_ROLE)


@pytest.mark.parametrize("before", [[], [Statement(Verb.QUERY)], [BEGIN]])
def test_what_tells_a_nodes_role_is_asked_of_the_primary(before: list[Statement]):
    assert route_facts(script(*before, ROLE)).target is Target.PRIMARY


def test_a_read_only_transaction_is_told_the_role_of_its_replica():
    commit = Statement(Verb.COMMIT)
    inside = script(BEGIN_READ_ONLY, ROLE, commit)
    assert route_facts(inside).reason is RouteReason.READ_ONLY_TRANSACTION
    outside = script(BEGIN_READ_ONLY, commit, ROLE)
    assert route_facts(outside).target is Target.PRIMARY
    inside.cost.precedes_state = True
    assert route_facts(inside).target is Target.PRIMARY


def test_whoever_asks_for_a_replica_is_told_its_role():
    asked = script(ROLE)
    assert route_hints(asked, Hints(route="replica")).target is Target.REPLICA
    assert route_setting(asked, "replica").target is Target.REPLICA


# Transactions...


def test_a_transaction_that_may_write_begins_on_the_primary():
    assert where(route_facts(script(BEGIN))) == (Target.PRIMARY, RouteReason.TRANSACTION)
    demanding = only(PrimaryOnly.NEEDS_PRIMARY, Verb.BEGIN)
    assert where(route_facts(demanding)) == (Target.PRIMARY, RouteReason.TRANSACTION)


def test_a_serializable_transaction_is_refused_by_a_hot_standby():
    serializable = only(PrimaryOnly.SERIALIZABLE, Verb.BEGIN)

    assert where(route_facts(serializable)) == (Target.PRIMARY, RouteReason.SERIALIZABLE)


@pytest.mark.parametrize(
    "statements",
    [
        (BEGIN_READ_ONLY,),
        (Statement(Verb.BEGIN, read_only=True, isolation="repeatable read"),),
        (BEGIN_READ_ONLY, Statement(Verb.QUERY), COMMIT),
        (BEGIN_READ_ONLY, COMMIT, BEGIN_READ_ONLY),
        (BEGIN_READ_ONLY, Statement(Verb.SET, local=True, setting="work_mem")),
    ],
)
def test_a_transaction_that_says_read_only_uses_a_replica(statements: tuple[Statement, ...]):
    assert where(route_facts(script(*statements))) == (
        Target.REPLICA,
        RouteReason.READ_ONLY_TRANSACTION,
    )


@pytest.mark.parametrize(
    "statements",
    [
        (Statement(Verb.BEGIN, read_only=False),),
        (BEGIN_READ_ONLY, COMMIT, BEGIN),
        (Statement(Verb.QUERY), BEGIN_READ_ONLY),
        (BEGIN_READ_ONLY, Statement(Verb.SET, read_only=False, local=True)),
        (Statement(Verb.BEGIN, read_only=True, isolation="SERIALIZABLE"),),
        (COMMIT,),
        (Statement(Verb.SAVEPOINT, name="s"),),
    ],
)
def test_whatever_else_controls_a_transaction_belongs_to_the_primary(
    statements: tuple[Statement, ...],
):
    assert where(route_facts(script(*statements))) == (Target.PRIMARY, RouteReason.TRANSACTION)


# Hints...


def test_a_hint_for_the_primary_is_followed():
    assert where(route_hints(REPLICA_READ, Hints(route="primary"))) == (
        Target.PRIMARY,
        RouteReason.HINT,
    )


def test_a_hint_for_a_node_names_the_node():
    route = route_hints(REPLICA_READ, Hints(node="pg2", route="primary"))

    assert route == Route(Target.NODE, RouteReason.HINT, "pg2")


@pytest.mark.parametrize(
    "fact",
    [
        PrimaryOnly.UNKNOWN_FUNCTION,
        PrimaryOnly.VOLATILE_FUNCTION,
        PrimaryOnly.NEEDS_PRIMARY,
    ],
)
def test_a_hint_for_a_replica_overrules_a_doubt(fact: PrimaryOnly):
    route = route_hints(only(fact), Hints(route="replica"))

    assert where(route) == (Target.REPLICA, RouteReason.HINT)


@pytest.mark.parametrize(
    "fact",
    [
        PrimaryOnly.UNPARSED,
        PrimaryOnly.MAY_WRITE,
        PrimaryOnly.LOCKS_ROWS,
        PrimaryOnly.SERIALIZABLE,
        PrimaryOnly.SESSION_STATE,
    ],
)
def test_a_hint_for_a_replica_does_not_lead_where_postgresql_refuses(fact: PrimaryOnly):
    route = route_hints(only(fact), Hints(route="replica"))

    assert where(route) == (Target.PRIMARY, RouteReason[fact.name])


def test_a_hint_for_a_replica_does_not_repeat_a_lesson():
    assert where(route_hints(learned(), Hints(route="replica"))) == (
        Target.PRIMARY,
        RouteReason.LEARNED_WRITE,
    )


def test_a_hint_for_a_replica_does_not_begin_a_writing_transaction_there():
    hint = Hints(route="replica")

    assert where(route_hints(script(BEGIN), hint)) == (Target.PRIMARY, RouteReason.TRANSACTION)
    assert where(route_hints(script(BEGIN_READ_ONLY), hint)) == (
        Target.REPLICA,
        RouteReason.READ_ONLY_TRANSACTION,
    )


def test_a_hint_about_freshness_leaves_the_choice_to_the_facts():
    hint = Hints(max_lag=0.5, consistency="session")

    assert route_hints(REPLICA_READ, hint) == Route(
        Target.REPLICA, RouteReason.READ, None, 0.5, "session"
    )
    assert where(route_hints(only(PrimaryOnly.MAY_WRITE), hint)) == (
        Target.PRIMARY,
        RouteReason.MAY_WRITE,
    )


def test_a_hint_may_ask_for_a_replica_and_how_fresh_it_must_be():
    route = route_hints(REPLICA_READ, Hints(route="replica", max_lag=2.0))

    assert route == Route(Target.REPLICA, RouteReason.HINT, None, 2.0, None)


def test_a_hint_that_says_nothing_changes_nothing():
    assert route_hints(REPLICA_READ, Hints()) is READ


def test_a_level_of_consistency_nobody_knows_is_met_by_the_primary():
    assert where(route_hints(REPLICA_READ, Hints(consistency="strong"))) == (
        Target.PRIMARY,
        RouteReason.HINT,
    )


# SET rwsplit.route...


def test_a_session_may_send_everything_to_the_primary():
    assert where(route_setting(REPLICA_READ, "primary")) == (
        Target.PRIMARY,
        RouteReason.SESSION_ROUTE,
    )


def test_a_session_may_send_what_can_go_there_to_a_replica():
    doubtful = only(PrimaryOnly.UNKNOWN_FUNCTION)

    assert where(route_setting(doubtful, "replica")) == (
        Target.REPLICA,
        RouteReason.SESSION_ROUTE,
    )
    assert where(route_setting(only(PrimaryOnly.MAY_WRITE), "replica")) == (
        Target.PRIMARY,
        RouteReason.MAY_WRITE,
    )


# Rules...


def rules(
    *configured: RuleConfig, user: str = "app", database: str = "shop", application: str = "web"
) -> Rules:
    return Rules(configured, user=user, database=database, application_name=application)


def test_a_session_that_no_rule_is_about_has_none():
    assert not rules()
    assert not rules(RuleConfig(to="primary", user="reporting"))
    assert not rules(RuleConfig(to="primary", database="books_*"))
    assert not rules(RuleConfig(to="primary", application_name="psql"))
    assert rules(RuleConfig(to="primary", user="a*", database="shop", application_name="w?b"))


def test_the_first_rule_that_matches_wins():
    found = rules(
        RuleConfig(to="replica", table="orders_*"),
        RuleConfig(to="node:pg2", table="*"),
        RuleConfig(to="primary"),
    )
    orders = script(Statement(Verb.QUERY, tables=frozenset({"sales.orders_2024"})))
    users = script(Statement(Verb.QUERY, tables=frozenset({"users"})))

    assert found.route(orders) == Route(Target.REPLICA, RouteReason.RULE)
    assert found.route(users) == Route(Target.NODE, RouteReason.RULE, "pg2")
    assert found.route(REPLICA_READ) == Route(Target.PRIMARY, RouteReason.RULE)


def test_no_rule_that_matches_is_no_verdict():
    assert rules(RuleConfig(to="replica", table="orders")).route(REPLICA_READ) is None


def test_a_rule_may_ask_for_a_table_and_a_function_together():
    found = rules(RuleConfig(to="primary", table="shop.orders", function="total"))
    both = Statement(
        Verb.QUERY, tables=frozenset({"shop.orders"}), functions=frozenset({"app.total"})
    )
    table = Statement(Verb.QUERY, tables=frozenset({"shop.orders"}))

    assert found.route(script(both)) is not None
    assert found.route(script(table)) is None


@pytest.mark.parametrize("to", ["replica", "node:pg2"])
def test_a_rule_does_not_lead_where_postgresql_refuses(to: str):
    found = rules(RuleConfig(to=to))

    assert where(found.route(only(PrimaryOnly.MAY_WRITE))) == (
        Target.PRIMARY,
        RouteReason.MAY_WRITE,
    )
    assert where(found.route(only(PrimaryOnly.UNKNOWN_FUNCTION)))[1] is RouteReason.RULE
