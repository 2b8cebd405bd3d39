"""In-band settings: what a session has asked of rwsplit itself, by `SET rwsplit.*`."""

from __future__ import annotations

from typing import Final, NamedTuple

from rwsplit.config.choices import ConsistencyLevel


class InBandSettings(NamedTuple):
    """The in-band settings of one session."""

    route: str = "auto"
    """Where its statements go: one of `inband.ROUTES`."""
    consistency: ConsistencyLevel | None = None
    """None: the operator's."""
    max_lag: float | None = None
    """Seconds; None: the operator's."""


DEFAULTS: Final = InBandSettings()
