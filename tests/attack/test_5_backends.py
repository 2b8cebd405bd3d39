"""Everything that opens a backend counts: a storm of logins opens a few at a time, and leaves nothing behind."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from rwsplit.app import welcome
from rwsplit.app.welcome import Welcomes
from rwsplit.client.lobby import Login
from rwsplit.cluster.node import NodeView, Role, Up
from rwsplit.cluster.view import ClusterView
from rwsplit.config.choices import AuthType
from rwsplit.config.model import PoolConfig
from rwsplit.errors import OutOfFiles, ServerRefused
from rwsplit.protocol import backend
from rwsplit.server.dial_budget import OF_A_USER, DialBudget
from rwsplit.server.dialer import Dialed
from rwsplit.server.files import out_of_files
from rwsplit.server.pools import Pools
from rwsplit.server.server import Server
from tests.support.lobby import OpenLobby
from tests.support.memory_relay import ANSWER, MemoryRelay
from tests.support.silent_wire import SilentWire
from tests.support.startup_client import connect

__all__ = ["connect"]

PRIMARY = NodeView(
    name="pg0", host="h", port=5432, index=0, role=Role.PRIMARY, health=Up(), refusal=None
)


class Cluster:
    """A primary that counts who is connected; as board, opener and book of the welcomes."""

    def __init__(self, size: int = 4) -> None:
        self.view = ClusterView(nodes=(PRIMARY,), primary=PRIMARY, replicas=())
        self.open = 0
        self.most = 0
        self.dials: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.is_refusing = False
        self.seconds = 0.01
        pools = Pools(PoolConfig(size=size), lambda _: None)
        self.budget = DialBudget(lambda _database, _user: size, pools.quotas)
        self.welcomes = Welcomes(self, self, self, self.budget)  # type: ignore[arg-type]

    async def wait_for(self, predicate: Any) -> ClusterView:
        await trio.lowlevel.checkpoint()
        assert predicate(self.view)
        return self.view

    def report_failure(self, *_: object) -> None:
        raise AssertionError("the node has not failed")

    def learn(self, *_: object) -> None:
        pass

    async def dial(
        self, node: str, database: str, _user: str, parameters: dict[str, str]
    ) -> Dialed:
        self.open += 1
        self.most = max(self.most, self.open)
        self.dials[parameters.get("options", "")] += 1
        self.asked[node] += 1
        try:
            await trio.sleep(self.seconds)
            if self.is_refusing:
                response = backend.error_response("FATAL", "3D000", f"no database {database}")
                raise ServerRefused("no", response=response, server_sqlstate="3D000")
        finally:
            self.open -= 1
        return Dialed(wire=SilentWire(), pid=1, cancel_key=b"", parameters={"TimeZone": "UTC"})

    async def log_in(self, database: str = "shop", options: str = "") -> str:
        parameters = {"options": options} if options else {}
        login = Login(
            user="app",
            database=database,
            application_name="",
            parameters=parameters,
            minor=0,
            peer="h",
            tls=False,
        )
        try:
            found = await self.welcomes.get(login)
        except ServerRefused as error:
            return error.server_sqlstate
        return found.reported["TimeZone"]

    def is_clean(self) -> bool:
        return not (len(self.budget) or self.budget.waiting or len(self.welcomes.under_way))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    async def ask_defaults(_dialed: Dialed) -> tuple[None, bytes]:
        await trio.lowlevel.checkpoint()
        return None, b""

    monkeypatch.setattr(welcome, "ask_defaults", ask_defaults)
    return Cluster()


async def test_300_logins_of_different_options_open_a_few_backends_at_once(
    cluster, autojump_clock
):
    heard = []

    async def log_in(number: int) -> None:
        heard.append(await cluster.log_in(options=f"-c work_mem={number + 64}"))

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(log_in, number)

    assert heard == ["UTC"] * 300
    assert cluster.most == OF_A_USER
    # One for each, and one for those that ask for nothing, which all of them are compared with.
    assert cluster.dials.total() == 301
    assert cluster.is_clean()


async def test_equal_logins_share_one_inquiry_also_while_nothing_may_be_remembered(
    cluster, autojump_clock
):
    for _ in range(2):
        cluster.welcomes.distrust()
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(cluster.log_in)

    assert cluster.dials == {"": 2}


async def test_5000_refused_logins_leave_nothing_behind(cluster, autojump_clock):
    cluster.is_refusing = True
    cluster.seconds = 0
    heard: Counter[str] = Counter()

    async def log_in(number: int) -> None:
        heard[await cluster.log_in(database=f"misspelt{number % 2500}")] += 1

    async with trio.open_nursery() as nursery:
        for number in range(5000):
            nursery.start_soon(log_in, number)

    assert heard == {"3D000": 5000}
    assert cluster.dials.total() == 2500
    assert cluster.most == OF_A_USER
    assert cluster.is_clean()


async def test_a_role_made_while_an_inquiry_is_under_way_may_log_in(cluster, autojump_clock):
    cluster.is_refusing = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cluster.log_in)
        await trio.testing.wait_all_tasks_blocked()
        # Refused is only who asked before: what is asked from now on is asked anew.
        assert cluster.dials.total() == 1
        heard = []

        async def log_in() -> None:
            heard.append(await cluster.log_in())

        nursery.start_soon(log_in)
        await trio.sleep(0.011)
        cluster.is_refusing = False

    assert heard == ["UTC"]
    assert cluster.dials.total() == 2


async def test_what_is_forgotten_while_it_is_found_out_is_found_out_again(
    cluster, autojump_clock
):
    """A promotion, a reload, or defaults that changed: the answer under way may be from before."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cluster.log_in)
        await trio.testing.wait_all_tasks_blocked()
        cluster.welcomes.forget()
    await cluster.log_in()
    await cluster.log_in()

    assert cluster.dials.total() == 2


async def test_who_waits_for_a_node_that_goes_away_asks_the_next_one(cluster, autojump_clock):
    """A failover in the middle of a storm."""
    heard = []

    async def log_in(number: int) -> None:
        heard.append(await cluster.log_in(options=f"-c work_mem={number + 64}"))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(log_in, number)
        await trio.sleep(0.005)
        heir = attrs.evolve(PRIMARY, name="pg1", index=1)
        cluster.view = ClusterView(nodes=(heir,), primary=heir, replicas=())

    assert heard == ["UTC"] * 50
    assert cluster.asked["pg0"] == OF_A_USER
    assert cluster.asked["pg1"] == 51 - OF_A_USER


async def test_a_login_that_never_gets_its_turn_ends(connect, autojump_clock):
    lobby = OpenLobby(method=AuthType.TRUST, client_login_timeout=30)

    async def welcome(_login: Login) -> Any:
        await trio.sleep_forever()

    lobby.welcome = welcome
    client = connect(lobby)
    await client.starts()
    await client.hears()

    assert (await client.hears_error())["C"] == "57014"
    assert trio.current_time() >= 30


async def test_a_login_without_a_descriptor_is_no_nodes_fault(cluster, autojump_clock):
    async def dial(*_: object) -> Dialed:
        raise out_of_files()

    cluster.dial = dial
    with pytest.raises(OutOfFiles):
        await cluster.log_in()  # or the cluster says that a failure was reported
    assert cluster.is_clean()


async def test_1000_cancel_requests_open_one_connection_at_a_time(nursery):
    rig = MemoryRelay(1, size=1)
    [client] = rig.clients
    sent: list[Server] = []
    through = trio.Event()

    async def send(server: Server) -> None:
        sent.append(server)
        await through.wait()

    rig.relay.canceller._send = send
    rig.relay._nursery = nursery
    rig.ask(client, b"delete from t")
    rig.turn_clients([client])
    [server] = rig.busy()

    for _ in range(1000):
        rig.relay.canceller.cancel(client.pid, b"k")
    await trio.testing.wait_all_tasks_blocked()
    assert (sent, server.cancels) == ([server], 1)
    through.set()
    await trio.testing.wait_all_tasks_blocked()

    # What was asked for while the first was under way is one more: the first may have been too early for it.
    assert (sent, server.cancels) == ([server] * 2, 0)


async def test_nothing_more_is_cancelled_once_all_is_answered(nursery):
    rig = MemoryRelay(1, size=1)
    [client] = rig.clients
    sent: list[Server] = []
    through = trio.Event()

    async def send(server: Server) -> None:
        sent.append(server)
        await through.wait()

    rig.relay.canceller._send = send
    rig.relay._nursery = nursery
    rig.ask(client, b"delete from t")
    rig.turn_clients([client])
    [server] = rig.busy()
    for _ in range(2):
        rig.relay.canceller.cancel(client.pid, b"k")
    await trio.testing.wait_all_tasks_blocked()
    rig.answer([server], ANSWER)
    through.set()
    await trio.testing.wait_all_tasks_blocked()

    assert (sent, server.cancels, server.cancels_again) == ([server], 0, False)
    rig.relay._nursery = None
