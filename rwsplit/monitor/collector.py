"""Collector: the interpreter's search for garbage in cycles, which stops every thread while it looks at all there is.

How often it looks depends on how much is made and kept, and a catalog that is composed is a million values made and kept
for a second: several full searches of a tenth of a second each. None of these values is part of a cycle; so there
is no search while a catalog is composed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let nothing be searched for garbage during the block, in whatever thread; blocks may overlap."""
    global _blocks  # noqa: PLW0603 - so is what it counts for
    with _lock:
        _blocks += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                gc.enable()


_lock = Lock()
_blocks = 0
