"""An account concludes from the answers what PostgreSQL's manual says they mean."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.guarantees.account import MISSING, Account
from tests.support.guarantees.history import Level, Outcome, Read, Write
from tests.support.guarantees.statements import (
    Begin,
    End,
    Other,
    Reading,
    Resolve,
    Restrict,
    Setting,
    Statement,
    Writing,
)

BEGIN = Begin("begin")
FROZEN = Begin("begin isolation level repeatable read", is_frozen=True)
COMMIT = End("commit")
CHAIN = End("commit and chain", chains=True)
ROLLBACK = End("rollback")
PREPARE = End("prepare transaction 'p'", prepares="p")
FAILURE = Other("select 1/0")
READ = Reading("select ...", 0)
ERROR = "error"


class Talk:
    """A conversation with one session; every step takes a second."""

    def __init__(self, level: Level = Level.SESSION) -> None:
        self.account = Account(1, level)
        self.now = 0.0
        self._value = 0

    def write(self, *, commits: bool = False) -> Writing:
        self._value += 1
        return Writing("update ...", 0, self._value, commits=commits)

    def send(self, *units: Sequence[Statement], is_open: bool = False) -> None:
        self.now += 1
        self.account.sending(units, self.now, is_open=is_open)

    def answer(self, *answers: str) -> None:
        """Each a tag, `error`, or the status of a ReadyForQuery."""
        for answer in answers:
            self.now += 1
            if answer == ERROR:
                self.account.failed(self.now)
            elif len(answer) == 1:
                self.account.ready(answer.encode(), self.now)
            else:
                rows = [(0, 5, "replica1")] if answer == "SELECT 1" else []
                self.account.done(answer, rows, self.now)

    def say(self, statements: Sequence[Statement], *answers: str) -> None:
        """Send *statements* as one unit, and hear *answers*."""
        self.send(statements)
        self.answer(*answers)

    @property
    def writes(self) -> list[tuple[dict[int, int], str]]:
        """Return what it knows of its writes."""
        return [
            (e.values, e.outcome.value) for e in self.account.events if isinstance(e, Write)
        ]

    @property
    def reads(self) -> list[Read]:
        return [event for event in self.account.events if isinstance(event, Read)]


def test_an_autocommit_write_is_acknowledged_by_ready_for_query():
    talk = Talk()
    talk.send([talk.write()])
    talk.answer("UPDATE 1")
    assert talk.writes == []
    talk.answer("I")
    assert talk.writes == [({0: 1}, "acknowledged")]
    [write] = talk.account.events
    assert (write.began, write.ended) == (1.0, 3.0)


#: What is said in one unit with its answers, and what has become of the writes 1, 2... in it.
UNITS = [
    ("begin; update; commit", "BEGIN, UPDATE 1, COMMIT, I", {1: "acknowledged"}),
    ("begin; update; commit; begin", "BEGIN, UPDATE 1, COMMIT, BEGIN, T", {1: "acknowledged"}),
    ("begin; update; chain", "BEGIN, UPDATE 1, COMMIT, T", {1: "acknowledged"}),
    ("begin; update; rollback", "BEGIN, UPDATE 1, ROLLBACK, I", {1: "failed"}),
    ("begin; update", "BEGIN, UPDATE 1, T", {}),
    ("begin; update; failure", "BEGIN, UPDATE 1, error, E", {}),
    (
        "begin; update; commit; failure",
        "BEGIN, UPDATE 1, COMMIT, error, I",
        {1: "acknowledged"},
    ),
    (
        "begin; update; commit; begin; update; commit",
        "BEGIN, UPDATE 1, COMMIT, BEGIN, UPDATE 1, error, I",
        {1: "acknowledged", 2: "failed"},
    ),
    ("update; update", "UPDATE 1, UPDATE 1, I", {2: "acknowledged"}),
    ("update; failure; update", "UPDATE 1, error, I", {1: "failed", 2: "failed"}),
    ("update; begin", "UPDATE 1, BEGIN, T", {}),
    ("update; commit", "UPDATE 1, COMMIT, I", {1: "acknowledged"}),
    ("update", "UPDATE 1, error, I", {1: "failed"}),
    ("update", "error, I", {1: "failed"}),
    ("begin; failure; rollback; update", "BEGIN, error, E", {1: "failed"}),
]
_WORDS: dict[str, Statement] = {
    "begin": BEGIN,
    "commit": COMMIT,
    "chain": CHAIN,
    "rollback": ROLLBACK,
    "failure": FAILURE,
}


@pytest.mark.parametrize(("said", "answers", "writes"), UNITS)
def test_what_a_unit_has_written_is_told_by_its_tags(
    said: str, answers: str, writes: dict[int, str]
):
    talk = Talk()
    talk.say(
        [_WORDS.get(word) or talk.write() for word in said.split("; ")], *answers.split(", ")
    )

    told = {values[0]: outcome for values, outcome in talk.writes}
    assert told == writes


def test_a_failed_transaction_ends_with_its_rollback_and_what_follows_is_another():
    talk = Talk()
    talk.say([BEGIN, talk.write(), FAILURE], "BEGIN", "UPDATE 1", "error", "E")
    talk.say([COMMIT, talk.write()], "ROLLBACK", "UPDATE 1", "I")

    assert talk.writes == [({0: 1}, "failed"), ({0: 2}, "acknowledged")]


def test_a_commit_before_a_flush_is_acknowledged_at_once():
    talk = Talk()
    talk.send([BEGIN, talk.write(), COMMIT], is_open=True)
    assert not talk.account.is_answered
    talk.answer("BEGIN", "UPDATE 1", "COMMIT")
    assert talk.account.is_answered
    assert talk.writes == [({0: 1}, "acknowledged")]
    talk.send([talk.write()], [READ])  # the first of them ends the open unit
    talk.answer("UPDATE 1", "I", "SELECT 1")
    assert not talk.account.is_answered
    talk.answer("I")
    assert talk.account.is_answered
    assert talk.writes[1:] == [({0: 2}, "acknowledged")]


def test_after_an_error_an_open_unit_answers_nothing_more():
    talk = Talk()
    talk.send([FAILURE, talk.write()], is_open=True)
    talk.answer(ERROR)
    assert talk.account.is_answered
    talk.say([READ], "I")
    assert talk.writes == [({0: 1}, "failed")]
    assert talk.reads == []


def test_a_prepared_transaction_is_a_write_when_it_is_resolved():
    talk = Talk()
    talk.say([BEGIN, talk.write(), PREPARE], "BEGIN", "UPDATE 1", "PREPARE TRANSACTION", "I")
    assert (talk.writes, talk.account.prepared) == ([], "p")
    talk.say([Resolve("commit prepared 'p'", commits=True)], "COMMIT PREPARED", "I")
    assert (talk.writes, talk.account.prepared) == ([({0: 1}, "acknowledged")], "")

    talk.say([BEGIN, talk.write(), PREPARE], "BEGIN", "UPDATE 1", "PREPARE TRANSACTION", "I")
    talk.say([Resolve("rollback prepared 'p'", commits=False)], "ROLLBACK PREPARED", "I")
    assert talk.writes[1:] == [({0: 2}, "failed")]


def test_a_procedure_that_commits_is_acknowledged_by_its_tag():
    talk = Talk()
    talk.say([talk.write(commits=True)], "CALL")
    assert talk.writes == [({0: 1}, "acknowledged")]


def test_what_was_under_way_when_the_connection_was_lost_is_unknown():
    talk = Talk()
    talk.say([BEGIN, talk.write(), PREPARE], "BEGIN", "UPDATE 1", "PREPARE TRANSACTION", "I")
    talk.say([BEGIN, talk.write()], "BEGIN", "UPDATE 1", "T")
    talk.send([READ, talk.write(), COMMIT])
    talk.account.lost(9.0)

    [write] = talk.account.events
    assert isinstance(write, Write)
    assert write.entries == ((0, 2), (0, 1), (0, 3))
    assert write.outcome is Outcome.UNKNOWN


def test_a_read_in_a_transaction_knows_what_that_has_written():
    talk = Talk()
    talk.say([BEGIN, talk.write(), READ], "BEGIN", "UPDATE 1", "SELECT 1", "T")
    talk.say([COMMIT, READ], "COMMIT", "SELECT 1", "I")

    assert [dict(read.uncommitted) for read in talk.reads] == [{0: 1}, {}]


def test_a_row_that_is_not_there_is_a_value_nobody_wrote():
    talk = Talk()
    talk.say([READ], "SELECT 0", "I")
    assert talk.reads[0].values == {0: MISSING}


def test_reads_of_a_repeatable_read_transaction_share_a_snapshot_that_a_first_write_takes():
    talk = Talk()
    talk.say([FROZEN, Other("savepoint a", needs_snapshot=False)], "BEGIN", "SAVEPOINT", "T")
    talk.say([talk.write()], "UPDATE 1", "T")
    first = 5.0
    talk.say([READ], "SELECT 1", "T")
    talk.say([READ, CHAIN], "SELECT 1", "COMMIT", "T")
    talk.say([READ, COMMIT, READ], "SELECT 1", "COMMIT", "SELECT 1", "I")

    one, two, chained, after = talk.reads
    assert one.began == two.began == first
    assert one.transaction == two.transaction != chained.transaction
    assert chained.transaction is not None
    assert chained.began > two.ended
    assert after.transaction is None


def test_set_lowers_the_level_until_it_is_reset():
    talk = Talk()
    talk.say([Setting("set ...", Level.EVENTUAL)], "SET", "I")
    talk.say([READ], "SELECT 1", "I")
    talk.say([Setting("set ...", Level.CLUSTER)], "error", "I")
    talk.say([READ], "SELECT 1", "I")
    talk.say([Setting("reset ...", None)], "RESET", "I")
    talk.say([READ], "SELECT 1", "I")

    assert [read.level for read in talk.reads] == [Level.EVENTUAL, Level.EVENTUAL, None]


def test_a_transaction_that_has_read_below_the_level_stays_below():
    low = READ._replace(level=Level.EVENTUAL)
    talk = Talk(Level.CLUSTER)
    talk.say([BEGIN, READ, low, READ], "BEGIN", *["SELECT 1"] * 3, "T")
    talk.say([READ._replace(level=Level.SESSION), COMMIT], "SELECT 1", "COMMIT", "I")
    talk.say([READ], "SELECT 1", "I")
    talk.say([low], "SELECT 1", "I")
    talk.say([READ], "SELECT 1", "I")

    eventual = Level.EVENTUAL
    levels = [None, eventual, eventual, eventual, None, eventual, None]
    assert [read.level for read in talk.reads] == levels


def test_a_hint_inside_a_transaction_raises_nothing():
    high = READ._replace(level=Level.CLUSTER)
    talk = Talk()
    talk.say([high], "SELECT 1", "I")
    talk.say([BEGIN, high, COMMIT], "BEGIN", "SELECT 1", "COMMIT", "I")

    assert [read.level for read in talk.reads] == [Level.CLUSTER, None]


def test_it_knows_whether_its_transaction_only_reads():
    talk = Talk()
    talk.say([Begin("begin read only", reads_only=True)], "BEGIN", "T")
    assert talk.account.reads_only
    talk.say([FAILURE, CHAIN], "error", "E")
    talk.say([CHAIN], "ROLLBACK", "T")
    assert talk.account.reads_only
    talk.say([COMMIT, BEGIN], "COMMIT", "BEGIN", "T")
    assert not talk.account.reads_only
    talk.say([Restrict()], "SET", "T")
    assert talk.account.reads_only
    talk.say([ROLLBACK], "ROLLBACK", "I")
    assert not talk.account.reads_only
