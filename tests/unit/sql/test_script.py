"""What the statements of one text amount to together."""

from __future__ import annotations

import pytest

from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Cost, Script
from rwsplit.sql.statement import StateKind, Statement, Verb


@pytest.mark.parametrize(
    ("statement", "ends"),
    [
        (Statement(Verb.UNLISTEN), True),
        (Statement(Verb.DDL), True),
        (Statement(Verb.QUERY, functions=frozenset({"pg_advisory_unlock"})), True),
        (
            Statement(Verb.QUERY, functions=frozenset({"pg_catalog.pg_advisory_unlock_all"})),
            True,
        ),
        (Statement(Verb.QUERY, functions=frozenset({"now"})), False),
        (Statement(Verb.COMMIT), False),
    ],
)
def test_a_script_knows_whether_it_may_end_what_keeps_its_session(statement, ends):
    script = Script((Statement(Verb.QUERY), statement))
    assert script.ends_state is ends
    assert script.notable or not ends


def test_a_script_sets_what_its_statements_set():
    one = Statement(Verb.SET, sets=frozenset({"a"}), anywhere=True)
    other = Statement(Verb.SET, sets=frozenset({"b"}))
    assert Script((one, other)).sets == {"a", "b"}
    assert Script((one, other)).notable
    assert not Script((one, other)).anywhere
    assert Script((one, one)).anywhere
    assert not Script(()).anywhere


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;", True),
        ("select pg_advisory_unlock_all()", True),
        ("unlisten a", True),
        # These answer otherwise where nothing is left.
        ("select pg_advisory_unlock(1)", False),
        ("close c", False),
        ("select pg_advisory_unlock_all(), f()", False),
        # A cast may read: of what the primary alone may have yet.
        ("select pg_advisory_unlock_all(), 'new'::mood", False),
        ("select pg_advisory_unlock_all(), mood 'new'", False),
        ("select pg_advisory_unlock_all(), cast('new' as mood)", False),
        ("select pg_advisory_unlock_all(), a", False),
        ("select pg_catalog.pg_advisory_unlock_all() as done", False),
        ("select pg_advisory_unlock_all() from t", False),
        ("select pg_advisory_unlock_all() for update", False),
        ("listen a; unlisten a", False),
        # What the session has drawn from sequences is on the primary.
        ("discard all", False),
    ],
)
def test_what_ends_all_that_keeps_a_session_runs_anywhere_if_nothing_does(text, expected):
    assert parse(text.encode(), FunctionBook()).anywhere is expected


@pytest.mark.parametrize(
    ("statement", "reads", "may_read", "uses"),
    [
        (Statement(Verb.QUERY), False, False, False),
        (Statement(Verb.DML, may_write=True), False, False, True),
        (Statement(Verb.QUERY, state=StateKind.SEQUENCE), True, True, True),
        (Statement(Verb.QUERY, state=StateKind.ADVISORY_LOCK), False, False, False),
        (Statement(Verb.OTHER, state=StateKind.UNRECOGNISED), False, True, True),
        (
            Statement(
                Verb.PREPARE,
                state=StateKind.PREPARED,
                inner=Statement(Verb.QUERY, state=StateKind.SEQUENCE),
            ),
            True,
            True,
            True,
        ),
    ],
)
def test_a_script_uses_sequences(statement: Statement, reads: bool, may_read: bool, uses: bool):
    script = Script((Statement(Verb.QUERY), statement))
    assert script.reads_sequences is reads
    assert script.may_read_sequences is may_read
    assert script.uses_sequences is uses


def test_a_script_sums_up():
    read = Statement(Verb.QUERY)
    last = Statement(Verb.DISCARD, state=StateKind.LISTEN, discards=True, needs_session=True)
    cost = Cost()
    both = Script((read, last), cost=cost)

    assert both.discards
    assert both.changes_parameters
    assert Script((last, read)).changes_parameters
    assert not Script((last, read)).discards
    assert not Script((read,)).changes_parameters
    assert both.needs_session
    assert both.state is StateKind.LISTEN
    assert both.single is None
    assert both.cost is cost
    assert not both.controls_transaction
    assert Script((read,)).single is read


@pytest.mark.parametrize(
    ("statement", "special"),
    [
        (Statement(Verb.QUERY), False),
        (Statement(Verb.SET, setting="work_mem"), False),
        (Statement(Verb.SHOW, setting="rwsplit.last_route"), True),
        (Statement(Verb.EXECUTE, name="p"), True),
        (Statement(Verb.DEALLOCATE), True),
    ],
)
def test_a_script_knows_whether_it_names_something_of_rwsplits(statement, special):
    assert Script((statement,)).special is special


@pytest.mark.parametrize(
    "verb", [Verb.BEGIN, Verb.RELEASE, Verb.ROLLBACK_TO, Verb.PREPARE_TRANSACTION]
)
def test_transaction_control_is_recognised(verb):
    assert Script((Statement(verb),)).controls_transaction


@pytest.mark.parametrize("name", ["pg_terminate_backend", "pg_catalog.pg_cancel_backend"])
def test_what_may_end_a_session_is_no_plain_read_even_if_it_is_listed_as_one(name: str):
    signals = Script((Statement(Verb.QUERY, functions=frozenset({name})),))
    assert signals.signals
    assert not signals.plain_read
    harmless = Script((Statement(Verb.QUERY, functions=frozenset({"now"})),))
    assert not harmless.signals
    assert harmless.plain_read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;", False),
        ("discard all", False),
        ("deallocate all", False),
        ("", False),
        ("select 1", True),
        # What drivers ask at login.
        ("select pg_catalog.pg_is_in_recovery()", False),
        ("show transaction_read_only", False),
        ("select not pg_is_in_recovery(), current_setting('in_hot_standby')", False),
        ("select current_setting('a.b')", True),
        ("select pg_is_in_recovery(), count(*) from t", True),
        ("select pg_is_in_recovery(), f()", True),
        ("select pg_is_in_recovery(), 't2'::regclass", True),
        ("select pg_is_in_recovery(), regclass 't2'", True),
        ("select pg_is_in_recovery(), $1", True),
        ("select pg_is_in_recovery() as standby, current_setting('in_hot_standby') hot", False),
        ("select pg_is_in_recovery(); select 1", True),
        # What they say ahead of transactions.
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ", False),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", False),
        ("set default_transaction_read_only to on", False),
        ("reset default_transaction_isolation", False),
        ("set transaction read only", True),
        # What it sets is there already.
        ("set work_mem = '5MB'", True),
        ("reset role", True),
        ("show work_mem", True),
        ("select set_config('a.b', $1, false)", True),
        ("select set_config('a.b', (select max(a)::text from t), true)", True),
        ("select set_config('a.b', f(), true)", True),
        ("set work_mem = '5MB'; select 1", True),
        # What comes behind it must see what was there when it was done.
        ("listen a", True),
        ("select pg_advisory_lock(1)", True),
        ("commit", True),
        ("insert into t values (1)", True),
    ],
)
def test_what_reads_data(text: str, expected: bool):
    assert parse(text.encode(), FunctionBook()).reads_data is expected
