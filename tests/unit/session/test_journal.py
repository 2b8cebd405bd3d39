"""Which parameters are asked for after a statement, and what the answers make of a session."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rwsplit.session.journal import MOST_LENGTH, MOST_SET, Journal, Touch, is_opaque
from rwsplit.session.parameters import ParameterSet, ParameterStore
from rwsplit.sql.classify import parse
from rwsplit.sql.functions import FunctionBook

STORE = ParameterStore()
BOOK = FunctionBook()


def hexed(text: str) -> bytes:
    return text.encode().hex().encode()


class Talk:
    """A session's journal in a conversation: what runs, then what a server says."""

    def __init__(
        self, base: Mapping[str, str] | None = None, known: Mapping[str, str] | None = None
    ) -> None:
        start = STORE.intern(base or {})
        self.journal = Journal(start, "app")
        self.known: ParameterSet = start if known is None else STORE.intern(known)

    def runs(self, *queries: str) -> bool:
        return [
            self.journal.note(parse(query.encode(), BOOK), self.known) for query in queries
        ][-1]

    def reads(self, encoding: bytes = b"UTF8", **values: bytes | None) -> dict[str, str]:
        """Answer a read-back by *values* (`__` stands for a dot) for the names asked for."""
        given = {name.replace("__", "."): value for name, value in values.items()}
        assert set(given) == set(self.journal.touched)
        columns = [encoding, *(given[name] for name in self.journal.touched)]
        assert len(columns) == len(self.journal.columns())
        found = dict(self.journal.read(self.journal.asked(), columns, self.known))
        assert not self.journal.touched
        return found


def test_a_value_is_what_postgresql_made_of_it():
    talk = Talk({"work_mem": "4MB"})

    assert talk.runs("set timezone = 'utc'")
    assert "current_setting(E'timezone', true)" in talk.journal.columns()[1]
    assert talk.reads(timezone=hexed("UTC")) == {"work_mem": "4MB", "timezone": "UTC"}


def test_a_statement_that_sets_nothing_is_not_noted():
    talk = Talk()

    assert not talk.runs("select 1")
    assert talk.journal.columns() == ()


def test_what_was_put_back_to_the_default_is_not_the_sessions_any_more():
    talk = Talk(known={"work_mem": "9MB", "timezone": "UTC"})

    talk.runs("reset work_mem", "set timezone to default")
    assert talk.reads(work_mem=hexed("4MB"), timezone=hexed("GMT")) == {}


def test_a_reset_that_did_not_happen_changes_nothing():
    talk = Talk(known={"work_mem": "9MB"})

    talk.runs("reset work_mem")
    assert talk.reads(work_mem=hexed("9MB")) == {"work_mem": "9MB"}


def test_a_reset_leads_back_to_the_startup():
    talk = Talk({"timezone": "asia/tokyo"}, known={"timezone": "UTC"})

    talk.runs("reset timezone")
    assert talk.reads(timezone=hexed("Asia/Tokyo")) == {"timezone": "asia/tokyo"}


def test_a_value_that_was_set_and_put_back_in_one_transaction_may_be_either():
    for order in (
        ("set work_mem = 1", "reset work_mem"),
        ("reset work_mem", "set work_mem = 1"),
    ):
        talk = Talk()
        talk.runs(*order)
        assert talk.reads(work_mem=hexed("4MB")) == {"work_mem": "4MB"}


def test_reset_all_asks_for_all_there_is_but_who_one_acts_as():
    talk = Talk({"timezone": "UTC"}, known={"role": "clerk", "work_mem": "9MB"})

    talk.runs("reset all")
    assert talk.reads(timezone=hexed("UTC"), work_mem=hexed("4MB")) == {
        "role": "clerk",
        "timezone": "UTC",
    }


def test_discard_all_asks_for_that_too():
    talk = Talk(known={"role": "clerk"})

    talk.runs("discard all")
    assert talk.reads(role=hexed("none")) == {}


def test_nobody_and_oneself_are_the_default():
    talk = Talk(known={"role": "clerk", "session_authorization": "boss"})

    talk.runs("set session authorization app")
    assert talk.reads(role=hexed("none"), session_authorization=hexed("app")) == {}
    talk = Talk({"role": "clerk"})
    talk.runs("set role none")
    assert talk.reads(role=hexed("none")) == {"role": "none"}
    talk.runs("set role other")
    assert talk.reads(role=hexed("other")) == {"role": "other"}


def test_a_parameter_nobody_knows_is_not_kept():
    talk = Talk(known={"app.user": "x"})

    talk.runs("set app.user = 'y'")
    assert talk.reads(app__user=None) == {}


def test_what_is_not_known_by_name_is_looked_up_in_pg_settings():
    talk = Talk(known={"app.user": "x", "role": "clerk", "work_mem": "9MB"})

    talk.runs("update pg_settings set setting = '1' where name = 'datestyle'")
    assert "pg_settings" in talk.journal.columns()[1]
    shown = b",".join(
        (b"DateStyle=" + hexed("SQL, DMY"), b"transaction_isolation=" + hexed("serializable"))
    )
    columns = [b"UTF8", shown]
    assert talk.journal.read(talk.journal.asked(), columns, talk.known) == {
        "app.user": "x",
        "role": "clerk",
        "datestyle": "SQL, DMY",
    }
    talk.runs("update pg_settings set setting = '1' where name = 'datestyle'")
    assert talk.journal.read(talk.journal.asked(), [b"UTF8", None], talk.known) == {
        "app.user": "x",
        "role": "clerk",
    }


def test_values_beyond_ascii_go_back_as_they_came():
    talk = Talk()

    talk.runs("set app.user = 'x'")
    assert talk.reads(app__user=hexed("Müller")) == {"app.user": "Müller"}
    talk.runs("set app.user = 'x'")
    assert talk.reads(b"LATIN1", app__user=b"c3bc") == {"app.user": "\udcc3\udcbc"}


def test_what_is_known_need_not_be_asked_for():
    talk = Talk()

    talk.runs("set app.user = 'x'")
    talk.journal.forget()
    assert talk.journal.columns() == ()


@pytest.mark.parametrize(
    ("values", "opaque"),
    [
        ({}, False),
        ({"client_encoding": "UTF8"}, False),
        ({"client_encoding": "shift_jis_2004"}, True),
        ({"standard_conforming_strings": "off"}, True),
        ({"standard_conforming_strings": "F"}, True),
        ({"standard_conforming_strings": "on"}, False),
    ],
)
def test_texts_that_cannot_be_lexed_as_bytes(values: dict[str, str], opaque: bool):
    assert is_opaque(values) is opaque


# What is not the session's by its own right...


def test_what_a_refused_set_leaves_is_not_the_sessions():
    talk = Talk({"work_mem": "4MB"})
    talk.runs("set log_statement = 'all'")
    assert "source OPERATOR(pg_catalog.=) 'session'" in talk.journal.columns()[1]
    assert talk.reads(log_statement=None) == {"work_mem": "4MB"}
    assert not talk.journal.borrowed


def test_a_value_the_role_could_not_set_by_itself_is_borrowed_until_it_is_gone():
    talk = Talk()
    for answer, borrowed in (
        (b"!" + hexed("all"), {"log_statement"}),
        (b"=" + hexed("all"), set()),
        (b"!" + hexed("all"), {"log_statement"}),
        (None, set()),
    ):
        talk.runs("select set_config('log_statement', 'all', false)")
        found = talk.reads(log_statement=answer)
        assert found == ({} if answer is None else {"log_statement": "all"})
        assert talk.journal.borrowed == borrowed
    talk.journal.borrowed.add("log_statement")
    talk.journal.forget()
    assert not talk.journal.borrowed


@pytest.mark.parametrize("behind", [[], ["set work_mem = '5MB'"], ["begin", "reset work_mem"]])
def test_what_is_not_set_behind_a_discard_all_is_what_was_asked_for_at_startup(
    behind: list[str],
):
    talk = Talk({"work_mem": "4MB", "my.own": "x"}, {"work_mem": "1MB", "my.own": "y"})
    talk.runs("set datestyle = german", "discard all", *behind)
    assert "pg_settings" in talk.journal.columns()[1]
    found = talk.reads(work_mem=None, my__own=b"", datestyle=None)
    assert found == {"work_mem": "4MB", "my.own": "x"}
    assert sorted(talk.journal.missing) == ["my.own", "work_mem"]


def test_behind_a_discard_all_all_parameters_are_asked_for_if_any_may_have_been_set():
    talk = Talk({"work_mem": "4MB"})
    talk.journal.touched["*"] = Touch.SET
    talk.runs("discard all")
    assert talk.journal.touched == {"*": Touch.SET, "work_mem": Touch.DISCARDED}
    columns = [b"UTF8", b"work_mem=" + hexed("5MB"), b"=" + hexed("5MB")]
    assert talk.journal.read(talk.journal.asked(), columns, talk.known) == {"work_mem": "5MB"}


def test_a_server_answers_only_if_the_values_asked_for_are_short_enough():
    talk = Talk({"work_mem": "4MB"})
    assert talk.journal.fits() == ""
    talk.runs("set my.own = 'x'", "set search_path = a")
    condition = talk.journal.fits()
    assert "current_setting(E'my.own', true)" in condition
    assert "current_setting(E'search_path', true)" in condition
    assert str(MOST_LENGTH) in condition
    talk.journal.touched.clear()
    talk.journal.touched.update({"*": Touch.SET, "log_statement": Touch.SET})
    assert talk.journal.fits() == "", "they are few, and not everybody may see them"
    assert all(f"{MOST_LENGTH + 1})" in column for column in talk.journal.columns()[1:])


def test_what_is_set_behind_a_discard_all_is_the_sessions_own():
    talk = Talk({"work_mem": "4MB"}, {"work_mem": "1MB"})
    talk.runs("discard all", "set work_mem = '5MB'")
    assert talk.reads(work_mem=b"=" + hexed("5MB")) == {"work_mem": "5MB"}
    assert not talk.journal.missing


def test_a_discard_all_that_has_failed_leaves_what_there_was():
    talk = Talk({"work_mem": "4MB"}, {"work_mem": "1MB"})
    talk.runs("begin", "discard all")
    assert talk.reads(work_mem=b"=" + hexed("1MB")) == {"work_mem": "1MB"}


def test_what_pg_settings_shows_is_marked_too():
    talk = Talk()
    talk.journal.touched["*"] = Touch.SET
    columns = [b"UTF8", b"log_statement!" + hexed("all") + b",work_mem=" + hexed("1MB")]
    assert dict(talk.journal.read(talk.journal.asked(), columns, talk.known)) == {
        "log_statement": "all",
        "work_mem": "1MB",
    }
    assert talk.journal.borrowed == {"log_statement"}


@pytest.mark.parametrize(
    ("version", "asks"),
    [("", "rolsuper"), ("14.2", "rolsuper"), ("15.1 (Debian)", "has_parameter_privilege")],
)
def test_older_servers_know_no_privileges_on_parameters(version: str, asks: str):
    journal = Journal(STORE.intern({}), "it's", version)
    journal.note(parse(b"set log_statement = 'all'", BOOK), STORE.intern({}))
    assert asks in journal.columns()[1]
    assert "E'it''s'" in journal.columns()[1]


def test_a_session_may_not_set_any_number_of_parameters():
    """Each change is looked at together with all others."""
    talk = Talk(known={f"a.x{number}": "1" for number in range(MOST_SET - 1)})

    def too_many(query: str) -> bool:
        return talk.journal.has_too_many(parse(query.encode(), BOOK), talk.known)

    assert not too_many("set a.y = 1")
    talk.runs("set a.y = 1")
    assert too_many("set a.z = 1")
    assert too_many("reset a.x1; set a.z = 1")
    assert not too_many("set a.y = 2; set a.x1 = 2")
    assert not too_many("reset a.x1")
    assert not too_many("reset all")
    assert not too_many("discard all")
