"""Twins under fire: rwsplit's replicas lose connections meanwhile, so that a session may end, if it must.

What a session was answered before is compared as ever. Where it ends, PostgreSQL is asked once more for what was answered, and no more
than that: its tables must hold the same, so that what was answered has happened, and what was not has left nothing behind.
"""

from __future__ import annotations

from collections import Counter

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support.ends import End
from tests.support.excuses import UNDER_FIRE
from tests.support.proxy import Proxy
from tests.support.scripts import Script
from tests.support.twin import Answer
from tests.support.twins import Twins


class TwinsUnderFire(Twins):
    """Twins whose sessions may end; *ended* counts why they have."""

    def __init__(self, cluster: EmbeddedCluster, proxy: Proxy, name: str) -> None:
        super().__init__(cluster, proxy, name)
        self.ended: Counter[str] = Counter()
        self.excuses = UNDER_FIRE

    def played(self, script: Script) -> str | None:
        """Play *script* on both sides, to the end of the first session that ends; return where they differ."""
        direct = self.direct.play(script)
        states = [self.outcome(self.direct)]
        ours = self._heard(script)
        if not ours[-1].is_last:
            states.append(self.outcome(self.ours))
            return self.judged(script, (direct, ours), states)
        end = End(script, direct, ours)
        self.forget()
        states = [self.outcome(self.ours)]
        self.direct.play(end.survivor)
        self.forget()
        states.insert(0, self.outcome(self.direct))
        before = end.number
        found = self.judged(script, (direct[:before], ours[:before]), states)
        if found is not None or end.complaint is not None:
            return f"{found or end.complaint}\n(the session ended at step {before})"
        assert end.why is not None
        self.ended[end.why.value] += 1
        return None

    def _heard(self, script: Script) -> list[Answer]:
        """Say *script* to rwsplit; return the answers up to the last one of the first session that ends."""
        answers: list[Answer] = []
        for answer in self.ours.say(script):
            answers.append(answer)
            if answer.is_last:
                break
        return answers
