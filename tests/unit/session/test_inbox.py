"""Bytes wait until they are worth looking at, however many pieces they come in."""

from __future__ import annotations

from rwsplit.session.inbox import Inbox


def test_it_is_worth_looking_once_there_is_as_much_as_is_wanted():
    inbox = Inbox()
    inbox.keep(b"abc", wanted=10)
    assert not inbox.add(b"def")
    assert not inbox.add(b"ghi")
    assert inbox.add(b"jk")
    assert inbox.size == 11
    assert inbox.take() == b"abcdefghijk"
    assert inbox.size == 0


def test_what_was_taken_is_gone():
    inbox = Inbox()
    inbox.keep(b"ab", wanted=3)
    assert inbox.add(b"c")
    inbox.take()
    inbox.keep(b"x")
    assert inbox.size == 1
    assert inbox.add(b"y")
    assert inbox.take() == b"xy"


def test_one_piece_is_not_copied():
    inbox, data = Inbox(), bytes(1000)
    inbox.keep(data, wanted=2000)
    assert inbox.take() is data
