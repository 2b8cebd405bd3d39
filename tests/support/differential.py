"""The same bytes said to PostgreSQL itself and to rwsplit: every message that comes back must be equal.

    compare = Differential(cluster, proxy)
    compare(say(query("select 1")), say(parse("select $1::int", "s"), bind("s", ["1"]), SYNC))

A step sends its messages in one write, or one byte at a time (`Differential(..., bytewise=True)`), and reads up to as many ReadyForQuery as it owes (`say(..., until=...)` for
other ends). Process ids, keys and tables' OIDs differ, and what rwsplit hides by design (`in_hot_standby`) is left out;
everything else counts, byte for byte, up to source line numbers of errors (but see `_without_places`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import attrs

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient

HIDDEN: Final = (b"in_hot_standby\0", b"default_transaction_read_only\0")


@attrs.frozen
class Step:
    """What is sent at once, and the codes that end its answer, one after the other."""

    sent: bytes
    until: bytes
    closes: bool = False
    behind: Callable[[], None] | None = None
    """What happens to rwsplit's nodes before it is sent."""


def say(
    *messages: bytes, until: bytes | None = None, behind: Callable[[], None] | None = None
) -> Step:
    """Return the step that sends *messages*; it ends with a ReadyForQuery for each Query, Sync, FunctionCall."""
    data = b"".join(messages)
    return Step(data, b"Z" * _ends(data) if until is None else until, behind=behind)


def hang_up(*messages: bytes) -> Step:
    """Return the step after which the peer is expected to close the connection."""
    return Step(b"".join(messages), b"", closes=True)


class Differential:
    """Plays conversations to the primary of *cluster* and through *proxy*."""

    def __init__(
        self,
        cluster: ReachableCluster[Any],
        proxy: Proxy,
        *,
        user: str = "app",
        database: str = "app",
        timeout: float = 10.0,
        bytewise: bool = False,
    ) -> None:
        """Prepare; with *bytewise* rwsplit has read every byte before the next one is sent."""
        self.cluster = cluster
        self._proxy = proxy
        self._bytewise = bytewise
        self._ports = {"direct": cluster.primary.port, "rwsplit": proxy.port}
        self._password = cluster.passwords[user]
        self._user = user
        self._database = database
        self._timeout = timeout

    def __call__(
        self, *steps: Step, parameters: Mapping[str, str] | None = None
    ) -> list[list[Frame]]:
        """Play *steps* on both; return rwsplit's answers, one list a step.

        Raises: AssertionError where they differ.
        """
        direct = self.play("direct", steps, parameters)
        ours = self.play("rwsplit", steps, parameters)
        for number, (expected, got) in enumerate(zip(direct, ours, strict=True)):
            assert got == expected, (
                f"step {number} {steps[number].sent[:300]!r}\n"
                f"direct : {_brief(expected)}\nrwsplit: {_brief(got)}"
            )
        return ours

    def play(
        self, side: str, steps: Sequence[Step], parameters: Mapping[str, str] | None = None
    ) -> list[list[Frame]]:
        """Play *steps* on one side; return what counts of the answers."""
        with RawClient(self._ports[side], timeout=self._timeout) as client:
            client.log_in(
                user=self._user,
                database=self._database,
                password=self._password,
                **cast("dict[str, Any]", dict(parameters or {})),
            )
            if side == "direct" or not self._bytewise:
                return [self._step(client, step, side, client.send) for step in steps]
            with self._proxy.raw() as pinger:
                pacer = Pacer(pinger)
                return [
                    self._step(client, step, side, partial(pacer.send, client))
                    for step in steps
                ]

    def _step(
        self, client: RawClient, step: Step, side: str, send: Callable[[bytes], None]
    ) -> list[Frame]:
        if step.behind is not None and side == "rwsplit":
            step.behind()
        send(step.sent)
        found: list[Frame] = []
        try:
            for code in step.until:
                found += client.frames_until(bytes([code]))
            while step.closes:
                found.append(client.frame())
        except EOFError:
            if not step.closes:
                raise AssertionError(f"{side} closed after {_brief(found)}") from None
        except TimeoutError:
            raise AssertionError(
                f"{side} says no more after {_brief(found)} to {step.sent[:300]!r}"
            ) from None
        return [masked(frame) for frame in found if not _is_hidden(frame)]


def _ends(data: bytes) -> int:
    """Return how many of the messages in *data* end a unit."""
    count = at = 0
    while at < len(data):
        count += data[at : at + 1] in b"QSF"
        at += 1 + int.from_bytes(data[at + 1 : at + 5], "big")
    return count


class Pacer:
    """Sends in pieces, each of which rwsplit has read before the next one is sent.

    *pinger* is a client of the same rwsplit, which answers its BEGIN and COMMIT by itself, in the turn that reads
    the piece or a later one.
    """

    def __init__(self, pinger: RawClient) -> None:
        self._pinger = pinger
        self._count = 0

    def send(self, client: RawClient, data: bytes) -> None:
        """Send *data* one byte at a time."""
        for number in range(len(data)):
            client.send(data[number : number + 1])
            self.wait()

    def wait(self) -> None:
        """Block until rwsplit has read what was sent before."""
        self._count += 1
        self._pinger.query("begin" if self._count % 2 else "commit")


def _is_hidden(frame: Frame) -> bool:
    return frame.code == b"S" and frame.payload.startswith(HIDDEN)


def masked(frame: Frame) -> Frame:
    """Blank what of *frame* cannot be equal."""
    if frame.code == b"A":  # the process id of who notifies
        return Frame(b"A", bytes(4) + frame.payload[4:])
    return _without_places(without_table_oids(frame))


def without_table_oids(frame: Frame) -> Frame:
    """Blank the OIDs of tables in a RowDescription: a table made twice is not the same one."""
    if frame.code != b"T":
        return frame
    payload = bytearray(frame.payload)
    at = 2
    while at < len(payload):
        at = payload.index(0, at) + 1
        payload[at : at + 4] = bytes(4)
        at += 18
    return Frame(b"T", bytes(payload))


def _without_places(frame: Frame) -> Frame:
    """Blank where in PostgreSQL's source a statement is refused because the transaction has failed.

    A Bind is refused there, a Parse, and a Query. Where the server is one that may not have the session's statement,
    rwsplit says its Parse first, and a RESET by Query it says by Parse: the same error, from another line.
    """
    if frame.code != b"E" or b"\0C25P02\0" not in frame.payload:
        return frame
    fields = frame.payload.split(b"\0")
    if fields[-3] not in _REFUSING:
        return frame
    return Frame(b"E", b"\0".join(field for field in fields if field[:1] not in b"LR"))


_REFUSING: Final = (b"Rexec_parse_message", b"Rexec_bind_message", b"Rexec_simple_query")


def _brief(frames: Sequence[Frame]) -> str:
    return " ".join(f"{frame.code.decode()}{frame.payload[:120]!r}" for frame in frames)
