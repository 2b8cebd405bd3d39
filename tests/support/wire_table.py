"""The wire's cases that are about more than a conversation, and the tests that show them.

An entry of the list of cases that broke other proxies is either played by `tests/integration/test_wire_cases.py`, in a test that
bears its number, or it is about time, failure, keys, TLS or many clients, and stands here with the tests that show it:
file and name. `test_wire_cases` holds that each of the 44 entries is in one of the two places, and that the tests exist.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ENTRIES: Final = 44
TESTS: Final = Path(__file__).parent.parent

ELSEWHERE: Final[Mapping[int, Sequence[str]]] = {
    7: (
        "integration/test_prepared.py::test_many_clients_use_one_name_for_different_statements",
        "integration/test_prepared.py::test_describe_of_a_statement_on_servers_that_have_not_seen_it",
    ),
    16: (
        "integration/test_prepared.py::test_a_result_type_changed_by_ddl_is_told_once_and_then_prepared_anew",
    ),
    20: (
        "integration/test_cancel.py::test_a_late_cancel_never_hits_the_next_client",
        "integration/test_cancel.py::test_wrong_keys_and_idle_sessions_are_ignored",
    ),
    21: (
        "integration/test_cancel.py::test_a_statement_in_the_queue_is_cancelled_and_never_runs",
        "integration/test_journal.py::test_a_cancel_request_never_hits_the_question",
    ),
    22: (
        "integration/test_cancel.py::test_protocol_3_2_has_a_long_key",
        "integration/test_tls.py::test_a_query_is_cancelled_over_tls",
        "component/test_client_startup_tls.py::test_a_cancel_request_may_be_encrypted",
    ),
    23: (
        "component/test_client_startup.py::test_encryption_is_declined_once_each_in_either_order",
        "component/test_client_startup_tls.py::test_direct_tls_needs_no_request_but_the_protocols_name",
        "component/test_client_startup_tls.py::test_plaintext_behind_the_request_for_tls_is_an_attack",
    ),
    24: (
        "component/test_client_startup.py::test_a_newer_protocol_is_negotiated_once_and_first",
    ),
    25: (
        "component/test_client_startup_passwords.py::test_scram_lets_in_who_knows_the_password",
        "component/test_client_startup_passwords.py"
        "::test_whatever_is_wrong_the_client_hears_the_same_and_the_log_the_reason",
        "component/test_client_startup_tls.py::test_scram_may_be_bound_to_the_channel",
    ),
    27: (
        "integration/test_parameters.py"
        "::test_what_is_reported_and_shown_is_as_on_a_direct_connection",
    ),
    32: ("integration/test_parameters.py::test_settings_of_the_role_hold",),
    35: (
        "integration/test_pins.py::test_a_stranger_never_sees_the_state_of_another",
        "integration/test_pins.py::test_many_clients_of_different_users_and_settings_never_mix",
    ),
    38: (
        "integration/test_failover.py::test_no_client_notices_that_a_replica_is_killed",
        "integration/test_failover.py"
        "::test_a_write_in_flight_on_a_dying_primary_is_an_error_not_a_retry",
    ),
    39: (
        "integration/test_timeouts.py::test_what_a_client_that_dies_held_is_given_back_clean",
        "integration/test_cancel.py"
        "::test_a_client_that_leaves_does_not_leave_its_statement_running",
    ),
    42: (
        "integration/test_large.py::test_a_large_value_comes_out",
        "integration/test_large.py::test_a_million_small_rows",
        "integration/test_large.py"
        "::test_a_client_that_stops_reading_fills_no_memory_and_harms_nobody",
    ),
    43: (
        "unit/server/test_wire.py::test_a_tcp_wire_knows_its_peer_and_does_not_delay",
        "integration/test_timeouts.py"
        "::test_an_idle_pooled_server_that_is_terminated_is_just_dropped",
        "component/test_dialer.py::test_every_address_of_a_name_is_tried",
    ),
    44: (
        "integration/test_attack.py::test_malformed_streams_end_in_an_error_and_harm_nobody",
        "integration/test_attack.py"
        "::test_what_breaks_the_protocol_is_told_so_once_and_disconnected",
    ),
}


def exists(test: str) -> bool:
    """Return whether *test*, `file::name` below tests/, is there to be collected."""
    file, _, name = test.partition("::")
    path = TESTS / file
    return path.is_file() and name in functions(path)


def functions(path: Path) -> list[str]:
    """Return the names of the test functions of *path*."""
    tree = ast.parse(path.read_text())
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]
