"""Which of PostgreSQL's own relations are about one node or one session."""

from __future__ import annotations

import pytest

from rwsplit.sql.relations import is_catalog, is_temporary, relation_needs
from rwsplit.sql.statement import PrimaryOnly


@pytest.mark.parametrize(
    "name", ["pg_class", "pg_catalog.pg_class", "information_schema.tables"]
)
def test_catalogs_are_recognised_and_replicated(name):
    assert is_catalog(name)
    assert relation_needs(name) is None


@pytest.mark.parametrize("name", ["orders", "app.pg_class"])
def test_other_relations_are_the_users(name):
    assert not is_catalog(name)
    assert relation_needs(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "pg_stat_activity",
        "pg_catalog.pg_stat_replication",
        "pg_statio_user_tables",
        "pg_locks",
        "pg_replication_slots",
        "pg_prepared_xacts",
        "pg_settings",
    ],
)
def test_views_of_one_node_need_the_primary(name):
    assert relation_needs(name) is PrimaryOnly.NEEDS_PRIMARY


@pytest.mark.parametrize(
    "name", ["pg_cursors", "pg_prepared_statements", "pg_temp.x", "pg_temp_3.x"]
)
def test_views_of_one_session_need_that_session(name):
    assert relation_needs(name) is PrimaryOnly.SESSION_STATE


def test_statistics_of_the_planner_are_replicated():
    assert relation_needs("pg_stats") is None


def test_only_the_temporary_schema_is_temporary():
    assert is_temporary("pg_temp")
    assert not is_temporary("pg_temperature")
