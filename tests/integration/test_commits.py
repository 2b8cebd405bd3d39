"""Every form of a commit is one: what it made visible, its own session and others at level `cluster` read from then on.

Replay is paused on all replicas while a session writes, so that a session that reads on one of them reads the old value.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final, LiteralString

import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.load import where
from tests.support.messages import (
    COPY_DONE,
    FLUSH,
    SYNC,
    bind,
    copy_data,
    execute,
    function_call,
    parse,
    query,
    statement,
)
from tests.support.proxy import Proxy
from tests.support.raw_client import Frame, RawClient, rows

pytestmark = pytest.mark.integration

UPDATE: Final = "update forms set v = 1"
FAIL: Final = "select 1/0"
#: The same, and the primary is not asked for a second opinion: the transaction stays on its replica.
REFUSED: Final = "set local work_mem ="
DO_COMMITS: Final = f"do $$ begin {UPDATE}; commit; end $$"


def several(*texts: str) -> bytes:
    """One unit of the extended protocol that runs *texts*."""
    return b"".join(statement(text) for text in texts) + SYNC


def units(*texts: str) -> bytes:
    """A unit each, sent at once."""
    return b"".join(statement(text) + SYNC for text in texts)


def queries(*texts: str) -> bytes:
    return b"".join(query(text) for text in texts)


SCHEMA: Final[tuple[LiteralString, ...]] = (
    "create table forms (v int)",
    "create table more (v int)",
    "insert into forms values (0)",
    "create function forms_set(n int) returns int language sql as "
    "'update forms set v = n returning v'",
    "create procedure forms_commit(n int) language plpgsql as "
    "$$ begin update forms set v = n; commit; end $$",
    "create procedure forms_commit_and_fail(n int) language plpgsql as "
    "$$ begin update forms set v = n; commit; perform 1/0; end $$",
    "create procedure forms_commit_and_tell(n int) language plpgsql as "
    "$$ begin update forms set v = n; commit; raise notice 'committed'; perform pg_sleep(2); end $$",
)

#: What a session says, step by step, and what is committed then. A step that ends in a Flush is through when COMMIT is answered.
FORMS: Final[dict[str, tuple[list[bytes], int]]] = {
    "autocommit": ([query(UPDATE)], 1),
    "autocommit, extended": ([several(UPDATE)], 1),
    "begin, update, commit": ([query("begin"), query(UPDATE), query("commit")], 1),
    "begin, update, end": ([query("begin"), query(UPDATE), query("end work")], 1),
    "commit and no chain": ([query(f"begin; {UPDATE}"), query("commit and no chain")], 1),
    "all in one string": ([query(f"begin; {UPDATE}; commit")], 1),
    "and more behind it": ([query(f"begin; {UPDATE}; commit; select 1")], 1),
    "an implicit one": ([query(f"{UPDATE}; select 1")], 1),
    "a commit of an implicit one": ([query(f"{UPDATE}; commit; select 1")], 1),
    "and a begin in one string": ([query(f"begin; {UPDATE}; commit; begin")], 1),
    "and a read in the next": ([query(f"begin; {UPDATE}; commit; begin; select 1")], 1),
    "commit; begin": ([query("begin"), query(UPDATE), query("commit; begin")], 1),
    "commit; begin read only": (
        [query(f"begin; {UPDATE}"), query("commit; begin read only")],
        1,
    ),
    "commit and chain": ([query("begin"), query(UPDATE), query("commit and chain")], 1),
    "and a rollback of the chain": (
        [query("begin"), query(UPDATE), query("commit and chain"), query("rollback")],
        1,
    ),
    "and a failure in the chain": (
        [query("begin"), query(UPDATE), query("commit and chain"), query(FAIL)],
        1,
    ),
    "and its end": (
        [query(f"begin; {UPDATE}; commit and chain"), query(FAIL), query("rollback")],
        1,
    ),
    "commit and chain; rollback": ([query(f"begin; {UPDATE}; commit and chain; rollback")], 1),
    "a failure behind commit": ([query(f"begin; {UPDATE}; commit; {FAIL}")], 1),
    "a failure in the next one": ([query(f"begin; {UPDATE}; commit; begin; {FAIL}")], 1),
    "a failure in the string of commit": (
        [query(f"begin; {UPDATE}"), query(f"commit; {FAIL}")],
        1,
    ),
    "rollback; update": ([query("begin"), query(REFUSED), query(f"rollback; {UPDATE}")], 1),
    "abort; update": ([query("begin"), query(REFUSED), query(f"abort; {UPDATE}")], 1),
    "commit; update": ([query("begin"), query(REFUSED), query(f"commit; {UPDATE}")], 1),
    "rollback; begin; update; commit": (
        [query("begin"), query(REFUSED), query(f"rollback; begin; {UPDATE}; commit")],
        1,
    ),
    "rollback; begin; update; commit; begin": (
        [query("begin"), query(REFUSED), query(f"rollback; begin; {UPDATE}; commit; begin")],
        1,
    ),
    "rollback and chain; update; commit": (
        [query("begin"), query(REFUSED), query(f"rollback and chain; {UPDATE}; commit")],
        1,
    ),
    "rollback and chain, update, commit": (
        [
            *(query("begin"), query(REFUSED), query("rollback and chain")),
            *(query(UPDATE), query("commit and chain")),
        ],
        1,
    ),
    "rollback, update": ([query("begin"), query(REFUSED), queries("rollback", UPDATE)], 1),
    "rollback and update in one unit": (
        [query("begin"), query(REFUSED), several("rollback", UPDATE)],
        1,
    ),
    "rollback and update before a flush": (
        [
            *(query("begin"), query(REFUSED)),
            statement("rollback") + FLUSH,
            several("begin", UPDATE, "commit", "begin"),
        ],
        1,
    ),
    "a failure on the primary": (
        [query(f"begin; {UPDATE}"), query(FAIL), query("rollback; update forms set v = 2")],
        2,
    ),
    "rollback to savepoint": (
        [
            *(query("begin"), query(UPDATE), query("savepoint s"), query(FAIL)),
            query("rollback to s; commit; begin"),
        ],
        1,
    ),
    "rollback to savepoint, commit and chain": (
        [
            *(query(f"begin; savepoint s; {UPDATE}; savepoint s"), query(FAIL)),
            *(query("rollback to savepoint s"), query("commit and chain")),
        ],
        1,
    ),
    "release savepoint": (
        [query(f"begin; savepoint s; {UPDATE}; release s"), query("commit; begin")],
        1,
    ),
    "one unit": ([several("begin", UPDATE, "commit")], 1),
    "one unit, with the next begin": ([several("begin", UPDATE, "commit", "begin")], 1),
    "one unit, with the next two": (
        [several("begin", UPDATE, "commit", "begin", "select 1")],
        1,
    ),
    "pipelined": ([units("begin", UPDATE, "commit", "begin", "select 1")], 1),
    "pipelined with a failure": (
        [units("begin", UPDATE, "commit", "begin", FAIL, "select 1")],
        1,
    ),
    "pipelined queries": ([queries("begin", UPDATE, "commit and chain", "select 1")], 1),
    "a failed one is pipelined away": (
        [queries("begin", REFUSED, "rollback", UPDATE, "begin")],
        1,
    ),
    "before a flush": (
        [statement("begin") + statement(UPDATE) + statement("commit") + FLUSH],
        1,
    ),
    "in the last one before a flush": (
        [query("begin"), several(UPDATE), statement("commit") + FLUSH],
        1,
    ),
    "before a flush, with a begin": (
        [query("begin"), several(UPDATE), statement("commit") + statement("begin") + FLUSH],
        1,
    ),
    "behind a flush": (
        [
            parse("commit", "c") + FLUSH + SYNC,
            query("begin"),
            parse(UPDATE) + bind() + FLUSH + execute() + bind("c") + execute() + FLUSH,
        ],
        1,
    ),
    "by a prepared statement": (
        [
            parse("commit", "c") + parse("begin", "b") + parse(UPDATE, "u") + SYNC,
            b"".join(bind(name) + execute() for name in ("b", "u", "c", "b")) + SYNC,
        ],
        1,
    ),
    "by a portal made before": (
        [
            query("begin"),
            parse("commit", "c") + bind("c", portal="p") + SYNC,
            several(UPDATE),
            execute("p") + statement("begin") + SYNC,
        ],
        1,
    ),
    "row by row": (
        [
            query("begin"),
            parse(f"{UPDATE} returning v") + bind() + execute(limit=1) + SYNC,
            several("commit", "begin"),
        ],
        1,
    ),
    "commit prepared": (
        [
            query(f"begin; {UPDATE}; prepare transaction 'forms'"),
            query("commit prepared 'forms'"),
        ],
        1,
    ),
    "commit prepared; begin": (
        [
            *(query("begin"), query(UPDATE), query("prepare transaction 'forms'")),
            several("commit prepared 'forms'", "begin"),
        ],
        1,
    ),
    "a procedure": ([query("call forms_commit(1)")], 1),
    "a procedure that fails then": ([query("call forms_commit_and_fail(1)")], 1),
    "a procedure and a begin": ([several("call forms_commit(1)", "begin")], 1),
    "a block": ([query(DO_COMMITS)], 1),
    "a function": ([query("select forms_set(1)")], 1),
    "a function call": ([b"FUNCTION"], 1),
    "a WITH": ([query(f"with u as ({UPDATE} returning v) select * from u")], 1),
    "an EXECUTE": (
        [query(f"prepare u as {UPDATE}"), query("begin; execute u; commit; begin")],
        1,
    ),
    "a COPY": ([query("copy more from stdin"), copy_data(b"1\n") + COPY_DONE], 1),
    "a commit ahead of a COPY": ([query(f"begin; {UPDATE}; commit; copy more from stdin")], 1),
    "rolled back": ([query("begin"), query(UPDATE), query("rollback; begin")], 0),
    "not committed yet": ([query(f"{UPDATE}; begin")], 0),
}


class Forms:
    """A table with one value, sessions of one proxy in front of it, and replicas whose replay can be paused."""

    def __init__(self, cluster: EmbeddedCluster, proxy: Proxy) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.other = proxy.connect(prepare_threshold=None)
        self.other.execute("set rwsplit.consistency = 'cluster'")
        self.oid = cluster.primary.query("select 'forms_set'::regproc::oid", database="app")[0][
            0
        ]

    @contextlib.contextmanager
    def paused(self) -> Iterator[RawClient]:
        """Have value 0 on all nodes and pause the replicas, on which both sessions read; yield the one that writes."""
        cluster = self.cluster
        cluster.primary.query("update forms set v = 0", database="app")
        cluster.primary.query("truncate more", database="app")
        cluster.wait_until_replayed()
        assert wait_until(lambda: str(where(self.other)).startswith("replica"), timeout=10)
        for node in cluster.replicas:
            node.query("select pg_wal_replay_pause()")
        try:
            with self.proxy.raw() as writer:
                assert read(writer) == 0
                assert str(where(self.other)).startswith("replica")
                yield writer
        finally:
            for node in cluster.replicas:
                node.query("select pg_wal_replay_resume()")

    def committed(self) -> int:
        """What is committed on the primary."""
        return int(self.cluster.primary.query(READ, database="app")[0][0])

    def read_by_other(self) -> int:
        """What the other session reads at level `cluster`."""
        [(value,)] = self.other.execute(READ).fetchall()
        return int(value)


READ: Final = "select v + (select count(*) from more) from forms"


def read(client: RawClient) -> int:
    [(value,)] = rows(client.query(READ))
    return int(value or -1)


def say(client: RawClient, step: bytes) -> list[Frame]:
    """Send *step* and return its answers, up to what ends the last of them."""
    client.send(step)
    codes = list(_codes(step))
    if codes[-1] == ord("H"):
        frames: list[Frame] = []
        while not frames or not (
            frames[-1].code == b"C" and frames[-1].payload[:6] in (b"COMMIT", b"ROLLBA")
        ):
            frames.append(client.frame())
        return frames
    ends = sum(code in b"QSF" for code in codes) + (codes[-1:] == [ord("c")])
    if b"from stdin" in step:
        return client.frames_until(b"G")
    return list(itertools.chain(*(client.frames_until(b"Z") for _ in range(ends))))


def _codes(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        yield data[at]
        at += 1 + int.from_bytes(data[at + 1 : at + 5], "big")


def end(client: RawClient, last: bytes) -> None:
    """End what is open: a unit, a COPY, a transaction."""
    if last.endswith(FLUSH):
        say(client, SYNC)
    if b"from stdin" in last:
        client.send(COPY_DONE)
        client.frames_until(b"Z")
    client.query("rollback")


@pytest.fixture(scope="module")
def forms(
    local_binaries: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Forms]:
    settings = {"max_prepared_transactions": "5"}
    with EmbeddedCluster(replicas=2, postgres=local_binaries, settings=settings) as cluster:
        with cluster.primary.connect("app", "app") as admin:
            for text in SCHEMA:
                admin.execute(text)
        directory = tmp_path_factory.mktemp("forms")
        with Proxy(cluster, directory, {"consistency": {"max_lag": "1h"}}) as proxy:
            made = Forms(cluster, proxy)
            yield made
            made.other.close()


@pytest.mark.parametrize("form", FORMS)
def test_what_was_committed_is_read(forms: Forms, form: str):
    steps, value = FORMS[form]
    with forms.paused() as writer:
        for step in steps:
            said = function_call(forms.oid, b"1") if step == b"FUNCTION" else step
            answers = say(writer, said)
            assert not [f for f in answers if f.code == b"E" and b"C25006" in f.payload]
        assert forms.committed() == value
        assert forms.read_by_other() == value
        end(writer, steps[-1])
        assert read(writer) == forms.committed()


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        (f"begin; {UPDATE}; commit; select repeat('x', 20000); select pg_sleep(2)", b"C"),
        ("call forms_commit_and_tell(1)", b"N"),
    ],
)
def test_what_the_client_knows_while_its_string_goes_on_is_read(
    forms: Forms, text: str, sign: bytes
):
    with forms.paused() as writer:
        writer.send(query(text))
        while not (
            (frame := writer.frame()).code == sign
            and (sign != b"C" or b"COMMIT" in frame.payload)
        ):
            pass
        assert forms.read_by_other() == forms.committed() == 1
        writer.frames_until(b"Z")
        assert read(writer) == 1


def test_what_was_rolled_back_does_not_keep_a_session_from_the_replicas(forms: Forms):
    with forms.paused() as writer:
        for text in ("rollback", "rollback; select 1", "select 1; rollback"):
            writer.query(f"begin; {UPDATE}")
            writer.query(text)
        assert read(writer) == 0
        frames = writer.query("show rwsplit.last_route")
        assert b"replica" in (rows(frames)[0][0] or b"")
        assert str(where(forms.other)).startswith("replica")


def test_a_commit_whose_answer_is_lost_counts(forms: Forms):
    with forms.paused() as writer:
        writer.query(f"begin; {UPDATE}")
        [(pid,)] = rows(writer.query("select pg_backend_pid()"))
        assert pid is not None
        writer.send(query("commit; select pg_sleep(60)"))
        assert wait_until(lambda: forms.committed() == 1, timeout=10)
        [backend] = forms.cluster.primary.query(
            "select pid from pg_stat_activity where query like 'commit; select pg_sleep%'",
            database="app",
        )
        forms.cluster.primary.query(f"select pg_terminate_backend({backend[0]})")
        assert writer.frame().code in {b"C", b"E", b"T"}
        assert forms.read_by_other() == 1


def test_what_a_client_that_is_gone_has_committed_counts(forms: Forms):
    with forms.paused() as writer:
        writer.query("begin")
        writer.query(UPDATE)
        writer.send(query("commit"))
        writer.close()
        assert wait_until(lambda: forms.committed() == 1, timeout=10)
        assert wait_until(lambda: forms.read_by_other() == 1, timeout=5)


def test_a_notification_tells_of_a_commit(forms: Forms):
    with forms.proxy.raw() as listener:
        listener.query("listen forms")
        with forms.paused():
            with forms.cluster.primary.connect("app", "app") as direct:
                direct.execute("update forms set v = 1")
                direct.execute("notify forms")
            assert listener.frame().code == b"A"
            assert forms.read_by_other() == 1
