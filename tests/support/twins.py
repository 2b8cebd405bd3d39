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
from typing import Final

from rwsplit.embedded.cluster import EmbeddedCluster
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
        try:
            found = self._played(script)
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

    def _played(self, script: Script) -> str | None:
        self.scripts += 1
        self.messages += script.size
        answers, states = [], []
        for side in (
            self.direct,
            self.ours,
        ):  # one after the other: names of 2PC are the cluster's
            answers.append(side.play(script))
            states.append(side.state())
            if states[-1] != self._initial:
                side.restore()
        found = _compared(script, *answers)
        if found is None and states[0] != states[1]:
            found = f"tables\ndirect : {states[0]}\nrwsplit: {states[1]}"
        self.ours.settle()
        if found is not None and any(excuse(*answers) for excuse in _EXCUSES):
            self.excused += 1
            self.forget()
            return None
        return found


def _misses_a_lock(direct: Sequence[Answer], ours: Sequence[Answer]) -> bool:
    """Return whether only PostgreSQL itself waits for a lock in vain.

    What a transaction reads on a replica it locks there: if it is then prepared (PREPARE TRANSACTION), on the primary,
    a TRUNCATE need not wait for it. Nothing it has read can be lost by that, since it keeps no snapshot.
    """
    waits = [
        any(frame.code == b"E" and _LOCK_TIMEOUT in frame.payload for frame in answer.frames)
        for answer in direct
    ]
    return any(
        waited and _LOCK_TIMEOUT not in b"".join(frame.payload for frame in answer.frames)
        for waited, answer in zip(waits, ours, strict=True)
    )


def _has_listened(direct: Sequence[Answer], ours: Sequence[Answer]) -> bool:
    """Return whether only rwsplit's server refuses PREPARE TRANSACTION behind an UNLISTEN.

    PostgreSQL ignores the UNLISTEN of a session that has never listened. Of a server that a session has.
    """
    return any(
        _HAS_LISTENED in b"".join(frame.payload for frame in got.frames)
        and _HAS_LISTENED not in b"".join(frame.payload for frame in expected.frames)
        for expected, got in zip(direct, ours, strict=True)
    )


def _parses_again(direct: Sequence[Answer], ours: Sequence[Answer]) -> bool:
    """Return whether only PostgreSQL describes the unnamed statement in a failed transaction.

    What is parsed by a unit that fails is not relied on, and parsed again: a BEGIN cannot be, then.
    """
    return any(
        expected.frames[:2] == (_NO_PARAMETERS, _NO_DATA)
        and got.frames
        and _ABORTED in got.frames[0].payload
        for expected, got in zip(direct, ours, strict=True)
    )


def _parses_first(direct: Sequence[Answer], ours: Sequence[Answer]) -> bool:
    """Return whether all that differs is which error a unit in a failed transaction has, of several.

    What must be parsed again (see `_parses_again`) comes in front of the unit: 25P02 is told where PostgreSQL
    misses a statement (26000) before.
    """
    differ = [
        number
        for number, (expected, got) in enumerate(zip(direct, ours, strict=True))
        if got != expected
    ]
    return bool(differ) and all(
        number > 0
        and _FAILED in direct[number - 1].frames
        and direct[number].parameters == ours[number].parameters
        and direct[number].frames[1:] == ours[number].frames[1:]
        and _UNKNOWN in direct[number].frames[0].payload
        and _ABORTED in ours[number].frames[0].payload
        for number in differ
    )


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


_EXCUSES: Final = (_misses_a_lock, _has_listened, _parses_again, _parses_first)
_NO_PARAMETERS: Final = Frame(b"t", bytes(2))
_NO_DATA: Final = Frame(b"n", b"")
_ABORTED: Final = b"\0C25P02\0"
_UNKNOWN: Final = b"\0C26000\0"
_FAILED: Final = Frame(b"Z", b"E")
_HAS_LISTENED: Final = b"that has executed LISTEN, UNLISTEN, or NOTIFY"
_LOCK_TIMEOUT: Final = b"\0C55P03\0"


def _brief(frames: Sequence[Frame]) -> str:
    return " ".join(f"{frame.code.decode()}{frame.payload[:150]!r}" for frame in frames)
