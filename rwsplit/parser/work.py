"""Work: how a parser process classifies statements and bodies, without its socket, limits and clock.

MemoryError is raised, and the process ends (`child.py`). Every other failure of a text is a verdict, as in `sql.classify`.
"""

from __future__ import annotations

from collections.abc import Generator

from rwsplit.parser.messages import Facts, Known, Names, Query
from rwsplit.sql.body import UNREADABLE, Body, read_body
from rwsplit.sql.classify import read_scan, scan_query, unread, unreadable
from rwsplit.sql.excerpt import names_of
from rwsplit.sql.hints import parse_hints
from rwsplit.sql.parse_budget import PATIENT_BUDGET, ParseBudget


def classify(query: Query) -> Generator[Names, Known, Facts]:
    """Return the facts of *query*. A generator: yields the names in it and is sent what the catalog knows of them."""
    found = scan_query(query.text)
    if found is None:
        return Facts(unreadable())
    hints = parse_hints(found.comments)
    names = names_of(found.tokens)
    known = None if names is None else (yield Names(names)).excerpt
    if known is None or names is None:
        return Facts(unread(hints))
    try:
        book = known.asked_for(names)
        return Facts(read_scan(found, book, hints, ParseBudget(PATIENT_BUDGET)))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - sqlglot is large, and a query it stumbles over must still run
        return Facts(unreadable(hints))


def read(text: str) -> Body:
    """Return what the body *text* may do."""
    try:
        return read_body(text)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - one body must not keep the catalog from being read
        return UNREADABLE
