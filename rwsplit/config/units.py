"""Durations and sizes as people write them: `250ms`, `5s`, `10m`, `1h`; `64kB`, `16MB`.

The units are PostgreSQL's (manual, section 20.1.1: sizes are multiples of 1024 and their case
matters), with `m` beside its `min`. A bare number is seconds or bytes. SQL hints and `SET rwsplit.*`
take the same words.
"""

from __future__ import annotations

import math
import re
from typing import Final

DURATIONS: Final = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
SIZES: Final = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}

_AMOUNT: Final = re.compile(r"\s*+(\d++(?:\.\d*+)?|\.\d++)\s*+([A-Za-z]*+)\s*+", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds written as *text*.

    Raises:
        ValueError: *text* is not a number with a unit of time; says so in words.
    """
    match = _AMOUNT.fullmatch(text)
    unit = DURATIONS.get(match[2] or "s") if match else None
    if match is None or unit is None:
        raise ValueError(f"must be a duration such as 250ms, 5s, 10m or 1h, got {text!r}")
    return float(match[1]) * unit


def parse_size(text: str) -> int:
    """Return the bytes written as *text*.

    Raises:
        ValueError: *text* is not a whole number of bytes; says so in words.
    """
    match = _AMOUNT.fullmatch(text)
    unit = SIZES.get(match[2] or "B") if match else None
    if match is None or unit is None or float(match[1]) * unit % 1:
        raise ValueError(f"must be a size such as 8192, 64kB or 16MB, got {text!r}")
    return int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit


def format_duration(seconds: float) -> str:
    """Return *seconds* in the largest unit that keeps them a whole number, else in seconds."""
    if not math.isfinite(seconds):
        return str(seconds)
    for unit in ("h", "m", "s", "ms", "us"):
        amount = seconds / DURATIONS[unit]
        if amount >= 1 and math.isclose(amount, round(amount), rel_tol=1e-9):
            return f"{round(amount)}{unit}"
    return f"{seconds:g}s"


def format_size(size: int) -> str:
    """Return *size* bytes in the largest unit that keeps them a whole number."""
    for unit in ("TB", "GB", "MB", "kB"):
        if size and size % SIZES[unit] == 0:
            return f"{size // SIZES[unit]}{unit}"
    return f"{size}B" if size else "0"
