"""Every change by the console leaves a line: what changed, who, and from where; no secrets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import attrs
import pytest
import structlog
from structlog.testing import LogCapture

from rwsplit.admin.commands import VERBS, parse_commands
from rwsplit.admin.execute import execute
from rwsplit.admin.record import recorded, shown
from rwsplit.cluster.node import AdminState
from rwsplit.config.loader import load
from rwsplit.errors import RwsplitError
from tests.support.operator import FakeLogin, FakeOperator

WHO = {"user": "ops", "application": "psql", "peer": "10.0.0.7:40001"}
READERS = {"SHOW", "EXPLAIN"}


@pytest.fixture
def log() -> Iterator[LogCapture]:
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(**before)


PROMOTED = "replica1 is the primary (timeline 2), writes resumed after 2.1 s"


async def say(text: str, operator: FakeOperator) -> None:
    login = FakeLogin("ops", "rwsplit", "psql", "10.0.0.7:40001")
    for command in parse_commands(text):
        await recorded(command, operator, login, partial(execute, command, operator, {}))


@pytest.mark.parametrize(
    ("text", "command", "changes"),
    [
        ("DETACH replica1", "DETACH NODE replica1", ["replica1: attached -> detached"]),
        ("drain node replica1", "DRAIN NODE replica1", ["replica1: attached -> detached"]),
        ("ATTACH NODE replica1", "ATTACH NODE replica1", []),
        ("PROMOTE replica1", "PROMOTE NODE replica1", [PROMOTED]),
        (
            "PROMOTE replica1 FORCE",
            "PROMOTE NODE replica1 FORCE",
            ["node replica1 lacks 7 bytes of WAL: that is lost", PROMOTED],
        ),
        ("ACCEPT primary", "ACCEPT NODE primary", []),
        ("RECONNECT", "RECONNECT", []),
        ("RECONNECT app", "RECONNECT app", []),
        ("RELOAD", "RELOAD", ["consistency.max_lag: 10s -> 5s"]),
        ("SHUTDOWN", "SHUTDOWN", []),
        ("SHUTDOWN WAIT_FOR_SERVERS", "SHUTDOWN WAIT_FOR_SERVERS", []),
    ],
)
async def test_a_change_leaves_a_line_with_who_and_from_where(
    log: LogCapture, text: str, command: str, changes: list[str]
):
    await say(text, FakeOperator())

    assert log.entries == [
        {
            "event": "console_command",
            "log_level": "info",
            "command": command,
            "changes": changes,
            **WHO,
        }
    ]


async def test_a_setting_is_told_as_it_changed_and_a_secret_is_not_told(
    log: LogCapture, tmp_path
):
    file = tmp_path / "rwsplit.yaml"
    file.write_text("nodes: {primary: h}\nauth: {type: trust}\nadmin: {users: ops}\n")
    operator = FakeOperator(load(file))

    await say("SET consistency.max_lag = '7s'; SET monitor.password = 'pst'", operator)

    assert [entry["command"] for entry in log.entries] == [
        "SET consistency.max_lag",
        "SET monitor.password",
    ]
    assert log.entries[0]["changes"] == ["consistency.max_lag: 10s -> 7s"]
    assert "pst" not in str(log.entries)


async def test_a_refused_change_leaves_a_line_with_the_reason(log: LogCapture):
    with pytest.raises(RwsplitError):
        await say("PROMOTE NODE primary", FakeOperator())

    assert log.entries == [
        {
            "event": "console_command_refused",
            "log_level": "info",
            "command": "PROMOTE NODE primary",
            "reason": "primary is the primary already",
            **WHO,
        }
    ]


async def test_a_promotion_says_who_was_the_primary_before(log: LogCapture):
    class Promoting(FakeOperator):
        async def promote(self, node: str, *, force: bool = False) -> list[str]:
            await super().promote(node)
            self.view = attrs.evolve(self.view, primary=self.view.node(node))
            return []

    await say("PROMOTE replica1", Promoting())

    assert log.entries[0]["changes"] == ["primary: primary -> replica1"]


async def test_what_makes_the_log_quieter_is_told_as_loudly_as_before(log: LogCapture):
    class Quieting(FakeOperator):
        def set_admin_state(self, node: str, state: AdminState) -> None:
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))

    await say("DETACH replica1", Quieting())
    assert [entry["command"] for entry in log.entries] == ["DETACH NODE replica1"]

    await say("RECONNECT", FakeOperator())
    assert len(log.entries) == 1


async def test_looking_leaves_no_line_and_every_verb_that_changes_does(log: LogCapture):
    await say(
        "SHOW NODES; EXPLAIN ROUTE 'select 1'; SET datestyle = ISO; SELECT 1", FakeOperator()
    )
    assert log.entries == []

    typed = {
        "SET section.setting = 'value'": "SET pool.size = 5",
        "PROMOTE NODE name [FORCE]": "PROMOTE NODE name",
        "RECONNECT [database]": "RECONNECT",
        "SHUTDOWN [WAIT_FOR_SERVERS]": "SHUTDOWN",
    }
    for verb in VERBS:
        if verb.split()[0] not in READERS:
            (command,) = parse_commands(typed.get(verb, verb))
            assert shown(command), verb
