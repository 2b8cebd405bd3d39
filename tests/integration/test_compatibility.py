"""The feature map of docs/compatibility.md: every cell is what a run in that pool mode says.

Between any two statements outside a transaction another session takes the server that was used last, so that
nothing works by luck: without a pin, the next statement gets another one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from rwsplit.embedded.cluster import EmbeddedCluster
from rwsplit.embedded.processes import wait_until
from tests.support.messages import SYNC, bind, execute, parse, query
from tests.support.proxy import Proxy

pytestmark = pytest.mark.integration

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "compatibility.md"
MODES: Final = ("session", "transaction", "statement")


class Talk:
    """A session whose server another one takes away whenever it can."""

    def __init__(self, proxy: Proxy, cluster: EmbeddedCluster) -> None:
        self.proxy = proxy
        self.cluster = cluster
        self.client = proxy.connect(
            prepare_threshold=None, options="-c statement_timeout=77s -c DateStyle=German"
        )
        self._thief = proxy.connect(prepare_threshold=None)

    def __call__(self, text: str, **options: Any) -> list[tuple[Any, ...]]:
        status = self.client.info.transaction_status
        idle = status == psycopg.pq.TransactionStatus.IDLE
        if idle:
            self._thief.execute("select pg_advisory_lock(77)")
        try:
            cursor = self.client.execute(text, **options)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []
        finally:
            if idle:
                self._thief.execute("discard all")

    def value(self, text: str, **options: Any) -> object:
        [(value,)] = self(text, **options)
        return value

    def close(self) -> None:
        self.client.close()
        self._thief.close()


def startup_parameters(talk: Talk) -> None:
    for _ in range(3):
        assert talk.value("show statement_timeout") == "77s"
        assert talk.value("select current_setting('DateStyle')") == "German, DMY"


def set_and_reset(talk: Talk) -> None:
    talk("set work_mem = '3MB'")
    assert talk.value("show work_mem") == "3MB"
    talk("reset work_mem")
    assert talk.value("show work_mem") == "4MB"
    talk("set work_mem = '5MB'")
    assert talk.value("select current_setting('work_mem')") == "5MB"


def listen(talk: Talk) -> None:
    talk("listen heard")
    with talk.proxy.connect() as other:
        other.execute("notify heard, 'hello'")
    [notice] = talk.client.notifies(timeout=5, stop_after=1)
    assert notice.payload == "hello"


def notify(talk: Talk) -> None:
    with talk.cluster.primary.connect("app", "app") as listener:
        listener.autocommit = True
        listener.execute("listen told")
        talk("notify told, 'hello'")
        [notice] = listener.notifies(timeout=5, stop_after=1)
        assert notice.payload == "hello"


def cursor_without_hold(talk: Talk) -> None:
    talk("begin")
    talk("declare c cursor for select generate_series(1, 4)")
    assert len(talk("fetch 3 from c")) == 3
    assert len(talk("fetch 3 from c")) == 1
    talk("commit")


def cursor_with_hold(talk: Talk) -> None:
    talk("declare h cursor with hold for select generate_series(1, 4)")
    assert len(talk("fetch 3 from h")) == 3
    assert len(talk("fetch 3 from h")) == 1


def protocol_level_prepared_plans(talk: Talk) -> None:
    for hint in ("", "/* rwsplit: primary */"):
        for _ in range(5):
            assert talk.value(hint + "select 'prepared'", prepare=True) == "prepared"


def prepare_and_deallocate(talk: Talk) -> None:
    talk("prepare p as select 'by name'")
    assert talk.value("execute p") == "by name"
    talk("deallocate p")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        talk("execute p")
    talk("prepare p as select 1")


def temp_table_on_commit_drop(talk: Talk) -> None:
    talk("begin")
    talk("create temp table dropped (n int) on commit drop")
    talk("insert into dropped values (1)")
    assert talk.value("select n from dropped") == 1
    talk("commit")


def temp_table_that_stays(talk: Talk) -> None:
    talk("create temp table kept (n int)")
    talk("create temp table emptied (n int) on commit delete rows")
    talk("insert into kept values (1)")
    talk("insert into emptied values (1)")
    assert talk.value("select count(*) from kept") == 1
    assert talk.value("select count(*) from emptied") == 0


def cached_plan_reset(talk: Talk) -> None:
    with talk.proxy.connect() as owner:
        owner.execute("drop table if exists replanned")
        owner.execute("create table replanned as select 1 as a")
        for _ in range(3):
            talk("/* rwsplit: primary */ select a from replanned", prepare=True)
        owner.execute("drop table replanned")
        owner.execute("create table replanned as select 2 as a")
        assert talk.value("/* rwsplit: primary */ select a from replanned", prepare=True) == 2
        owner.execute("drop table replanned")


def load(talk: Talk) -> None:
    talk.client.close()
    talk.client = talk.proxy.connect(user="postgres")  # only a superuser may
    talk("load 'plpgsql'")


def session_level_advisory_locks(talk: Talk) -> None:
    talk("select pg_advisory_lock(4711)")
    with talk.proxy.connect() as other:
        assert other.execute("select pg_try_advisory_lock(4711)").fetchone() == (False,)
    assert talk.value("select pg_advisory_unlock(4711)") is True
    talk("select pg_advisory_lock(4712)")


def transactions(talk: Talk) -> None:
    talk("begin")
    talk("create table begun (n int)")
    talk("savepoint s")
    with pytest.raises(psycopg.errors.DivisionByZero):
        talk("select 1/0")
    talk("rollback to s")
    assert talk.value("select count(*) from begun") == 0
    talk("rollback")
    assert talk.value("select to_regclass('begun')") is None


def transaction_in_one_query(talk: Talk) -> None:
    talk.client.cursor_factory = psycopg.ClientCursor  # type: ignore[assignment]
    talk("begin; create table if not exists begun (n int); drop table begun; commit")
    assert talk.value("select to_regclass('begun')") is None


def two_phase_commit(talk: Talk) -> None:
    talk("begin")
    talk("create table promised (n int)")
    talk("prepare transaction 'promised'")
    talk("commit prepared 'promised'")
    assert talk.value("select count(*) from promised") == 0
    talk("drop table promised")


def sequences(talk: Talk) -> None:
    with talk.proxy.connect() as owner:
        owner.execute("create sequence if not exists counted")
    value = talk.value("select nextval('counted')")
    assert talk.value("select currval('counted')") == value
    assert talk.value("select lastval()") == value


def copy(talk: Talk) -> None:
    client = talk.client
    with talk.proxy.connect() as owner:
        owner.execute("create table if not exists copied (n int)")
        owner.execute("truncate copied")
        with client.cursor() as cursor:
            with cursor.copy("copy copied from stdin") as data:
                data.write("1\n2\n")
            with cursor.copy("copy copied to stdout") as data:
                assert b"".join(map(bytes, data)) == b"1\n2\n"
        owner.execute("drop table copied")


def cancel(talk: Talk) -> None:
    failed: list[Exception] = []

    def sleep() -> None:
        try:
            talk.client.execute("select pg_sleep(30), 'to be cancelled'")
        except psycopg.errors.QueryCanceled as error:
            failed.append(error)

    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    assert wait_until(
        lambda: any(
            node.query(
                "select 1 from pg_stat_activity where state = 'active'"
                " and query like '%to be cancelled%' and pid <> pg_backend_pid()"
            )
            for node in talk.cluster.nodes.values()
        ),
        timeout=10,
    )
    talk.client.cancel()
    thread.join(10)
    assert len(failed) == 1


def pipelining(talk: Talk) -> None:
    with talk.proxy.raw() as client:
        client.send(
            query("select 1"),
            parse("select 2"), bind(), execute(), SYNC,
            parse("select 3"), bind(), execute(),
            parse("select 4"), bind(), execute(), SYNC,
        )  # fmt: skip
        assert [client.codes_until(b"Z") for _ in range(3)] == [b"TDCZ", b"12DCZ", b"12DC12DCZ"]


#: The rows of the table, in its order.
FEATURES: Final[dict[str, Callable[[Talk], None]]] = {
    "Startup parameters": startup_parameters,
    "SET/RESET": set_and_reset,
    "LISTEN": listen,
    "NOTIFY": notify,
    "WITHOUT HOLD CURSOR": cursor_without_hold,
    "WITH HOLD CURSOR": cursor_with_hold,
    "Protocol-level prepared plans": protocol_level_prepared_plans,
    "PREPARE / DEALLOCATE": prepare_and_deallocate,
    "ON COMMIT DROP temp tables": temp_table_on_commit_drop,
    "PRESERVE/DELETE ROWS temp tables": temp_table_that_stays,
    "Cached plan reset": cached_plan_reset,
    "LOAD": load,
    "Session-level advisory locks": session_level_advisory_locks,
    "Transactions and savepoints": transactions,
    "A transaction in one query": transaction_in_one_query,
    "Two-phase commit": two_phase_commit,
    "currval, lastval": sequences,
    "COPY": copy,
    "Cancel": cancel,
    "Pipelining": pipelining,
}


@pytest.fixture(scope="module")
def two_phase(postgres_binaries: Path | None) -> Iterator[EmbeddedCluster]:
    """A cluster that allows prepared transactions."""
    settings = {"max_prepared_transactions": "5"}
    with EmbeddedCluster(replicas=1, postgres=postgres_binaries, settings=settings) as running:
        yield running


@pytest.fixture(scope="module", params=MODES)
def mode(
    request: pytest.FixtureRequest,
    two_phase: EmbeddedCluster,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Proxy]]:
    """rwsplit in one of the pool modes."""
    settings = {"pool": {"mode": request.param, "size": 5}}
    with Proxy(two_phase, tmp_path_factory.mktemp(request.param), settings) as running:
        yield request.param, running


def documented() -> dict[str, dict[str, str]]:
    """Return the table of the document: features, and in each mode what it says."""
    _, _, rest = DOCUMENT.read_text().partition("| feature ")
    table, _, _ = rest.partition("\n\n")
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()
    ]
    assert tuple(head[:3]) == MODES
    return {row[0]: dict(zip(MODES, row[1:4], strict=True)) for row in rows}


def test_the_document_has_these_features_in_this_order():
    assert list(documented()) == list(FEATURES)


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_does_what_the_document_says(
    mode: tuple[str, Proxy], two_phase: EmbeddedCluster, feature: str
):
    name, proxy = mode
    talk = Talk(proxy, two_phase)
    try:
        FEATURES[feature](talk)
        # What a server holds no more is known once it has been asked, which nobody waits for.
        is_free = name == "session" or wait_until(
            lambda: talk.value("show rwsplit.pinned") == "no", timeout=1
        )
    except psycopg.errors.FeatureNotSupported:
        found = "no"
    else:
        found = "yes" if is_free else "yes, pinned"
    finally:
        talk.close()
    assert found == documented()[feature][name]
