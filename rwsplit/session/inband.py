"""In-band control: `SET rwsplit.route = 'primary'`, `SHOW rwsplit.last_route` and their like.

rwsplit answers these without inventing wire messages: it hands the server a statement of its own that PostgreSQL
answers as the client expects (so formats, transaction states and errors are PostgreSQL's), and applies
the effect to the session. Nothing of it stays behind in the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from rwsplit.config.choices import ConsistencyLevel
from rwsplit.config.units import parse_duration
from rwsplit.protocol.refusals import BARE_MARK
from rwsplit.session.inband_settings import DEFAULTS, InBandSettings
from rwsplit.session.literals import literal
from rwsplit.session.state import SessionState
from rwsplit.sql.script import Script
from rwsplit.sql.statement import PrimaryOnly, Statement, Verb

PREFIX: Final = "rwsplit."
ROUTES: Final = ("auto", "primary", "replica")
#: Characters of a name or value that are looked at, or repeated in an error.
MOST_SAID: Final = 256

#: Words of work (`sql.effort`) for each time one is substituted.
WORK: Final = 5

#: Facts of what replaces an in-band statement: any node can answer it.
ANSWER: Final = Script((Statement(Verb.SHOW),))
#: Facts of the statement that raises an error in its place.
REFUSAL: Final = Script((Statement(Verb.OTHER, primary_only=PrimaryOnly.NEEDS_PRIMARY),))


class InBandRefused(ValueError):
    """There is no such in-band setting, or it does not take a value; *hint* says what there is."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def substitute(
    session: SessionState, statement: Statement, *, applies: bool = True
) -> tuple[str, Script]:
    """Return the SQL to run instead of in-band *statement*, and its facts; apply its effect, if it *applies* now.

    An invalid name or value becomes a statement that raises 22023 (42704 for SHOW of an unknown name), so that a
    transaction fails as it would with any other parameter.
    """
    name = (statement.setting or "").removeprefix(PREFIX)[:MOST_SAID]
    if statement.verb is Verb.SHOW:
        if name not in _SHOWN:
            # PostgreSQL's own error; that of a DO block would show the block.
            return f"SELECT pg_catalog.current_setting({literal(PREFIX + name)})", REFUSAL
        return f'SELECT {literal(_SHOWN[name](session))} AS "{PREFIX}{name}"', ANSWER
    if statement.local:
        return _raise(f"SET LOCAL {PREFIX}{name} is not supported", "Use SET without LOCAL.")
    before = session.in_band
    try:
        apply(session, name, statement.value)
    except InBandRefused as error:
        return _raise(str(error), error.hint)
    finally:
        if not applies:
            session.set_in_band(before)
    verb = f"RESET {PREFIX}{name}" if statement.verb is Verb.RESET else None
    return verb or f"SET {PREFIX}{name} TO DEFAULT", ANSWER


def apply(session: SessionState, name: str, value: str | None) -> None:
    """Let the session's in-band setting *name* become *value*, None for the default.

    Raises:
        InBandRefused: no such setting, or a value it does not take; says so in PostgreSQL's words.
    """
    name = name.removeprefix(PREFIX)
    setter = _SET.get(name)
    if setter is None:
        raise InBandRefused(f'rwsplit parameter "{PREFIX}{name}" cannot be set', _known(_SET))
    if value is not None and len(value) > MOST_SAID:
        value = f"{value[:MOST_SAID]}..."  # no value of any
    try:
        settings = setter(session.in_band, value)
    except ValueError as error:
        message = f'invalid value for parameter "{PREFIX}{name}": "{value}"'
        raise InBandRefused(message, str(error)) from error
    session.set_in_band(settings)


def _set_route(settings: InBandSettings, value: str | None) -> InBandSettings:
    route = (value or DEFAULTS.route).lower()
    if route not in ROUTES:
        raise ValueError(_available(ROUTES))
    return settings._replace(route=route)


def _set_consistency(settings: InBandSettings, value: str | None) -> InBandSettings:
    levels = [level.value for level in ConsistencyLevel]
    if value is not None and value.lower() not in levels:
        raise ValueError(_available(levels))
    level = None if value is None else ConsistencyLevel(value.lower())
    return settings._replace(consistency=level)


def _set_max_lag(settings: InBandSettings, value: str | None) -> InBandSettings:
    try:
        max_lag = None if value is None else parse_duration(value)
    except ValueError as error:
        raise ValueError("It takes a duration such as 250ms, 5s, 10m or 1h.") from error
    return settings._replace(max_lag=max_lag)


_SET: Final[dict[str, Callable[[InBandSettings, str | None], InBandSettings]]] = {
    "route": _set_route,
    "consistency": _set_consistency,
    "max_lag": _set_max_lag,
}

_SHOWN: Final[dict[str, Callable[[SessionState], str]]] = {
    "route": lambda session: session.in_band.route,
    "consistency": lambda session: (session.in_band.consistency or session.default_level).value,
    "max_lag": lambda session: (
        "default" if session.in_band.max_lag is None else f"{session.in_band.max_lag:g}s"
    ),
    "last_route": lambda session: session.last_route(),
    "pinned": lambda session: "no" if session.pin is None else session.pin.value,
}


def _available(values: Iterable[str]) -> str:
    return f"Available values: {', '.join(values)}."


def _known(table: Mapping[str, object]) -> str:
    return "Known: " + ", ".join(PREFIX + name for name in table) + "."


def _raise(message: str, hint: str) -> tuple[str, Script]:
    """Return a statement that fails like that; on the way to the client its error loses what tells of it (`bare`)."""
    using = (
        f"ERRCODE = '22023', MESSAGE = {literal(message)}, HINT = {literal(hint)}, "
        f"SCHEMA = {literal(BARE_MARK)}"
    )
    body = f"BEGIN RAISE EXCEPTION USING {using}; END"
    return f"DO {literal(body)}", REFUSAL
