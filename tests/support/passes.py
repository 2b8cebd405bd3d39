"""Passes: counts how often trio's scheduler has gone round, between which everybody else has a turn."""

from __future__ import annotations

import trio


class Passes(trio.abc.Instrument):
    """Counts while its block runs, in a trio task."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> Passes:
        trio.lowlevel.add_instrument(self)
        return self

    def __exit__(self, *_: object) -> None:
        trio.lowlevel.remove_instrument(self)

    def after_io_wait(self, timeout: float) -> None:
        """A pass begins."""
        self.number += 1
