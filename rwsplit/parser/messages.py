"""Messages: the frozen values a parser process and its rwsplit send each other.

    rwsplit    Query ->          Bodies ->
    process             Names ->             Read -> ... Read ->     (one for each text)
    rwsplit    Known ->
    process             Facts ->

The process says Ready once, when it can begin. It has one piece of work at a time and keeps nothing of it, so any
process can do any piece.
"""

from __future__ import annotations

from typing import NamedTuple

from rwsplit.sql.body import Body
from rwsplit.sql.excerpt import Excerpt
from rwsplit.sql.statement import Script


class Ready(NamedTuple):
    """The process can begin."""


class Query(NamedTuple):
    """A text to be classified."""

    text: bytes


class Names(NamedTuple):
    """The names in it."""

    names: frozenset[str]


class Known(NamedTuple):
    """What is known of them; None: they stand for too much."""

    excerpt: Excerpt | None


class Facts(NamedTuple):
    """The facts of the text."""

    script: Script


class Bodies(NamedTuple):
    """Texts of functions, views, policies to be read."""

    texts: tuple[str, ...]


class Read(NamedTuple):
    """What the next of them may do."""

    body: Body


Message = Ready | Query | Names | Known | Facts | Bodies | Read
