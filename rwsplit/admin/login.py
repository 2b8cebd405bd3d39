"""Login: who converses with the console, and from where, as far as the console wants to know."""

from __future__ import annotations

from typing import Protocol


class Login(Protocol):
    """Which client logged in; `client.lobby.Login` is one."""

    @property
    def user(self) -> str:
        """Return the user that has proven who it is."""

    @property
    def database(self) -> str:
        """Return the name the console was asked for by."""

    @property
    def application_name(self) -> str:
        """Return what the client calls itself."""

    @property
    def peer(self) -> str:
        """Return the address it comes from."""
