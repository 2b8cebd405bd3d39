"""What a text may do is found out elsewhere; what could not be read this time is read the next time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from psycopg import errors

from rwsplit.monitor import bodies as module
from rwsplit.monitor.bodies import BATCH, BRIEF, PATIENCE, Bodies
from rwsplit.sql.body import UNREADABLE, Body, read_body

QUERY = "select texts"


class FakeConnection:
    """Knows the texts of some objects, some of them *locked*."""

    broken = False

    def __init__(
        self,
        texts: dict[int, str | None],
        locked: Sequence[int] = (),
        error: type[errors.Error] = errors.LockNotAvailable,
    ) -> None:
        self.texts = texts
        self.error = error
        self.locked = set(locked)
        self.refused = 0

    def execute(self, _query: bytes, parameters: Sequence[Any]) -> list[tuple[int, str | None]]:
        [keys] = parameters
        if self.locked.intersection(keys):
            self.refused += 1
            raise self.error
        return [(key, self.texts[key]) for key in keys if key in self.texts]


class Reading:
    """Reads all texts but those in *unable*; remembers what it was asked for."""

    def __init__(self) -> None:
        self.unable: set[str] = set()
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> list[Body | None]:
        self.asked += texts
        return [None if text in self.unable else read_body(text) for text in texts]


def look(bodies: Bodies, connection: Any, versions: dict[int, str]) -> list[Body]:
    bodies.begin()
    bodies.update(connection, QUERY, versions)
    bodies.keep(versions)
    return [bodies.known()[abs(key)] for key in versions]


def test_only_what_could_be_read_is_remembered():
    reading = Reading()
    bodies = Bodies(reading)
    connection = FakeConnection({1: "select f()", 2: "select g()", 3: None})
    versions = {1: "7", 2: "7", 3: "7"}
    reading.unable = {"select g()"}
    found = look(bodies, connection, versions)
    assert found == [read_body("select f()"), UNREADABLE, UNREADABLE]
    assert reading.asked == ["select f()", "select g()"]

    reading.unable = set()
    assert look(bodies, connection, versions)[1] == read_body("select g()")
    assert reading.asked[2:] == ["select g()"]
    look(bodies, connection, versions)
    assert len(reading.asked) == 3


def test_another_version_is_read_again_and_what_is_gone_is_forgotten():
    reading = Reading()
    bodies = Bodies(reading)
    connection = FakeConnection({1: "select f()", 2: "select g()"})
    look(bodies, connection, {1: "7", -2: "7"})
    connection.texts[2] = "select h()"
    assert look(bodies, connection, {1: "7", -2: "8"})[1] == read_body("select h()")
    assert look(bodies, connection, {1: "7"}) == [read_body("select f()")]
    look(bodies, connection, {1: "7", -2: "8"})
    assert reading.asked == ["select f()", "select g()", "select h()", "select h()"]
    bodies.forget()
    look(bodies, connection, {1: "7"})
    assert reading.asked[4:] == ["select f()"]


def test_policies_and_checks_are_read_once_while_they_are_there():
    reading = Reading()
    bodies = Bodies(reading)
    reading.unable = {"b()"}
    assert bodies.clauses({"a()", "b()"}) == {"a()": read_body("a()")}
    reading.unable = set()
    assert bodies.clauses({"a()", "b()"}).keys() == {"a()", "b()"}
    assert reading.asked == ["a()", "b()", "b()"]
    assert bodies.clauses({"a()"}).keys() == {"a()"}
    assert bodies.clauses({"b()"}).keys() == {"b()"}
    assert reading.asked[3:] == ["b()"]


def test_without_a_parser_texts_are_read_here():
    assert Bodies().clauses({"f()"}) == {"f()": read_body("f()")}


@pytest.mark.parametrize("error", [errors.LockNotAvailable, errors.StatementTooComplex])
def test_a_text_that_is_not_to_be_had_is_unreadable_until_the_next_look(
    error: type[errors.Error],
):
    bodies = Bodies()
    texts = {n: f"select f{n}()" for n in range(1, 100)}
    connection = FakeConnection(texts, [17, 60], error)
    versions = dict.fromkeys(range(1, 100), "7")
    found = look(bodies, connection, versions)
    assert [n for n, body in enumerate(found, 1) if body is UNREADABLE] == [17, 60]
    connection.locked.clear()
    assert UNREADABLE not in look(bodies, connection, versions)


def test_a_look_does_not_wait_for_one_lock_after_the_other():
    bodies = Bodies()
    size = 20 * BATCH
    texts = {n: f"select f{n}()" for n in range(1, size)}
    connection = FakeConnection(texts, locked=range(1, size, 2))
    found = look(bodies, connection, dict.fromkeys(texts, "7"))
    assert connection.refused <= 2 * BATCH.bit_length() + PATIENCE
    assert found.count(UNREADABLE) > size // 2
    assert not bodies.texts(connection, QUERY, texts)  # type: ignore[arg-type]  # it is not a real one


def test_a_look_does_not_ask_for_one_error_after_the_other():
    size = 20 * BATCH
    texts = {n: f"select f{n}()" for n in range(1, size)}
    connection = FakeConnection(texts, range(1, size), errors.StatementTooComplex)
    assert set(look(Bodies(), connection, dict.fromkeys(texts, "7"))) == {UNREADABLE}
    assert connection.refused <= 2 * (PATIENCE / BRIEF + BATCH)


def test_a_connection_that_is_lost_ends_the_look():
    connection = FakeConnection({1: "select f()"}, [1], errors.OperationalError)
    connection.broken = True
    with pytest.raises(errors.OperationalError):
        look(Bodies(), connection, {1: "7"})


def test_names_beyond_the_limit_are_not_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_NAMES", 1000)
    reading = Reading()
    bodies = Bodies(reading)
    texts = {n: " ".join(f"x{n}_{i}" for i in range(100)) for n in range(1, 4 * BATCH)}
    connection = FakeConnection(texts)
    monkeypatch.setattr(module, "PIECE", 1000)
    versions = dict.fromkeys(texts, "7")
    for _ in range(2):
        found = look(bodies, connection, versions)
        known = [body for body in found if body is not UNREADABLE]
        assert 10 <= len(known) <= 12
        assert len(reading.asked) <= 12
    # What is gone makes room.
    few = {n: "7" for n in texts if n > 100}
    look(bodies, connection, few)
    assert any(body is not UNREADABLE for body in look(bodies, connection, few))


def test_many_short_clauses_are_read_in_pieces_that_are_not_counted_again_and_again():
    pieces: list[int] = []

    def read(texts: Sequence[str]) -> list[Body | None]:
        pieces.append(len(texts))
        return [UNREADABLE] * len(texts)

    count = 200_000
    Bodies(read).clauses({f"f{n:06}()" for n in range(count)})
    assert sum(pieces) == count
    assert len(pieces) < 10


def test_who_goes_on_knows_what_was_read():
    reading = Reading()
    first, second = Bodies(reading), Bodies(reading)
    connection = FakeConnection({1: "select f()"})
    look(first, connection, {1: "7"})
    first.clauses({"a()"})
    second.inherit(first)
    look(second, connection, {1: "7"})
    second.clauses({"a()"})
    assert reading.asked == ["select f()", "a()"]
