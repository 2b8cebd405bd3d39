"""Pairs of connected wires, plain and TLS, and the contexts for the latter."""

from __future__ import annotations

import socket
import ssl
from functools import partial

import trio

from rwsplit.embedded.certificates import Certificates
from rwsplit.server.stream import WireStream
from rwsplit.server.wire import PlainWire


def server_context(made: Certificates) -> ssl.SSLContext:
    """A context that shows *made*'s certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    return context


def client_context(made: Certificates) -> ssl.SSLContext:
    """A context that trusts *made*'s authority."""
    return ssl.create_default_context(cafile=str(made.authority))


def plain_pair() -> tuple[PlainWire, PlainWire]:
    """Two ends of a Unix socket."""
    one, other = socket.socketpair()
    return PlainWire(one), PlainWire(other)


async def tls_pair(made: Certificates) -> tuple[WireStream, WireStream]:
    """A client's and a server's stream after their handshake."""
    client, server = map(WireStream, plain_pair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                client.start_tls,
                client_context(made),
                server_side=False,
                server_hostname="localhost",
            )
        )
        nursery.start_soon(partial(server.start_tls, server_context(made), server_side=True))
    return client, server
