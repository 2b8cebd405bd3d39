"""A wire to nowhere, for what is decided without reading or writing."""

from __future__ import annotations

from typing import ClassVar

from rwsplit.server.wire import Wire


class SilentWire(Wire):
    """Never has anything to read and takes nothing; *number* stands for its descriptor."""

    __slots__ = ("_number",)

    is_tls: ClassVar[bool] = False

    def __init__(self, number: int = 3) -> None:
        self._number = number
        self.peer = "127.0.0.1:5432"

    def fileno(self) -> int:
        return self._number

    @property
    def wants_write(self) -> bool:
        return False

    @property
    def has_pending(self) -> bool:
        return False

    def recv(self) -> bytes | None:
        return None

    def send(self, data: bytes | bytearray | memoryview) -> int:
        return 0

    def flush(self) -> bool:
        return True

    def close(self) -> None:
        self._number = -1
