"""What rwsplit's own sessions begin with."""

from __future__ import annotations

from rwsplit.monitor.precautions import startup_options


def test_no_database_decides_about_our_sessions():
    assert startup_options(statement_timeout=0.25).split(" -c ") == [
        "-c search_path=pg_catalog",
        "default_transaction_read_only=on",
        r"default_transaction_isolation=read\ committed",
        "statement_timeout=250",
        "lock_timeout=1000",
        "client_min_messages=error",
    ]


def test_a_session_that_asks_for_the_search_path_leaves_it():
    assert "search_path" not in startup_options(statement_timeout=1, search_path=None)


def test_a_limit_is_never_none_and_never_more_than_postgresql_takes():
    assert " statement_timeout=1 " in startup_options(statement_timeout=0.00001)
    assert " statement_timeout=2147483647 " in startup_options(statement_timeout=1e12)
