"""Groups: one sentence out of the exception groups that nurseries raise.

Every task of a nursery may fail, so what comes out of `trio.run` is a group even when one thing went
wrong. An operator wants that one thing; anything that is not ours to word stays a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rwsplit.errors import RwsplitError


@contextmanager
def first_error() -> Iterator[None]:
    """Turn a group of errors with sentences, raised in the block, into the first of them.

    Raises:
        RwsplitError: one was in the group, or an OSError such as a port that is taken.
    """
    try:
        yield
    except ExceptionGroup as group:
        known, others = group.split((RwsplitError, OSError))
        if known is None or others is not None:
            raise
        raise _worded(known) from None
    except OSError as exc:
        raise _worded(exc) from None


def _worded(error: Exception) -> RwsplitError:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, RwsplitError) else RwsplitError(str(error))
