"""psql as a person uses it: backslash commands, scripts, Ctrl-C, and pg_dump and pg_restore beside it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from rwsplit.embedded.postgres import Binaries
from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import ReachableCluster
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

DEADLINE: Final = 60.0


class Tools:
    """PostgreSQL's own command-line programs."""

    def __init__(self) -> None:
        self._directory = Binaries.find(None).tools
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PG")
        }

    def run(
        self, name: str, *arguments: str, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one to its end."""
        return subprocess.run(
            [os.fspath(self._directory / name), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
            env=self.environment,
        )

    def start(self, terminal: int, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one at a *terminal*."""
        return subprocess.Popen(
            [os.fspath(self._directory / name), *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=self.environment,
        )


@pytest.fixture(scope="module")
def tools() -> Tools:
    return Tools()


SCRIPT = r"""
\set ON_ERROR_STOP off
create table psql_table (id serial primary key, a text not null default 'x');
create index on psql_table (a);
create view psql_view as select id from psql_table;
\d psql_table
\d+ psql_view
\dt psql*
\di psql*
\df lower
\l app
\dn
\du app
\conninfo
insert into psql_table (a) values ('one'), ('two') returning id;
select * from nowhere;
begin;
update psql_table set a = 'three' where id = 1;
savepoint s;
select 1/0;
rollback to s;
commit;
select * from psql_table order by id \gx
select 'a' as x, 'b' as y \gset
\echo :x :y
select $1::int + $2::int \bind 1 2 \g
\copy psql_table (a) from stdin
four
five
\.
\copy (select a from psql_table order by id) to stdout
prepare p as select count(*) from psql_table;
execute p;
select format('select %s', g) from generate_series(1, 3) g \gexec
\crosstabview
\set FETCH_COUNT 2
select a from psql_table order by id;
\watch i=0.01 c=2
drop view psql_view;
drop table psql_table;
"""


def test_a_script_prints_the_same_as_on_a_direct_connection(
    tools: Tools, cluster: ReachableCluster[Any], proxy: Proxy
):
    def printed(dsn: str) -> tuple[str, str, int]:
        done = tools.run("psql", "-X", "-a", dsn, text=SCRIPT)
        port = str(proxy.port), str(cluster.primary.port)
        return (
            done.stdout.replace(port[0], "PORT").replace(port[1], "PORT"),
            done.stderr,
            done.returncode,
        )

    direct = printed(cluster.primary.dsn("app", "app"))
    ours = printed(proxy.dsn())
    assert _without_times(ours[0]) == _without_times(direct[0])
    assert ours[1:] == direct[1:]


def _without_times(text: str) -> list[str]:
    """Leave out the headings of `\\watch`, which are times of day."""
    return [line for line in text.splitlines() if "(every " not in line]


def test_ctrl_c_stops_a_long_query_and_the_session_goes_on(
    tools: Tools, cluster: ReachableCluster[Any], proxy: Proxy
):
    terminal, theirs = os.openpty()  # psql survives a Ctrl-C only on a terminal
    process = tools.start(
        theirs, "psql", "-X", "-n", "-A", "-t", "-P", "pager=off", proxy.dsn()
    )
    os.close(theirs)
    os.write(terminal, b"select pg_sleep(60), 'interrupted by hand';\n")

    def runs() -> bool:
        return any(
            node.query(
                "select 1 from pg_stat_activity where state = 'active' "
                "and query like '%%interrupted by hand%%' and pid <> pg_backend_pid()"
            )
            for node in cluster.nodes.values()
        )

    try:
        assert wait_until(runs, timeout=20)
        process.send_signal(signal.SIGINT)
        os.write(terminal, b"select 'goes ' || 'on';\n\\q\n")
        printed = _read_all(terminal)
        assert process.wait(10) == 0, printed
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert "canceling statement due to user request" in printed
    assert "goes on" in printed


def _read_all(terminal: int) -> str:
    """Return what is printed until the program ends; it must say something every ten seconds."""
    printed = b""
    while select.select([terminal], [], [], 10)[0]:
        try:
            printed += os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the other end open any more
            break
    return printed.decode()


def test_several_statements_of_one_command_are_one_transaction(tools: Tools, proxy: Proxy):
    done = tools.run(
        *("psql", "-X", "-A", "-t", proxy.dsn(), "-c"),
        "create table psql_whole (a int); insert into psql_whole values (1); select 1/0",
    )
    assert "division by zero" in done.stderr
    done = tools.run("psql", "-X", "-A", "-t", proxy.dsn(), "-c", "select * from psql_whole")
    assert 'relation "psql_whole" does not exist' in done.stderr


def test_a_dump_through_rwsplit_is_the_dump_of_the_primary_and_restores(
    tools: Tools, cluster: ReachableCluster[Any], proxy: Proxy, tmp_path: Path
):
    with cluster.primary.connect("app") as admin:
        admin.execute("create database dumped owner app")
        admin.execute("create database restored owner app")
    try:
        with proxy.connect("dumped") as connection:
            connection.execute(
                "create schema inner_schema; create type inner_schema.mood as enum ('a', 'b');"
                "create table filled (id bigserial primary key, a text, m inner_schema.mood);"
                "insert into filled (a, m) select md5(g::text), 'a' from generate_series(1, 50000) g;"
                "create function inner_schema.f(int) returns int language sql as 'select $1';"
                "create index on filled (a);"
                "create view seen as select a from filled;"
                "comment on view seen is 'for the dump'"
            )
        cluster.wait_until_replayed()
        archive = tmp_path / "archive"
        done = tools.run("pg_dump", "-Fc", "-f", os.fspath(archive), proxy.dsn("dumped"))
        assert (done.returncode, done.stderr) == (0, "")
        done = tools.run(
            *("pg_restore", "--no-owner", "-d", proxy.dsn("restored"), os.fspath(archive))
        )
        assert (done.returncode, done.stderr) == (0, "")

        def plain(dsn: str) -> list[str]:
            dump = tools.run("pg_dump", "--no-owner", dsn)
            assert dump.returncode == 0, dump.stderr
            lines = dump.stdout.splitlines()
            return [
                line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))
            ]

        cluster.wait_until_replayed()
        expected = plain(cluster.primary.dsn("dumped", "app"))
        assert plain(proxy.dsn("dumped")) == expected
        assert plain(cluster.primary.dsn("restored", "app")) == expected
        parallel = tools.run(
            *("pg_dump", "-Fd", "-j", "3", "-f", os.fspath(tmp_path / "directory")),
            proxy.dsn("dumped"),
        )
        assert (parallel.returncode, parallel.stderr) == (0, "")
    finally:
        with cluster.primary.connect("app") as admin:
            admin.execute("drop database dumped with (force)")
            admin.execute("drop database restored with (force)")
