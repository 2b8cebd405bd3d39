"""What is known of PostgreSQL's own functions by heart, compared with the catalog of a real one."""

from __future__ import annotations

from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from rwsplit.session.function_calls import LARGE_OBJECT_OIDS
from rwsplit.sql.builtin import NEWER_FUNCTIONS, STEADY_FUNCTIONS
from rwsplit.sql.chart import builtin_facts
from rwsplit.sql.facts import HARMLESS
from rwsplit.sql.implementing import IMPLEMENTING_FUNCTIONS

pytestmark = pytest.mark.integration

_LARGE_OBJECTS = """
select oid::int from pg_proc
 where oid < 16384 and proname ~ '^(lo_.*|loread|lowrite)$' and not proname ~ '^lo_(manage|oid)'
"""
_FUNCTIONS = """
select proname, bool_or(provolatile = 'v'),
       bool_or('internal'::regtype = any (array_append(proargtypes::oid[], prorettype))
               or prorettype::regtype::text ~ '(^|_)(trigger|handler)$')
  from pg_proc where pronamespace = 'pg_catalog'::regnamespace group by proname
"""


@pytest.fixture(scope="module")
def functions(cluster: ReachableCluster[Any]) -> dict[str, tuple[bool, bool]]:
    """By name: whether it has a volatile overload, and one that no query can call."""
    with cluster.primary.connect("app", "app") as connection:
        return {row[0]: (row[1], row[2]) for row in connection.execute(_FUNCTIONS)}


def test_the_functions_of_large_objects_by_number(cluster: ReachableCluster[Any]):
    with cluster.primary.connect("app", "app") as connection:
        found = {oid for (oid,) in connection.execute(_LARGE_OBJECTS)}
    assert found == LARGE_OBJECT_OIDS


def test_every_steady_function_that_can_be_called_is_known(
    functions: dict[str, tuple[bool, bool]],
):
    missing = {
        name
        for name, (is_volatile, is_internal) in functions.items()
        if not (is_volatile or is_internal) and builtin_facts(name) is None
    }
    assert not missing


def test_no_function_that_is_said_to_be_steady_is_volatile(
    functions: dict[str, tuple[bool, bool]],
):
    said = STEADY_FUNCTIONS | NEWER_FUNCTIONS | IMPLEMENTING_FUNCTIONS
    assert not {name for name, (is_volatile, _) in functions.items() if is_volatile} & said


def test_the_volatile_functions_that_are_harmless_are_these(
    functions: dict[str, tuple[bool, bool]],
):
    harmless = {
        name
        for name, (is_volatile, _) in functions.items()
        if is_volatile and builtin_facts(name) == HARMLESS
    }
    assert harmless == {
        *(
            "array_sample",
            "array_shuffle",
            "clock_timestamp",
            "current_query",
            "gen_random_uuid",
        ),
        *("pg_collation_actual_version", "pg_database_collation_actual_version"),
        *("pg_database_size", "pg_indexes_size", "pg_relation_size", "pg_table_size"),
        *("pg_tablespace_size", "pg_total_relation_size", "pg_jit_available"),
        *("pg_partition_ancestors", "pg_partition_tree"),
        *("pg_sleep", "pg_sleep_for", "pg_sleep_until", "random", "random_normal", "timeofday"),
    }


def test_every_operator_is_known(cluster: ReachableCluster[Any]):
    with cluster.primary.connect("app", "app") as connection:
        rows = connection.execute(
            "select distinct o.oprname, p.provolatile = 'v' from pg_operator o"
            " join pg_proc p on p.oid = o.oprcode where o.oid < 16384"
        ).fetchall()
    assert all(builtin_facts(f"operator({name})") == HARMLESS for name, _ in rows)
    assert not any(is_volatile for _, is_volatile in rows)
