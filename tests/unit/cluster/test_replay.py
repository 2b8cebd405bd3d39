"""What a node says of its replay, read."""

from __future__ import annotations

import pytest

from rwsplit.cluster.replay import Replay, read_replay


@pytest.mark.parametrize(
    ("text", "replay", "held_up"),
    [
        ("", Replay(), None),
        ("0 0 0", Replay(), None),
        ("1 0 0", Replay(paused=True), "its replay is paused"),
        (
            "0 2500 2500ms",
            Replay(False, 2.5, "2500ms"),
            "it has recovery_min_apply_delay = 2500ms",
        ),
        ("1 600000 10min", Replay(True, 600.0, "10min"), "its replay is paused"),
    ],
)
def test_why_a_node_does_not_replay_is_read(text: str, replay: Replay, held_up: str | None):
    assert read_replay(text) == replay
    found = replay.held_up()
    assert (found and found[0]) == held_up
