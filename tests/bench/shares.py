"""How reads are spread, and how long one waits at most, while a replica is in trouble.

    python -m tests.bench.shares [--situations healthy,slow,frozen,cut,flapping] [--levels session,eventual]

Without --situations: all of them. Twelve tight clients in front of a primary and three replicas; "trouble" happens to replica3. For each line: the share of
replica3, the longest wait, errors, reads a second, and what the nodes answered; `spread` is how
far apart the nodes' shares are, as a part of the mean (`--clients 3,8,50` for several numbers of clients).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.node import EmbeddedNode
from tests.support.gateway import Gateway
from tests.support.proxy import Proxy
from tests.support.tight import TightClients

SITUATIONS: Final = ("healthy", "full", "slow", "slow-beats", "frozen", "cut", "flapping")
LEVELS: Final = ("session", "cluster", "eventual")
BALANCES: Final = ("least-connections", "round-robin", "random")
VICTIM: Final = "replica3"
WARM_UP: Final = 1.5


@contextlib.contextmanager
def trouble(
    situation: str, cluster: EmbeddedCluster, gateway: Gateway
) -> Iterator[Callable[[float], object] | None]:
    """Make the trouble; yield what is to be done while time passes."""
    node = cluster.nodes[VICTIM]

    def flap(gone: float, period: float = 2.0) -> None:
        (node.pause if gone % period < period / 2 else node.resume)()

    def beat(gone: float) -> None:
        flap(gone, 0.4)

    try:
        match situation:
            case "slow":
                gateway.delay = 0.2
            case "frozen":
                node.pause()
            case "cut":
                gateway.cut = True
            case _:
                pass
        yield {"flapping": flap, "slow-beats": beat}.get(situation)
    finally:
        node.resume()
        gateway.delay, gateway.cut = 0.0, False


@contextlib.contextmanager
def filled(node: EmbeddedNode | None) -> Iterator[None]:
    """Take all connections *node* has to give, if it is one."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):
            while node is not None:
                stack.enter_context(node.connect())
        yield


def measure(
    cluster: EmbeddedCluster,
    situation: str,
    settings: dict[str, Any],
    count: int,
    seconds: float,
) -> TightClients:
    """Return the clients after *seconds* of *situation*."""
    node = cluster.nodes[VICTIM]
    with tempfile.TemporaryDirectory() as directory, Gateway(node.host, node.port) as gateway:
        address = {"nodes": {VICTIM: f"{gateway.host}:{gateway.port}"}}
        with Proxy(cluster, Path(directory), {**settings, **address}, measured=False) as proxy:
            if situation == "healthy":
                proxy.reload({"nodes": {VICTIM: f"{node.host}:{node.port}"}})
            with (
                filled(node if situation == "full" else None),
                TightClients(proxy, count) as clients,
            ):
                clients.run(WARM_UP)
                clients.forget()
                with trouble(situation, cluster, gateway) as meanwhile:
                    clients.run(seconds, meanwhile)
                    clients.longest_wait = clients.longest  # type: ignore[attr-defined]
    return clients


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse *arguments*, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--situations", default=",".join(SITUATIONS))
    parser.add_argument("--levels", default="session,eventual")
    parser.add_argument("--balances", default="least-connections")
    parser.add_argument("--primary", default="fallback", help="routing.reads_on_primary")
    parser.add_argument("--clients", default="12")
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args(arguments)
    print(
        "situation | level | balance | clients | share | longest | spread | errors | reads/s | nodes"
    )
    with EmbeddedCluster(replicas=3) as cluster:
        for level in options.levels.split(","):
            for balance in options.balances.split(","):
                settings = {
                    "consistency": {"level": level},
                    "routing": {"balance": balance, "reads_on_primary": options.primary},
                }
                for situation in options.situations.split(","):
                    for count in map(int, options.clients.split(",")):
                        done = measure(cluster, situation, settings, count, options.seconds)
                        print(
                            f"{situation} | {level} | {balance} | {count} | {done.share(VICTIM):.1%}"
                            f" | {done.longest_wait:.2f} s | {done.spread:.1%} | {len(done.errors)}"  # type: ignore[attr-defined]
                            f" | {done.reads.total() / options.seconds:.0f} | {dict(sorted(done.reads.items()))}",
                            flush=True,
                        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
