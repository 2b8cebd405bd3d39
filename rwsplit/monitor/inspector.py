"""Inspector: looks once at every node as the monitor does, for `rwsplit check --connect`."""

from __future__ import annotations

import socket
from functools import partial
from typing import Final

import trio

from rwsplit.cluster.inspection import Failed, Finding, Seen
from rwsplit.cluster.replay import QUERY, read_replay
from rwsplit.config.model import Config, NodeConfig
from rwsplit.errors import DemandNotMet, NodeUnreachable, OutOfFiles, ServerRefused
from rwsplit.monitor.link import ProbeFailed
from rwsplit.monitor.probe import Probe
from rwsplit.server.wire import format_address

#: What a node's ErrorResponse at startup means, by SQLSTATE.
REFUSALS: Final = {
    "28P01": Finding.LOGIN_FAILED,
    "28000": Finding.LOGIN_REFUSED,
    "3D000": Finding.DATABASE_UNKNOWN,
    "57P03": Finding.NOT_ACCEPTING,
}

_IS_SUPERUSER: Final = (
    "select rolsuper from pg_catalog.pg_roles where rolname operator(pg_catalog.=) session_user"
)
_MAY_PROMOTE: Final = "select pg_catalog.has_function_privilege('pg_catalog.pg_promote(boolean, integer)', 'execute')"


async def inspect(config: Config) -> dict[str, Failed | Seen]:
    """Return what was found at each node, in the order of the configuration; all are asked at once.

    It takes twice `monitor.timeout` at most.
    """
    found: dict[str, Failed | Seen] = {}

    async def ask(node: NodeConfig) -> None:
        found[node.name] = await _inspect(node, config)

    async with trio.open_nursery() as nursery:
        for node in config.nodes:
            nursery.start_soon(partial(ask, node), name=f"inspect {node.name}")
    return {node.name: found[node.name] for node in config.nodes}


async def _inspect(node: NodeConfig, config: Config) -> Failed | Seen:
    probe = Probe(node, config.monitor, config.tls, config.auth)
    try:
        look = await probe.look()
        may_promote = await probe.ask_once(_MAY_PROMOTE)
        is_superuser = await probe.ask_once(_IS_SUPERUSER)
        replay = await probe.ask_once(QUERY)
    except OutOfFiles as exc:
        return Failed(Finding.OUT_OF_FILES, str(exc))
    except ProbeFailed as exc:
        finding = _finding(exc)
        if finding is Finding.LOGIN_FAILED and not _has_password(config):
            finding = Finding.LOGIN_INCOMPLETE
        return Failed(finding, f"{format_address(node.host, node.port)}: {exc}")
    finally:
        probe.close()
    told = b"".join(value or b"" for value in replay).decode()
    return Seen(
        look,
        may_promote=list(may_promote) == [b"t"],
        is_superuser=list(is_superuser) == [b"t"],
        replay=read_replay(told),
    )


def _has_password(config: Config) -> bool:
    return bool(config.monitor.password or config.monitor.password_file)


def _finding(failure: ProbeFailed) -> Finding:
    """Return what made a look fail, by the exceptions behind *failure*."""
    if not failure.lost:
        return Finding.LOOK_FAILED
    match failure.__cause__:
        case ServerRefused() as refused:
            known = REFUSALS.get(refused.server_sqlstate, Finding.UNREACHABLE)
            return Finding.METHOD_REFUSED if isinstance(refused, DemandNotMet) else known
        case NodeUnreachable(__cause__=socket.gaierror()):
            return Finding.HOST_UNKNOWN
        case NodeUnreachable(__cause__=ConnectionRefusedError() | FileNotFoundError()):
            return Finding.CONNECTION_REFUSED
        case NodeUnreachable(__cause__=trio.TooSlowError()) | trio.TooSlowError():
            return Finding.NO_ANSWER
        case _:
            return Finding.UNREACHABLE
