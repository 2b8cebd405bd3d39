"""Search path: the schemas in which PostgreSQL looks for a name without one, in order.

The value is read as `SplitIdentifierString` (src/backend/utils/adt/varlena.c) reads it: names between commas,
folded unless quoted. Temporary schemas and pg_catalog come first without being named; that is the business of
whoever resolves a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

Path = tuple[str, ...]

#: What PostgreSQL has unless somebody changed it.
DEFAULT: Final = '"$user", public'

_ELEMENT: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|\Z)')
_FOLD: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def parse_search_path(text: str, user: str) -> Path:
    """Return the schemas *text* names, `$user` being *user*; nothing of what cannot be read."""
    found: list[str] = []
    position = 0
    while position < len(text):
        matched = _ELEMENT.match(text, position)
        if matched is None:
            return tuple(found)
        quoted, plain = matched.groups()
        name = plain.translate(_FOLD) if quoted is None else quoted.replace('""', '"')
        found.append(user if name == "$user" else name)
        position = matched.end()
    return tuple(dict.fromkeys(found))


@attrs.frozen
class DefaultPaths:
    """The search path a session has that never said anything about it."""

    anywhere: str = DEFAULT
    """Of every role that none of the others are for."""
    roles: Mapping[str, str] = attrs.field(factory=dict)
    """Of single roles, in this database or everywhere."""

    def of(self, user: str) -> str:
        """Return the search path *user* starts with."""
        return self.roles.get(user, self.anywhere)
