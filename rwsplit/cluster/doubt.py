"""Doubt: why there is no node to write to, or why a node that says it is the primary is not taken for it."""

from __future__ import annotations

from enum import Enum

import attrs


class Doubt(Enum):
    """A reason; of the cluster, of a node, or of both."""

    NOT_ALL_SEEN = "not every node has been looked at yet"
    NO_PRIMARY = "no node is a primary"
    UNKNOWN_CLUSTER = (
        "the nodes belong to different clusters, and to none of them more than to another"
    )
    AWAITS_PRIMARY = "the primary is not up"
    AWAITS_TIMELINE = "no primary is on the newest timeline that was seen"
    SPLIT_BRAIN = "several nodes say they are the primary, and nothing tells which one is right"
    OTHER_CLUSTER = "belongs to another cluster: its system identifier is another"
    OBSOLETE = "an old primary: a newer timeline was seen"
    DIVERGED = "its timeline does not descend from that of the primary known before"
    NOT_FOLLOWED = "promoted beside the primary, which the replicas still follow"
    RIVAL = "a second primary on the same timeline, which has diverged"
    ABANDONED = "an operator has accepted another node as the primary"
    UNPROVEN = "nothing shows that it descends from the primary known before"


#: What an operator can do where a node must be chosen.
WAY_OUT = "if another node is to be the primary: rwsplit node accept NAME"


@attrs.frozen
class NoWrites:
    """Why no node takes writes."""

    doubt: Doubt
    awaited: str | None = None
    """The node that would be the primary."""
    timeline: int | None = None
    """The timeline that is awaited."""
    claims: tuple[str, ...] = ()
    """Nodes that say they are the primary."""

    def __str__(self) -> str:
        """Return the sentence an operator, or a client that waits, reads."""
        text = self.doubt.value
        if self.doubt is Doubt.AWAITS_PRIMARY:
            text = f"node {self.awaited}, the primary of timeline {self.timeline}, is not up; rwsplit waits for it"
        elif self.doubt is Doubt.OTHER_CLUSTER:
            text = "every node that is up belongs to another cluster than the one known before"
        elif self.doubt is Doubt.AWAITS_TIMELINE:
            text = f"no node that is up is the primary of timeline {self.timeline}, the newest that was seen"
        if self.claims:
            who = (
                f"node {self.claims[0]} says it is the primary"
                if len(self.claims) == 1
                else f"nodes {' and '.join(self.claims)} each say they are the primary"
            )
            text += f"; {who}"
            text += f"; {WAY_OUT}"
        return text
