"""Scalars: one value of the YAML as one value of the model, or one sentence about why not.

Every function here is a cattrs structure hook, so it takes the value and the type wanted. YAML
knows numbers, words and true/false; nothing is converted that an operator might have meant otherwise
(`size: yes` is not 1).
"""

from __future__ import annotations

import difflib
import math
import reprlib
from enum import Enum
from typing import Any, Final

from rwsplit.config.model import Address
from rwsplit.config.units import parse_duration, parse_size

#: The largest count that PostgreSQL or an operating system accepts.
MOST_COUNT: Final = 2**31 - 1
#: The largest size: that of a file.
MOST_BYTES: Final = 2**63 - 1
#: The longest duration in seconds: a hundred years.
LONGEST_SECONDS: Final = 100 * 365 * 86_400
#: Characters of a wrong value that its error message shows.
SHOWN_CHARACTERS: Final = 60


class Invalid(ValueError):
    """A value that cannot be used; the text follows a setting's path."""


def duration(value: Any, _: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = _within(value, LONGEST_SECONDS)
    elif isinstance(value, str):
        found = parse_duration(value)
    else:
        raise Invalid(expected("a duration such as 250ms, 5s, 10m or 1h", value))
    return float(_within(found, LONGEST_SECONDS))


def size(value: Any, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        found = value
    elif isinstance(value, str | float):
        found = parse_size(str(value))
    else:
        raise Invalid(expected("a size such as 8192, 64kB or 16MB", value))
    return int(_within(found, MOST_BYTES))


def _within(number: float, most: int) -> float:
    """Return *number* if it is at most *most*; the validators refuse infinity."""
    if abs(number) > most and number not in (math.inf, -math.inf):
        raise Invalid(f"must not be more than {most}, got {shortened(repr(number))}")
    return number


def boolean(value: Any, _: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid(expected("true or false", value))
    return value


def whole_number(value: Any, _: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid(expected("a whole number", value))
    return int(_within(value, MOST_COUNT))


def text(value: Any, _: Any) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise Invalid(expected("a text", value))
    found = str(value)
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in found):
        raise Invalid(
            expected("a text that can be sent: no NUL, no half of a character", value)
        )
    return found


def choice(value: Any, kind: type[Enum]) -> Enum:
    names = [str(member.value) for member in kind]
    if not isinstance(value, str) or value not in names:
        near = nearest(value, names) if isinstance(value, str) else ""
        raise Invalid(expected("one of " + ", ".join(names), value) + near)
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
    return f"must be {what}, got {shown(value)}"


def shown(value: Any) -> str:
    """Return *value* shortened for a message: in full, aliases may make it larger than the memory."""
    return shortened(_REPR.repr(value))


def shortened(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """Return *text*, or the beginning of it if it has more than *most* characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def nearest(word: str, names: list[str]) -> str:
    close = difflib.get_close_matches(word[:SHOWN_CHARACTERS], names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


_REPR: Final = reprlib.Repr()
_REPR.maxlevel = 3
_REPR.maxstring = _REPR.maxother = 4 * SHOWN_CHARACTERS
