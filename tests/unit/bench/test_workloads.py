from __future__ import annotations

import pytest

from tests.bench.workloads import CLIENTS, KINDS, Workload, choose_workloads


def test_reads_run_with_each_number_of_clients_the_others_with_their_own():
    names = [workload.name for workload in choose_workloads(["simple", "write"], [32, 1, 32])]

    assert names == ["simple-1", "simple-32", "write-16"]


def test_everything_by_default():
    assert len(choose_workloads(KINDS, CLIENTS)) == 3 * 4 + 2


def test_each_kind_has_the_options_that_make_it():
    assert Workload("prepared", 8).protocol == "prepared"
    assert Workload("prepared", 8).options == ("--select-only",)
    assert Workload("write", 16).protocol == "simple"
    assert Workload("write", 16).options == ("--skip-some-updates",)
    assert Workload("reconnect", 16).options == ("--select-only", "--connect")
    assert [Workload(kind, 1).writes for kind in KINDS] == [False, False, False, True, False]


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no workload 'read'; there are simple, extended"):
        choose_workloads(["read"], [1])


@pytest.mark.parametrize("clients", [[], [0], [8, -1]])
def test_impossible_numbers_of_clients_are_refused(clients):
    with pytest.raises(ValueError, match="at least 1"):
        choose_workloads(["simple"], clients)
