"""require_auth: libpq's list of the methods by which a server may ask who logs in.

`scram-sha-256,md5` allows these alone, `!password,!md5` all others; `none` is a server that asks for no proof at all. A
list is either of the one kind or of the other, and names nothing twice (PostgreSQL manual, "Parameter Key Words").
"""

from __future__ import annotations

from typing import Final

#: What libpq knows; rwsplit itself speaks neither GSSAPI nor SSPI.
METHODS: Final = ("password", "md5", "gss", "sspi", "scram-sha-256", "none")
#: Where nothing is required.
ANY: Final = frozenset(METHODS)


def allowed_methods(text: str) -> frozenset[str]:
    """Return the methods that *text* allows; an empty one allows all.

    Raises:
        ValueError: it is no such list; the message follows a setting's path.
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    negated = {word.startswith("!") for word in words}
    if len(negated) > 1:
        raise ValueError(f"cannot have both methods and methods with !, got {text!r}")
    named = [word.removeprefix("!") for word in words]
    for name in named:
        if name not in METHODS:
            raise ValueError(
                f"must be a list of {', '.join(METHODS)}, or of these with !, got {text!r}"
            )
        if named.count(name) > 1:
            raise ValueError(f"names {name} twice, got {text!r}")
    if not named:
        return ANY
    return ANY - frozenset(named) if negated == {True} else frozenset(named)
