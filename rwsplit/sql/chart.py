"""Chart: facts of PostgreSQL's own functions and operators, by name.

Volatility is not quite the question. `random()` and `pg_sleep()` are volatile and harmless on a
replica; `pg_current_xact_id()` is stable, yet writes; `pg_blocking_pids()` changes nothing, but its answer
is about one node; `pg_is_in_recovery()` is how drivers find the primary. `database_to_xml()` reads whatever views there are. Hence the lists, which overrule the volatility PostgreSQL's catalog gives (`builtin.py`).
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.builtin import (
    NEWER_FUNCTIONS,
    OPERATORS,
    SCHEMA_FUNCTIONS,
    STEADY_FUNCTIONS,
    VOLATILE_FUNCTIONS,
)
from rwsplit.sql.facts import (
    ABOUT_THE_PRIMARY,
    ABOUT_THE_SESSION,
    HARMLESS,
    TELLING_ROLE,
    UNKNOWN,
    VOLATILE,
    FunctionFacts,
    leaving,
)
from rwsplit.sql.implementing import IMPLEMENTING_FUNCTIONS
from rwsplit.sql.statement import StateKind

_VOLATILE_BUT_HARMLESS: Final = """
    clock_timestamp timeofday current_query pg_jit_available gen_random_uuid random random_normal
    array_sample array_shuffle pg_sleep pg_sleep_for pg_sleep_until
    pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_database_size
    pg_tablespace_size pg_partition_tree pg_partition_ancestors
    pg_collation_actual_version pg_database_collation_actual_version pg_get_wait_events
"""
_TELLING_ROLE: Final = """
    pg_is_in_recovery pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp
    pg_is_wal_replay_paused pg_get_wal_replay_pause_state
"""
_ABOUT_THE_PRIMARY: Final = """
    pg_blocking_pids pg_safe_snapshot_blocking_pids pg_isolation_test_session_is_blocked pg_lock_status
    pg_prepared_xact pg_get_replication_slots pg_show_all_settings pg_show_all_file_settings
    pg_hba_file_rules pg_ident_file_mappings pg_control_checkpoint pg_control_init pg_control_recovery
    pg_control_system pg_current_logfile pg_current_wal_flush_lsn pg_current_wal_insert_lsn
    pg_current_wal_lsn pg_walfile_name pg_walfile_name_offset pg_get_shmem_allocations
    pg_get_wal_resource_managers pg_last_committed_xact pg_get_multixact_members pg_ls_archive_statusdir
    pg_ls_dir pg_ls_logdir pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_tmpdir
    pg_ls_waldir pg_notification_queue_usage pg_read_binary_file pg_read_file pg_read_file_old pg_stat_file
    pg_replication_origin_progress pg_show_replication_origin_status pg_sequence_last_value
    pg_stat_have_stats pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status txid_status
    pg_available_wal_summaries pg_get_aios pg_get_shmem_allocations_numa pg_get_wal_summarizer_state
    pg_ls_summariesdir pg_numa_available pg_wal_summary_contents
    table_to_xml table_to_xml_and_xmlschema schema_to_xml schema_to_xml_and_xmlschema database_to_xml
    database_to_xml_and_xmlschema
    lo_get pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_try_advisory_xact_lock
    pg_try_advisory_xact_lock_shared
"""
_ABOUT_THE_SESSION: Final = """
    pg_backend_pid pg_get_loaded_modules pg_my_temp_schema pg_is_other_temp_schema pg_listening_channels pg_prepared_statement
    pg_cursor pg_get_backend_memory_contexts pg_stat_clear_snapshot pg_advisory_unlock
    pg_advisory_unlock_all pg_advisory_unlock_shared pg_replication_origin_session_is_setup
    pg_replication_origin_session_progress pg_replication_origin_session_reset
"""
_STEADY_BUT_WRITES: Final = "pg_current_xact_id txid_current"
_RUNS_SQL_IT_IS_GIVEN: Final = """
    query_to_xml query_to_xml_and_xmlschema query_to_xmlschema cursor_to_xml cursor_to_xmlschema
    ts_rewrite ts_stat
"""
_READS_A_TYPE_IT_IS_TOLD: Final = """
    array_in domain_in multirange_in range_in record_in pg_input_is_valid pg_input_error_info
"""
_STATE: Final = {
    StateKind.SEQUENCE: "currval lastval",
    StateKind.ADVISORY_LOCK: """
        pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared
    """,
    StateKind.PARAMETER: "set_config",
    StateKind.SEED: "setseed",
    StateKind.SNAPSHOT: "pg_export_snapshot",
    StateKind.LARGE_OBJECT: """
        lo_open lo_close lo_lseek lo_lseek64 lo_tell lo_tell64 lo_truncate lo_truncate64 loread lowrite
    """,
    StateKind.UNRECOGNISED: """
        pg_backup_start pg_backup_stop pg_replication_origin_session_setup pg_replication_origin_xact_setup
        pg_create_logical_replication_slot pg_create_physical_replication_slot
        pg_copy_logical_replication_slot pg_copy_physical_replication_slot
    """,
}
_EXTENSION_OPERATORS: Final = """
    <#> <=> <+> <~> <%> <<-> <->> <<<-> <->>> %> <% <<% %>> #= %% %# ^@> ^<@ ^~ ^? ?@> ?<@ ?~ ?@ ~> =%
    &&& |=| <<->> <<#>> ~== !=
"""
"""Of pgvector, pg_trgm, hstore, ltree, cube, PostGIS, pg_bigm: reads, all of them."""


def _chart() -> dict[str, FunctionFacts]:
    """Return the facts of every built-in function and operator by name; later lines win."""
    steady = STEADY_FUNCTIONS | IMPLEMENTING_FUNCTIONS | NEWER_FUNCTIONS | SCHEMA_FUNCTIONS
    chart = dict.fromkeys(steady, HARMLESS)
    chart |= dict.fromkeys(VOLATILE_FUNCTIONS, VOLATILE)
    chart |= {name: ABOUT_THE_PRIMARY for name in chart if name.startswith("pg_stat_get_")}
    chart |= dict.fromkeys(_VOLATILE_BUT_HARMLESS.split(), HARMLESS)
    chart |= dict.fromkeys(_TELLING_ROLE.split(), TELLING_ROLE)
    chart |= dict.fromkeys(_ABOUT_THE_PRIMARY.split(), ABOUT_THE_PRIMARY)
    chart |= dict.fromkeys(_ABOUT_THE_SESSION.split(), ABOUT_THE_SESSION)
    chart |= dict.fromkeys(_STEADY_BUT_WRITES.split(), VOLATILE)
    chart |= dict.fromkeys(_RUNS_SQL_IT_IS_GIVEN.split(), UNKNOWN)
    chart |= dict.fromkeys(_READS_A_TYPE_IT_IS_TOLD.split(), UNKNOWN)
    for state, names in _STATE.items():
        chart |= dict.fromkeys(names.split(), leaving(state))
    operators = OPERATORS | set(_EXTENSION_OPERATORS.split())
    return chart | {f"operator({symbol})": HARMLESS for symbol in operators}


_CHART: Final = _chart()


def builtin_facts(name: str) -> FunctionFacts | None:
    """Return the facts of PostgreSQL's own function *name*, None if it has none of that name."""
    return _CHART.get(name.removeprefix("pg_catalog."))
