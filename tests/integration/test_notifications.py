"""LISTEN and NOTIFY, and messages that come when nobody asked."""

from __future__ import annotations

from typing import Any

import pytest

from rwsplit.embedded.reachable import ReachableCluster
from tests.support.messages import SYNC, query, statement
from tests.support.proxy import Proxy
from tests.support.raw_client import RawClient, error_fields

pytestmark = pytest.mark.integration


def log_in(proxy: Proxy, cluster: ReachableCluster[Any]) -> RawClient:
    client = RawClient(proxy.port)
    client.log_in(user="app", database="app", password=cluster.passwords["app"])
    return client


def test_a_notification_reaches_an_idle_listener(proxy: Proxy, cluster: ReachableCluster[Any]):
    with log_in(proxy, cluster) as listener, log_in(proxy, cluster) as other:
        listener.query("listen news")
        other.query("notify news, 'one'")
        frame = listener.frame()
        assert frame.code == b"A"
        assert frame.payload[4:] == b"news\0one\0"
        other.send(statement("select pg_notify('news', 'two')"), SYNC)
        other.frames_until(b"Z")
        assert listener.frame().payload[4:] == b"news\0two\0"


def test_a_notification_tells_the_process_id_its_sender_was_told(
    proxy: Proxy, cluster: ReachableCluster[Any]
):
    with log_in(proxy, cluster) as listener, log_in(proxy, cluster) as other:
        for sender in (listener, other):
            listener.query("listen names")
            heard = sender.query("notify names")
            frames = heard if sender is listener else [listener.frame()]
            [frame] = [frame for frame in frames if frame.code == b"A"]
            assert int.from_bytes(frame.payload[:4], "big") == sender.pid

        cluster.primary.query("notify names", database="app")
        assert listener.frame().payload[4:] == b"names\0\0"


def test_a_notification_comes_with_what_the_listener_does_itself(
    proxy: Proxy, cluster: ReachableCluster[Any]
):
    with log_in(proxy, cluster) as listener:
        listener.query("listen mine")
        codes = b"".join(f.code for f in listener.query("notify mine, 'x'"))
        assert sorted(codes) == sorted(b"CAZ")
        listener.query("begin")
        assert b"A" not in b"".join(f.code for f in listener.query("notify mine, 'y'"))
        assert b"A" in b"".join(f.code for f in listener.query("commit"))


def test_who_does_not_listen_hears_nothing(proxy: Proxy, cluster: ReachableCluster[Any]):
    with log_in(proxy, cluster) as listener, log_in(proxy, cluster) as other:
        listener.query("listen news")
        listener.query("unlisten news")
        other.query("notify news")
        assert b"".join(f.code for f in listener.query("select 1")) == b"TDCZ"

        listener.query("listen news")
        listener.query("discard all")
        other.query("notify news")
        for _ in range(4):
            assert b"".join(f.code for f in listener.query("select 1")) == b"TDCZ"
            codes = b"".join(f.code for f in other.query("/* rwsplit: primary */ select 1"))
            assert codes == b"TDCZ"


def test_psycopg_listens(proxy: Proxy):
    with proxy.connect() as listener, proxy.connect() as other:
        listener.execute("listen news")
        for number in range(3):
            other.execute("select pg_notify('news', %s)", (str(number),))
        heard = [n.payload for n in listener.notifies(timeout=5, stop_after=3)]
        assert heard == ["0", "1", "2"]


def test_notices_belong_to_the_statement_that_raised_them(
    proxy: Proxy, cluster: ReachableCluster[Any]
):
    loud = "do $$begin raise notice 'loud'; end$$"
    with log_in(proxy, cluster) as one, log_in(proxy, cluster) as other:
        one.send(query(loud), query("select 1"), query(loud))
        assert one.codes_until(b"Z") == b"NCZ"
        assert one.codes_until(b"Z") == b"TDCZ"
        assert one.codes_until(b"Z") == b"NCZ"
        assert b"".join(f.code for f in other.query("select 1")) == b"TDCZ"


def test_a_listener_whose_server_ends_hears_why_at_once(
    proxy: Proxy, cluster: ReachableCluster[Any]
):
    with log_in(proxy, cluster) as listener:
        listener.query("listen news")
        [(ended,)] = cluster.primary.query(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where query = 'listen news' and state = 'idle' limit 1"
        )
        assert ended
        frame = listener.frame()
        assert frame.code == b"E"
        assert error_fields(frame.payload)["C"] == "57P01"
        assert listener.is_closed()


def test_an_idle_server_that_ends_is_nobodys_business(
    proxy: Proxy, cluster: ReachableCluster[Any]
):
    with log_in(proxy, cluster) as client:
        for _ in range(6):
            client.query("select 'idle soon'")
        for node in cluster.replicas:
            node.query(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where usename = 'app' and state = 'idle'"
            )
        for _ in range(6):
            codes = b"".join(f.code for f in client.query("select 'idle soon'"))
            assert codes == b"TDCZ"
