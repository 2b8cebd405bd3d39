"""Topology: which node is the primary, among all that say so.

`pg_is_in_recovery()` is false on every node that was ever promoted, on the one it was promoted away from, on a copy
that was promoted to be looked at, and on a node of another cluster. What decides, in this order: identity
(`cluster.identity`), descent (`cluster.descent`), whom the replicas follow (`cluster.following`), the number of the
timeline; and what was seen before counts as much as what is seen now (`cluster.remembered`). Where all that does not
decide no node leads and a `NoWrites` says why: a write refused can be repeated, one sent to the wrong side is lost.
Then an operator decides, by `accept` (docs/decisions, number 16).

| a node says it is the primary, and | while the leader is up | while the leader is away |
|---|---|---|
| it is of another cluster | OTHER_CLUSTER | OTHER_CLUSTER |
| its timeline is older | OBSOLETE | OBSOLETE |
| an operator has accepted another one | ABANDONED | ABANDONED |
| its history shows that it left ours | DIVERGED | DIVERGED |
| most replicas follow it, more than the leader | leads | leads |
| it lost against the leader before | RIVAL, NOT_FOLLOWED | RIVAL, NOT_FOLLOWED |
| it is on the same timeline | RIVAL | RIVAL; a leader that comes back needs more followers |
| it is on a newer timeline and was one of ours | leads | leads |
| it is on a newer timeline, and its history goes on from ours | NOT_FOLLOWED or UNPROVEN | leads |
| it is on a newer timeline, and nothing shows it was ours | NOT_FOLLOWED or UNPROVEN | UNPROVEN |

Is the last leader no primary any more, or no longer configured, any claim on its timeline will do, if it is the only one.
Is nothing known at all, for the state file is lost or this is the first start, then the one that is followed by
most leads, then the newest; only that a primary that was started after a newer one was promoted does not win by its
followers: that is what an old primary looks like that has come back after a failover.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rwsplit.cluster.descent import Descent, Fork, descent
from rwsplit.cluster.doubt import Doubt, NoWrites
from rwsplit.cluster.following import leaders
from rwsplit.cluster.identity import majority
from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation, Source
from rwsplit.cluster.remembered import Remembered

Looks = Mapping[str, Observation]


class Topology:
    """Who is believed to lead; fed with the latest observation of every node that is up."""

    def __init__(self, remembered: Remembered | None = None) -> None:
        known = remembered or Remembered()
        self.primary: str | None = known.primary
        """The node that is the primary, or was when last seen."""
        self.timeline: int | None = known.timeline
        """The timeline of the last primary; LSNs are compared on this one."""
        self.highest = known.highest
        """The newest timeline that counts: that one, or a newer one that replicas follow."""
        self.history: tuple[Fork, ...] | None = known.history
        """What led to the last primary's timeline; None: not known."""
        self.identity: str | None = known.identity
        """The system identifier of this cluster."""
        self.members: frozenset[str] = frozenset(known.members)
        """Nodes that were seen as the primary or following it."""
        self.rivals: frozenset[str] = known.rivals
        """Nodes that claim to be primary beside the one that is."""
        self.abandoned: frozenset[str] = known.abandoned
        """Nodes an operator has decided against, by accepting another one."""
        self.doubts: dict[str, Doubt] = {}
        """Why nodes that claim to be primary, or are of another cluster, are not used."""
        self.no_writes: NoWrites | None = NoWrites(Doubt.NOT_ALL_SEEN)
        """Why no node leads; None: the primary does, and is up."""
        self._leaders: dict[str, str] = {}
        self._votes: Counter[str] = Counter()
        self._known_votes: Counter[str] = Counter()
        """Those of members alone: replicas of a copy do not elect it."""
        self._peers: frozenset[str] = frozenset()
        """Nodes that came to claim the leader's timeline while it was away; or between whom nothing decides."""
        self._leader_is_up = False

    def consider(self, seen: Looks, *, settled: bool) -> bool:
        """Decide again from *seen*; return True if LSNs known so far have lost their meaning.

        *seen* are the nodes that are up; *settled* says that every node has been looked at.
        """
        if self.identity is None and settled:
            self.identity = majority(look.system_identifier for look in seen.values())
        ours = {name: look for name, look in seen.items() if self.is_ours(look)}
        claims = {name: look for name, look in ours.items() if look.role is Role.PRIMARY}
        self.doubts = dict.fromkeys(seen.keys() - ours.keys(), Doubt.OTHER_CLUSTER)
        self._note(ours, claims)

        held = self.primary
        if held in claims and claims[held].timeline == self.timeline:
            changed = self._hold(held, claims, ours)
        elif held is not None and held not in seen:
            changed = self._replace(held, claims, settled=settled)
        else:
            self.primary = None
            changed = self._elect(claims, ours, settled=settled)
        if self.primary in seen:
            self.no_writes = None
        elif seen and not ours:
            strangers = {n: look for n, look in seen.items() if look.role is Role.PRIMARY}
            self._wait(Doubt.OTHER_CLUSTER, strangers)
        return changed

    def accept(self, name: str, seen: Looks) -> None:
        """Take *name*, which is a primary, for the right one, whatever is known: an operator says so."""
        look = seen[name]
        others = {
            n for n, other in seen.items() if n in self.doubts or other.timeline > look.timeline
        }
        if self.primary is not None:
            others.add(self.primary)
        if self.identity != look.system_identifier:
            self.members = frozenset()
        self.identity, self.highest = look.system_identifier, 0
        self._adopt(name, look)
        self.rivals -= {name}
        self.abandoned = (self.abandoned | others) - {name}

    def is_ours(self, look: Observation) -> bool:
        """Return whether the node belongs to this cluster, as far as is known."""
        return self.identity is None or look.system_identifier == self.identity

    def follows(self, look: Observation) -> bool:
        """Return whether an LSN of this node may be compared with the primary's."""
        return look.timeline == self.timeline and self.is_ours(look)

    def strays(self, name: str) -> bool:
        """Return whether *name* is a replica that is seen to follow another primary than the right one."""
        leader = self._leaders.get(name)
        return leader is not None and self.primary is not None and leader != self.primary

    def forget(self, name: str) -> None:
        """Drop the node called *name*: it is no longer configured, or is another one now."""
        if name == self.primary:
            self.primary = None
        self.rivals -= {name}
        self.abandoned -= {name}
        self.members -= {name}
        self._peers -= {name}

    # What is seen...

    def _note(self, ours: Looks, claims: Looks) -> None:
        """Take note of which replica follows which node, and of the nodes that gave up a claim."""
        self._leaders = leaders(ours)
        self._votes = Counter(self._leaders.values())
        self._known_votes = Counter(
            leader for name, leader in self._leaders.items() if name in self.members
        )
        following = {
            name
            for name, look in ours.items()
            if look.role is Role.REPLICA and self.follows(look) and not self.strays(name)
        }
        self.rivals -= following
        self.abandoned -= following
        self._peers -= ours.keys() - claims.keys()
        if self.primary is not None:
            self.members |= following
        self._leader_is_up = self.primary in claims

    def _doubt(self, name: str, look: Observation) -> Doubt | None:
        """Return why *name* does not succeed the last leader, by all but who follows that; None: it does."""
        timeline = self.timeline
        if look.timeline < self.highest:
            return Doubt.OBSOLETE
        if timeline is None:
            return None
        if name in self.abandoned:
            return Doubt.ABANDONED
        led = descent(look.history, look.timeline, timeline, self.history)
        if led is Descent.DIVERGED:
            return Doubt.DIVERGED
        if 2 * self._known_votes[name] > len(self.members - {name, self.primary}):
            return None
        return self._doubt_unelected(name, look, led)

    def _doubt_unelected(self, name: str, look: Observation, led: Descent) -> Doubt | None:
        """Go on with `_doubt` for a claim that is not followed by most."""
        if look.timeline == self.timeline:
            return None if self.primary is None else Doubt.RIVAL
        if name in self.rivals - self._peers:
            return Doubt.NOT_FOLLOWED
        is_expected = look.timeline == self.highest or name in self.members
        may_succeed = led is Descent.DESCENDS and not self._leader_is_up
        return None if is_expected or may_succeed else Doubt.UNPROVEN

    # Who leads...

    def _hold(self, held: str, claims: Looks, ours: Looks) -> bool:
        """The leader is up: only what is plainly its successor takes its place."""
        votes, better = self._votes, []
        for name, look in claims.items():
            if name == held or not look.examined:
                continue
            doubt = self._doubt(name, look)
            if doubt is None:
                better.append(name)
                continue
            if doubt is Doubt.UNPROVEN:
                self.rivals |= {name}
                doubt = Doubt.NOT_FOLLOWED if votes[name] < votes[held] else doubt
            self._refuse(name, doubt)
        if better:
            return self._choose(better, claims)
        unseen = sum(  # may follow the leader for all that is known
            look.role is Role.REPLICA
            and look.source is not Source.NONE
            and name not in self._leaders
            and self.follows(look)
            for name, look in ours.items()
        )
        if self._follow_unseen(ours, claims, votes[held] + unseen):
            return False
        if any(votes[peer] >= votes[held] for peer in self._peers):
            self._part(self._peers | {held}, claims)
        return False

    def _replace(self, held: str, claims: Looks, *, settled: bool) -> bool:
        """The leader is away: only its successor takes its place."""
        better = []
        for name, look in claims.items():
            doubt = self._doubt(name, look)
            if not look.examined:
                continue
            if doubt is None:
                better.append(name)
                continue
            if settled and doubt is Doubt.RIVAL and name not in self.rivals:
                self._peers |= {name}
            self._refuse(name, doubt)
        if better and settled:
            return self._choose(better, claims)
        self._wait(Doubt.AWAITS_PRIMARY, claims, awaited=held, timeline=self.timeline)
        return False

    def _elect(self, claims: Looks, ours: Looks, *, settled: bool) -> bool:
        """No node leads: the last leader was demoted or removed, or none was ever known."""
        candidates = []
        for name, look in claims.items():
            doubt = self._doubt(name, look)
            if doubt is None:
                candidates.append(name)
            else:
                self._refuse(name, doubt)
        if not settled or not all(look.examined for look in claims.values()):
            self._wait(Doubt.NOT_ALL_SEEN, {})
        elif self.identity is None and claims:
            self._wait(Doubt.UNKNOWN_CLUSTER, claims)
        elif not claims and not self.highest:
            self._wait(Doubt.NO_PRIMARY, claims)
        elif not candidates:
            self._wait(Doubt.AWAITS_TIMELINE, claims, timeline=self.highest)
        elif self._peers - claims.keys():
            self._wait(Doubt.SPLIT_BRAIN, claims)
        else:
            most = max(self._votes[name] for name in candidates)
            newest = max(claims[name].timeline for name in candidates)
            if not self._follow_unseen(ours, claims, most, floor=newest):
                return self._choose(candidates, claims)
        return False

    def _choose(self, candidates: Sequence[str], claims: Looks) -> bool:
        """Adopt the best of *candidates*, if one is."""
        ranked = sorted(
            candidates,
            key=lambda name: (self._votes[name], claims[name].timeline),
            reverse=True,
        )
        best = ranked[0]
        ahead = [n for n in ranked if claims[n].timeline > claims[best].timeline]
        if ahead and _was_away(claims[best], claims[ahead[0]]):
            best = max(ahead, key=lambda name: claims[name].timeline)
        equals = {
            name
            for name in candidates
            if self._votes[name] == self._votes[best]
            and claims[name].timeline == claims[best].timeline
        }
        if len(equals) > 1:
            self._part(equals, claims)
            return False
        timeline = claims[best].timeline
        self.rivals = frozenset(
            name
            for name in self.rivals - {best}
            if self.timeline is not None
            and (name not in claims or claims[name].timeline >= timeline)
        )
        self._adopt(best, claims[best])
        for name, look in claims.items():
            if name != best and name not in self.doubts:
                self._refuse(name, _lost(look, self.highest))
                if look.timeline > self.highest:
                    self.rivals |= {name}
        return True

    def _follow_unseen(
        self, ours: Looks, claims: Looks, most: int, *, floor: int | None = None
    ) -> bool:
        """Wait if no fewer replicas than *most* are on a newer timeline, whose primary is not seen."""
        floor = max(self.highest, floor or 0)
        ahead = [
            look.timeline
            for name, look in ours.items()
            if name not in claims
            and (name in self.members or self.timeline is None)
            and name not in self.abandoned
            and name not in self._leaders
            and look.timeline > floor
        ]
        if not ahead or len(ahead) < most:
            return False
        self.primary, self.highest = None, max(ahead)
        self._wait(Doubt.AWAITS_TIMELINE, claims, timeline=self.highest)
        return True

    def _adopt(self, name: str, look: Observation) -> None:
        self.primary, self.timeline, self.history = name, look.timeline, look.history
        self.highest = look.timeline
        self._peers = frozenset()
        self.members |= {name}
        self.doubts.pop(name, None)
        self.no_writes = None

    def _part(self, names: frozenset[str] | set[str], claims: Looks) -> None:
        """Let no node lead, for *names* have the same right to."""
        self.primary = None
        self.rivals |= names
        if self.timeline is not None:
            self._peers = frozenset(names)
        self.doubts.update(dict.fromkeys(names & claims.keys(), Doubt.SPLIT_BRAIN))
        self._wait(Doubt.SPLIT_BRAIN, claims)

    def _refuse(self, name: str, doubt: Doubt) -> None:
        self.doubts[name] = doubt
        if doubt is Doubt.RIVAL:
            self.rivals |= {name}

    def _wait(
        self,
        doubt: Doubt,
        claims: Looks,
        *,
        awaited: str | None = None,
        timeline: int | None = None,
    ) -> None:
        self.no_writes = NoWrites(doubt, awaited, timeline, tuple(sorted(claims)))


def _was_away(older: Observation, newer: Observation) -> bool:
    """Return whether *older* was started after *newer* was promoted, if both moments are known."""
    if older.started_at is None or newer.promoted_at is None:
        return False
    return older.started_at > newer.promoted_at


def _lost(look: Observation, timeline: int) -> Doubt:
    """Return why a claim that was not chosen was not."""
    if look.timeline < timeline:
        return Doubt.OBSOLETE
    return Doubt.RIVAL if look.timeline == timeline else Doubt.NOT_FOLLOWED
