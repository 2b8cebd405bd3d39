"""Why a session keeps its server, and what takes state away."""

from __future__ import annotations

import pytest

from rwsplit.session.pinning import (
    UNSEEN,
    PinReason,
    drops_prepared,
    forgets_prepared,
    leaves_seed,
    leaves_state,
    pin_reason,
    reset_parameters,
)
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script
from rwsplit.sql.statement import StateKind, Statement, Verb


def script(*statements: Statement) -> Script:
    return Script(statements)


@pytest.mark.parametrize("state", StateKind)
def test_whatever_state_a_statement_leaves_behind_pins_the_session(state: StateKind):
    assert pin_reason(script(Statement(Verb.OTHER, state=state))) is PinReason[state.name]


def test_every_reason_is_a_sentence_of_its_own():
    assert len({reason.value for reason in PinReason}) == len(PinReason)


def test_a_statement_that_leaves_nothing_behind_does_not_pin():
    assert pin_reason(script(Statement(Verb.QUERY))) is None
    assert pin_reason(script()) is None


@pytest.mark.parametrize(
    "verb", [Verb.RESET, Verb.UNLISTEN, Verb.CLOSE, Verb.DEALLOCATE, Verb.DISCARD]
)
def test_a_statement_that_only_takes_state_away_does_not_pin(verb: Verb):
    assert pin_reason(script(Statement(verb, state=StateKind.UNRECOGNISED))) is None


def test_a_setting_of_rwsplits_own_does_not_pin():
    setting = Statement(Verb.SET, state=StateKind.PARAMETER, setting="rwsplit.route")

    assert pin_reason(script(setting)) is None


def test_set_local_does_not_pin_and_set_does():
    local = Statement(Verb.SET, state=StateKind.PARAMETER, setting="work_mem", local=True)
    unreadable = Statement(
        Verb.SET, state=StateKind.PARAMETER, setting="session_preload_libraries"
    )

    assert pin_reason(script(local)) is None
    assert pin_reason(script(local, unreadable)) is PinReason.PARAMETER


def test_a_parameter_that_can_be_read_back_does_not_pin():
    lasting = Statement(
        Verb.SET, state=StateKind.PARAMETER, setting="work_mem", sets=frozenset({"work_mem"})
    )

    assert pin_reason(script(lasting)) is None


def test_of_several_reasons_the_one_nobody_can_see_ending_counts():
    listen = Statement(Verb.LISTEN, state=StateKind.LISTEN)
    temporary = Statement(Verb.DDL, state=StateKind.TEMP_TABLE)
    load = Statement(Verb.OTHER, state=StateKind.LIBRARY)

    assert pin_reason(script(Statement(Verb.QUERY), listen, temporary)) is PinReason.LISTEN
    assert pin_reason(script(Statement(Verb.QUERY), listen, load)) is PinReason.LIBRARY
    assert PinReason.LISTEN not in UNSEEN


def test_what_a_prepared_statement_will_do_counts_too():
    sets = Statement(Verb.QUERY, state=StateKind.PARAMETER, sets=frozenset({"a"}))
    prepares = Statement(Verb.PREPARE, state=StateKind.PREPARED, inner=sets)

    assert pin_reason(script(prepares)) is PinReason.PARAMETER


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        (Statement(Verb.RESET, setting="work_mem"), {"work_mem"}),
        (Statement(Verb.RESET, setting="all"), {"all"}),
        (Statement(Verb.RESET), {"all"}),
        (Statement(Verb.DISCARD, discards=True), {"all", "role", "session_authorization"}),
        (Statement(Verb.SET, setting="timezone", to_default=True), {"timezone"}),
        (Statement(Verb.SET, setting="timezone"), set()),
        (Statement(Verb.DISCARD), set()),
    ],
)
def test_what_puts_parameters_back_says_which(statement: Statement, names: set[str]):
    assert reset_parameters(script(Statement(Verb.QUERY), statement)) == names


@pytest.mark.parametrize(
    ("statement", "all_of_them"),
    [
        (Statement(Verb.DEALLOCATE, name="all"), True),
        (Statement(Verb.DEALLOCATE), True),
        (Statement(Verb.DEALLOCATE, name="s1"), False),
        (Statement(Verb.DISCARD, discards=True), True),
        (Statement(Verb.DISCARD), False),
        (Statement(Verb.QUERY), False),
    ],
)
def test_deallocate_all_and_discard_all_take_every_prepared_statement(
    statement: Statement, all_of_them: bool
):
    assert drops_prepared(statement) is all_of_them
    assert forgets_prepared(script(Statement(Verb.QUERY), statement)) is all_of_them


# Statements that failed...


@pytest.mark.parametrize(
    "state",
    [
        StateKind.PARAMETER,
        StateKind.PREPARED,
        StateKind.LISTEN,
        StateKind.TEMP_TABLE,
        StateKind.HOLD_CURSOR,
    ],
)
def test_a_statement_whose_effect_is_undone_with_it_leaves_nothing(state: StateKind):
    assert not leaves_state(script(Statement(Verb.OTHER, state=state)), b"22023")


@pytest.mark.parametrize(
    "state",
    [StateKind.ADVISORY_LOCK, StateKind.UNKNOWN_FUNCTION, StateKind.UNRECOGNISED],
)
def test_what_survives_a_failure_may_have_been_left(state: StateKind):
    assert leaves_state(script(Statement(Verb.OTHER, state=state)), b"22012")


def test_what_postgresql_could_not_even_parse_leaves_nothing():
    unheard_of = script(Statement(Verb.OTHER, state=StateKind.UNRECOGNISED))

    assert not leaves_state(unheard_of, b"42601")


def test_of_several_statements_one_may_have_succeeded():
    setting = Statement(Verb.SET, state=StateKind.PARAMETER)

    assert leaves_state(script(setting, setting), b"42601")
    assert leaves_state(None, b"42601")


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("select setseed(0.5)", True),
        ("select pg_catalog.setseed(0.5), nobody_knows()", True),
        ("set seed = 0.5", True),
        ("set local seed = 0.5", True),
        ("select set_config('seed', '0.5', true)", True),
        ("select set_config($1, '0.5', false)", True),
        ("prepare p as select set_config($1, '0.5', false)", True),
        ("do $$begin execute format('set %I to 1', 'seed'); end$$", True),
        ("select set_config('a.b', '0.5', false)", False),
        ("select set_config($1, '0.5', true)", False),
        ("set work_mem = '1MB'", False),
        ("select pg_advisory_lock(1)", False),
        ("select nobody_knows()", False),
        ("select random()", False),
    ],
)
def test_what_sets_the_seed_or_may(text: str, leaves: bool):
    assert leaves_seed(parse(text.encode(), FunctionBook())) == leaves
