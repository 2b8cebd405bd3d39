"""require_auth: libpq's list of the methods by which a server may ask who logs in.

`scram-sha-256,md5` allows only these methods, `!password,!md5` all others; `none` is a server that asks for no proof. A list
has either only methods or only methods with `!`, and no method twice (PostgreSQL manual, "Parameter Key Words").
"""

from __future__ import annotations

from typing import Final

#: The methods libpq knows; rwsplit itself speaks neither GSSAPI nor SSPI.
METHODS: Final = ("password", "md5", "gss", "sspi", "scram-sha-256", "none")
#: All methods: what an empty list allows.
ANY: Final = frozenset(METHODS)


def allowed_methods(text: str) -> frozenset[str]:
    """Return the methods that *text* allows; an empty one allows all.

    Raises:
        ValueError: it is not such a list; the message follows a setting's path.
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
