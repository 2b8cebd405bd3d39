"""The freshness clock against a model of a primary, replicas, delays and clocks.

The model knows what the clock cannot: where every commit ended, when it was acknowledged and what
each replica really has replayed. Samples and probes are taken at one moment and arrive at another.
Two claims are checked after every step:

- truth: everything acknowledged before `fresh_until(replica)` is visible on it;
- exactness: `fresh_until` is `max { s : P <= R }` over *all* samples ever taken, by brute force
  (earlier is allowed only after a replay position went backwards: what it would need was dropped).
"""

from __future__ import annotations

from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from rwsplit.cluster.freshness import FreshnessClock
from rwsplit.cluster.node import NEVER
from rwsplit.lsn import LSN

REPLICAS = ("r1", "r2", "r3")
replicas = st.sampled_from(REPLICAS)


class Commit(NamedTuple):
    end: int
    acknowledged: float


class Sample(NamedTuple):
    sent: float
    lsn: int


class Probe(NamedTuple):
    replica: str
    lsn: int
    life: int
    """Which life of the replica it saw; its connection dies with the life."""


class FreshnessModel(RuleBasedStateMachine):
    samples_in_flight = Bundle("samples")
    probes_in_flight = Bundle("probes")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FreshnessClock()
        self.now = 100.0
        self.end_of_wal = 1000
        self.commits: list[Commit] = []
        self.replayed = dict.fromkeys(REPLICAS, 0)
        self.received = dict.fromkeys(REPLICAS, 0)
        self.lives = dict.fromkeys(REPLICAS, 0)
        self.era = 0
        self.samples: list[Sample] = []
        self.probed: dict[str, int] = {}
        self.went_back: set[str] = set()

    @initialize(start=st.integers(0, 2000))
    def begin(self, start: int) -> None:
        self.end_of_wal = start

    @rule(seconds=st.floats(0.001, 5.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(size=st.integers(1, 300))
    def commit(self, size: int) -> None:
        self.end_of_wal += size
        self.commits.append(Commit(self.end_of_wal, self.now))

    @rule(size=st.integers(1, 300))
    def write_without_commit(self, size: int) -> None:
        self.end_of_wal += size

    @rule(replica=replicas, size=st.integers(1, 900))
    def receive(self, replica: str, size: int) -> None:
        self.received[replica] = min(self.end_of_wal, self.received[replica] + size)

    @rule(replica=replicas)
    def replay_all(self, replica: str) -> None:
        self.received[replica] = self.end_of_wal
        self.replayed[replica] = self.end_of_wal

    @rule(replica=replicas, size=st.integers(1, 900))
    def replay(self, replica: str, size: int) -> None:
        self.replayed[replica] = min(self.received[replica], self.replayed[replica] + size)

    @rule(replica=replicas, lost=st.integers(0, 500))
    def restart_replica(self, replica: str, lost: int) -> None:
        """It replays again from further back; the broken connection says so at once."""
        self.lives[replica] += 1
        self.replayed[replica] = max(0, self.replayed[replica] - lost)
        self.clock.forget(replica)
        self.probed.pop(replica, None)
        self.went_back.add(replica)

    @rule(lost=st.integers(1, 500))
    def crash_primary(self, lost: int) -> None:
        """What was neither flushed nor received by anybody is gone, acknowledged or not."""
        self.era += 1
        survives = max(self.end_of_wal - lost, *self.received.values())
        if survives < self.end_of_wal:
            self.end_of_wal = survives
            self.commits = [commit for commit in self.commits if commit.end <= survives]

    @rule(target=samples_in_flight, delay=st.floats(0.0, 2.0))
    def send_sample(self, delay: float) -> tuple[Sample, int]:
        """The position is read some time after sending, before anything else is acknowledged."""
        sent = self.now
        self.now += delay
        return Sample(sent, self.end_of_wal), self.era

    @rule(sample=samples_in_flight)
    def receive_sample(self, sample: tuple[Sample, int]) -> None:
        """Answers of a primary that has crashed since never arrive."""
        answer, era = sample
        if era == self.era and (not self.samples or answer.sent > self.samples[-1].sent):
            self.samples.append(answer)
            self.clock.sampled(answer.sent, LSN(answer.lsn))

    @rule(target=probes_in_flight, replica=replicas)
    def send_probe(self, replica: str) -> Probe:
        return Probe(replica, self.replayed[replica], self.lives[replica])

    @rule(probe=probes_in_flight)
    def receive_probe(self, probe: Probe) -> None:
        """A watcher has one probe in flight, so none overtakes a later one; old ones are dropped."""
        if probe.life != self.lives[probe.replica]:
            return
        if probe.lsn < self.probed.get(probe.replica, 0):
            return
        if probe.replica not in self.probed and self.probed and self.samples:
            # Samples everybody known by then had passed are dropped: it may find itself before the first.
            self.went_back.add(probe.replica)
        self.probed[probe.replica] = probe.lsn
        self.clock.probed(probe.replica, LSN(probe.lsn))

    @rule(replica=replicas)
    def look_around(self, replica: str) -> None:
        """A quick sample and a quick probe, as most are; long series get far by this rule."""
        self.now += 0.1
        self.receive_sample((Sample(self.now, self.end_of_wal), self.era))
        self.receive_probe(self.send_probe(replica))

    @rule(replica=replicas, size=st.integers(1, 300))
    def write_everywhere_and_look(self, replica: str, size: int) -> None:
        self.commit(size)
        self.replay_all(replica)
        self.look_around(replica)

    @rule()
    def promotion(self) -> None:
        self.clock.reset()
        self.era += 1
        self.samples = []
        self.probed = {}

    @invariant()
    def everything_acknowledged_before_is_visible(self) -> None:
        for replica in REPLICAS:
            fresh_until = self.clock.fresh_until(replica)
            for commit in self.commits:
                if commit.acknowledged < fresh_until:
                    assert commit.end <= self.replayed[replica]

    @invariant()
    def it_agrees_with_brute_force(self) -> None:
        for replica in REPLICAS:
            position = self.probed.get(replica)
            reached = [
                s.sent for s in self.samples if position is not None and s.lsn <= position
            ]
            expected = max(reached, default=NEVER)
            found = self.clock.fresh_until(replica)
            if replica in self.went_back:
                assert found <= expected
            else:
                assert found == expected

    @invariant()
    def it_remembers_no_more_than_it_was_told(self) -> None:
        assert len(self.clock) <= max(1, len(self.samples))


TestFreshness = FreshnessModel.TestCase
