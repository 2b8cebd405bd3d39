"""What a console command asks for."""

from __future__ import annotations

import pytest

from rwsplit.admin.commands import (
    CHATTER,
    VERBS,
    Accept,
    Chatter,
    Constant,
    ExplainRoute,
    Promote,
    Reconnect,
    Reload,
    SetAdminState,
    SetConfig,
    Show,
    Shutdown,
    UnknownCommand,
    UnknownSetting,
    parse_commands,
)
from rwsplit.admin.views import VIEWS
from rwsplit.cluster.node import AdminState


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("show nodes", Show("nodes")),
        ("SHOW", Show("help")),
        ("help;", Show("help")),
        ("ATTACH NODE pg1", SetAdminState("pg1", AdminState.ATTACHED, "ATTACH")),
        ("detach node 'pg1'", SetAdminState("pg1", AdminState.DETACHED, "DETACH")),
        ("DRAIN pg-1;", SetAdminState("pg-1", AdminState.DRAINING, "DRAIN")),
        ("ATTACH node", SetAdminState("node", AdminState.ATTACHED, "ATTACH")),
        ("PROMOTE NODE pg1", Promote("pg1")),
        ("PROMOTE NODE pg1 FORCE", Promote("pg1", force=True)),
        ("promote pg1 force", Promote("pg1", force=True)),
        ("PROMOTE NODE force", Promote("force")),
        ("PROMOTE force", Promote("force")),
        ("PROMOTE NODE 'force'", Promote("force")),
        ("ACCEPT NODE pg1", Accept("pg1")),
        ("RELOAD", Reload()),
        ("RECONNECT", Reconnect(None)),
        ("reconnect app", Reconnect("app")),
        ('RECONNECT "My db";', Reconnect("My db")),
        ("SHUTDOWN", Shutdown(wait=False)),
        ("shutdown wait_for_servers", Shutdown(wait=True)),
        ("EXPLAIN ROUTE 'select 1'", ExplainRoute("select 1", False)),
        ("EXPLAIN ROUTE select 'a;b', 2 ;", ExplainRoute("select 'a;b', 2", False)),
        ("explain route in transaction $$x$$", ExplainRoute("x", True)),
        ("SET consistency.max_lag = '5s'", SetConfig("consistency.max_lag", "5s")),
        ("SET admin.users TO [a, b]", SetConfig("admin.users", "[a, b]")),
        ("SET datestyle = ISO", Chatter("SET")),
        ("RESET ALL", Chatter("RESET")),
        ("RESET", Chatter("RESET")),
        ("reset datestyle", Chatter("RESET")),
        ("RESET SESSION AUTHORIZATION", Chatter("RESET")),
        ("SET SESSION statement_timeout TO 0", Chatter("SET")),
        ("SET LOCAL lock_timeout = 0", Chatter("SET")),
        ("SET TIME ZONE 'UTC'", Chatter("SET")),
        ("SET NAMES 'utf8'", Chatter("SET")),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Chatter("SET")),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Chatter("SET")),
        ("SET SESSION AUTHORIZATION DEFAULT", Chatter("SET")),
        ("start transaction", Chatter("BEGIN")),
        ("SELECT 1", Constant("?column?", 1)),
        ("SELECT session_user", Constant("session_user", None)),
    ],
)
def test_commands_are_understood(text, command):
    assert parse_commands(text) == [command]


@pytest.mark.parametrize(
    "text",
    [
        "FOO",
        "'SHOW'",
        "SHOW NODES NOW",
        "ATTACH",
        "ATTACH NODE a b",
        "ATTACH NODE =",
        "PAUSE",
        "RELOAD NOW",
        "RECONNECT a b",
        "RECONNECT =",
        "SHUTDOWN LATER",
        "EXPLAIN SELECT 1",
        "EXPLAIN ROUTE",
        "SET",
        "SET pool.size",
        "SET LOCAL pool.size = 5",
        "SET SESSION consistency.max_lag = '3s'",
        "RESET pool.size",
        "SET pool.size 5",
        "SELECT * FROM nodes",
        "SELECT 12345678901234567890",
        "SELECT",
    ],
)
def test_anything_else_is_refused_with_where_the_verbs_are(text):
    with pytest.raises(UnknownCommand) as caught:
        parse_commands(text)
    assert caught.value.hint == "SHOW HELP lists the commands."


def test_the_verb_that_may_be_meant_is_named():
    with pytest.raises(
        UnknownCommand, match=r"unknown command: RELOADS; did you mean RELOAD\?"
    ):
        parse_commands("RELOADS")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SET max_lag = 5s", "there is no setting max_lag; did you mean consistency.max_lag?"),
        ("SET SESSION max_lag TO '5s'", "did you mean consistency.max_lag?"),
        ("SET consistenc.max_lag = 5s", "did you mean consistency.max_lag "),
    ],
)
def test_a_setting_without_its_section_is_refused_with_the_one_meant(text, said):
    with pytest.raises(UnknownSetting) as caught:
        parse_commands(text)
    assert said in str(caught.value)
    assert caught.value.hint == "SHOW CONFIG lists what can be set."
    assert caught.value.sqlstate == "42704"


def test_a_setting_like_none_is_refused_with_all_that_can_be_set():
    with pytest.raises(UnknownSetting) as caught:
        parse_commands("SET work_mem = '64MB'")
    assert str(caught.value) == "there is no setting work_mem"
    told = caught.value.hint.removeprefix("What can be set: ").split(", ")
    assert {"consistency.max_lag", "pool.size", "log.level"} <= set(told)
    assert "listen" not in told


def test_a_long_command_is_shortened_in_its_error():
    with pytest.raises(UnknownCommand, match=r"unknown command: x{57}\.\.\.$"):
        parse_commands("x" * 100)


def test_values_fill_parameters_and_stand_for_themselves_without():
    assert parse_commands("EXPLAIN ROUTE $1", ["select 1"]) == [ExplainRoute("select 1", False)]
    assert parse_commands("EXPLAIN ROUTE $1") == [ExplainRoute("$1", False)]


def test_every_view_is_in_the_help_and_every_chatter_is_parsed():
    shown = VERBS[0].removeprefix("SHOW ").lower().split("|")
    assert sorted(shown) == sorted(VIEWS)
    assert all(parse_commands(word) == [Chatter(tag)] for word, tag in CHATTER.items())
