"""A session does not wait for ever for a thread that parses its text."""

from __future__ import annotations

import threading

import trio

from rwsplit.relay import parsing
from rwsplit.relay.client import Client
from rwsplit.session.stand_ins import OPAQUE
from rwsplit.session.unit import SIMPLE, Piece, Unit
from tests.support import frames
from tests.support.memory_relay import MemoryRelay


async def test_what_a_text_does_is_unknown_if_it_takes_too_long_to_parse(autojump_clock):
    rig = MemoryRelay(1)
    [client] = rig.clients
    text = b"select 1"
    unit = Unit(client, SIMPLE, Piece([frames.query(text.decode())], None), len(text))
    unit.waiting_for = (text,)
    may_end, ended = threading.Event(), threading.Event()

    def parse(_client: Client, _unit: Unit) -> None:
        may_end.wait(30)
        ended.set()

    begun = trio.current_time()
    await parsing.parse(parse, client, unit)
    assert trio.current_time() - begun == parsing.PATIENCE
    rig.relay.upkeep.parsed(client, unit)
    assert unit.script is OPAQUE

    may_end.set()
    assert ended.wait(30), "the thread comes to its end"
