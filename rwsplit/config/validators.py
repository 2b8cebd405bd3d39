"""Validators: what one setting's value must be, whatever the others are.

A validator refuses a value with words that follow the setting's path (`pool.size: must be at least 1,
got 0`). What two settings must agree on is in `checks.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import attrs

from rwsplit.config.require_auth import allowed_methods

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def at_least(minimum: float) -> Validator:
    """Return a validator of finite numbers not below *minimum*."""

    def check(_: object, __: object, value: float) -> None:
        if not math.isfinite(value) or value < minimum:
            raise ValueError(f"must be at least {minimum:g}, got {value:g}")

    return check


def more_than(limit: float) -> Validator:
    """Return a validator of finite numbers above *limit*."""

    def check(_: object, __: object, value: float) -> None:
        if not math.isfinite(value) or value <= limit:
            raise ValueError(f"must be more than {limit:g}, got {value:g}")

    return check


def between(lowest: int, highest: int) -> Validator:
    """Return a validator of numbers from *lowest* to *highest*."""

    def check(_: object, __: object, value: int) -> None:
        if not lowest <= value <= highest:
            raise ValueError(f"must be between {lowest} and {highest}, got {value}")

    return check


def one_of(*choices: str) -> Validator:
    """Return a validator of words out of *choices*; the reference lists them."""

    def check(_: object, __: object, value: str) -> None:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, got {value!r}")

    return check


def optional(validator: Validator) -> Validator:
    """Return *validator* for a setting that need not be given."""

    def check(section: object, field: attrs.Attribute[Any], value: Any) -> None:
        if value is not None:
            validator(section, field, value)

    return check


def not_empty(_: object, __: object, value: str) -> None:
    """Refuse a text without a character, and one with a zero byte, which no wire could carry."""
    if not value or "\0" in value:
        raise ValueError(f"must be a text of at least one character, got {value!r}")


def a_host(section: object, field: attrs.Attribute[Any], value: str) -> None:
    """Refuse what no resolver takes for a name; a path is the directory of a Unix socket."""
    not_empty(section, field, value)
    try:
        if not value.startswith("/"):
            value.encode("idna")
    except UnicodeError:
        raise ValueError(f"must be a host name or an address, got {value[:60]!r}") from None


def an_auth_list(_: object, __: object, value: str) -> None:
    """Refuse what is no list as libpq's `require_auth` has it."""
    allowed_methods(value)


def a_name(_: object, __: object, value: str) -> None:
    """Refuse names of nodes that would not survive a path, a hint or a console command unquoted."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}", value):
        raise ValueError(f"a node's name must be letters, digits, _ and -, got {value!r}")


def a_target(_: object, __: object, value: str) -> None:
    """Refuse what no rule can route to."""
    if value not in {"primary", "replica"} and not (
        value.startswith("node:") and value != "node:"
    ):
        raise ValueError(f"must be primary, replica or node:NAME, got {value!r}")
