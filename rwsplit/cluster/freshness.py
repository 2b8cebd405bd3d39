"""FreshnessClock: per replica, the moment up to which everything acknowledged is visible there.

The monitor *samples* the primary: at the moment `s` it sends the question for the insert LSN and
stores (`s`, `P`). Every commit acknowledged before `s` has its commit record below `P`. It *probes*
a replica for the replay LSN `R`: everything below `R` is visible there. So

    fresh_until(replica) = max { s : P <= R }

and "is this session's write visible there" needs no question per write: it is
`fresh_until > last_write`. On an idle primary a new sample has the old `P`, so it alone makes every
replica that had reached it fresh up to the new `s`; no probe is needed.

Rules that keep it true:
- `s` is read before sending; an earlier `s` is always safe, a later one never.
- `P` is the *insert* position, moved back over a page header (`lsn.normalise_insert_lsn`).
- LSNs are compared on one timeline only: `reset()` at a promotion or a new primary.
- `R` may go backwards (a replica restarted) and takes `fresh_until` back with it; where the
  connection was lost nothing is known (`forget`). Unknown is NEVER, and never is not fresh.

Memory is bounded. A sample is dropped when a later one demands no more (same or lower `P`), or
when every replica is known to be past it. What a replica that is stuck for hours may still need is
thinned so that the gaps grow with the age: `fresh_until` then comes out earlier than it could be,
by at most a sixteenth of its age. A year of samples fits.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Final

from rwsplit.cluster.node import NEVER
from rwsplit.lsn import LSN

#: More samples than this are thinned.
LIMIT: Final = 1024
#: The widest gap that thinning may leave, as a share of its age.
WIDEST_GAP: Final = 1 / 16


class FreshnessClock:
    """Samples of the primary against replay positions of replicas; times are monotonic seconds."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._lsns: list[LSN] = []
        self._replayed: dict[str, LSN] = {}

    @property
    def last_sample(self) -> tuple[float, LSN] | None:
        """The newest sample (when it was sent, insert LSN), or None before the first."""
        return (self._times[-1], self._lsns[-1]) if self._times else None

    def sampled(self, at: float, lsn: LSN) -> None:
        """Take note that everything acknowledged before *at* lies below *lsn*.

        A sample older than the newest is ignored. One with a lower LSN (the primary crashed and
        lost what it had not flushed) replaces those above it: it is later and demands less.
        """
        times, lsns = self._times, self._lsns
        if times and at <= times[-1]:
            return
        while lsns and lsns[-1] >= lsn:
            times.pop()
            lsns.pop()
        times.append(at)
        lsns.append(lsn)
        self._prune()

    def probed(self, node: str, replay_lsn: LSN) -> None:
        """Take note that *node* has replayed everything below *replay_lsn*."""
        self._replayed[node] = replay_lsn

    def fresh_until(self, node: str) -> float:
        """Return the moment before which everything acknowledged is visible on *node*, or NEVER."""
        replayed = self._replayed.get(node)
        if replayed is None:
            return NEVER
        reached = bisect_right(self._lsns, replayed)
        return self._times[reached - 1] if reached else NEVER

    def forget(self, node: str) -> None:
        """Drop what is known of *node*: it went away, or its connection was lost."""
        self._replayed.pop(node, None)

    def reset(self) -> None:
        """Drop everything: there is a new primary, or the same one on a new timeline."""
        self._times.clear()
        self._lsns.clear()
        self._replayed.clear()

    def __len__(self) -> int:
        """Return how many samples are kept."""
        return len(self._times)

    def _prune(self) -> None:
        """Drop the samples that everybody has passed; thin out the rest if there are too many."""
        slowest = min(self._replayed.values(), default=None)
        passed = bisect_right(self._lsns, slowest) - 1 if slowest is not None else 0
        if passed > 0:
            del self._times[:passed]
            del self._lsns[:passed]
        if len(self._times) > LIMIT:
            self._thin()

    def _thin(self) -> None:
        """Keep the first and the last sample, and between them what leaves no gap too wide."""
        samples = list(zip(self._times, self._lsns, strict=True))
        newest = samples[-1]
        kept = [samples[0]]
        for sample, following in pairwise(samples[1:]):
            widest = (newest[0] - kept[-1][0]) * WIDEST_GAP
            if following[0] - kept[-1][0] > widest:
                kept.append(sample)
        kept.append(newest)
        self._times = [at for at, _ in kept]
        self._lsns = [lsn for _, lsn in kept]
