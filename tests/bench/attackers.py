"""Attackers: clients that take what they can get, in a process of their own, so that they do not slow down the bystander.

    python -m tests.bench.attackers KIND NUMBER      (KIND: see `ATTACKS`)

Where rwsplit is and who may log in comes as one line of JSON on standard input; the attack has its full size when `ready` is
printed, goes on until standard input ends, and then says in a last line what it has done.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psycopg

from tests.support import frames
from tests.support.raw_client import RawClient, message, startup

#: Descriptors besides those of the attack's connections.
SPARE_FILES: Final = 64
#: Clients that log in at once, as fast as each is answered.
LOGINS_AT_ONCE: Final = 32
#: Seconds any answer may take.
PATIENCE: Final = 120.0

Target = Mapping[str, Any]


class Attack:
    """One kind of attack on *target*, of the size *number*."""

    def __init__(self, target: Target, number: int) -> None:
        self.target = target
        self.number = number
        self.done: Counter[str] = Counter()
        """What it has done, and what came of it."""
        self.is_over = threading.Event()

    def begin(self) -> None:
        """Attack until it has its full size."""

    def go_on(self) -> None:
        """Attack until `is_over`."""
        self.is_over.wait()

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection of a user."""
        return psycopg.connect(self.target["dsn"], autocommit=True)

    def raw(self) -> RawClient:
        """Return a connection that has not said anything."""
        return RawClient(self.target["port"], self.target["host"], timeout=PATIENCE)


class Nobody(Attack):
    """No attack: what a bystander waits when it is alone."""


class Busy(Attack):
    """No attack either, but a loop that keeps a processor busy, as any crowd of clients on this machine does."""

    def go_on(self) -> None:
        while not self.is_over.is_set():
            sum(range(1000))


class HalfOpen(Attack):
    """Connections that say nothing; one that rwsplit closes stays closed, unless *is_insisting*."""

    is_insisting = False

    def begin(self) -> None:
        self._poll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        for _ in range(self.number):
            self._dial()

    def go_on(self) -> None:
        while not self.is_over.is_set():
            for fd, _ in self._poll.poll(0.1):
                self._poll.unregister(fd)
                self._open.pop(fd).close()
                self.done["closed by rwsplit"] += 1
                if self.is_insisting:
                    self._dial()

    def _dial(self) -> None:
        """Connect without waiting for the answer: the kernel has room for so many only."""
        stranger = socket.socket()
        stranger.setblocking(False)
        stranger.connect_ex((self.target["host"], self.target["port"]))
        self._open[stranger.fileno()] = stranger
        self._poll.register(stranger, select.EPOLLRDHUP | select.EPOLLERR)
        self.done["connections"] += 1


class InsistingHalfOpen(HalfOpen):
    """The same; what rwsplit closes is opened again at once."""

    is_insisting = True


class Idle(Attack):
    """Clients that have logged in, asked once, and say nothing more."""

    def begin(self) -> None:
        with ThreadPoolExecutor(8) as threads:
            self._clients = list(threads.map(self._settle, range(self.number)))

    def _settle(self, _: int) -> psycopg.Connection[Any]:
        client = self.connect()
        client.execute("select 1")
        self.done["clients"] += 1
        return client


class NamedStatements(Attack):
    """One client that prepares so many statements by one Sync, discards them, and does it again."""

    def go_on(self) -> None:
        with self.raw() as client:
            client.log_in(**self.target["login"])
            while not self.is_over.is_set():
                parses = [
                    frames.parse(f"s{n}", f"select {n} as c{self.done['rounds']}_{n}")
                    for n in range(self.number)
                ]
                sender = threading.Thread(
                    target=client.send, args=(b"".join(parses), frames.SYNC)
                )
                sender.start()  # answers are read meanwhile, or both sides would wait
                self._count(client.codes_until(b"Z"))
                sender.join()
                self._count(b"".join(f.code for f in client.query("discard all")))
                self.done["rounds"] += 1

    def _count(self, codes: bytes) -> None:
        self.done["statements"] += codes.count(b"1")
        self.done["errors"] += codes.count(b"E")


class Strangers(Attack):
    """Clients that log in by names nobody has, with a made-up proof, again and again; *number* at once."""

    def go_on(self) -> None:
        threads = [threading.Thread(target=self._storm) for _ in range(self.number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _storm(self) -> None:
        while not self.is_over.is_set():
            with self.raw() as client:
                try:
                    self._try(client)
                except (OSError, EOFError):
                    self.done["closed by rwsplit"] += 1

    def _try(self, client: RawClient) -> None:
        name = f"stranger{random.randrange(10**9)}"
        client.send(startup({"user": name, "database": self.target["login"]["database"]}))
        assert client.frame().code == b"R"
        first = f"n,,n=,r={name}".encode()
        client.send(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        challenge = client.frame()
        assert challenge.code == b"R"
        nonce = challenge.payload[4:].partition(b",")[0]
        client.send(message(b"p", b"c=biws," + nonce + b",p=" + b"A" * 43 + b"="))
        self.done["refused" if client.frame().code == b"E" else "not refused"] += 1


ATTACKS: Final[dict[str, Callable[[Target, int], Attack]]] = {
    "nobody": Nobody,
    "busy": Busy,
    "half-open": HalfOpen,
    "insisting": InsistingHalfOpen,
    "idle": Idle,
    "named": NamedStatements,
    "strangers": Strangers,
}


def raise_file_limit(wanted: int) -> None:
    """Allow this process *wanted* descriptors.

    Raises: SystemExit if it may not have as many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"needs {wanted} file descriptors, may have {hard} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack as *arguments* say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=list(ATTACKS))
    parser.add_argument("number", type=int)
    options = parser.parse_args(arguments)
    raise_file_limit(options.number + SPARE_FILES)
    attack = ATTACKS[options.kind](json.loads(sys.stdin.readline()), options.number)
    attack.begin()
    print("ready", flush=True)
    going_on = threading.Thread(target=attack.go_on)
    going_on.start()
    sys.stdin.read()
    attack.is_over.set()
    going_on.join()
    print(", ".join(f"{count} {what}" for what, count in attack.done.items()), flush=True)
    os._exit(0)  # thousands of connections need not be closed one by one


if __name__ == "__main__":
    sys.exit(main())
