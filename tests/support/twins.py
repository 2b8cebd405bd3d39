"""Twins: PostgreSQL itself is asked about one database, rwsplit about another just like it.

    with Twins(cluster, proxy) as twins:
        twins.compare(script)

What comes back must be equal, message for message, and what the tables hold afterwards. Connections are used again by
the next script, after a DISCARD ALL on both sides; a script that differs is therefore played once more on new ones, and
what is reported says whether it differs there, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rwsplit.embedded.cluster import EmbeddedCluster
from tests.support.excuses import ALWAYS
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame
from tests.support.script_texts import SCHEMA
from tests.support.scripts import SESSIONS, Script, by
from tests.support.twin import Answer, Twin


class Twins:
    """Both sides, and what was compared so far."""

    def __init__(self, cluster: EmbeddedCluster, proxy: Proxy, name: str = "twin") -> None:
        names = (f"{name}_direct", f"{name}_proxied")
        with cluster.primary.connect() as admin:
            for database in names:
                admin.execute(f"create database {database} owner app")
                # A script may wait for what it has prepared itself.
                admin.execute(f"alter database {database} set lock_timeout = '100ms'")
        for database in names:
            with cluster.primary.connect(database, "app") as connection:
                for text in SCHEMA:
                    for number in SESSIONS:
                        connection.execute(by(text, number))
        cluster.wait_until_replayed()
        self.direct = Twin(cluster, cluster.primary.port, names[0], pings=False)
        self.ours = Twin(cluster, proxy.port, names[1], pings=True)
        self.proxy = proxy
        self._initial = self.direct.state()
        self.excuses = ALWAYS
        self.scripts = 0
        self.messages = 0
        self.excused = 0
        """Scripts that differ, as is intended."""

    def __enter__(self) -> Twins:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.direct.close()
        self.ours.close()

    def compare(self, script: Script) -> None:
        """Play *script* on both sides.

        Raises: AssertionError where they differ.
        """
        difference = self.difference(script)
        if difference is None:
            return
        again = self.difference(script)
        where = (
            "on new connections, too" if again else "not on new connections: what was before?"
        )
        raise AssertionError(f"{script}\n{again or difference}\n({where})")

    def difference(self, script: Script) -> str | None:
        """Play *script* on both sides; return where they differ, None if they do not."""
        self.scripts += 1
        self.messages += script.size
        try:
            found = self.played(script)
        except BaseException:
            self.forget()
            raise
        if found is not None:
            self.forget()
        return found

    def forget(self) -> None:
        """Have the next script played on new connections."""
        self.direct.forget()
        self.ours.forget()

    def played(self, script: Script) -> str | None:
        """Play *script* on both sides; return where they differ, None if they do not."""
        answers, states = [], []
        for side in (
            self.direct,
            self.ours,
        ):  # one after the other: names of 2PC are the cluster's
            answers.append(side.play(script))
            states.append(self.outcome(side))
        return self.judged(script, answers, states)

    def outcome(self, side: Twin) -> tuple[Any, ...]:
        """Return what is left on *side*, whose clients are done, and put back what was there at first."""
        state = side.state()
        if state != self._initial:
            side.restore()
        return state

    def judged(
        self,
        script: Script,
        answers: Sequence[Sequence[Answer]],
        states: Sequence[tuple[Any, ...]],
    ) -> str | None:
        """Return where the *answers* and then the *states* of both sides differ, unless that is intended."""
        found = _compared(script, *answers)
        if found is None and states[0] != states[1]:
            found = f"tables\ndirect : {states[0]}\nrwsplit: {states[1]}"
        self.ours.settle()
        if found is not None and any(excuse(script, *answers) for excuse in self.excuses):
            self.excused += 1
            self.forget()
            return None
        return found


def _compared(script: Script, direct: Sequence[Answer], ours: Sequence[Answer]) -> str | None:
    for number, (expected, got) in enumerate(zip(direct, ours, strict=True)):
        if got == expected:
            continue
        step = script.steps[number] if number < len(script.steps) else "its end"
        what = _brief(expected.frames), _brief(got.frames)
        if expected.frames == got.frames:
            different = set(expected.parameters) ^ set(got.parameters)
            what = (
                str(sorted(different & set(expected.parameters))),
                str(sorted(different & set(got.parameters))),
            )
        return f"step {number} {step}\ndirect : {what[0]}\nrwsplit: {what[1]}"
    return None


def _brief(frames: Sequence[Frame]) -> str:
    return " ".join(f"{frame.code.decode()}{frame.payload[:150]!r}" for frame in frames)
