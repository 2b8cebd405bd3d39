"""What is noted of who leads: in the log, and for after a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from rwsplit.cluster.node import Role
from rwsplit.cluster.picture import Picture
from rwsplit.cluster.remembered import Remembered
from rwsplit.monitor.chronicle import POSITION_INTERVAL, Chronicle
from tests.unit.cluster.test_picture import configure, look, primary, running


@pytest.fixture
def log() -> Iterator[LogCapture]:
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(processors=[capture], cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**before)


def noting(chronicle: Chronicle) -> list[Remembered]:
    saved: list[Remembered] = []

    def save(known: Remembered) -> str | None:
        saved.append(known)
        return "the disk is full" if len(saved) == 1 else None

    chronicle.save = save
    return saved


def test_before_anything_is_known_nothing_is_saved():
    chronicle = Chronicle()
    saved = noting(chronicle)

    chronicle.look(Picture(configure(), 99.0), 99.0)

    assert saved == []


def test_what_changes_is_saved_at_once_and_the_position_now_and_then():
    chronicle, picture = Chronicle(), running()
    saved = noting(chronicle)

    chronicle.look(picture, 100.2)
    assert picture.unsaved == "the disk is full"
    picture.observed("pg0", primary(2000), 101.0, 101.0)
    chronicle.look(picture, 101.0)
    assert [known.lsn for known in saved] == [1000]

    chronicle.look(picture, 100.2 + POSITION_INTERVAL)
    assert [known.lsn for known in saved] == [1000, 2000]
    assert picture.unsaved is None
    chronicle.look(picture, 100.2 + 3 * POSITION_INTERVAL)
    assert len(saved) == 2

    picture.observed("pg1", look(Role.PRIMARY, timeline=2), 131.0, 131.0)
    chronicle.look(picture, 131.0)
    assert saved[-1].primary == "pg1"


def test_what_is_refused_and_why_there_are_no_writes_is_told_once(log: LogCapture):
    chronicle, picture = Chronicle(), running()
    picture.observed("pg2", look(system="8"), 100.3, 100.4)
    for _ in range(2):
        chronicle.look(picture, 100.5)
        picture.failed("pg0", "refused", 100.6, lost=True)
    for _ in range(2):
        chronicle.look(picture, 100.7)

    assert [entry["event"] for entry in log.entries] == ["node_refused", "no_writes"]
    assert log.entries[0]["node"] == "pg2"
    assert "pg0" in log.entries[1]["reason"]
    assert [entry["log_level"] for entry in log.entries] == ["warning", "error"]


def test_that_there_are_writes_again_is_told_with_the_time_without(log: LogCapture):
    chronicle, picture = Chronicle(), running()
    for _ in range(2):
        picture.failed("pg0", "refused", 100.6, lost=True)
    chronicle.look(picture, 100.7)
    picture.observed("pg1", look(Role.PRIMARY, timeline=2), 103.0, 103.0)
    for _ in range(2):
        chronicle.look(picture, 103.0)

    assert [entry["event"] for entry in log.entries] == ["no_writes", "writes_resumed"]
    assert log.entries[1] == {
        "event": "writes_resumed",
        "log_level": "warning",
        "node": "pg1",
        "after_seconds": 2.3,
    }
