"""What of `rwsplit demo` needs no PostgreSQL."""

from __future__ import annotations

import socket

import pytest

from rwsplit.cli.demo import DemoError, check_port, parse_delays


def test_delays_are_durations_by_replica():
    assert parse_delays(["replica3=2s", "replica1=250ms"], 3) == {
        "replica3": 2.0,
        "replica1": 0.25,
    }


@pytest.mark.parametrize(
    ("word", "replicas", "sentence"),
    [
        ("replica4=2s", 3, "the replicas are replica1, replica2, replica3"),
        ("primary=2s", 1, "the replicas are replica1"),
        ("replica1=2s", 0, "there are no replicas"),
        ("replica1", 3, "must be a duration"),
        ("replica1=soon", 3, "must be a duration"),
    ],
)
def test_a_bad_delay_is_refused_in_words(word, replicas, sentence):
    with pytest.raises(DemoError, match=sentence):
        parse_delays([word], replicas)


def test_a_port_that_is_taken_is_refused_before_anything_starts(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("demo", "--port", str(port))
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "choose another port by --port" in result.stderr
    check_port(0)
