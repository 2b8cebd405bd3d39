"""Counters of the relay: plain integers, read by the console and the metrics."""

from __future__ import annotations

from rwsplit.routing.route import RouteReason


class Counters:
    """What the relay has done since it started."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "cancels",
        "errors",
        "load",
        "moves",
        "reads",
        "reasons",
        "retries",
        "shared",
        "statements",
        "timeouts",
        "turns",
    )

    def __init__(self) -> None:
        self.load: list[int] = []
        """Statements in flight or queued, by node index."""
        self.statements: list[int] = []
        """Statements answered, by node index."""
        self.reads: list[int] = []
        """Those of them that were reads: routed as such, or in a transaction on a replica; by node index."""
        self.reasons = [0] * len(RouteReason)
        """Verdicts by `RouteReason.number`."""
        self.retries = 0
        self.shared = 0
        """Units pipelined on a lane behind those of another session."""
        self.moves = 0
        """Reads that waited for a node to be fresh enough and went to another one that was."""
        self.cancels = 0
        self.timeouts = 0
        self.errors = 0
        """Sessions ended because their server was lost."""
        self.turns = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def renumber(self, before: list[str], names: list[str]) -> None:
        """Move the counts of the nodes named *before*, by index, to where *names* has them.

        One more place than there are nodes takes what is still in flight on a node that is gone.
        """
        for attribute in ("load", "statements", "reads"):
            old = dict(zip(before, getattr(self, attribute), strict=False))
            setattr(self, attribute, [old.get(name, 0) for name in names] + [0])
