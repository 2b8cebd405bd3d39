"""Serve: the composition root. The only place that knows all parts, and the nursery tree:

    serve
    |- monitor            one watcher per node
    |- parser             keeps the parser process running
    |- catalogs           what names mean, one task per database in use
    |- relay              established sessions and servers; outlives the listeners
    |- signals
    |- collecting         full collections of garbage, when it is quiet
    `- listeners          die first, so nothing new gets in; the console goes on until the end

A shutdown stops the listeners, ends every session as soon as it is between transactions, and after
`limits.shutdown_timeout` all that are left.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import structlog
import trio

from rwsplit import __version__
from rwsplit.admin.console import serve_console
from rwsplit.app.collecting import collect_when_quiet, take_over
from rwsplit.app.descriptors import provide
from rwsplit.app.families import families
from rwsplit.app.host import Host
from rwsplit.app.lobby import OurLobby
from rwsplit.app.memory import Memory
from rwsplit.app.opener import Opener
from rwsplit.app.operating import OurOperator
from rwsplit.app.preparation import prepare
from rwsplit.app.reloading import Reloading
from rwsplit.app.shutdown import Shutdown
from rwsplit.app.signals import heed_signals
from rwsplit.app.steps import Steps
from rwsplit.app.welcome import Welcomes
from rwsplit.client.listener import serve_listener
from rwsplit.client.lobby import Login
from rwsplit.cluster.view import ClusterView
from rwsplit.config.loader import load
from rwsplit.config.model import Config
from rwsplit.config.overrides import pool_config
from rwsplit.monitor.board import Board
from rwsplit.monitor.catalog import Catalogs
from rwsplit.monitor.watcher import run_monitor
from rwsplit.parser.parser import Parser
from rwsplit.relay.driving import Driver
from rwsplit.relay.relay import Relay
from rwsplit.routing.balancing import Chooser, make_chooser
from rwsplit.server.credentials import Keyring
from rwsplit.server.dial_budget import DialBudget
from rwsplit.server.pool import Pool
from rwsplit.server.server import Server
from rwsplit.server.stream import WireStream
from rwsplit.session.knowledge import Knowledge
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.effort import Effort
from rwsplit.sql.functions import FunctionBook
from rwsplit.telemetry.logs import configure_logs

#: Seconds a thread (one that composes a catalog, say) may hold the interpreter lock while the turn loop waits for it.
SWITCH_INTERVAL: Final = 0.0005

_log = structlog.get_logger("rwsplit.app")


def run(path: Path) -> None:
    """Serve the configuration file at *path* until a signal ends it.

    Raises:
        ConfigError: the configuration or a file it names cannot be used.
        OSError: an address cannot be listened on.
    """
    config = load(path)
    configure_logs(config.log)
    sys.setswitchinterval(SWITCH_INTERVAL)
    host = Host()
    host.run(_serve_until_signalled, config, host)


async def _serve_until_signalled(config: Config, host: Host) -> None:
    with contextlib.suppress(trio.Cancelled):
        await serve(config, signals=True, driver=host)


async def serve(
    config: Config,
    *,
    on_ready: Callable[[int], None] | None = None,
    signals: bool = False,
    on_board: Callable[[Board], None] | None = None,
    driver: Driver | None = None,
) -> None:
    """Serve *config* until cancelled or shut down.

    *on_ready* is called with the port listened on, once a node is known that may answer; with *signals*
    the process is rwsplit's own: its signals are heeded, its garbage is collected when it is quiet; *on_board* is given the board as soon as it exists; *driver* calls the
    relay's turns, a trio task if there is none.
    """
    _log.info("starting", version=__version__, nodes=[node.name for node in config.nodes])
    provide(config)
    proxy = Proxy(config, driver)
    if on_board is not None:
        on_board(proxy.board)
    try:
        async with trio.open_nursery() as root:
            await root.start(run_monitor, proxy.board, proxy.relay.driver, name="monitor")
            await root.start(proxy.parser.run, name="parser")
            await root.start(proxy.relay.run, name="relay")
            await root.start(proxy.catalogs.run, name="catalogs")
            proxy.memory.keep_secret()
            proxy.lobby.prepare_logins()
            if signals:
                root.start_soon(
                    heed_signals, proxy.shutdown, proxy.operator.reload, name="signals"
                )
                take_over()
                root.start_soon(collect_when_quiet, proxy.turns, name="collecting")
            async with trio.open_nursery() as listeners:
                port = await proxy.listen(listeners, clients=root)
                root.start_soon(proxy.announce, port, on_ready, name="announce")
                await proxy.shutdown.requested.wait()
                listeners.cancel_scope.cancel()
            await proxy.shutdown.drain()
            root.cancel_scope.cancel()
    finally:
        _log.info("stopped")


#: Statements and shapes whose facts are remembered; their bytes are bounded besides.
STATEMENTS: Final = 10_000


class Proxy:
    """Everything a running rwsplit is made of."""

    def __init__(self, config: Config, driver: Driver | None = None) -> None:
        self.memory = Memory.from_config(config)
        prepared = prepare(config, Keyring(seed=self.memory.secret))
        for warning in prepared.warnings:
            _log.warning("config_warning", reason=warning)
        keyring = prepared.keyring
        functions = FunctionBook(
            config.routing.functions.reads, config.routing.functions.writes
        )
        statements = StatementCache(functions, size=STATEMENTS, effort=Effort(time.thread_time))
        clock = trio.lowlevel.current_clock().current_time
        chooser = partial(_chooser, random=Random().random)  # noqa: S311 - it spreads load
        self.board = Board(
            config, admin=self.memory.states, remembered=self.memory.cluster, clock=clock
        )
        self.knowledge = Knowledge(statements, functions)
        self.parser = Parser()
        self.catalogs = Catalogs(self.board, self.knowledge, parser=self.parser)
        self.relay = Relay(
            config,
            self.board.view,
            chooser=chooser(config),
            open_server=self._open_server,
            send_cancel=self._send_cancel,
            hurry=self.board.hurry,
            report_failure=self._report_failure,
            report_owing=self._report_owing,
            report_stall=self.board.held_up,
            clock=clock,
            driver=driver,
            effort=self.knowledge.effort,
            reader=self.parser,
        )
        self.opener = Opener(config, keyring, self.relay.rebasing)
        self.budget = DialBudget(self._pool_size, self.relay.pools.quotas)
        self.welcomes = Welcomes(self.board, self.opener, self.relay.rebasing, self.budget)
        self.relay.rebasing.on_change = self.welcomes.forget
        self.knowledge.on_defaults = self.welcomes.distrust
        self.board.on_reload.append(self._reloaded)
        self.shutdown = Shutdown(self.relay)
        self.lobby = OurLobby(
            config,
            keyring,
            relay=self.relay,
            knowledge=self.knowledge,
            catalogs=self.catalogs,
            welcomes=self.welcomes,
            tls_context=prepared.tls_context,
            console=self._console,
        )
        steps = Steps(
            lobby=self.lobby,
            opener=self.opener,
            welcomes=self.welcomes,
            relay=self.relay,
            chooser=chooser,
            memory=self.memory,
            knowledge=self.knowledge,
            board=self.board,
            catalogs=self.catalogs,
        )
        self.reloading = Reloading(prepared, steps.in_order())
        self.operator = OurOperator(
            relay=self.relay,
            board=self.board,
            memory=self.memory,
            knowledge=self.knowledge,
            catalogs=self.catalogs,
            welcomes=self.welcomes,
            reloading=self.reloading,
            shutdown=self.shutdown,
            families=partial(
                families,
                relay=self.relay,
                board=self.board,
                half_open=self.lobby.half_open,
                budget=self.budget,
                parser=self.parser,
            ),
        )
        self._primary: str | None = None
        self.board.on_admin.append(self.memory.remember)
        self.board.chronicle.save = self.memory.remember_cluster
        self.board.on_publish.append(self._published)
        self.board.in_flight = self.relay.busy_with

    @property
    def config(self) -> Config:
        """Return the configuration in force."""
        return self.reloading.in_force.config

    def turns(self) -> int:
        """Return how many turns of the relay there have been."""
        return self.relay.counters.turns

    async def listen(self, nursery: trio.Nursery, *, clients: trio.Nursery) -> int:
        """Open every listener in *nursery*; return the port of the first.

        *clients* outlives it: startups under way and consoles go on while sessions drain.
        """
        port = 0
        for address in self.config.listen:
            listener = partial(serve_listener, address, self.lobby, clients=clients)
            bound: int = await nursery.start(listener, name=f"listener {address.host}")
            port = port or bound
        return port

    async def announce(self, port: int, on_ready: Callable[[int], None] | None) -> None:
        """Say when there is a node that answers."""
        with trio.move_on_after(10) as waited:
            await self.board.wait_for(_has_primary)
        if waited.cancelled_caught:
            _log.warning("no_primary_yet", port=port)
            await self.board.wait_for(lambda view: _has_primary(view) or bool(view.replicas))
        with trio.move_on_after(5):
            await self.board.wait_for(
                lambda view: all(
                    node.refusal is None for node in view.nodes if node is not view.primary
                )
            )
        _log.info("ready", port=port)
        if on_ready is not None:
            on_ready(port)

    async def _console(self, stream: WireStream, login: Login) -> None:
        await serve_console(stream, login, self.operator)

    def _pool_size(self, database: str, user: str) -> int:
        return pool_config(self.config.pool, database, user).size

    def _report_owing(self, node: str, heard: float, asked: float) -> None:
        self.board.report_owing(node, heard, asked, self.relay.clock())

    def _report_failure(self, node: str, reason: str) -> None:
        self.board.report_failure(node, reason, self.relay.clock())

    async def _open_server(self, pool: Pool[Server]) -> Server:
        return await self.opener.open(pool)

    async def _send_cancel(self, server: Server) -> None:
        await self.opener.cancel(server)

    def _reloaded(self, node: str) -> None:
        """A node has read its configuration again: servers are opened anew, with whatever defaults it has now."""
        primary = self.board.view.primary
        if primary is not None and primary.name == node:
            self.welcomes.distrust()
        self.relay.rebasing.replace(node=node)

    def _published(self, view: ClusterView) -> None:
        primary = view.primary.name if view.primary else None
        if primary is not None and primary != self._primary:
            self._primary = primary
            self.welcomes.forget()
        self.relay.upkeep.view_changed(view)


def _chooser(config: Config, random: Callable[[], float]) -> Chooser:
    """Return the chooser *config* asks for."""
    routing = config.routing
    return make_chooser(routing.balance, random=random, slow_start=routing.slow_start)


def _has_primary(view: ClusterView) -> bool:
    return view.primary is not None
