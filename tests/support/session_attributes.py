"""What drivers ask of the node they connect to, by libpq's `target_session_attrs`."""

from __future__ import annotations

from typing import Final

#: target_session_attrs -> whether a primary, or rwsplit, satisfies it, and a replica.
ATTRIBUTES: Final = {
    "any": (True, True),
    "read-write": (True, False),
    "primary": (True, False),
    "read-only": (False, True),
    "standby": (False, True),
    "prefer-standby": (True, True),
}
