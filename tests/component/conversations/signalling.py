"""Signalling: pg_terminate_backend and pg_cancel_backend of what rwsplit told clients their process ids are."""

from __future__ import annotations

from typing import Final

from tests.support.conversation.steps import (
    Conversation,
    a_fatal,
    answers,
    ends,
    gets,
    gone,
    hears,
    is_,
    rows,
    says,
    sends,
    strikes,
)
from tests.support.frames import error, query, ready

CONVERSATIONS: Final = (
    Conversation(
        "a session that is terminated ends, and who asked is told",
        says("b", query("select 'b'")),
        gets("n1", query("select 'b'")),
        answers("n1"),
        hears("b", *rows("select 'b'")),
        says("a", query("select pg_terminate_backend(101)")),
        gets("n0", query("SELECT true AS pg_terminate_backend")),
        hears("b", a_fatal("57P01", "terminating connection due to administrator command")),
        gone("b"),
        answers("n0"),
        hears("a", *rows("SELECT true AS pg_terminate_backend")),
        is_("n0", "idle"),
        is_("n1", "idle"),
    ),
    Conversation(
        "what a terminated session runs is cancelled",
        says("b", query("select 'b'")),
        gets("n1", query("select 'b'")),
        says("a", query("select pg_terminate_backend(101)")),
        gets("n0", query("SELECT true AS pg_terminate_backend")),
        hears("b", a_fatal("57P01", "terminating connection due to administrator command")),
        gone("b"),
        strikes("n1"),
        answers("n0"),
        hears("a", *rows("SELECT true AS pg_terminate_backend")),
        answers("n1"),
        is_("n0", "idle"),
        is_("n1", "idle"),
    ),
    Conversation(
        "a session's statement is cancelled by another",
        says("b", query("select 'b'")),
        gets("n1", query("select 'b'")),
        says("a", query("select pg_cancel_backend(101)")),
        gets("n0", query("SELECT true AS pg_cancel_backend")),
        strikes("n1"),
        answers("n0"),
        hears("a", *rows("SELECT true AS pg_cancel_backend")),
        answers("n1"),
        hears("b", error("57014", "canceling statement due to user request"), ready()),
        is_("n0", "idle"),
        is_("n1", "idle"),
    ),
    Conversation(
        "a process id nobody has goes to the node",
        says("a", query("select pg_cancel_backend(999)")),
        gets("n0", query("select pg_cancel_backend(999)")),
        answers("n0"),
        hears("a", *rows("select pg_cancel_backend(999)")),
        is_("n0", "idle"),
    ),
    Conversation(
        "a session that terminates itself is terminated by its server",
        says("a", query("select pg_terminate_backend(100)")),
        gets(
            "n0",
            query(
                "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid()) AS pg_terminate_backend"
            ),
        ),
        sends("n0", error("57P01", "terminating connection", severity="FATAL")),
        hears("a", error("57P01", "terminating connection", severity="FATAL")),
        ends("n0"),
        gone("a"),
    ),
    Conversation(
        "a write that a terminated session runs is cancelled, too",
        says("b", query("insert into t values ('b')")),
        gets("n0/2", query("insert into t values ('b')")),
        says("a", query("select pg_terminate_backend(101)")),
        gets("n0", query("SELECT true AS pg_terminate_backend")),
        hears("b", a_fatal("57P01", "terminating connection due to administrator command")),
        gone("b"),
        strikes("n0/2"),
        answers("n0"),
        hears("a", *rows("SELECT true AS pg_terminate_backend")),
        answers("n0/2"),
        is_("n0", "idle"),
        is_("n0/2", "idle"),
        size=2,
    ),
)
