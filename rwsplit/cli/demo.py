"""`rwsplit demo`: a real primary and streaming replicas on this machine with rwsplit in front.

What it runs is what `rwsplit serve` would run from the same file: the demo writes a configuration beside
the cluster's data, so that RELOAD, `rwsplit config set` and `rwsplit node detach` work in it as anywhere.
Everything lives in the cluster's directory and goes with it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from rwsplit.cli.groups import first_error
from rwsplit.cli.proxy import place_from_url
from rwsplit.cli.runtime import announced
from rwsplit.cli.status import INTERVAL, Look
from rwsplit.config.loader import load
from rwsplit.config.model import Config
from rwsplit.config.units import parse_duration
from rwsplit.errors import RwsplitError

if TYPE_CHECKING:
    from rwsplit.app.host import Host
    from rwsplit.embedded.cluster import EmbeddedCluster

HOST = "127.0.0.1"
"""The demo listens nowhere else."""
APPLICATION = "app"
"""The cluster's role and database for applications; in the demo it may operate rwsplit too."""
MONITOR = "rwsplit"
"""The cluster's role for rwsplit itself."""
READY_TIMEOUT = 60.0


class DemoError(RwsplitError):
    """The demo cannot run; the text says what to do."""


def demo(
    replicas: Annotated[int, typer.Option(min=0, max=16, help="How many replicas.")] = 3,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where rwsplit listens.")] = 6432,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where the cluster lives; default: a temporary one."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="End by itself after this long.")
    ] = None,
    pgbench_scale: Annotated[
        int, typer.Option(min=0, help="Make pgbench's tables at this scale.")
    ] = 0,
    apply_delay: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TIME", help="Let a replica lag: replica3=2s. Repeatable."),
    ] = None,
    postgres: Annotated[
        Path | None,
        typer.Option(
            help="A directory of PostgreSQL binaries; default: the wheel's, or the system's."
        ),
    ] = None,
) -> None:
    """Run a primary and streaming replicas with rwsplit in front; Ctrl-C removes everything."""
    delays = parse_delays(apply_delay or [], replicas)
    check_port(port)
    # Imported here: only this command needs them.
    from rwsplit.embedded.cluster import EmbeddedCluster

    with _interruptible():
        cluster = EmbeddedCluster(
            replicas=replicas,
            postgres=postgres,
            directory=directory,
            apply_delay=delays,
            progress=_progress,
        )
        try:
            with cluster:
                config = write_config(cluster, port)
                # For `rwsplit node promote`, as README.md says it.
                cluster.primary.query(f"GRANT EXECUTE ON FUNCTION pg_promote TO {MONITOR}")
                if pgbench_scale:
                    _pgbench(cluster, postgres, pgbench_scale)
                _serve(config, cluster.passwords, seconds)
                _progress(f"stopping PostgreSQL and removing {cluster.directory}")
        except KeyboardInterrupt:
            pass
        _progress("stopped and removed")


def parse_delays(given: list[str], replicas: int) -> dict[str, float]:
    """Return `replica3=2s` words as seconds by name.

    Raises:
        DemoError: one is not like that, or names no replica.
    """
    delays = {}
    names = [f"replica{number}" for number in range(1, replicas + 1)]
    for word in given:
        name, _, text = word.partition("=")
        if name not in names:
            known = f"the replicas are {', '.join(names)}" if names else "there are no replicas"
            raise DemoError(f"--apply-delay {word}: {known}")
        try:
            delays[name] = parse_duration(text)
        except ValueError as exc:
            raise DemoError(f"--apply-delay {word}: {exc}") from None
    return delays


def check_port(port: int) -> None:
    """Raise DemoError if another process listens on *port* already; better now than after the cluster."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            raise DemoError(
                f"cannot listen on {HOST}:{port} ({exc.strerror}); choose another port by --port"
            ) from None


def write_config(cluster: EmbeddedCluster, port: int) -> Config:
    """Write the demo's configuration and userlist into the directory of *cluster* and load them."""
    directory = cluster.directory / "rwsplit"
    directory.mkdir(mode=0o700)
    cluster.write_userlist(directory / "userlist.txt")
    password = directory / "monitor.pw"
    password.touch(mode=0o600)
    password.write_text(cluster.passwords[MONITOR] + "\n")
    nodes = "".join(f"  {n.name}: {n.host}:{n.port}\n" for n in cluster.nodes.values())
    (directory / "rwsplit.state").write_text(
        "{}\n"
    )  # that there is none is a warning elsewhere
    path = directory / "rwsplit.yaml"
    path.write_text(
        f"# Written by `rwsplit demo`; edit it and `rwsplit console RELOAD`.\n"
        f"listen: {HOST}:{port}\n"
        f"nodes:\n{nodes}"
        f"monitor: {{user: {MONITOR}, password_file: monitor.pw}}\n"
        "users: {file: userlist.txt}\n"
        f"admin: {{users: [{APPLICATION}]}}\n"
        "log: {level: warning}\n"
    )
    return load(path)


def _pgbench(cluster: EmbeddedCluster, postgres: Path | None, scale: int) -> None:
    from rwsplit.embedded.postgres import Binaries

    _progress(f"pgbench -i -s {scale}")
    primary = cluster.primary
    program = Binaries.find(postgres).tools / "pgbench"
    where = ["-h", primary.host, "-p", str(primary.port), "-U", APPLICATION, APPLICATION]
    environment = {**os.environ, "PGPASSWORD": cluster.passwords[APPLICATION]}
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [os.fspath(program), "-i", "-q", "-s", str(scale), *where],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as exc:
        raise DemoError(f"cannot run {program}: {exc.strerror}") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it says nothing"]
        raise DemoError(f"pgbench -i failed: {lines[-1]}")


def _serve(config: Config, passwords: Mapping[str, str], seconds: float | None) -> None:
    """Run rwsplit until Ctrl-C, SIGTERM, SHUTDOWN on its console or *seconds* after it is ready."""
    from rwsplit.app.host import Host
    from rwsplit.telemetry.logs import configure_logs

    configure_logs(config.log)
    host = Host()
    with first_error():
        host.run(_serve_until_told, config, passwords[APPLICATION], seconds, host)


async def _serve_until_told(
    config: Config, password: str, seconds: float | None, host: Host
) -> None:
    import trio

    from rwsplit.app.serve import serve

    ports: list[int] = []
    ready = trio.Event()

    def on_ready(port: int) -> None:
        ports.append(port)
        ready.set()

    async def wait_for_signal() -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                _progress("stopping rwsplit")
                nursery.cancel_scope.cancel()

    async def serve_to_the_end() -> None:
        await serve(config, on_ready=on_ready, driver=host)
        _progress(
            "rwsplit has ended: SHUTDOWN on its console"
        )  # nothing else ends it by itself
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_signal, name="signals")
        nursery.start_soon(serve_to_the_end, name="serve")
        with trio.move_on_after(READY_TIMEOUT) as patience:
            await ready.wait()
        if patience.cancelled_caught:
            raise DemoError(f"rwsplit found no primary within {READY_TIMEOUT:g} s")

        url = f"postgresql://{APPLICATION}:{password}@{HOST}:{ports[0]}/{APPLICATION}"
        print(f"ready {url}", flush=True)
        with announced(url):
            if sys.stdout.isatty():
                nursery.start_soon(_show, url, name="live status")
            await trio.sleep(inf if seconds is None else seconds)
        nursery.cancel_scope.cancel()


async def _show(url: str) -> None:
    """Keep a table of the nodes on the terminal, as `rwsplit status --watch` beside it would."""
    import trio
    from rich.live import Live

    place = place_from_url(url)
    look = Look(place)
    with Live(auto_refresh=False) as live:
        while True:
            table = await trio.to_thread.run_sync(look.render, abandon_on_cancel=True)
            live.update(table, refresh=True)
            await trio.sleep(INTERVAL)


def _progress(step: str) -> None:
    print(step, file=sys.stderr, flush=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C while nothing else does: what was started is stopped on the way out."""

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
