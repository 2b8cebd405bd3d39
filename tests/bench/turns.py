"""What the turn loop itself costs per query: the real relay on wires without sockets.

    python -m tests.bench.turns [--clients 32] [--batch 4] [--protocol prepared] [--profile]

System calls cost nothing here, so what is left is Python: frames, classification, routing, dispatch, answers. For
work on those; `make bench` says what users feel. The best of many short runs is what the machine can do.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import random
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from rwsplit.protocol import codes
from rwsplit.protocol.framing import frame
from tests.support.memory_relay import ANSWER, MemoryRelay
from tests.support.messages import SYNC, bind, describe_portal, execute, parse

Script = Sequence[tuple[bytes, bytes]]


def _done(tag: bytes, status: bytes) -> bytes:
    return frame(codes.COMMAND_COMPLETE, tag + b"\0") + frame(codes.READY, status)


READ: Final = ((b"SELECT abalance FROM pgbench_accounts WHERE aid = %d;", ANSWER),)
WRITE: Final = (
    (b"BEGIN;", _done(b"BEGIN", b"T")),
    (
        b"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = %d;",
        _done(b"UPDATE 1", b"T"),
    ),
    (b"SELECT abalance FROM pgbench_accounts WHERE aid = %d;", ANSWER[:-1] + b"T"),
    (
        b"INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, %d, 4, CURRENT_TIMESTAMP);",
        _done(b"INSERT 0 1", b"T"),
    ),
    (b"END;", _done(b"COMMIT", b"I")),
)
"""Statements with their answers: pgbench's -S and -N."""


def play(rig: MemoryRelay, script: Script, rounds: int, *, batch: int) -> float:
    """Have every client run *script* so often, *batch* of them a turn; return the seconds a statement took."""
    draw = random.Random(1)
    clients = rig.clients
    groups = [clients[at : at + batch] for at in range(0, len(clients), batch)]
    spent = 0.0
    for _ in range(rounds):
        for text, answer in script:
            for group in groups:
                for client in group:
                    rig.ask(client, text % draw.randrange(1_000_000) if b"%d" in text else text)
                began = time.perf_counter()
                rig.turn_clients(group)
                spent += time.perf_counter() - began
                busy = rig.busy()
                began = time.perf_counter()
                rig.answer(busy, answer)
                spent += time.perf_counter() - began
    return spent / (rounds * len(clients) * len(script))


def play_extended(rig: MemoryRelay, rounds: int, *, batch: int, name: str) -> float:
    """Have every client run pgbench's -S by the extended protocol, as `play` does; a *name* is parsed once before."""
    draw = random.Random(1)
    clients = rig.clients
    groups = [clients[at : at + batch] for at in range(0, len(clients), batch)]
    told = parse(READ[0][0].replace(b"%d", b"$1"), name)
    for client in clients:
        if name and name.encode() not in client.names:
            rig.say(client, told + SYNC)
            rig.turn_clients([client])
            rig.reply(rig.busy())
    run = describe_portal() + execute() + SYNC
    spent = 0.0
    for _ in range(rounds):
        for group in groups:
            for client in group:
                bound = bind(name, [str(draw.randrange(1_000_000))])
                rig.say(client, bound + run if name else told + bound + run)
            began = time.perf_counter()
            rig.turn_clients(group)
            spent += time.perf_counter() - began
            busy = rig.busy()
            rig.compose_replies(busy)
            began = time.perf_counter()
            rig.turn_replies(busy)
            spent += time.perf_counter() - began
    return spent / (rounds * len(clients))


def main(arguments: Sequence[str] | None = None) -> None:
    """Play and print microseconds per query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4, help="clients served in one turn")
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--size", type=int, default=20, help="servers a pool")
    parser.add_argument("--lane-depth", type=int, default=0)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument(
        "--protocol", choices=("simple", "extended", "prepared"), default="simple", help="of -S"
    )
    parser.add_argument("--write", action="store_true", help="pgbench -N, not -S")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args(arguments)
    rig = MemoryRelay(
        options.clients, size=options.size, lane_depth=options.lane_depth, is_checked=False
    )
    played = partial(play, rig, WRITE if options.write else READ)
    if options.protocol != "simple":
        name = "P_0" if options.protocol == "prepared" else ""
        played = partial(play_extended, rig, name=name)
    played(50, batch=options.batch)
    gc.collect()
    gc.freeze()
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(played, options.rounds, batch=options.batch)
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        return
    if options.runs == 0:
        return
    runs = [played(options.rounds, batch=options.batch) * 1e6 for _ in range(options.runs)]
    print(f"{min(runs):.2f} us per query (best of {len(runs)}; worst {max(runs):.2f})")


if __name__ == "__main__":
    main()
