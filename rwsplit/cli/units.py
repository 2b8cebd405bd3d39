"""Units: sizes and times as people read them."""

from __future__ import annotations


def shown_bytes(size: int) -> str:
    """Return `512 B`, `73.0 kB`, `1.5 GB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GB"


def shown_seconds(seconds: float) -> str:
    """Return `12 s`, `3 min`, `2 h`, `4 days`."""
    for size, limit, unit in ((1, 120, "s"), (60, 120, "min"), (3600, 48, "h")):
        if seconds / size < limit:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds / 86400)} days"
