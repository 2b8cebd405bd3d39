"""Losses: what a promotion would lose, told from how far every node was seen to have come.

The promoted node's own end of WAL is where its timeline begins: what other replicas have beyond that, and what the
old primary had, is on no timeline any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

from rwsplit.lsn import LONG_PAGE_HEADER, LSN, format_lsn


class Holder(Enum):
    """What kind of node has what the node to be promoted lacks."""

    REPLICA = "replica"
    OLD_PRIMARY = "old primary"


@attrs.frozen
class Loss:
    """*size* bytes of WAL up to *end* that *holder*, the node called *name*, has and *node* lacks."""

    node: str
    holder: Holder
    name: str
    size: int
    end: LSN

    def __str__(self) -> str:
        """Return it as a sentence without its end."""
        what = f"node {self.node} lacks {self.size} bytes of WAL that "
        if self.holder is Holder.REPLICA:
            return what + f"{self.name} has (up to {format_lsn(self.end)})"
        return (
            what
            + f"node {self.name}, the old primary, was seen to have (up to {format_lsn(self.end)})"
        )


def losses(
    node: str, ends: Mapping[str, LSN], *, primary: str | None, last: LSN | None
) -> list[Loss]:
    """Return what is lost if *node* is promoted.

    *ends* are the ends of the WAL of all replicas, *node* included; *last* is the last insert position that *primary* was
    seen at, which may stand behind a page header.
    """
    mine = ends[node]
    found = []
    best = max(ends, key=lambda name: (ends[name], name == node))
    if ends[best] > mine:
        found.append(Loss(node, Holder.REPLICA, best, ends[best] - mine, ends[best]))
    if primary is not None and last is not None and last - LONG_PAGE_HEADER > mine:
        found.append(Loss(node, Holder.OLD_PRIMARY, primary, last - mine, last))
    return found
