"""A parameter's value that the session's encoding has no equivalent of stands in nobody's way."""

from __future__ import annotations

from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.messages import query
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, rows

pytestmark = pytest.mark.integration

#: The euro sign, of which SJIS has none.
SAID = [
    b"set client_encoding = win1252",
    b"set my.value = '\x80'",
    b"set client_encoding = sjis",
    b"/* rwsplit: primary */ select 1",
    b"/* rwsplit: node=replica1 */ select 2",
    b"create temp table t (a int)",
    b"drop table t",
    b"select 3",
    b"set client_encoding = utf8",
    b"show my.value",
]


def answers(client: RawClient) -> list[object]:
    found: list[object] = []
    for text in SAID:
        client.send(query(text))
        frames = client.frames_until(b"Z")
        assert not [frame for frame in frames if frame.code == b"E"], text
        found.append(rows(frames))
    return found


def test_it_is_carried_to_every_server(cluster: ReachableCluster[Any], proxy: Proxy):
    with proxy.raw() as client:
        found = answers(client)
    assert found[-1] == [("\N{EURO SIGN}".encode(),)]
    assert [found[3], found[4], found[7]] == [[(b"1",)], [(b"2",)], [(b"3",)]]
