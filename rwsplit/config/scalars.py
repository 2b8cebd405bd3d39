"""Scalars: one value of the YAML as one value of the model, or one sentence about why not.

Every function here is a cattrs structure hook, so it takes the value and the type wanted. YAML
knows numbers, words and true/false; nothing is converted that an operator might have meant otherwise
(`size: yes` is not 1).
"""

from __future__ import annotations

import difflib
from enum import Enum
from typing import Any

from rwsplit.config.model import Address
from rwsplit.config.units import parse_duration, parse_size


class Invalid(ValueError):
    """A value that cannot be used; the text follows a setting's path."""


def duration(value: Any, _: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return parse_duration(value if isinstance(value, str) else str(value))


def size(value: Any, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return parse_size(value if isinstance(value, str) else str(value))


def boolean(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid(expected("true or false", value))
    return value


def whole_number(value: Any, _: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid(expected("a whole number", value))
    return value


def text(value: Any, _: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise Invalid(expected("a text", value))
    return str(value)


def choice(value: Any, kind: type[Enum]) -> Enum:
    names = [str(member.value) for member in kind]
    if value not in names:
        raise Invalid(
            f"must be one of {', '.join(names)}, got {value!r}{nearest(value, names)}"
        )
    return kind(value)


def address(value: Any, _: Any, *, port: int | None = None) -> Address:
    """Return *value*, `host:port` or `[v6]:port`, as an address; *port* if it may be left out."""
    if not isinstance(value, str):
        raise Invalid(expected("an address such as 127.0.0.1:6432", value))
    text = value.strip()
    if text.startswith("["):
        host, _closing, rest = text[1:].partition("]")
        colon, digits = rest[:1], rest[1:]
        valid = colon == ":" or (not rest and bool(_closing))
    else:
        host, colon, digits = text.rpartition(":") if ":" in text else (text, "", "")
        valid = ":" not in host
    if not valid:
        raise Invalid(f"must be an address, IPv6 in brackets as [::1]:6432, got {value!r}")
    if not host or host == "*":
        raise Invalid(f"must name a host (0.0.0.0 or [::] for all), got {value!r}")
    if not colon and port is not None:
        return Address(host=host, port=port)
    if not digits.isascii() or not digits.isdigit() or int(digits) > 65535:
        raise Invalid(f"must end in a port between 1 and 65535, got {value!r}")
    return Address(host=host, port=int(digits))


def expected(what: str, value: Any) -> str:
    shown = repr(value)
    return f"must be {what}, got {shown if len(shown) <= 60 else shown[:57] + '...'}"


def nearest(word: Any, names: list[str]) -> str:
    close = difflib.get_close_matches(str(word), names, n=1)
    return f"; did you mean {close[0]}?" if close else ""
