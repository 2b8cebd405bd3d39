"""Inbox: bytes of a client that were not looked at yet.

A frame that must be held whole may come in any number of pieces. They are joined once it is complete, not at every piece.
"""

from __future__ import annotations


class Inbox:
    """Bytes that wait to be looked at."""

    __slots__ = ("_pieces", "_wanted", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._wanted = 0
        self.size = 0
        """Bytes there are."""

    def keep(self, data: bytes, wanted: int = 0) -> None:
        """Keep *data*, in an empty inbox, until there are *wanted* bytes."""
        self._pieces.append(data)
        self.size = len(data)
        self._wanted = wanted

    def add(self, data: bytes) -> bool:
        """Put *data* behind what there is; return whether there are as many bytes as are wanted."""
        self._pieces.append(data)
        self.size += len(data)
        return self.size >= self._wanted

    def take(self) -> bytes:
        """Return what there is and keep nothing."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.size = self._wanted = 0
        return data
