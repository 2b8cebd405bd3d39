"""Messages arrive as they were sent, in whatever portions, and nothing else does."""

from __future__ import annotations

import os
import pickle

import pytest

from rwsplit.parser import frames
from rwsplit.parser.frames import BrokenFrame, Frames, encode
from rwsplit.parser.messages import Bodies, Facts, Known, Message, Names, Query, Read, Ready
from rwsplit.sql.body import read_body
from rwsplit.sql.catalog import Catalog
from rwsplit.sql.classify import parse
from rwsplit.sql.excerpt import Excerpt
from rwsplit.sql.facts import VOLATILE, leaving
from rwsplit.sql.functions import FunctionBook
from rwsplit.sql.script import Script
from rwsplit.sql.statement import StateKind

CATALOG = Catalog(
    functions={("public", "f"): VOLATILE}, relations={("a", "v"): leaving(StateKind.SEED)}
)
BOOK = FunctionBook(reads=["report_*"], writes=["app.w"]).within(CATALOG, ("public", "a"))
TEXTS = [
    b"",
    b"select 1 /* rwsplit: max_lag=5s */",
    b"begin; set local a = 1; select f(), g() from v; savepoint s; commit",
    b"create function h() returns int language sql as 'select 1'; explain select 2",
    b"prepare a as select 1; set search_path = a, b; discard all; listen a; do $$begin end$$",
    b"\xff",
]


def through(message: Message, portion: int = 1 << 20) -> Message:
    received = Frames()
    data = encode(message)
    for start in range(0, len(data) - 1, portion):
        assert received.next() is None
        received.feed(data[start : min(start + portion, len(data) - 1)])
    assert received.next() is None
    received.feed(data[-1:])
    message_read = received.next()
    assert received.next() is None
    assert message_read is not None
    return message_read


def facts(script: Script) -> dict[str, object]:
    return {name: getattr(script, name) for name in Script.__slots__ if name != "cost"}


@pytest.mark.parametrize("portion", [1, 3, 1000])
def test_a_message_arrives_whole_in_whatever_portions(portion: int):
    names = Names(frozenset({"a", "operator(+)", "ä"}))
    for message in (Ready(), Query(b"\0\xff" * 50), names, Bodies(("a", "b"))):
        found = through(message, portion)
        assert found == message
        assert type(found) is type(message)


@pytest.mark.parametrize("text", TEXTS)
def test_a_script_arrives_with_all_its_facts(text: bytes):
    script = parse(text, BOOK)
    found = through(Facts(script))
    assert isinstance(found, Facts)
    assert facts(found.script) == facts(script)
    assert found.script.cost.seconds == script.cost.seconds


def test_a_script_of_many_equal_statements_is_short():
    script = parse(b"; ".join([b"insert into t values (1)"] * 4000), BOOK)
    assert len(script.statements) == 4000
    assert len(encode(Facts(script))) < 20_000


def test_bodies_and_excerpts_arrive():
    body = read_body("begin perform f(); set a = 1; end")
    assert through(Read(body)) == Read(body)
    names = frozenset({"f", "v", "report_a"})
    excerpt = Excerpt.of(BOOK, names)
    found = through(Known(excerpt))
    assert isinstance(found, Known)
    assert found.excerpt is not None
    assert found.excerpt.facts("f").state is StateKind.UNKNOWN_FUNCTION
    book = found.excerpt.asked_for(names)
    assert book.facts("f") == VOLATILE
    assert book.relation("v") == leaving(StateKind.SEED)
    assert book.facts("report_a") == BOOK.facts("report_a")
    assert through(Known(None)) == Known(None)


def test_what_is_no_message_is_not_taken_for_one():
    class Evil:
        def __reduce__(self) -> object:
            return os.system, ("false",)

    # By way of what a module of ours imports.
    ways = [("rwsplit.sql.queries", b"logging.os.system"), ("rwsplit.sql.queries", b"logging")]
    detours = [
        b"\x80\x04\x8c%c%b\x8c%c%b\x93\x8c\x05false\x85R."
        % (len(module), module.encode(), len(name), name)
        for module, name in ways
    ]
    whole = [pickle.dumps(value) for value in (Evil(), ("a",), 7)]
    for value in (*whole, *detours, b"nonsense", b""):
        received = Frames()
        received.feed(len(value).to_bytes(4, "big") + value)
        with pytest.raises(BrokenFrame):
            received.next()


def test_what_is_too_long_is_neither_sent_nor_awaited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frames, "MOST_BYTES", 1000)
    with pytest.raises(BrokenFrame):
        encode(Query(b"x" * 1000))
    received = Frames()
    received.feed((1001).to_bytes(4, "big"))
    with pytest.raises(BrokenFrame):
        received.next()
