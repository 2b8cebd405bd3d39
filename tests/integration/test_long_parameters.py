"""Parameters of many megabytes: PostgreSQL takes them, rwsplit cannot give them to other servers; their session ends, and nobody waits."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from rwsplit.embedded.reachable import ReachableCluster
from rwsplit.session.journal import MOST_LENGTH
from tests.support.postgres import MakeProxy
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

LENGTH = "select length(current_setting('my.own', true))"


@pytest.fixture
def narrow(cluster: ReachableCluster[Any], make_proxy: MakeProxy) -> Proxy:
    """A proxy whose sessions share one server a node."""
    return make_proxy(cluster, {"pool": {"size": 1}})


def heard_by(session: psycopg.Connection[Any]) -> list[str]:
    """Return a list of what *session* is told: to libpq a FATAL error that comes with the end of an answer is a notice."""
    said: list[str] = []
    session.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    return said


def why_it_ended(session: psycopg.Connection[Any], said: list[str]) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        session.execute("select 1")
    return "; ".join([*said, str(caught.value)])


@pytest.mark.parametrize("name", ["my.own", "search_path"])
@pytest.mark.parametrize("size", [MOST_LENGTH, 30_000_000])
def test_what_is_too_long_ends_its_session_and_stays_on_no_server(
    narrow: Proxy, name: str, size: int
):
    with narrow.connect() as session:
        said = heard_by(session)
        session.execute(f"select set_config('{name}', repeat('x', {size}), false)")
        assert "longer than 64 kB together" in why_it_ended(session, said)
    with narrow.connect() as other:
        for _ in range(6):
            assert other.execute(LENGTH).fetchone() in {(None,), (0,)}
            assert other.execute("show search_path").fetchone() == ('"$user", public',)
            other.execute("/* rwsplit: primary */ select 1")


def test_what_is_not_too_long_is_had_on_every_node(narrow: Proxy):
    size = MOST_LENGTH - len("my.own")
    with narrow.connect() as session:
        session.execute(f"select set_config('my.own', repeat('''', {size}), false)")
        nodes = set()
        for hint in ("primary", "node=replica1", "node=replica2", "node=replica3"):
            assert session.execute(f"/* rwsplit: {hint} */ {LENGTH}").fetchone() == (size,)
            [route] = session.execute("show rwsplit.last_route").fetchall()
            nodes.add(route[0].split()[0])
        assert len(nodes) == 4


def test_what_postgresql_cuts_is_not_too_long(narrow: Proxy):
    with narrow.connect() as session:
        session.execute("select set_config('application_name', repeat('x', 1000000), false)")
        assert session.execute("show application_name").fetchone() == ("x" * 63,)


def test_very_many_parameters_are_bounded_together(narrow: Proxy):
    with narrow.connect() as session:
        said = heard_by(session)
        many = "select " + ", ".join(
            f"set_config('my.x{number}', repeat('x', 1000), false)" for number in range(66)
        )
        session.execute(many)
        assert "longer than 64 kB together" in why_it_ended(session, said)
