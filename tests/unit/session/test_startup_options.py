"""What the options of a startup packet set."""

from __future__ import annotations

import pytest

from rwsplit.session.startup_options import parse_options


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", {}),
        ("-c work_mem=4MB", {"work_mem": "4MB"}),
        ("-cwork_mem=4MB --search-path=a", {"work_mem": "4MB", "search_path": "a"}),
        ("  --TimeZone=UTC  ", {"timezone": "UTC"}),
        (r"-c search_path=a,\ b --x=\\", {"search_path": "a, b", "x": "\\"}),
        ("--empty=", {"empty": ""}),
        ("-c work_mem", {}),
        ("-c", {}),
        ("-B 5 nonsense --a=1", {"a": "1"}),
        ("--a=1\\", {"a": "1"}),
        ("-e", {"datestyle": "euro"}),
        (
            "-eeS 9000 -s",
            {"datestyle": "euro", "work_mem": "9000", "log_statement_stats": "true"},
        ),
        ("-S9000 -S 1MB", {"work_mem": "1MB"}),
        ("-ec work_mem=1MB", {"datestyle": "euro", "work_mem": "1MB"}),
        ("-f s -fhash", {"enable_seqscan": "false", "enable_hashjoin": "false"}),
        ("-f x -f", {}),
        ("-t pa -tpl", {"log_parser_stats": "true", "log_planner_stats": "true"}),
        ("-t exec -t p -t", {"log_executor_stats": "true"}),
        (
            "-O -P -W 0",
            {
                "allow_system_table_mods": "true",
                "ignore_system_indexes": "true",
                "post_auth_delay": "0",
            },
        ),
        ("-d 0", {"log_min_messages": "notice"}),
        ("-d x", {"log_min_messages": "notice"}),
        ("-d1", {"log_min_messages": "debug1"}),
        (
            "-d 5",
            {
                "log_min_messages": "debug5",
                "log_statement": "all",
                "debug_print_parse": "true",
                "debug_print_plan": "true",
                "debug_print_rewritten": "true",
            },
        ),
        # Taken, and nothing comes of it: what only a command line can say, and its arguments.
        ("-C x -D /data -E -j -n -T -r out -v 3 -b -x", {}),
        ("-B 5 -F -h here -i -k there -l -N 9 -p 5432", {}),
        ("- -- -", {}),
    ],
)
def test_options_set_parameters_as_postgresql_reads_them(options: str, found: dict[str, str]):
    assert parse_options(options) == found
