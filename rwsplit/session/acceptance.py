"""Acceptance: which parameters of a session another server is sure to take, and which one of them it has refused.

What one server has taken from a session another may refuse: the role it is for has lost a privilege, a library that
is loaded there knows the name, a node has no such time zone. Nothing that cannot run again may be sent behind a change that
may be refused. So a pool remembers what its servers have taken; what depends on nothing but the value is sure from the
start, and what takes a privilege never is: that can be taken back at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from weakref import WeakSet

from rwsplit.session.parameters import IDENTITY, ParameterSet
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Verb

#: Values a pool remembers.
MOST: Final = 1000

#: Parameters anybody may set, whose value a server takes if another has taken it.
ORDINARY: Final = frozenset(
    {
        *("application_name", "array_nulls", "backslash_quote", "bytea_output"),
        *("check_function_bodies", "client_encoding", "client_min_messages", "datestyle"),
        *("default_transaction_deferrable", "default_transaction_isolation"),
        *("default_transaction_read_only", "escape_string_warning", "extra_float_digits"),
        *("idle_in_transaction_session_timeout", "idle_session_timeout", "intervalstyle"),
        *("lock_timeout", "maintenance_work_mem", "row_security", "search_path"),
        *("standard_conforming_strings", "statement_timeout", "synchronous_commit"),
        *("transform_null_equals", "work_mem", "xmlbinary", "xmloption"),
    }
)

#: Parameters that take a superuser or a GRANT SET ON PARAMETER, which can be taken back: PostgreSQL 14 to 18, `pg_settings.context`
#: `superuser` and `superuser-backend`.
PRIVILEGED: Final = frozenset(
    {
        *("allow_in_place_tablespaces", "allow_system_table_mods", "backtrace_functions"),
        *("commit_delay", "compute_query_id", "deadlock_timeout", "debug_discard_caches"),
        *("dynamic_library_path", "event_triggers", "extension_control_path"),
        *("extension_destdir", "ignore_checksum_failure", "jit_debugging_support"),
        *("jit_dump_bitcode", "jit_profiling_support", "lc_messages", "lo_compat_privileges"),
        *("log_btree_build_stats", "log_connections", "log_disconnections", "log_duration"),
        *("log_error_verbosity", "log_executor_stats", "log_lock_failures", "log_lock_waits"),
        *("log_min_duration_sample", "log_min_duration_statement", "log_min_error_statement"),
        *("log_min_messages", "log_parameter_max_length", "log_parser_stats"),
        *("log_planner_stats", "log_replication_commands", "log_statement"),
        *("log_statement_sample_rate", "log_statement_stats", "log_temp_files"),
        *("log_transaction_sample_rate", "max_stack_depth", "session_preload_libraries"),
        *("session_replication_role", "temp_file_limit", "track_activities"),
        *("track_cost_delay_timing", "track_counts", "track_functions", "track_io_timing"),
        *("track_wal_io_timing", "update_process_title", "wal_compression"),
        *("wal_consistency_checking", "wal_init_zero", "wal_recycle", "zero_damaged_pages"),
    }
)

#: What the names of the parameters of well-known libraries begin with: a server that has loaded one judges them.
_LIBRARIES: Final = frozenset(
    {
        *("auth_delay", "auto_explain", "basic_archive", "citus", "cron", "hypopg", "isn"),
        *("orafce", "pg_hint_plan", "pg_prewarm", "pg_stat_statements", "pg_stat_monitor"),
        *("pg_trgm", "pgaudit", "pgcrypto", "pglogical", "plperl", "plperlu", "plpgsql"),
        *("plpgsql_check", "plpython", "plpython3", "pltcl", "plv8", "postgis"),
        *("postgis_topology", "postgres_fdw", "sepgsql", "timescaledb", "vector", "hnsw"),
        *("ivfflat", "age", "wal2json", "babelfishpg_tsql", "rds", "dblink"),
    }
)


def is_custom(name: str) -> bool:
    """Return whether *name* is of a parameter PostgreSQL itself does not know (`my.own`)."""
    return "." in name


class Acceptance:
    """What the servers of one pool take."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], None] = {}
        """Names and values; the value is empty where any will do."""
        self._refused: WeakSet[ParameterSet] = WeakSet()
        self._blamed: dict[tuple[str, str], None] = {}
        """Names and values for which sets were refused."""

    def is_sure(self, parameters: ParameterSet) -> bool:
        """Return whether a server is sure to take on *parameters*."""
        return parameters not in self._refused and all(
            name in ORDINARY or _key(name, value) in self._taken
            for name, value in parameters.values
        )

    def has_refused(self, parameters: ParameterSet) -> bool:
        """Return whether a server has refused *parameters*, or one of them, and none has taken them since."""
        return parameters in self._refused or (
            bool(self._blamed)
            and any(_key(name, value) in self._blamed for name, value in parameters.values)
        )

    def took(self, parameters: ParameterSet) -> None:
        """Note that a server has taken on *parameters*."""
        self._refused.discard(parameters)
        for name, value in parameters.values:
            self._blamed.pop(_key(name, value), None)
            if name not in ORDINARY and name not in PRIVILEGED and not _is_of_library(name):
                while len(self._taken) >= MOST:
                    del self._taken[next(iter(self._taken))]
                self._taken[_key(name, value)] = None

    def refused(self, parameters: ParameterSet, name: str | None = None) -> None:
        """Note that a server has not taken on *parameters*, because of *name* if that is known."""
        self._refused.add(parameters)
        self.doubt(parameters)
        value = None if name is None else parameters.get(name)
        if name is not None and value is not None:
            while len(self._blamed) >= MOST:
                del self._blamed[next(iter(self._blamed))]
            self._blamed[_key(name, value)] = None

    def doubt(self, parameters: ParameterSet) -> None:
        """Note that a server elsewhere has not taken on *parameters*."""
        for name, value in parameters.values:
            self._taken.pop(_key(name, value), None)


def may_be_stuck(before: ParameterSet, wanted: ParameterSet) -> bool:
    """Return whether a server that has *before* may refuse to put back what *wanted* does not have: that takes a privilege, too."""
    return any(name in PRIVILEGED and wanted.get(name) is None for name, _ in before.values)


def culprit(parameters: ParameterSet, message: str) -> str | None:
    """Return which of *parameters* a server has refused with *message*, None if that does not say.

    PostgreSQL quotes the name in whatever language it speaks. Who one acts as is not judged here.
    """
    found = [
        name
        for name, _ in parameters.values
        if name not in IDENTITY and _mentions(message.lower(), name)
    ]
    return found[0] if len(found) == 1 else None


def sets_anew(script: Script, names: Iterable[str]) -> bool:
    """Return whether *script* does nothing but set one of the parameters *names* to something else, or back."""
    statement = script.single
    return (
        statement is not None
        and statement.verb in (Verb.SET, Verb.RESET)
        and not statement.local
        and not statement.sets.isdisjoint((*names, "all"))
    )


def _mentions(message: str, name: str) -> bool:
    at = message.find(name)
    return (
        at > 0
        and not _continues(message[at - 1])
        and not _continues(message[at + len(name) :][:1])
    )


def _continues(char: str) -> bool:
    return char.isalnum() or (char != "" and char in "_.$")


def _is_of_library(name: str) -> bool:
    return name.partition(".")[0] in _LIBRARIES and is_custom(name)


def _key(name: str, value: str) -> tuple[str, str]:
    return name, ("" if is_custom(name) else value)
