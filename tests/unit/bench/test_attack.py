from __future__ import annotations

import resource

import pytest

from tests.bench import attackers
from tests.bench.attack import HEADINGS, SITUATIONS, Result, main
from tests.bench.attackers import ATTACKS, raise_file_limit
from tests.support.bystander import Bystander


class Past(Bystander):
    """A bystander that has waited already."""

    def __init__(self, *, queries: list[float], logins: list[float]) -> None:
        self.query_seconds = queries
        self.login_seconds = logins
        self.errors = []


def result(bystander: Bystander, blamed: list[str] | None = None) -> Result:
    return Result("none", bystander, 0.03, 50 << 20, 60 << 20, 55 << 20, "-", blamed or [])


def test_a_line_of_the_table_has_a_cell_for_each_heading():
    past = Past(queries=[0.001, 0.25, 0.002], logins=[0.01, 0.5, 0.02])

    cells = result(past).cells()

    assert len(cells) == len(HEADINGS)
    assert cells[1:6] == ["3", "250 ms", "3", "500 ms", "20 ms"]
    assert cells[6:10] == ["30 ms", "50 MB", "60 MB", "55 MB"]


def test_a_bystander_that_never_logged_in_has_a_line_too():
    assert result(Past(queries=[], logins=[])).cells()[1:6] == ["0", "0 ms", "0", "0 ms", "-"]


def test_an_error_or_a_node_that_was_blamed_is_a_failure():
    past = Past(queries=[], logins=[])
    assert result(past).is_clean
    assert not result(past, ["node_down"]).is_clean
    past.errors.append(ValueError())
    assert not result(past).is_clean


def test_every_situation_is_an_attack():
    assert [situation.kind for situation in SITUATIONS] == list(ATTACKS)


def test_an_unknown_attack_is_one_sentence_and_starts_nothing(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--only", "half-open,flood"])

    assert ended.value.code == 2
    assert "no attack 'flood'; there are nobody, busy, half-open" in capsys.readouterr().err


def test_attackers_without_enough_descriptors_say_so(monkeypatch):
    monkeypatch.setattr(attackers.resource, "getrlimit", lambda _: (100, 200))
    wanted: list[object] = []
    monkeypatch.setattr(attackers.resource, "setrlimit", lambda *limits: wanted.append(limits))

    raise_file_limit(50)
    assert wanted == []
    raise_file_limit(150)
    assert wanted == [(resource.RLIMIT_NOFILE, (150, 200))]
    with pytest.raises(SystemExit, match="needs 201 file descriptors, may have 200"):
        raise_file_limit(201)
