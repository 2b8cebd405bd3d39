"""What a client gets does not depend on how its input was sliced."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from rwsplit.server.server import Server
from rwsplit.session import frames as counted_frames
from tests.support import frames
from tests.support.memory_relay import MemoryRelay, wire_of
from tests.support.model_server import ModelServer

#: Steps beyond which a conversation is taken to hang.
PATIENCE = 3000

names = st.sampled_from(["", "a", "b"])
texts = st.sampled_from(
    ["select 1", "select 2", "insert into t values (1)", "select broken", "at_execute"]
)
messages = st.one_of(
    st.builds(frames.query, texts),
    st.builds(frames.parse, names, texts),
    names.map(frames.bind),
    names.map(frames.describe),
    names.map(frames.close),
    st.just(frames.describe_portal()),
    st.just(frames.execute()),
    st.just(frames.SYNC),
    st.just(frames.FLUSH),
    st.just(frames.bind() + frames.execute() + frames.SYNC),
    st.builds(
        lambda name, text: (
            frames.parse(name, text) + frames.bind(name) + frames.execute() + frames.SYNC
        ),
        names,
        texts,
    ),
)


class Model(ModelServer):
    """Answers at once, so that a Flush changes nothing."""

    def _answer(self, code: str, payload: bytes) -> bytes:
        return b"" if code == "H" else super()._answer(code, payload)


def converse(
    said: list[bytes], cuts: list[int], size: int, *, leaves: bool = False
) -> tuple[bytes, int]:
    """Return what a client gets that says *said*, cut at *cuts*, if slices have *size* words, and how many units were answered.

    If it *leaves*, it closes its end behind that, and does not wait for the answers.
    """
    rig = MemoryRelay(1, size=2)
    [client] = rig.clients
    client.allowance = rig.relay.slices.size = size
    told = wire_of(client).log = []
    models: dict[Server, Model] = {}
    broken = {"select broken"}
    for server in rig.relay.servers.values():
        wire_of(server).log = []
        models[server] = Model(broken)
    data = b"".join(said)
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(bounds) if a < b]
    for _ in range(PATIENCE):
        if leaves and not (pieces or client.paused or client.closed):
            rig.say(client, b"")  # it is at its end as often as it is read
            rig.turn_clients([client])
        ready = []
        for server, model in models.items():
            sent, wire_of(server).log = b"".join(wire_of(server).log or ()), []
            answer = model.answers(sent) if sent else b""
            if answer:
                ready.append((server, answer))
        if ready:
            rig.turn_servers(ready)
        elif rig.relay.driver.pressed:
            rig.relay.turn([])
        elif pieces and not client.paused:
            rig.say(client, pieces.pop(0))
            rig.turn_clients([client])
        else:
            break
    else:
        raise AssertionError("there is no end to it")
    assert not pieces, "the client is not read any more"
    assert not client.is_behind
    return b"".join(told), client.statements


@pytest.fixture(autouse=True, scope="module")
def counts_all() -> Iterator[None]:
    """Have each frame counted: what is said here is short, and must be cut into slices all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counted_frames, "FEW_BYTES", 0)
        yield


@settings(max_examples=120, deadline=None)
@given(
    st.lists(messages, min_size=1, max_size=25),
    st.lists(st.integers(0, 10_000), max_size=4),
    st.integers(1, 30),
)
def test_slices_do_not_show(said: list[bytes], cuts: list[int], size: int):
    said = [*said, frames.SYNC]
    assert converse(said, cuts, size) == converse(said, cuts, 1 << 30)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(messages, min_size=1, max_size=25),
    st.lists(st.integers(0, 10_000), max_size=4),
    st.integers(1, 30),
)
def test_slices_do_not_show_where_the_client_does_not_wait(
    said: list[bytes], cuts: list[int], size: int
):
    said = [*said, frames.SYNC, frames.message("X")]
    got = converse(said, cuts, size, leaves=True)
    assert got == converse(said, cuts, 1 << 30, leaves=True)


def test_a_name_given_behind_an_error_is_free_again_wherever_that_was_cut():
    """All up to the Sync is skipped, also what comes when the rest of its unit has been dropped already."""
    said = [
        *(frames.bind(""), frames.query("select 1"), frames.describe_portal(), frames.FLUSH),
        *(frames.parse("a", "select 1"), frames.bind("a"), frames.execute(), frames.SYNC),
        *(frames.parse("a", "select 1"), frames.SYNC),
    ]
    whole = converse(said, [], 1 << 30)
    for cut in range(1, len(b"".join(said))):
        assert converse(said, [cut], 1 << 30) == whole
    for size in range(1, 10):
        assert converse(said, [], size) == whole
