"""What outlives a restart."""

from __future__ import annotations

import json

import pytest

from rwsplit.cluster.descent import Fork
from rwsplit.cluster.remembered import Remembered
from rwsplit.lsn import LSN

FULL = Remembered(
    identity="7",
    timeline=2,
    highest=3,
    history=(Fork(1, LSN(0x3000148)),),
    primary="a",
    lsn=LSN(0x4000000),
    members={"a": ("h1", 5432), "b": ("h2", 5433)},
    rivals=frozenset({"c", "d"}),
    abandoned=frozenset({"e"}),
)


@pytest.mark.parametrize("known", [FULL, Remembered(), Remembered(history=())])
def test_it_survives_as_json(known: Remembered):
    assert Remembered.from_plain(json.loads(json.dumps(known.to_plain()))) == known


@pytest.mark.parametrize(
    ("key", "value"),
    [("lsn", "here"), ("history", [[1]]), ("members", {"a": ["h"]}), ("rivals", 1)],
)
def test_what_it_is_not_is_an_error(key: str, value: object):
    with pytest.raises((ValueError, TypeError)):
        Remembered.from_plain({**FULL.to_plain(), key: value})
