"""SET and SHOW of rwsplit's own settings, in whatever protocol they come."""

from __future__ import annotations

import pytest

from rwsplit.cluster.node import NEVER
from rwsplit.cluster.view import ClusterView
from rwsplit.config.choices import ConsistencyLevel
from rwsplit.routing.consistency import NO_HOME
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.routing.spill import Spill
from rwsplit.session.inband import ANSWER, REFUSAL, apply, substitute
from rwsplit.session.inband_settings import DEFAULTS, InBandSettings
from rwsplit.session.pinning import PinReason
from rwsplit.session.session import Session
from rwsplit.sql.statement import Statement, Verb


def setting(name: str, value: str | None, *, local: bool = False) -> Statement:
    return Statement(Verb.SET, setting=f"rwsplit.{name}", value=value, local=local)


def show(session: Session, name: str) -> str:
    sql, facts = substitute(session, Statement(Verb.SHOW, setting=f"rwsplit.{name}"))
    assert facts is ANSWER
    return sql


@pytest.mark.parametrize("value", ["primary", "replica", "auto", "PRIMARY"])
def test_a_session_sets_its_route(session: Session, value: str):
    sql, facts = substitute(session, setting("route", value))

    assert sql == "SET rwsplit.route TO DEFAULT"
    assert facts is ANSWER
    assert session.in_band.route == value.lower()
    assert show(session, "route") == f"SELECT E'{value.lower()}' AS \"rwsplit.route\""


def test_a_session_sets_its_consistency(session: Session):
    substitute(session, setting("consistency", "Eventual"))
    assert session.level is ConsistencyLevel.EVENTUAL

    substitute(session, setting("consistency", None))
    assert session.level is ConsistencyLevel.SESSION
    assert show(session, "consistency") == "SELECT E'session' AS \"rwsplit.consistency\""


def test_a_session_sets_how_old_its_answers_may_be(session: Session):
    assert show(session, "max_lag") == "SELECT E'default' AS \"rwsplit.max_lag\""

    substitute(session, setting("max_lag", "250ms"))

    assert session.in_band.max_lag == 0.25
    assert show(session, "max_lag") == "SELECT E'0.25s' AS \"rwsplit.max_lag\""


def test_a_reset_brings_the_default_back(session: Session):
    session.in_band = InBandSettings(route="primary")

    sql, facts = substitute(session, Statement(Verb.RESET, setting="rwsplit.route"))

    assert sql == "RESET rwsplit.route"
    assert facts is ANSWER
    assert session.in_band.route == "auto"


def test_a_startup_parameter_is_applied_like_a_set(session: Session):
    apply(session, "rwsplit.route", "replica")

    assert session.in_band.route == "replica"


def test_the_route_of_the_last_statement_is_shown(session: Session):
    assert show(session, "last_route") == "SELECT E'none' AS \"rwsplit.last_route\""

    session.last = ("pg1", Route(Target.REPLICA, RouteReason.READ))

    assert show(session, "last_route") == (
        "SELECT E'pg1 READ: it only reads' AS \"rwsplit.last_route\""
    )


def test_a_read_without_a_fresh_replica_is_shown_with_what_was_missing(session: Session):
    session.last = ("pg0", Route(Target.PRIMARY, RouteReason.NO_FRESH_REPLICA))
    assert "pg0 NO_FRESH_REPLICA: no replica is eligible'" in show(session, "last_route")

    view = ClusterView(nodes=(), primary=None, replicas=())
    session.spilled = Spill(view, 1.0, 0.0, NEVER, True, NEVER, NO_HOME)
    assert "no replica is eligible (no node is a replica)" in show(session, "last_route")


def test_a_pinned_session_shows_why(session: Session):
    assert show(session, "pinned") == "SELECT E'no' AS \"rwsplit.pinned\""

    session.pin_for(PinReason.LISTEN)

    assert "it listens for notifications" in show(session, "pinned")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (setting("route", "sideways"), 'invalid value for parameter "rwsplit.route"'),
        (setting("consistency", "strong"), "Available values: eventual, session, cluster."),
        (setting("max_lag", "soon"), 'invalid value for parameter "rwsplit.max_lag"'),
        (setting("last_route", "x"), "cannot be set"),
        (setting("speed", "x"), "Known: rwsplit.route, rwsplit.consistency, rwsplit.max_lag."),
        (setting("route", "primary", local=True), "SET LOCAL rwsplit.route is not supported"),
        (Statement(Verb.RESET, setting="rwsplit.pinned"), "cannot be set"),
    ],
)
def test_what_makes_no_sense_raises_an_error_as_any_parameter_would(
    session: Session, statement: Statement, said: str
):
    sql, facts = substitute(session, statement)

    assert sql.startswith("DO E'BEGIN RAISE EXCEPTION USING ERRCODE = ''22023''")
    assert said in sql.replace("''", "'")
    assert facts is REFUSAL
    assert session.in_band.route == "auto"


def test_an_unknown_name_is_postgresqls_own_error(session: Session):
    """That of a DO block showed the block (CONTEXT: PL/pgSQL function inline_code_block)."""
    assert substitute(session, Statement(Verb.SHOW, setting="rwsplit.it's")) == (
        "SELECT pg_catalog.current_setting(E'rwsplit.it''s')",
        REFUSAL,
    )


def test_a_value_cannot_break_out_of_the_error_about_it(session: Session):
    sql, _ = substitute(session, setting("route", "x'; DROP TABLE t; --\\"))

    assert "x''''; DROP TABLE t; --\\\\\\\\" in sql
    assert sql.endswith("END'")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("route", "x" * 100_000),
        ("max_lag", "1" + " " * 100_000 + "!"),
        ("max_lag", "1" * 100_000),
        ("consistency", "'" * 100_000),
        ("x" * 100_000, "1"),
    ],
)
def test_an_error_repeats_the_beginning_of_what_is_too_long(
    session: Session, name: str, value: str
):
    before = session.in_band
    statement = Statement(Verb.SET, setting=f"rwsplit.{name}", value=value)
    sql, facts = substitute(session, statement)
    assert (facts, session.in_band) == (REFUSAL, before)
    assert len(sql) < 3000
    shown = Statement(Verb.SHOW, setting=f"rwsplit.{name}")
    assert len(substitute(session, shown)[0]) < 1000


def test_discard_all_puts_every_setting_back(session: Session):
    for name, value in (("route", "primary"), ("consistency", "eventual"), ("max_lag", "1s")):
        apply(session, name, value)

    session.discard_settings()

    assert session.in_band == DEFAULTS
    assert session.plain
