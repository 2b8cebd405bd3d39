"""Item 1: no text takes longer to classify than its budget, neither one that is made up nor one that was found before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.attack.fuzz_classification import LIMIT, Place, Times, apart, corpus, is_too_dear
from tests.support.attack_length import TIMES

#: Seconds the fuzzer runs; an hour's run is `python -m tests.attack.fuzz_classification --seconds 3600`.
SECONDS = 5.0 * TIMES


@pytest.mark.parametrize("module", ["fuzz_classification", "repeated_words"])
def test_a_search_finds_nothing(module: str):
    """In a process that is not measured: a coverage run is several times as slow."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")
    }
    done = subprocess.run(
        [sys.executable, "-m", f"tests.attack.{module}", "--seconds", str(SECONDS)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_was_found_before_is_mended():
    assert [path.name for path, kind in corpus() if is_too_dear(path.read_bytes(), kind)] == []


def test_work_that_never_ends_is_given_up_as_by_the_parser_process():
    def work(_took: Times) -> None:
        while True:
            pass

    assert apart(work)[Place.PROCESS] == LIMIT
