from __future__ import annotations

import pytest

from tests.bench.__main__ import all_contestants, choose_contestants, main
from tests.bench.ours import Direct
from tests.bench.peers import PgBouncer


class Missing(PgBouncer):
    """A peer that is not installed."""

    name = "missing"
    program = "no-such-program-anywhere"


def test_without_a_choice_everyone_installed_takes_part():
    chosen = choose_contestants([Direct(), Missing()], None)

    assert [each.name for each in chosen] == ["direct"]


def test_a_choice_keeps_the_order_of_the_table():
    chosen = choose_contestants(all_contestants(), ["lanes", "rwsplit", "direct"])

    assert [each.name for each in chosen] == ["direct", "rwsplit", "lanes"]


def test_one_that_does_not_exist_or_is_not_installed_is_refused():
    with pytest.raises(ValueError, match="no contestant 'pgcat'; there are direct, missing"):
        choose_contestants([Direct(), Missing()], ["pgcat"])
    with pytest.raises(ValueError, match="missing is not installed"):
        choose_contestants([Direct(), Missing()], ["missing"])


def test_the_list_names_contestants_and_workloads_and_runs_nothing(capsys):
    assert main(["--list"]) == 0

    printed = capsys.readouterr().out
    for word in (
        "direct",
        "rwsplit",
        "lanes",
        "pgbouncer",
        "pgpool",
        "haproxy",
        "prepared-100",
    ):
        assert word in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "pgcat"], "no contestant 'pgcat'"),
        (["--workloads", "tpcc"], "no workload 'tpcc'"),
        (["--clients", "0"], "must be at least 1"),
        (["--rounds", "0"], "must be at least 1"),
        (["--clients", "many"], "invalid"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_starts_nothing(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
