"""A session of a process that has just started."""

from __future__ import annotations

import pytest

from rwsplit.session.knowledge import Knowledge
from rwsplit.session.parameters import NONE
from rwsplit.session.session import Session
from rwsplit.sql.cache import StatementCache
from rwsplit.sql.functions import FunctionBook


@pytest.fixture
def knowledge() -> Knowledge:
    functions = FunctionBook((), ())
    return Knowledge(StatementCache(functions, size=100), functions)


@pytest.fixture
def session(knowledge: Knowledge) -> Session:
    return Session(knowledge, user="app", database="shop", parameters=NONE)
