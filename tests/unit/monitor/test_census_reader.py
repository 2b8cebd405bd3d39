"""What a text may do is found out elsewhere; what could not be read this time is read the next time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rwsplit.monitor.census_reader import CensusReader
from rwsplit.sql.body import UNREADABLE, Body, read_body

QUERY = "select texts"


class FakeConnection:
    """Knows the texts of some objects."""

    def __init__(self, texts: dict[int, str | None]) -> None:
        self.texts = texts

    def execute(self, _query: bytes, parameters: Sequence[Any]) -> list[tuple[int, str | None]]:
        [keys] = parameters
        return [(key, self.texts[key]) for key in keys if key in self.texts]


class Reading:
    """Reads all texts but those in *unable*; remembers what it was asked for."""

    def __init__(self) -> None:
        self.unable: set[str] = set()
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> list[Body | None]:
        self.asked += texts
        return [None if text in self.unable else read_body(text) for text in texts]


def test_only_what_could_be_read_is_remembered():
    reading = Reading()
    reader = CensusReader(reading)
    connection: Any = FakeConnection({1: "select f()", 2: "select g()", 3: None})
    versions = {1: "7", 2: "7", 3: "7"}
    reading.unable = {"select g()"}
    reader._update(connection, QUERY, versions)
    assert [reader._bodies[key][1] for key in (1, 2, 3)] == [
        read_body("select f()"),
        UNREADABLE,
        UNREADABLE,
    ]
    assert reading.asked == ["select f()", "select g()"]

    reading.unable = set()
    reader._update(connection, QUERY, versions)
    assert reading.asked[2:] == ["select g()"]
    assert reader._bodies[2] == ("7", read_body("select g()"))
    reader._update(connection, QUERY, versions)
    assert len(reading.asked) == 3


def test_policies_and_checks_are_read_once_while_they_are_there():
    reading = Reading()
    reader = CensusReader(reading)
    reading.unable = {"b()"}
    assert reader._read_clauses({"a()", "b()"}) == {"a()": read_body("a()")}
    reading.unable = set()
    assert reader._read_clauses({"a()", "b()"}).keys() == {"a()", "b()"}
    assert reading.asked == ["a()", "b()", "b()"]
    assert reader._read_clauses({"a()"}).keys() == {"a()"}
    assert reader._read_clauses({"b()"}).keys() == {"b()"}
    assert reading.asked[3:] == ["b()"]


def test_without_a_parser_texts_are_read_here():
    assert CensusReader()._read_clauses({"f()"}) == {"f()": read_body("f()")}
