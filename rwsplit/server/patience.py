"""Patience: how late rwsplit may notice that something is overdue before it doubts itself."""

from __future__ import annotations

from typing import Final

#: Seconds by which something is noticed too late, beyond which rwsplit itself was held up: what it waits for may be there, unread.
HELD_UP: Final = 0.15
