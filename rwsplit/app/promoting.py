"""Promoting: making a replica the primary, without losing what another node has.

A replica that is promoted ends the timeline where it stands: what others have beyond that is lost, and they can follow
it only after being rebuilt. So the node must have received all that any other replica has; what it has received it
replays before it is promoted, whatever delays or pauses it. What the old primary was seen to have beyond that is
said: it may be WAL that nobody was told of, and the most advanced replica is the best there is. Everything that
could refuse is asked before anything is touched.

    old primary up, attached     refused: it must be detached first, so that writes wait
    old primary up, detached     the replica must have received all that it has
    old primary away             the replica must have received all that other replicas have; or FORCE
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
import trio

from rwsplit.admin.operator import OperationRefused
from rwsplit.cluster.losses import Holder, Loss, losses
from rwsplit.cluster.node import PRESENT, AdminState, NodeView, Refusal, Role, Up
from rwsplit.cluster.replay import QUERY, read_replay
from rwsplit.cluster.view import ClusterView
from rwsplit.errors import NodeUnreachable
from rwsplit.lsn import LONG_PAGE_HEADER, LSN, parse_lsn
from rwsplit.monitor.catalog import catalog_parameters

if TYPE_CHECKING:
    from rwsplit.app.serve import Proxy

Answer = TypeVar("Answer")

#: Seconds a promotion may take.
PROMOTE_TIMEOUT: Final = 60
#: Seconds to wait for a primary to turn out to be down.
LAST_LOOK: Final = 1.0
#: Looks, a tenth of a second apart, at whether a replica has received all before it is promoted.
CATCH_UP_LOOKS: Final = 100
#: Seconds a node may take to say how far it has come.
CONNECT_TIMEOUT: Final = 2

#: Why a node is not promoted without FORCE.
NOT_LIGHTLY: Final = {Refusal.OTHER_TIMELINE, Refusal.OTHER_SOURCE}

#: Of nodes that do not tell what was granted here.
NOT_OF_THE_CLUSTER: Final = {*NOT_LIGHTLY, Refusal.OTHER_CLUSTER}

_END: Final = "SELECT greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::text"
_IN_RECOVERY: Final = "SELECT pg_catalog.pg_is_in_recovery()"
_MAY: Final = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_promote(boolean, integer)', 'execute')"


class Promotion:
    """Promotes one node; use it once."""

    def __init__(self, proxy: Proxy, node: str, *, force: bool) -> None:
        self._proxy = proxy
        self._node = node
        self._force = force
        self._monitor = proxy.config.monitor
        self._since: float | None = None
        """Since when there is no primary that takes writes."""

    async def run(self) -> list[str]:
        """Promote the node and return when it is the primary; return what was lost and what is now, in sentences.

        Raises:
            OperationRefused: it is no replica that may be promoted, another one is further ahead, or PostgreSQL refuses.
            NodeUnreachable: it does not answer.
        """
        board = self._proxy.board
        target = self._target()
        board.hurry()
        with trio.move_on_after(LAST_LOOK):  # the primary may have died a moment ago
            await board.wait_for(lambda now: rival(now, self._node) is None)
        await self._check(target)
        old = self._old_primary()
        lost: list[Loss] = []
        if old is None:
            await self._refuse_if_back()
            lost = await self._losses(target)
            if not self._force and any(loss.holder is Holder.REPLICA for loss in lost):
                raise OperationRefused(self._advice(lost))
            await self._refuse_if_back()
        self._since = board.view.no_primary_since
        await self._ask(target, lambda connection: self._promote(connection, old))
        await self._await()
        return [*(f"{loss}: that is lost" for loss in lost), self._told()]

    def _told(self) -> str:
        """Return the sentence about the primary there is now, and for how long there was none."""
        view = self._proxy.board.view
        assert view.primary is not None
        told = f"{self._node} is the primary (timeline {view.primary.timeline})"
        if self._since is None:
            return told
        return f"{told}, writes resumed after {self._proxy.relay.clock() - self._since:.1f} s"

    def _advice(self, lost: Sequence[Loss]) -> str:
        """Return what is lost, and what to do instead."""
        best = next(loss.name for loss in lost if loss.holder is Holder.REPLICA)
        told = "; ".join(map(str, lost))
        return (
            f"{told}: that would be lost; promote {best}, which is the most advanced, or lose it: "
            f"rwsplit node promote {self._node} --force"
        )

    # What may speak against it...

    def _target(self) -> NodeView:
        """Return the node, which is a replica of this cluster that is up."""
        name = self._node
        view = self._proxy.board.view.node(name)
        if view is None or view.role is not Role.REPLICA:
            raise OperationRefused(f"node {name} is not a replica, so it cannot be promoted")
        if not isinstance(view.health, Up):
            raise OperationRefused(f"node {name} is not up ({view.health.reason})")
        if view.admin is not AdminState.ATTACHED:
            raise OperationRefused(
                f"node {name} is {view.admin.value}, and would take no writes; "
                f"attach it first (rwsplit node attach {name})"
            )
        if view.refusal is Refusal.OTHER_CLUSTER:
            raise OperationRefused(
                f"node {name} is {view.refusal.value}; it cannot be the primary"
            )
        if view.refusal in NOT_LIGHTLY and not self._force:
            raise OperationRefused(
                f"node {name} is {view.refusal.value} and lacks what was written there; to promote it all the same: "
                f"rwsplit node promote {name} --force"
            )
        return view

    async def _check(self, target: NodeView) -> None:
        """See that the node may be promoted by us. Raises OperationRefused, NodeUnreachable."""
        if await self._ask(target, _may_promote):
            return
        user, name = self._monitor.user, target.name
        granted = await self._granted_at(target)
        if granted is not None:
            replay = read_replay(await self._ask(target, _replay))
            cause, remedy = replay.held_up() or (
                f"it lags by {target.lag_bytes or 0} bytes",
                "",
            )
            then = f"on {name}: {remedy}, then promote it again" if remedy else "try again"
            raise OperationRefused(
                f"{user} may promote on {granted}, but node {name} has not replayed that, as {cause}; {then}"
            )
        told = f"{user} may not promote node {name}"
        if rival(self._proxy.board.view, name) is None:
            raise OperationRefused(
                f"{told}, and there is no primary where that could be granted; a superuser can promote it "
                "there: SELECT pg_promote()"
            )
        raise OperationRefused(f"{told}; GRANT EXECUTE ON FUNCTION pg_promote TO {user}")

    async def _granted_at(self, target: NodeView) -> str | None:
        """Return the name of a node where we may promote, the primary's if it is one; None: of none that answers."""
        view = self._proxy.board.view
        others = [node for node in view.nodes if node.name != target.name]
        others.sort(key=lambda node: node.role is not Role.PRIMARY)
        for node in others:
            if not isinstance(node.health, Up) or node.refusal in NOT_OF_THE_CLUSTER:
                continue
            with suppress(NodeUnreachable, OperationRefused):
                if await self._ask(node, _may_promote):
                    return node.name
        return None

    def _old_primary(self) -> NodeView | None:
        """Return the primary that still runs beside the node, if it takes no writes any more.

        Raises:
            OperationRefused: it does, and they would be lost.
        """
        old = rival(self._proxy.board.view, self._node)
        if old is None:
            return None
        if old.admin is not AdminState.DETACHED:
            raise OperationRefused(
                f"node {old.name}, the primary, is still up: drain it first (rwsplit node drain {old.name} --wait), "
                f"then promote {self._node}"
            )
        if self._proxy.relay.busy_with(old.name):
            raise OperationRefused(
                f"transactions still run on {old.name}; try again when they have ended"
            )
        return old

    async def _losses(self, target: NodeView) -> list[Loss]:
        """Return what would be lost: what other replicas, or the old primary, have beyond *target*."""
        picture = self._proxy.board.picture
        ends = {target.name: await self._end_of(target)}
        for node in self._proxy.board.view.nodes:
            if (
                node.name != target.name
                and node.name in picture.topology.members
                and (node.role, node.timeline) == (Role.REPLICA, target.timeline)
            ):
                ends[node.name] = await self._end_of(node)
        return losses(
            target.name, ends, primary=picture.topology.primary, last=picture.last_lsn
        )

    async def _end_of(self, node: NodeView) -> LSN:
        """Return up to where *node* has WAL now, or had when it was last seen."""
        seen = max(node.lsn or LSN(0), node.received or LSN(0))
        try:
            row = await self._ask(node, lambda c: c.execute(_END).fetchone())
        except (NodeUnreachable, OperationRefused):
            return seen
        return seen if row is None or row[0] is None else max(seen, parse_lsn(row[0]))

    async def _refuse_if_back(self) -> None:
        """Look once more whether the old primary is really away. Raises OperationRefused: it is not."""
        board = self._proxy.board
        old = board.view.node(board.picture.topology.primary or "")
        if old is None or old.name == self._node or old.admin is AdminState.DETACHED:
            return
        try:
            row = await self._ask(old, lambda c: c.execute(_IN_RECOVERY).fetchone())
        except (NodeUnreachable, OperationRefused):
            return
        if row is not None and not row[0]:
            board.hurry()
            raise OperationRefused(
                f"node {old.name}, the primary, answers again; nothing was promoted"
            )

    # Doing it...

    def _promote(self, connection: psycopg.Connection[Any], old: NodeView | None) -> None:
        """Promote the node behind *connection*, once it has received all that *old* has."""
        if old is not None:
            with self._connect(old) as other:
                row = other.execute(
                    "SELECT pg_catalog.pg_current_wal_insert_lsn()::text"
                ).fetchone()
            assert row is not None
            self._await_receipt(connection, parse_lsn(row[0]))
        row = connection.execute(
            "SELECT pg_catalog.pg_promote(true, %s)", (PROMOTE_TIMEOUT,)
        ).fetchone()
        if row is None or not row[0]:
            raise OperationRefused(
                f"node {self._node} was told to promote and did not within {PROMOTE_TIMEOUT} s; it does when it has "
                "replayed what it has received, so wait for it (rwsplit status) and promote no other"
            )

    def _await_receipt(self, connection: psycopg.Connection[Any], lsn: LSN) -> None:
        """Wait until the replica has received all up to *lsn*, less a page header that may follow it."""
        for _ in range(CATCH_UP_LOOKS):
            row = connection.execute(_END).fetchone()
            if (
                row is not None
                and row[0] is not None
                and parse_lsn(row[0]) + LONG_PAGE_HEADER >= lsn
            ):
                return
            connection.execute("SELECT pg_catalog.pg_sleep(0.1)")
        raise OperationRefused(
            f"node {self._node} has not received all of the old primary's WAL, so it was not promoted"
        )

    async def _await(self) -> None:
        """Block until the node is the primary; where others are in doubt, the operator has just decided."""
        board = self._proxy.board
        board.hurry()
        with trio.move_on_after(PROMOTE_TIMEOUT) as waited:
            await board.wait_for(self._is_promoted)
            if board.picture.topology.primary != self._node:
                board.accept(self._node)
            await board.wait_for(
                lambda now: now.primary is not None and now.primary.name == self._node
            )
        if waited.cancelled_caught:
            raise OperationRefused(
                f"node {self._node} was told to promote but is not the primary yet"
            )

    def _is_promoted(self, view: ClusterView) -> bool:
        node = view.node(self._node)
        return node is not None and node.role is Role.PRIMARY and isinstance(node.health, Up)

    # Asking nodes...

    async def _ask(
        self, node: NodeView, question: Callable[[psycopg.Connection[Any]], Answer]
    ) -> Answer:
        """Return what *question* finds out over a connection to *node*. Raises OperationRefused, NodeUnreachable."""

        def run() -> Answer:
            with self._connect(node) as connection:
                return question(connection)

        try:
            return await trio.to_thread.run_sync(run)
        except psycopg.OperationalError as error:
            reason = str(error).strip().partition("\n")[0]
            raise NodeUnreachable(f"node {node.name} cannot be reached: {reason}") from error
        except psycopg.Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise OperationRefused(f"node {node.name} refused: {reason}") from error

    def _connect(self, node: NodeView) -> psycopg.Connection[Any]:
        """Connect as the monitor does."""
        config = self._proxy.config
        password = config.monitor.password
        if not password and config.monitor.password_file is not None:
            try:
                text = config.monitor.password_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise OperationRefused(
                    f"monitor.password_file: cannot be read: {error}"
                ) from error
            password = text.partition("\n")[0].rstrip("\r")
        parameters = catalog_parameters(node, config, config.monitor.database)
        asked: dict[str, Any] = {
            **parameters,
            "application_name": "rwsplit console",
            "connect_timeout": CONNECT_TIMEOUT,
            "options": f"-c statement_timeout={2 * PROMOTE_TIMEOUT}s",
        }
        return psycopg.connect(**asked, password=password or "", autocommit=True)


def _may_promote(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute(_MAY).fetchone()
    return row is not None and bool(row[0])


def _replay(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute(QUERY).fetchone()
    return "" if row is None else str(row[0])


def rival(view: ClusterView, name: str) -> NodeView | None:
    """Return the primary that is up beside the node called *name*."""
    for node in view.nodes:
        if (
            node.role is Role.PRIMARY
            and isinstance(node.health, PRESENT)
            and node.name != name
            and node.doubt is None
        ):
            return node
    return None
