"""Messages: the frozen values a parser process and its rwsplit send each other.

    rwsplit    Query ->          Bodies ->
    process             Names ->             Read -> ... Read ->     (one for each text)
    rwsplit    Known ->
    process             Facts ->

The process sends Ready once, when it can begin. It does one piece of work at a time and keeps no state between them, so any
process can do any piece.
"""

from __future__ import annotations

from typing import NamedTuple

from rwsplit.sql.body import Body
from rwsplit.sql.excerpt import Excerpt
from rwsplit.sql.script import Script


class Ready(NamedTuple):
    """The process can begin."""


class Query(NamedTuple):
    """A text to be classified."""

    text: bytes


class Names(NamedTuple):
    """The names in it."""

    names: frozenset[str]


class Known(NamedTuple):
    """What the catalog knows of them; None if they stand for too many functions and relations."""

    excerpt: Excerpt | None


class Facts(NamedTuple):
    """The facts of the text."""

    script: Script


class Bodies(NamedTuple):
    """Texts of functions, views and policies to be parsed."""

    texts: tuple[str, ...]


class Read(NamedTuple):
    """What the next body may do."""

    body: Body


Message = Ready | Query | Names | Known | Facts | Bodies | Read
