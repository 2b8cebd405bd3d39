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

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from rwsplit.admin.operator import OperationRefused
from rwsplit.cluster.losses import Holder, Loss, losses
from rwsplit.cluster.node import PRESENT, AdminState, NodeView, Refusal, Role, Up
from rwsplit.cluster.replay import QUERY, read_replay
from rwsplit.cluster.view import ClusterView
from rwsplit.errors import NodeUnreachable
from rwsplit.lsn import LONG_PAGE_HEADER, LSN, parse_lsn
from rwsplit.monitor.board import Board
from rwsplit.monitor.caller import Caller
from rwsplit.monitor.link import Link, ProbeFailed, Row, question
from rwsplit.monitor.precautions import startup_options
from rwsplit.protocol.fields import text_of

#: Seconds a promotion may take.
PROMOTE_TIMEOUT: Final = 60
#: Seconds to wait for a primary to turn out to be down.
LAST_LOOK: Final = 1.0
#: Looks, a tenth of a second apart, at whether a replica has received all before it is promoted.
CATCH_UP_LOOKS: Final = 100
#: Seconds between two such looks.
CATCH_UP_PAUSE: Final = 0.1
#: Seconds a node may take to answer a question.
ANSWER_TIMEOUT: Final = 5.0

#: Why a node is not promoted without FORCE.
NOT_LIGHTLY: Final = {Refusal.OTHER_TIMELINE, Refusal.OTHER_SOURCE}

#: Of nodes that do not tell what was granted here.
NOT_OF_THE_CLUSTER: Final = {*NOT_LIGHTLY, Refusal.OTHER_CLUSTER}

_END: Final = "SELECT greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::pg_catalog.text"
_INSERTED: Final = "SELECT pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text"
_IN_RECOVERY: Final = "SELECT pg_catalog.pg_is_in_recovery()"
_MAY: Final = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_promote(boolean, integer)', 'execute')"
_PROMOTE: Final = f"SELECT pg_catalog.pg_promote(true, {PROMOTE_TIMEOUT})"
_TRUE: Final = b"t"


class Promotion:
    """Promotes one node; use it once."""

    def __init__(
        self, node: str, board: Board, busy_with: Callable[[str], int], *, force: bool
    ) -> None:
        """*busy_with* returns how many statements and transactions a node is busy with."""
        self._board = board
        self._busy_with = busy_with
        self._node = node
        self._force = force
        self._monitor = board.config.monitor
        self._since: float | None = None
        """Since when there is no primary that takes writes."""

    async def run(self) -> list[str]:
        """Promote the node and return when it is the primary; return what was lost and what is now, in sentences.

        Raises:
            OperationRefused: it is no replica that may be promoted, another one is further ahead, or PostgreSQL refuses.
            NodeUnreachable: it does not answer.
        """
        board = self._board
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
        await self._promote(target, old)
        await self._await()
        return [*(f"{loss}: that is lost" for loss in lost), self._told()]

    def _told(self) -> str:
        """Return the sentence about the primary there is now, and for how long there was none."""
        view = self._board.view
        assert view.primary is not None
        told = f"{self._node} is the primary (timeline {view.primary.timeline})"
        if self._since is None:
            return told
        return f"{told}, writes resumed after {self._board.now() - self._since:.1f} s"

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
        view = self._board.view.node(name)
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
        if await self._may_promote(target):
            return
        user, name = self._monitor.user, target.name
        granted = await self._granted_at(target)
        if granted is not None:
            replay = read_replay(_text(await self._ask(target, QUERY)) or "")
            cause, remedy = replay.held_up() or (
                f"it lags by {target.lag_bytes or 0} bytes",
                "",
            )
            then = f"on {name}: {remedy}, then promote it again" if remedy else "try again"
            raise OperationRefused(
                f"{user} may promote on {granted}, but node {name} has not replayed that, as {cause}; {then}"
            )
        told = f"{user} may not promote node {name}"
        if rival(self._board.view, name) is None:
            raise OperationRefused(
                f"{told}, and there is no primary where that could be granted; a superuser can promote it "
                "there: SELECT pg_promote()"
            )
        raise OperationRefused(f"{told}; GRANT EXECUTE ON FUNCTION pg_promote TO {user}")

    async def _granted_at(self, target: NodeView) -> str | None:
        """Return the name of a node where we may promote, the primary's if it is one; None: of none that answers."""
        view = self._board.view
        others = [node for node in view.nodes if node.name != target.name]
        others.sort(key=lambda node: node.role is not Role.PRIMARY)
        for node in others:
            if not isinstance(node.health, Up) or node.refusal in NOT_OF_THE_CLUSTER:
                continue
            with suppress(NodeUnreachable, OperationRefused):
                if await self._may_promote(node):
                    return node.name
        return None

    def _old_primary(self) -> NodeView | None:
        """Return the primary that still runs beside the node, if it takes no writes any more.

        Raises:
            OperationRefused: it does, and they would be lost.
        """
        old = rival(self._board.view, self._node)
        if old is None:
            return None
        if old.admin is not AdminState.DETACHED:
            raise OperationRefused(
                f"node {old.name}, the primary, is still up: drain it first (rwsplit node drain {old.name} --wait), "
                f"then promote {self._node}"
            )
        if self._busy_with(old.name):
            raise OperationRefused(
                f"transactions still run on {old.name}; try again when they have ended"
            )
        return old

    async def _losses(self, target: NodeView) -> list[Loss]:
        """Return what would be lost: what other replicas, or the old primary, have beyond *target*."""
        picture = self._board.picture
        ends = {target.name: await self._end_of(target)}
        for node in self._board.view.nodes:
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
            end = _text(await self._ask(node, _END))
        except (NodeUnreachable, OperationRefused):
            return seen
        return seen if end is None else max(seen, parse_lsn(end))

    async def _refuse_if_back(self) -> None:
        """Look once more whether the old primary is really away. Raises OperationRefused: it is not."""
        board = self._board
        old = board.view.node(board.picture.topology.primary or "")
        if old is None or old.name == self._node or old.admin is AdminState.DETACHED:
            return
        try:
            replays = _text(await self._ask(old, _IN_RECOVERY))
        except (NodeUnreachable, OperationRefused):
            return
        if replays == "f":
            board.hurry()
            raise OperationRefused(
                f"node {old.name}, the primary, answers again; nothing was promoted"
            )

    # Doing it...

    async def _promote(self, target: NodeView, old: NodeView | None) -> None:
        """Promote the node, once it has received all that *old* has."""
        async with self._line(target) as link:
            if old is not None:
                inserted = _text(await self._ask(old, _INSERTED))
                await self._await_receipt(link, parse_lsn(inserted or ""))
            await self._tell(link)

    async def _tell(self, link: Link) -> None:
        """Promote the node at the other end of *link*."""
        done = await self._answer(link, self._node, _PROMOTE, 2 * PROMOTE_TIMEOUT)
        if list(done) != [_TRUE]:
            raise OperationRefused(
                f"node {self._node} was told to promote and did not within {PROMOTE_TIMEOUT} s; it does when it has "
                "replayed what it has received, so wait for it (rwsplit status) and promote no other"
            )

    async def _await_receipt(self, link: Link, lsn: LSN) -> None:
        """Wait until the replica has received all up to *lsn*, less a page header that may follow it."""
        for _ in range(CATCH_UP_LOOKS):
            end = _text(await self._answer(link, self._node, _END))
            if end is not None and parse_lsn(end) + LONG_PAGE_HEADER >= lsn:
                return
            await trio.sleep(CATCH_UP_PAUSE)
        raise OperationRefused(
            f"node {self._node} has not received all of the old primary's WAL, so it was not promoted"
        )

    async def _await(self) -> None:
        """Block until the node is the primary; where others are in doubt, the operator has just decided."""
        board = self._board
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

    async def _may_promote(self, node: NodeView) -> bool:
        return list(await self._ask(node, _MAY)) == [_TRUE]

    async def _ask(self, node: NodeView, query: str) -> Row:
        """Run *query* on *node* and return the row it answers. Raises OperationRefused, NodeUnreachable."""
        async with self._line(node) as link:
            return await self._answer(link, node.name, query)

    async def _answer(
        self, link: Link, name: str, query: str, seconds: float = ANSWER_TIMEOUT
    ) -> Row:
        """Run *query* over *link* on the node *name* and return the row it answers. Raises as `_ask`."""
        try:
            with trio.fail_after(seconds):
                return await link.ask(question(query))
        except trio.TooSlowError as error:
            raise NodeUnreachable(
                f"node {name} cannot be reached: no answer in {seconds:g} s"
            ) from error
        except ProbeFailed as error:
            if error.lost:
                raise NodeUnreachable(f"node {name} cannot be reached: {error}") from error
            raise OperationRefused(f"node {name} refused: {error}") from error

    @asynccontextmanager
    async def _line(self, node: NodeView) -> AsyncIterator[Link]:
        """Open a link to *node* as the monitor's role, for one block. Raises NodeUnreachable."""
        config = self._board.config
        known = next((each for each in config.nodes if each.name == node.name), None)
        if known is None:
            raise NodeUnreachable(f"node {node.name} is not configured any more")
        parameters = {
            "application_name": "rwsplit console",
            "options": startup_options(statement_timeout=2 * PROMOTE_TIMEOUT),
        }
        try:
            link = await Caller(known, config.monitor, config.tls, config.auth).call(parameters)
        except ProbeFailed as error:
            raise NodeUnreachable(f"node {node.name} cannot be reached: {error}") from error
        try:
            yield link
        finally:
            link.close()


def _text(row: Row) -> str | None:
    """Return the first value of *row*; None: it is null, or there is no row."""
    return None if not row or row[0] is None else text_of(row[0])


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
