"""Counts what the turns of a relay take: a client says something, servers answer at once, until all is done.

    taken = counted(messages)
    taken.calls      Python and C functions called in the turns
    taken.seconds    of CPU time in the turns
    taken.words      of work, as rwsplit itself counts it
    taken.turns      and of one of them, `slowest` and `longest`

What builds the messages, or plays the servers, is not counted.
"""

from __future__ import annotations

import gc
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import attrs

from rwsplit.relay.client import Client
from rwsplit.server.server import Server
from rwsplit.server.wire import READ_SIZE
from tests.support import frames
from tests.support.memory_relay import MemoryRelay, wire_of

#: Turns beyond which a conversation is taken to hang.
PATIENCE: Final = 200_000

_COMPLETE: Final = frames.message("C", b"SELECT 0\0")
_ANSWERS: Final = {
    "P": frames.message("1"),
    "B": frames.message("2"),
    "C": frames.message("3"),
    "E": _COMPLETE,
    "Q": _COMPLETE + frames.ready(),
    "F": frames.message("V", struct.pack("!i", -1)) + frames.ready(),
    "S": frames.ready(),
    "c": _COMPLETE + frames.ready(),
}
_NO_DATA: Final = frames.message("n")
_DESCRIBED: Final = frames.message("t", b"\0\0") + _NO_DATA


@attrs.frozen
class Taken:
    """What a conversation took."""

    calls: int
    seconds: float
    words: int
    turns: int
    longest: int
    """Words of the turn that took most."""
    slowest: float
    """Seconds of CPU time of the turn that took longest."""
    client: Client
    rig: MemoryRelay


def answers(data: bytes, special: Callable[[bytes], bytes | None] | None = None) -> bytes:
    """Return what a server that knows everything answers to the complete messages in *data*."""
    said: list[bytes] = []
    at, size = 0, len(data)
    while at < size:
        end = at + 1 + struct.unpack_from("!i", data, at + 1)[0]
        code = chr(data[at])
        own = special(data[at:end]) if special is not None else None
        if own is not None:
            said.append(own)
        elif code == "D":
            said.append(_DESCRIBED if data[at + 5 : at + 6] == b"S" else _NO_DATA)
        else:
            said.append(_ANSWERS.get(code, b""))
        at = end
    return b"".join(said)


def counted(
    said: bytes,
    *,
    profile: bool = True,
    special: Callable[[bytes], bytes | None] | None = None,
    prepare: Callable[[MemoryRelay], None] | None = None,
    piece: int = 65_536,
    before: bytes = b"",
) -> Taken:
    """Have a client say *said*, read in pieces of so many bytes; *before* is said first and not counted.

    *special* answers single messages otherwise, *prepare* is called with the relay first.
    """
    rig = MemoryRelay(1, size=2, is_checked=False)
    [client] = rig.clients
    if prepare is not None:
        prepare(rig)
    for party in (client, *rig.relay.servers.values()):
        wire_of(party).log = []
    meter = _Meter(profile=False)
    _play(rig, client, before, meter, special, piece)
    meter = _Meter(profile=profile)
    words = rig.relay.effort.words
    gc.collect()
    gc.disable()
    try:
        turns = _play(rig, client, said, meter, special, piece)
    finally:
        gc.enable()
    return Taken(
        calls=meter.calls,
        seconds=meter.seconds,
        words=rig.relay.effort.words - words,
        turns=turns,
        longest=meter.longest,
        slowest=meter.slowest,
        client=client,
        rig=rig,
    )


def _play(
    rig: MemoryRelay,
    client: Client,
    said: bytes,
    meter: _Meter,
    special: Callable[[bytes], bytes | None] | None,
    piece: int,
) -> int:
    at = 0
    servers: list[Server] = list(rig.relay.servers.values())
    unread: dict[Server, bytes] = dict.fromkeys(servers, b"")
    for turn in range(PATIENCE):
        ready = []
        for server in servers:
            log = wire_of(server).log
            if log:
                unread[server] += answers(b"".join(log), special)
                log.clear()
            if unread[server] and not server.paused:
                ready.append((server, unread[server][:READ_SIZE]))
                unread[server] = unread[server][READ_SIZE:]
        wire_of(client).log = []
        if ready:
            with meter.running(rig):
                rig.turn_servers(ready)
        elif rig.relay.driver.pressed:
            with meter.running(rig):
                rig.relay.turn([])
        elif at < len(said) and not client.paused and not client.closed:
            rig.say(client, said[at : at + piece])
            at += piece
            with meter.running(rig):
                rig.turn_clients([client])
        else:
            if at < len(said) and not client.closed:
                raise AssertionError("the client is not read any more")
            return turn
    raise AssertionError("there is no end to it")


class _Meter:
    """Counts while it runs."""

    def __init__(self, *, profile: bool) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.longest = 0
        self.slowest = 0.0
        self._profile = profile

    @contextmanager
    def running(self, rig: MemoryRelay) -> Iterator[None]:
        words = rig.relay.effort.words
        before = sys.getprofile()
        if self._profile:
            sys.setprofile(self._count)
        began = time.process_time()
        try:
            yield
        finally:
            took = time.process_time() - began
            self.seconds += took
            self.slowest = max(self.slowest, took)
            if self._profile:
                sys.setprofile(before)
            self.longest = max(self.longest, rig.relay.effort.words - words)

    def _count(self, _: object, event: str, __: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1
