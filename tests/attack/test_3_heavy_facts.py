"""Few bytes may name a statement of which much is known; what that costs is spread over turns like all other work.

A statement that sets 2 000 parameters takes 60 kB once, and ten bytes each time it is bound. A text of thousands of statements is known by its hash.
"""

from __future__ import annotations

import select
import time

import pytest

from rwsplit.protocol.framing import HEADER_SIZE
from rwsplit.relay.slices import SLICE
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.parse_budget import PATIENT_BUDGET, ParseBudget
from tests.support import frames
from tests.support.memory_relay import MemoryRelay, wire_of

#: Seconds of processor time of one turn, best of several tries: some milliseconds, where it was seconds.
ENDS_SOON = 0.03
TRIES = 3
TIMES = 250
READ = 64 << 10

TEXTS = {
    "parameters": "select "
    + ", ".join(f"set_config('a.x{n}', '', false)" for n in range(1999)),
    "reads": "; ".join(f"select {n}" for n in range(3999)),
    "definitions": "; ".join(f"drop view v{n}" for n in range(3999)),
    "empty ones": "a;" * 2000,
    "names": "drop view " + ", ".join(f"v{n}" for n in range(3999)),
    "very many names": "drop view " + ", ".join(f"v{n}" for n in range(50_000)),
    "hints": "/*rwsplit:x*/" * 20_000 + "insert into t values (1)",
}
RUN = frames.bind("s") + frames.execute()
OTHER = frames.bind("o") + frames.execute()
WAYS = {
    "in one unit": RUN * TIMES + frames.SYNC,
    "in turn": (RUN + OTHER) * (TIMES // 2) + frames.SYNC,
    "in an open unit": (RUN + frames.FLUSH) * TIMES + frames.SYNC,
    "in many units": (RUN + frames.SYNC) * TIMES,
    "described": frames.describe("s") * TIMES + frames.SYNC,
}


def slowest_turn(text: str, data: bytes) -> float:
    """Have a client that knows *text* send *data*; return the processor time of the longest turn."""
    rig = MemoryRelay(2, size=1, is_checked=False)
    client = rig.clients[0]
    client.allowance = SLICE
    facts = parse(text.encode(), FunctionBook(), ParseBudget(PATIENT_BUDGET))
    client.scope.statements.store(text.encode(), facts)
    slowest = 0.0
    for at in range(0, len(data), READ):
        wire_of(client).incoming = data[at : at + READ]
        events = [(client.fd, select.EPOLLIN)]
        while events or len(rig.relay.slices):
            before = time.thread_time()
            rig.turn(events)
            slowest = max(slowest, time.thread_time() - before)
            events = []
    return slowest


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_heavy_statement_may_be_executed_very_often(text: str, way: str):
    data = frames.parse("s", TEXTS[text]) + frames.parse("o", "select 1") + WAYS[way]
    assert min(slowest_turn(TEXTS[text], data) for _ in range(TRIES)) < ENDS_SOON


@pytest.mark.parametrize("text", TEXTS)
def test_a_heavy_query_may_be_sent_very_often(text: str):
    data = frames.query(TEXTS[text]) * 40
    assert len(data) > HEADER_SIZE * 40
    assert min(slowest_turn(TEXTS[text], data) for _ in range(TRIES)) < ENDS_SOON
