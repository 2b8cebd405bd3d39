"""Frames: messages between rwsplit and its parser process, as bytes: a length, and the value pickled.

The two trust each other: the process is rwsplit's own child, started from the same files, and their socket has no name. Still,
unpickling accepts only rwsplit's own values and frozen sets, so that a text that takes control of the parser process
cannot run code in rwsplit.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from rwsplit.parser.messages import Message

MOST_BYTES: Final = 8 << 20
"""Bytes of the longest message: eight times the longest text."""
_HEADER: Final = 4
_OWN: Final = ("rwsplit.sql.", "rwsplit.parser.messages")
_OTHERS: Final = frozenset({("builtins", "frozenset"), ("re", "_compile")})
"""Types of the standard library that these values contain: sets of names, and the operator's patterns."""


class BrokenFrame(Exception):
    """The bytes received are not a message."""


def encode(message: Message) -> bytes:
    """Return *message* as a frame. Raises BrokenFrame: it is too long."""
    value = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    if len(value) > MOST_BYTES:
        raise BrokenFrame(f"a message of {len(value)} bytes")
    return len(value).to_bytes(_HEADER, "big") + value


class Frames:
    """Finds messages in the bytes received."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add *data* that was received."""
        self._data += data

    def next(self) -> Message | None:
        """Return the next message, None if it has not arrived whole. Raises BrokenFrame."""
        data = self._data
        if len(data) < _HEADER:
            return None
        size = int.from_bytes(data[:_HEADER], "big")
        if size > MOST_BYTES:
            raise BrokenFrame(f"a message of {size} bytes")
        if len(data) < _HEADER + size:
            return None
        value = bytes(data[_HEADER : _HEADER + size])
        del data[: _HEADER + size]
        try:
            message = _Unpickler(io.BytesIO(value)).load()
        except MemoryError:
            raise
        except Exception as error:
            raise BrokenFrame(f"no message: {error!r}") from error
        if not isinstance(message, Message):
            raise BrokenFrame(f"no message, but {type(message).__name__}")
        return message


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # A dotted name, or one the module merely imports, would lead out of the module.
        is_own = module.startswith(_OWN) and "." not in name
        if is_own or (module, name) in _OTHERS:
            found = super().find_class(module, name)
            if getattr(found, "__module__", None) == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no value of rwsplit's")
