"""Listener: accepts clients and gives each a task for its startup.

The task is short: an established client belongs to the relay. A client of the console stays in its task, which
is why the tasks may live in another nursery than the listener, which dies first on shutdown. Nothing a client
does and no shortage of descriptors ends the accept loop. When descriptors run short (`server.files`), the last ones are for
the console: a new client may log in only there, and the oldest half-open client is dropped for the next one.
"""

from __future__ import annotations

import contextlib
import errno
import math
import socket
from typing import Final

import structlog
import trio

from rwsplit.client.half_open import Entry
from rwsplit.client.lobby import Lobby
from rwsplit.client.startup import start_client
from rwsplit.config.model import Address
from rwsplit.errors import ConfigError
from rwsplit.server import files
from rwsplit.server.files import EXHAUSTED, Purpose, Seldom, is_spent
from rwsplit.server.wire import format_address

BACKLOG: Final = 4096
#: Clients accepted in a row before other tasks get their turn.
BATCH: Final = 8
#: Seconds to wait when the system is out of what a connection needs, and nobody can make room.
PAUSE: Final = 0.1
#: What the system says of an address it does not have.
ABSENT: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
#: Hosts that mean every address of the machine.
ANYWHERE: Final = frozenset({"", "*"})

log = structlog.get_logger("rwsplit.client")


async def serve_listener(
    address: Address,
    lobby: Lobby,
    *,
    clients: trio.Nursery | None = None,
    reuse_port: bool = False,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept clients at *address* until cancelled; reports the port once clients can connect.

    Startups run in the nursery *clients* (default: one of the listener's own, which ends with it).
    *reuse_port* lets several processes share the port.

    Raises:
        ConfigError: rwsplit cannot listen there.
    """
    sockets = await _open_sockets(address, reuse_port=reuse_port)
    with contextlib.ExitStack() as stack:
        for sock in sockets:
            stack.enter_context(sock)
        port: int = sockets[0].getsockname()[1]
        async with trio.open_nursery() as nursery:
            door = _Door(lobby, clients or nursery)
            for sock in sockets:
                nursery.start_soon(
                    door.accept_clients, sock, name=f"accept {address.host}:{port}"
                )
            log.info("listening", host=address.host, port=port)
            task_status.started(port)


class _Door:
    """Where clients come in."""

    def __init__(self, lobby: Lobby, clients: trio.Nursery) -> None:
        self._lobby = lobby
        self._clients = clients
        self._exhausted = Seldom()
        self._few = Seldom()
        self._crowded = Seldom()

    async def accept_clients(self, listener: socket.socket) -> None:
        half_open = self._lobby.half_open
        deferred = 0.0
        while True:
            if deferred != self._lobby.config.tcp.defer_accept:
                deferred = self._lobby.config.tcp.defer_accept
                _defer_accept(listener, deferred)
            await trio.lowlevel.wait_readable(listener)
            try:
                for _ in range(BATCH):
                    if len(half_open) >= self._lobby.config.limits.max_login_conn:
                        await self._make_room()
                    if not self._accept(listener):
                        break  # the dropped client is closed before the next one is accepted
            except BlockingIOError:
                pass
            except OSError as exc:
                # Anything else is of the one client that was to come, and has gone.
                if exc.errno in EXHAUSTED:
                    await self._go_without(exc)

    async def _make_room(self) -> None:
        """Wait until there are fewer half-open clients than `limits.max_login_conn`."""
        half_open, limit = self._lobby.half_open, self._lobby.config.limits.max_login_conn
        before = half_open.dropped
        await half_open.wait_for_room(limit)
        if half_open.dropped > before and self._crowded.is_due(trio.current_time()):
            log.warning("half_open_dropped", max_login_conn=limit, so_far=half_open.dropped)

    def _accept(self, listener: socket.socket) -> bool:
        """Accept a client and start its startup; return whether there are descriptors for many more."""
        sock, _ = listener.accept()
        fd, now = sock.fileno(), trio.current_time()
        is_scarce = is_spent(fd, Purpose.CLIENT)
        if is_scarce and self._few.is_due(now):
            log.warning("few_files_left", limit=files.limit())
        if is_scarce and not self._spare_descriptor(fd):
            sock.close()
            return False
        entry = self._lobby.half_open.enter(fd, now, for_console=is_scarce)
        self._clients.start_soon(self._start, sock, entry, name=f"startup fd={fd}")
        return not is_scarce

    def _spare_descriptor(self, fd: int) -> bool:
        """Have somebody make room where *fd* is one of the last; return whether it may be used.

        Half of what servers could still have is for who may be an operator: strangers would take all of it, and nothing be executed.
        """
        most = (files.reserve(Purpose.CLIENT) - files.reserve(Purpose.SERVER)) // 2
        was_dropped = self._lobby.half_open.make_room_for_console(most)
        return was_dropped or not is_spent(fd, Purpose.CONSOLE) or self._drop_one()

    async def _start(self, sock: socket.socket, entry: Entry) -> None:
        try:
            with entry.scope:
                await start_client(sock, self._lobby, entry)
        finally:
            self._lobby.half_open.leave(entry)

    async def _go_without(self, exc: OSError) -> None:
        """Drop a half-open client for its descriptor, or wait for one; a crowd of them at once, since an operator may wait behind it."""
        if self._exhausted.is_due(trio.current_time()):
            log.warning("accept_failed", reason=exc.strerror)
        if self._drop_one():
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(PAUSE)

    def _drop_one(self) -> bool:
        """Drop the oldest half-open client; return whether there was one."""
        entry = self._lobby.half_open.oldest()
        if entry is not None:
            self._lobby.half_open.drop(entry)
        return entry is not None


async def _open_sockets(address: Address, *, reuse_port: bool) -> list[socket.socket]:
    """Listen at every address *address* stands for, on one port."""
    name = format_address(address.host or "*", address.port)
    host = None if address.host in ANYWHERE else address.host
    try:
        found = await trio.socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as exc:
        raise ConfigError([f"listen: cannot resolve {name}: {exc}"]) from exc
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, _, _, _, target in found:
            try:
                sock = _listen(family, (target[0], port, *target[2:]), reuse_port=reuse_port)
            except OSError as exc:
                # A machine without IPv6 may still have a name for it.
                last = target is found[-1][4]
                if exc.errno not in ABSENT or (last and not sockets):
                    raise
            else:
                sockets.append(sock)
                port = sock.getsockname()[1]
    except OSError as exc:
        for sock in sockets:
            sock.close()
        raise ConfigError([f"listen: cannot listen on {name}: {exc.strerror}"]) from exc
    return sockets


def _listen(family: int, target: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _defer_accept(listener: socket.socket, seconds: float) -> None:
    """Have the kernel keep connections of *listener* to itself until their clients send something, for about *seconds*.

    The kernel counts in retransmissions of its SYN-ACK, so the time is approximate (Linux manual, tcp(7), TCP_DEFER_ACCEPT). With 0 it keeps none.
    """
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, math.ceil(seconds))
