"""What sessions begin with: read from a server, compared in time and between nodes."""

from __future__ import annotations

import gc

from rwsplit.session.defaults import (
    MOST_STARTUP,
    Default,
    Defaults,
    is_of_node,
    kept,
    needed,
    read,
)


def hexed(text: str) -> bytes:
    return text.encode().hex().encode()


def of(**values: str) -> Defaults:
    """Return defaults; `!` in front of a value: role or database say so; `__` stands for a dot."""
    return Defaults(
        {
            name.replace("__", "."): Default(value.removeprefix("!"), value.startswith("!"))
            for name, value in values.items()
        }
    )


def test_an_answer_is_read_with_where_each_value_comes_from():
    pairs = b"my.own!" + hexed("a=!,ä") + b",timezone=" + hexed("UTC") + b",x="
    found = read(b"UTF8", pairs)
    assert found.values == {
        "my.own": Default("a=!,ä", True),
        "timezone": Default("UTC", False),
        "x": Default("", False),
    }
    assert (found.get("timezone"), found.get("nosuch")) == ("UTC", "")
    assert read(b"LATIN1", b"x=e4").get("x") == "\udce4"


def test_equal_answers_are_one_value_while_somebody_has_it():
    found = read(b"UTF8", b"a=" + hexed("unique"))
    assert read(b"UTF8", b"a=" + hexed("unique")) is found
    del found
    gc.collect()
    assert read(None, None).values == {}


def test_a_session_keeps_what_role_and_database_said_at_its_login():
    own = of(search_path="$user", work_mem="4MB", timezone="UTC", gone="!1")
    current = of(search_path="!b", work_mem="!8MB", timezone="GMT", my__own="!x")
    assert kept(own, current) == {
        "search_path": "$user",
        "work_mem": "4MB",
        "gone": "1",
        "my.own": "",
    }
    assert kept(own, own) == {}


def test_a_node_is_given_what_clients_can_tell_and_keeps_what_is_its_own():
    primary = of(timezone="UTC", work_mem="4MB", enable_sort="on", jit="on", geqo="!off")
    replica = of(timezone="GMT", work_mem="8MB", enable_sort="off", jit="off", geqo="on")
    assert needed(primary, replica) == {"timezone": "UTC", "geqo": "off"}
    assert is_of_node(replica, primary, "timezone")
    assert not is_of_node(replica, primary, "geqo")
    assert needed(of(work_mem="4MB"), of(work_mem="!8MB")) == {"work_mem": "4MB"}


def test_where_they_are_not_known_nobody_is_given_any():
    known, unknown = of(timezone="!UTC"), read(b"UTF8", None)
    for one, other in ((known, unknown), (unknown, known)):
        assert needed(one, other) == kept(one, other) == {}
        assert one.agree(other, ())


def test_no_server_is_given_more_than_fits_into_a_startup_packet():
    most = MOST_STARTUP - len("a.b") - 2
    assert needed(of(a__b="!" + "x" * most), of(a__b="1")) == {"a.b": "x" * most}
    assert needed(of(a__b="!" + "x" * (most + 1)), of(a__b="1")) == {}
    assert needed(of(a__b="!" + "\udce4" * (most + 1)), of(a__b="1")) == {}


def test_defaults_agree_but_for_what_was_asked_for():
    first, second = of(timezone="UTC", a="1"), of(timezone="GMT", a="1")
    assert first.agree(first, ())
    assert first.agree(second, {"timezone": "x"})
    assert not first.agree(second, ())
    assert not first.agree(of(timezone="UTC", a="!1"), ())
