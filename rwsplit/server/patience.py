"""Patience: how late rwsplit may notice that an answer is overdue before it takes itself for the cause."""

from __future__ import annotations

from typing import Final

#: If rwsplit notices a deadline later than by these seconds, it was held up itself, and the answer may be there, unread.
HELD_UP: Final = 0.15
