"""What one look at each node says of a cluster."""

from __future__ import annotations

import attrs
import pytest

from rwsplit.cluster.inspection import WARNINGS, Failed, Finding, Line, Seen, judge
from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation, Source
from rwsplit.cluster.replay import Replay
from rwsplit.lsn import LSN

LEADER = Observation(
    role=Role.PRIMARY,
    timeline=2,
    lsn=LSN(100),
    system_identifier="7",
    server_version="16.3",
)
FOLLOWER = attrs.evolve(LEADER, role=Role.REPLICA, source=Source.STREAM)


def judged(*looks: Observation, may_promote: bool = True) -> list[Line]:
    answers = {
        f"pg{number}": Seen(look, may_promote=may_promote) for number, look in enumerate(looks)
    }
    return judge(answers, "rwsplit", "postgres", 5.0)


def found(lines: list[Line]) -> list[tuple[str, Finding]]:
    return [(line.subject, line.finding) for line in lines if line.finding]


def test_a_healthy_cluster_is_ok_line_by_line():
    lines = judged(LEADER, FOLLOWER)
    assert [(line.subject, line.verdict, line.text) for line in lines] == [
        ("pg0", "ok", "primary, timeline 2, PostgreSQL 16.3"),
        ("pg1", "ok", "replica, timeline 2, PostgreSQL 16.3"),
        ("promote", "ok", "rwsplit may execute pg_promote"),
    ]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"source": Source.NONE}, Finding.NOT_STREAMING),
        ({"source": Source.ARCHIVE}, Finding.ARCHIVE_ONLY),
        ({"source": Source.UNSEEN}, Finding.NOT_PG_MONITOR),
        ({"timeline": 1}, Finding.OTHER_TIMELINE),
        ({"system_identifier": "8"}, Finding.OTHER_CLUSTER),
    ],
)
def test_what_is_wrong_with_a_replica_is_named(change, finding):
    lines = judged(LEADER, FOLLOWER, attrs.evolve(FOLLOWER, **change))
    assert found(lines) == [("pg2", finding)]
    assert lines[2].text.endswith(finding.value)
    assert lines[2].verdict == ("warn" if finding in WARNINGS else "FAIL")


def test_each_thing_that_is_wrong_has_a_line():
    lines = judged(LEADER, attrs.evolve(FOLLOWER, timeline=1, source=Source.NONE))
    assert found(lines) == [("pg1", Finding.OTHER_TIMELINE), ("pg1", Finding.NOT_STREAMING)]


def test_without_a_primary_writes_would_wait():
    assert found(judged(FOLLOWER, FOLLOWER)) == [("cluster", Finding.NO_PRIMARY)]


def test_two_primaries_are_named_with_their_timelines():
    lines = judged(attrs.evolve(LEADER, timeline=1), LEADER)
    assert found(lines) == [("cluster", Finding.SEVERAL_PRIMARIES)]
    assert lines[2].text.startswith("pg0 (timeline 1), pg1 (timeline 2): ")


def test_a_primary_of_another_cluster_is_not_one_of_two():
    lines = judged(attrs.evolve(LEADER, system_identifier="8"), LEADER, FOLLOWER)
    assert found(lines) == [("pg0", Finding.OTHER_CLUSTER)]


def test_a_role_that_may_not_promote_is_told_what_to_grant():
    lines = judged(LEADER, may_promote=False)
    assert found(lines) == [("promote", Finding.MAY_NOT_PROMOTE)]
    assert lines[-1].verdict == "warn"
    assert lines[-1].text == (
        "rwsplit may not execute pg_promote, so `rwsplit node promote` would be refused; in database postgres: "
        "GRANT EXECUTE ON FUNCTION pg_promote TO rwsplit"
    )


def test_a_replica_that_has_not_replayed_a_grant_is_not_told_to_grant():
    answers = {"pg0": Seen(LEADER), "pg1": Seen(FOLLOWER, may_promote=False)}
    line = judge(answers, "rwsplit", "postgres", 5.0)[-1]
    assert (line.subject, line.verdict) == ("promote", "warn")
    assert line.text == (
        "rwsplit may execute pg_promote, but pg1 did not replay that yet, so `rwsplit node promote` would be refused there"
    )


@pytest.mark.parametrize(
    ("replay", "findings"),
    [
        (Replay(), []),
        (Replay(paused=True), [Finding.REPLAY_PAUSED]),
        (Replay(delay=4.0, delay_words="4s"), []),
        (Replay(delay=600.0, delay_words="10min"), [Finding.APPLY_DELAY]),
        (Replay(True, 5.0, "5s"), [Finding.REPLAY_PAUSED, Finding.APPLY_DELAY]),
    ],
)
def test_what_holds_up_the_replay_of_a_replica_is_named(
    replay: Replay, findings: list[Finding]
):
    answers = {"pg0": Seen(LEADER), "pg1": Seen(FOLLOWER, replay=replay)}
    lines = judge(answers, "rwsplit", "postgres", 5.0)
    assert [line.finding for line in lines if line.subject == "pg1"] == (findings or [None])
    assert {line.verdict for line in lines} <= {"ok", "warn"}


def test_the_delay_of_a_replica_is_compared_with_max_lag_in_words():
    answers = {"pg0": Seen(LEADER), "pg1": Seen(FOLLOWER, replay=Replay(False, 600.0, "10min"))}
    line = judge(answers, "rwsplit", "postgres", 5.0)[1]
    assert (
        "recovery_min_apply_delay is 10min there, consistency.max_lag 5 s, so it" in line.text
    )


def test_a_node_that_was_not_seen_says_why_and_what_to_do():
    failed = Failed(Finding.NO_ANSWER, "h:5432: no answer in 2 s")
    lines = judge({"pg0": failed}, "rwsplit", "postgres", 5.0)
    assert found(lines) == [("pg0", Finding.NO_ANSWER), ("cluster", Finding.NO_PRIMARY)]
    assert lines[0].text == f"h:5432: no answer in 2 s: {Finding.NO_ANSWER.value}"


def test_a_monitor_that_is_a_superuser_is_a_warning():
    lines = judge({"pg0": Seen(LEADER, is_superuser=True)}, "watch", "app", 5.0)
    (line,) = [line for line in lines if line.subject == "monitor"]
    assert line.verdict == "warn"
    assert line.text.startswith("watch is a superuser, which the monitor's role must never be")
