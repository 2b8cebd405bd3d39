"""SET and SHOW of rwsplit's own settings that make no sense fail as those of PostgreSQL's do."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

#: What psycopg knows of an error besides its severity, SQLSTATE, message and hint.
INTERNALS = ("context", "internal_query", "internal_position", "statement_position")


def refusal(proxy: Proxy, sql: LiteralString, *, prepare: bool = False) -> Any:
    """Return the diagnostics of the error that *sql* gives in a transaction, which fails with it."""
    with proxy.connect() as client:
        client.execute("begin")
        client.execute("select 1")
        with pytest.raises(psycopg.Error) as caught:
            client.execute(sql, prepare=prepare)
        assert client.info.transaction_status == TransactionStatus.INERROR
        client.execute("rollback")
        assert client.execute("select 2").fetchone() == (2,)
    return caught.value.diag


@pytest.mark.parametrize("prepare", [False, True])
@pytest.mark.parametrize(
    ("sql", "message", "hint"),
    [
        (
            "set rwsplit.route = 'sideways'",
            'invalid value for parameter "rwsplit.route": "sideways"',
            "Available values: auto, primary, replica.",
        ),
        (
            "set rwsplit.consistency to 'perhaps'",
            'invalid value for parameter "rwsplit.consistency": "perhaps"',
            "Available values: eventual, session, cluster.",
        ),
        (
            "set rwsplit.max_lag = 'soon'",
            'invalid value for parameter "rwsplit.max_lag": "soon"',
            "It takes a duration such as 250ms, 5s, 10m or 1h.",
        ),
        (
            "reset rwsplit.pinned",
            'rwsplit parameter "rwsplit.pinned" cannot be set',
            "Known: rwsplit.route, rwsplit.consistency, rwsplit.max_lag.",
        ),
        (
            "set local rwsplit.route = 'primary'",
            "SET LOCAL rwsplit.route is not supported",
            "Use SET without LOCAL.",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_without_a_word_of_how(
    proxy: Proxy, sql: LiteralString, message: str, hint: str, prepare: bool
):
    said = refusal(proxy, sql, prepare=prepare)

    assert (said.sqlstate, said.severity) == ("22023", "ERROR")
    assert (said.message_primary, said.message_hint) == (message, hint)
    assert [getattr(said, name) for name in INTERNALS] == [None] * len(INTERNALS)
    assert said.schema_name is None


def test_show_of_an_unknown_name_is_postgresqls_error(proxy: Proxy):
    said = refusal(proxy, "show rwsplit.speed")

    assert said.sqlstate == "42704"
    assert said.message_primary == 'unrecognized configuration parameter "rwsplit.speed"'
    assert said.context is None


def test_a_login_that_asks_for_nonsense_is_told_once_what_there_is(proxy: Proxy):
    with pytest.raises(psycopg.OperationalError) as caught:
        proxy.connect(options="-c rwsplit.route=elsewhere")

    said = str(caught.value).partition("FATAL:")[2].strip()
    assert said == (
        'invalid value for parameter "rwsplit.route": "elsewhere". Available values: auto, primary, replica.'
    )
