"""Events with fields, for people or for machines."""

from __future__ import annotations

import json
from io import StringIO

import pytest
import structlog

from rwsplit.config.model import LogConfig
from rwsplit.telemetry.logs import LONGEST, configure_logs


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def defaults():
    yield
    structlog.reset_defaults()


def test_json_is_one_object_a_line_with_fields():
    out = StringIO()
    configure_logs(LogConfig(format="json"), stream=out)
    structlog.get_logger().info("node_banned", node="pg1", seconds=1.5)
    event = json.loads(out.getvalue())
    assert event["event"] == "node_banned"
    assert event["level"] == "info"
    assert (event["node"], event["seconds"]) == ("pg1", 1.5)
    assert event["timestamp"].endswith("Z")


def test_json_holds_an_exception_as_data():
    out = StringIO()
    configure_logs(LogConfig(format="json"), stream=out)
    try:
        raise KeyError("x")
    except KeyError:
        structlog.get_logger().exception("probe_failed")
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_type"] == "KeyError"


def test_the_console_has_colour_only_on_a_terminal():
    plain, terminal = StringIO(), Terminal()
    for out in (plain, terminal):
        configure_logs(LogConfig(), stream=out)
        structlog.get_logger().warning("node_down", node="pg2")
    assert "node_down" in plain.getvalue()
    assert "node=pg2" in plain.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert "\x1b" in terminal.getvalue()


def test_events_below_the_level_are_dropped_and_a_reload_changes_the_level():
    out = StringIO()
    log = structlog.get_logger()
    configure_logs(LogConfig(level="error"), stream=out)
    log.warning("quiet")
    configure_logs(LogConfig(level="debug"), stream=out)
    log.debug("loud")
    assert "quiet" not in out.getvalue()
    assert "loud" in out.getvalue()


def test_standard_error_is_the_default(capsys):
    configure_logs(LogConfig())
    structlog.get_logger().info("started")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "started" in captured.err


def test_a_field_is_cut():
    out = StringIO()
    configure_logs(LogConfig(format="json"), stream=out)
    many = ["x" * 10] * 1000
    structlog.get_logger().info(
        "refused", reason="y" * 5000, parameters=many, fine=["z"], size=7
    )
    event = json.loads(out.getvalue())
    assert event["reason"] == "y" * LONGEST + "... (5000 characters)"
    assert len(event["parameters"]) < LONGEST + 30
    assert (event["fine"], event["size"]) == (["z"], 7)
