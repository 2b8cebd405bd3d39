"""Logs: events with fields on standard error, for people or for machines.

Events are constants (`node_banned`), everything that varies is a field. The level is decided here
once: structlog's filtering logger makes a call below it an empty function, so `debug` events of
every session cost next to nothing when nobody asked for them.

What a client has said may stand in a field, so a field has LONGEST characters at most.
"""

from __future__ import annotations

import logging
import sys
from typing import Final, TextIO

import structlog

from rwsplit.config.model import LogConfig

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


#: Characters of a field of a log line.
LONGEST: Final = 1000


def shorten(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Cut the fields of *event* that are too long, and say how long they were."""
    for name, value in event.items():
        if isinstance(value, bool | int | float) or value is None or name in _TRACES:
            continue
        text = value if isinstance(value, str) else str(value)
        if len(text) > LONGEST:
            event[name] = f"{text[:LONGEST]}... ({len(text)} characters)"
    return event


#: Fields that are the exception to be told, or become that.
_TRACES: Final = frozenset({"exc_info", "exception", "stack_info"})


def configure_logs(config: LogConfig, *, stream: TextIO | None = None) -> None:
    """Send every event from *config*'s level up to *stream* (standard error) in its format.

    May be called again, at a reload: loggers that exist follow.
    """
    out = sys.stderr if stream is None else stream
    renderer: structlog.typing.Processor
    exceptions: list[structlog.typing.Processor] = []
    if config.format == "json":
        renderer = structlog.processors.JSONRenderer(sort_keys=False, default=str)
        exceptions = [structlog.processors.dict_tracebacks]
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            shorten,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *exceptions,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[config.level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
