"""What a probe asks for, what it makes of the answers, and how it fails.

The nodes follow scripts; looks at real ones are in tests/integration.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rwsplit.cluster.descent import Fork
from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation, Source
from rwsplit.config.choices import SslMode
from rwsplit.config.model import AuthConfig, MonitorConfig, NodeConfig, TlsConfig
from rwsplit.lsn import LSN
from rwsplit.monitor.caller import _is_silence
from rwsplit.monitor.link import ProbeFailed
from rwsplit.monitor.precautions import startup_options
from rwsplit.monitor.probe import Probe, startup_parameters
from rwsplit.protocol import backend, frontend
from rwsplit.protocol.scram import ScramKeys, derive_keys
from rwsplit.server import credentials
from rwsplit.server.stream import WireStream
from tests.support.probed import IDENTITY, PRIMARY, REPLICA, answer, probed
from tests.support.scripted import READY, Script, node, says, silent

CANCELLED = backend.error_response("ERROR", "57014", "canceling statement due to user request")
STARTING = backend.error_response("FATAL", "57P03", "the database system is starting up")


@pytest.fixture
async def probe_of():
    """Makes probes of what listens on a port, without TLS; they are closed with the test."""
    made: list[Probe] = []

    def make(
        port: int, monitor: MonitorConfig | None = None, *, cleartext: bool = True
    ) -> Probe:
        node_config = NodeConfig(name="pg0", host="127.0.0.1", port=port)
        tls = TlsConfig(server_tls_sslmode=SslMode.DISABLE)
        auth = AuthConfig(server_cleartext=cleartext)
        made.append(Probe(node_config, monitor or MonitorConfig(), tls, auth))
        return made[-1]

    yield make
    for probe in made:
        probe.close()


async def failure(probe: Probe) -> ProbeFailed:
    """Look, and return how that failed."""
    with pytest.raises(ProbeFailed) as caught:
        await probe.look()
    return caught.value


# -- what is asked ----------------------------------------------------------------------------------


async def test_it_logs_in_as_the_monitor(probe_of):
    heard: list[bytes] = []
    monitor = MonitorConfig(user="watch", database="app", timeout=0.25)
    async with node(probed(PRIMARY, heard=heard)) as port:
        probe = probe_of(port, monitor)
        await probe.look()
        probe.close()

    options = startup_options(statement_timeout=0.25)
    assert heard[0] == frontend.startup_message(
        {
            "application_name": "rwsplit monitor",
            "options": options,
            "user": "watch",
            "database": "app",
        }
    )


def test_the_shortest_patience_is_still_a_limit():
    """A statement_timeout of 0 would be none."""
    parameters = startup_parameters(MonitorConfig(timeout=0.0001))

    assert "-c statement_timeout=1 " in parameters["options"]


async def test_the_question_is_prepared_once_and_then_only_executed(probe_of):
    heard: list[bytes] = []
    async with node(probed(PRIMARY, PRIMARY, heard=heard)) as port:
        probe = probe_of(port)
        await probe.look()
        await probe.look()
        probe.close()
        await wait_all_tasks_blocked()

    _, opening, first, second, goodbye = heard
    assert opening.count(b"select") > 1
    assert first == second
    assert first == frontend.bind("", "look") + frontend.execute() + frontend.sync()
    assert goodbye == frontend.terminate()


# -- what is seen -----------------------------------------------------------------------------------


async def test_a_primary_is_seen_with_its_insert_position(probe_of):
    async with node(probed(PRIMARY)) as port:
        seen = await probe_of(port).look()

    assert seen == Observation(
        role=Role.PRIMARY,
        timeline=1,
        lsn=LSN(0x3000140),
        system_identifier="7",
        server_version="16.4",
        replay_age=None,
    )


async def test_a_replica_is_seen_with_its_replay_position_and_age(probe_of):
    async with node(probed(REPLICA, ("t", "1/28", "1", None))) as port:
        probe = probe_of(port)
        first, second = await probe.look(), await probe.look()

    assert first == Observation(
        role=Role.REPLICA,
        timeline=1,
        lsn=LSN(0x3000100),
        system_identifier="7",
        server_version="16.4",
        replay_age=0.25,
    )
    assert (second.lsn, second.replay_age) == (0x100000028, None)


@pytest.mark.parametrize(
    ("in_recovery", "identity", "position", "lsn"),
    [
        ("f", IDENTITY, "0/3002018", 0x3002000),
        ("f", IDENTITY, "0/3000028", 0x3000000),
        ("t", IDENTITY, "0/3002018", 0x3002018),
        ("f", ("16.4", "16384", "16777216", "7"), "0/3002018", 0x3002018),
        ("f", ("16.4", "8192", "1048576", "7"), "0/3100028", 0x3100000),
    ],
)
async def test_an_insert_position_behind_a_page_header_is_moved_back(
    in_recovery, identity, position, lsn, probe_of
):
    async with node(probed((in_recovery, position, "1", None), identity=identity)) as port:
        assert (await probe_of(port).look()).lsn == lsn


async def test_a_timeline_never_goes_back_while_a_connection_lives(probe_of):
    def on(timeline: str | None) -> tuple[str | None, ...]:
        return ("t", "0/3000100", timeline, None)

    async with node(probed(on("2"), on("1"), on(None), on("3")), probed(on("1"))) as port:
        probe = probe_of(port)
        assert [(await probe.look()).timeline for _ in range(4)] == [2, 2, 2, 3]
        probe.close()

        assert (await probe.look()).timeline == 1


async def test_a_replica_that_has_not_replayed_anything_is_not_lost(probe_of):
    async with node(probed(("t", None, "1", None), REPLICA)) as port:
        probe = probe_of(port)
        failed = await failure(probe)
        assert (str(failed), failed.lost) == ("has not replayed anything yet", False)

        assert (await probe.look()).role is Role.REPLICA


# -- how it fails -----------------------------------------------------------------------------------


async def test_nobody_listening_is_a_lost_connection(probe_of):
    with socket.create_server(("127.0.0.1", 0)) as made:
        port = made.getsockname()[1]
    probe = probe_of(port)

    failed = await failure(probe)

    assert (str(failed), failed.lost) == ("connection refused", True)
    assert failed.silent
    probe.close()


@pytest.mark.parametrize(
    ("cause", "silent"),
    [
        (trio.TooSlowError(), True),
        (OSError(errno.EHOSTUNREACH, "no route"), True),
        (OSError(errno.EMFILE, "too many files"), False),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False),
        (socket.gaierror(errno.ECONNREFUSED, "a resolver's own number"), False),
        (EOFError(), False),
        (None, False),
    ],
)
def test_only_a_machine_that_does_not_answer_is_silent(
    cause: BaseException | None, silent: bool
):
    assert _is_silence(cause) is silent


async def test_a_refusal_is_told_in_the_words_of_the_node(probe_of):
    async with node(says(STARTING), probed(PRIMARY)) as port:
        probe = probe_of(port)
        failed = await failure(probe)
        assert (str(failed), failed.lost) == ("the database system is starting up", True)

        assert (await probe.look()).role is Role.PRIMARY


async def test_an_error_fails_a_look_and_not_the_connection(probe_of):
    async with node(probed(CANCELLED + READY, PRIMARY)) as port:
        probe = probe_of(port)
        failed = await failure(probe)
        assert str(failed) == "canceling statement due to user request"
        assert not failed.lost

        assert (await probe.look()).role is Role.PRIMARY


async def test_after_a_fatal_error_the_next_look_connects_again(probe_of):
    async with node(probed(PRIMARY, STARTING), probed(REPLICA)) as port:
        probe = probe_of(port)
        await probe.look()
        assert (await failure(probe)).lost

        assert (await probe.look()).role is Role.REPLICA


async def test_a_connection_that_the_node_has_closed_is_noticed_by_the_next_look(probe_of):
    async with node(probed(PRIMARY, stays=False), probed(PRIMARY)) as port:
        probe = probe_of(port)
        await probe.look()
        await wait_all_tasks_blocked()

        failed = await failure(probe)
        assert str(failed) == "server closed the connection unexpectedly"
        assert failed.lost
        assert (await probe.look()).role is Role.PRIMARY


@pytest.mark.parametrize(
    "identity",
    [
        CANCELLED + READY,
        ("16.4", "8192", "16777216"),
        ("16.4", None, "16777216", "7"),
        READY,
    ],
)
async def test_a_node_that_does_not_tell_who_it_is_is_asked_again(identity, probe_of):
    async with node(probed(identity=identity), probed(PRIMARY)) as port:
        probe = probe_of(port)
        assert not (await failure(probe)).lost

        # The first script has ended: its client has closed the connection.
        assert (await probe.look()).system_identifier == "7"


@pytest.mark.parametrize(
    ("values", "identity"),
    [
        (("t", "nowhere", "1", None), IDENTITY),
        (("t", "0/3000100", "one", None), IDENTITY),
        (("t", "0/3000100", "1", "young"), IDENTITY),
        (("t",), IDENTITY),
        (PRIMARY, ("16.4", "0", "0", "7")),
    ],
)
async def test_an_answer_without_sense_fails_the_look(values, identity, probe_of):
    async with node(probed(values, REPLICA, identity=identity)) as port:
        probe = probe_of(port)
        failed = await failure(probe)
        assert str(failed).startswith("its answer makes no sense: ")
        assert not failed.lost

        assert (await probe.look()).role is Role.REPLICA


# -- how long it takes ------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [silent, probed(identity=b""), probed(b"")])
async def test_a_silent_node_fails_the_look_in_time(script: Script, autojump_clock, probe_of):
    async with node(script) as port:
        probe = probe_of(port, MonitorConfig(timeout=0.1))
        begun = trio.current_time()

        failed = await failure(probe)

        assert (str(failed), failed.lost) == ("no answer in 0.1 s", True)
        assert failed.silent
        assert trio.current_time() - begun == pytest.approx(0.1)


async def test_a_late_answer_is_not_taken_for_the_next(mock_clock, nursery, probe_of):
    given_up = trio.Event()

    async def late(stream: WireStream) -> None:
        async def answer_late() -> None:
            await given_up.wait()
            await stream.send_all(answer(PRIMARY))

        async with trio.open_nursery() as inner:
            inner.start_soon(answer_late)
            await probed(b"")(stream)

    async def look_too_long() -> None:
        await failure(probe)
        given_up.set()

    async with node(late, probed(REPLICA)) as port:
        probe = probe_of(port, MonitorConfig(timeout=2.0))
        nursery.start_soon(look_too_long)
        await wait_all_tasks_blocked()
        mock_clock.jump(2.0)
        await given_up.wait()

        assert (await probe.look()).role is Role.REPLICA


async def test_a_look_that_was_cancelled_leaves_nothing_behind(probe_of):
    async with node(probed(b""), probed(REPLICA)) as port:
        probe = probe_of(port)
        async with trio.open_nursery() as inner:
            inner.start_soon(probe.look)
            await wait_all_tasks_blocked()
            inner.cancel_scope.cancel()

        # The first script has ended: its client has closed the connection.
        assert (await probe.look()).role is Role.REPLICA


async def test_a_probe_that_never_looked_closes(probe_of):
    probe_of(5432).close()


# -- passwords --------------------------------------------------------------------------------------


def asks_for_password(heard: list[bytes]) -> Script:
    """Ask for the password in clear, put it into *heard*, and refuse."""

    async def script(stream: WireStream) -> None:
        await stream.receive_some()
        await stream.send_all(backend.authentication_cleartext_password())
        heard.append((await stream.read_frame())[1])
        await stream.send_all(STARTING)

    return script


async def test_the_password_is_sent_as_it_is_written(probe_of):
    """What looks like a hash is a password all the same, as it is for libpq."""
    password = "md5" + "0" * 32
    heard: list[bytes] = []
    async with node(asks_for_password(heard)) as port:
        await failure(probe_of(port, MonitorConfig(password=password)))

    assert heard == [password.encode() + b"\0"]


async def test_the_password_is_not_told_to_whoever_listens(probe_of):
    heard: list[bytes] = []
    async with node(asks_for_password(heard)) as port:
        reason = str(
            await failure(probe_of(port, MonitorConfig(password="pw"), cleartext=False))
        )

    assert "without TLS" in reason
    assert heard == []


async def test_a_password_file_is_read_for_each_connection(tmp_path: Path, probe_of):
    file = tmp_path / "monitor.pw"
    heard: list[bytes] = []
    async with node(*[asks_for_password(heard)] * 2) as port:
        probe = probe_of(port, MonitorConfig(password_file=file))
        for text in ("old\nnot this\n", "new\r\n"):
            file.write_text(text)
            await failure(probe)

    assert heard == [b"old\0", b"new\0"]


async def test_a_password_file_that_cannot_be_read_fails_the_look(tmp_path: Path, probe_of):
    probe = probe_of(5432, MonitorConfig(password_file=tmp_path / "missing"))

    failed = await failure(probe)

    assert str(failed).startswith("monitor.password_file: cannot be read: ")
    assert "No such file" in str(failed)
    assert failed.lost


@pytest.mark.parametrize("text", [None, "\n"])
async def test_a_node_that_wants_a_password_nobody_knows_says_which_setting(
    text, tmp_path, probe_of
):
    file = None
    if text is not None:
        file = tmp_path / "monitor.pw"
        file.write_text(text)
    async with node(asks_for_password([])) as port:
        failed = await failure(probe_of(port, MonitorConfig(password_file=file)))

    assert str(failed) == "asks for a password, and monitor.password is not set"
    assert failed.lost


async def asks_for_scram(stream: WireStream) -> None:
    """Challenge as a node does, the same for every connection, and refuse what comes back."""
    await stream.receive_some()
    await stream.send_all(backend.authentication_sasl(["SCRAM-SHA-256"]))
    nonce = (await stream.read_frame())[1].rpartition(b"r=")[2]
    challenge = b"r=" + nonce + b"node,s=c2FsdA==,i=4096"
    await stream.send_all(backend.authentication_sasl_continue(challenge))
    await stream.read_frame()
    await stream.send_all(backend.error_response("FATAL", "28P01", "wrong password"))


async def test_a_password_is_hashed_once_however_often_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe_of
):
    hashed: list[bytes] = []

    async def derive(password: bytes, salt: bytes, iterations: int) -> ScramKeys:
        hashed.append(password)
        return derive_keys(password, salt, iterations)

    monkeypatch.setattr(credentials, "derive_in_thread", derive)
    file = tmp_path / "monitor.pw"
    async with node(*[asks_for_scram] * 3) as port:
        probe = probe_of(port, MonitorConfig(password_file=file))
        for password in ("first", "first", "second"):
            file.write_text(password)
            failed = await failure(probe)
            assert (str(failed), failed.silent) == ("wrong password", False)

    assert hashed == [b"first", b"second"]


# -- where it is, whom it follows, what led there ----------------------------------------------------

#: PostgreSQL's answer with all rights: address, port, restore_command, uptime, and what may be asked.
FULL = (*IDENTITY, "10.0.0.7", "5432", "", "60.5", "t", "t")


@pytest.mark.parametrize(
    ("receiver", "source", "upstream"),
    [
        (None, Source.NONE, None),
        ("  ", Source.UNSEEN, None),
        ("streaming 5433 10.0.0.8", Source.STREAM, ("10.0.0.8", 5433)),
        ("streaming 5433 localhost", Source.STREAM, ("127.0.0.1", 5433)),
        ("waiting 5433 10.0.0.8", Source.NONE, None),
        ("streaming  /run", Source.NONE, None),
    ],
)
async def test_a_replica_says_whom_it_follows(receiver, source, upstream, probe_of):
    said = ("t", "0/3000100", "1", "0.25", "0/3000200", receiver)
    async with node(probed(said, identity=FULL)) as port:
        seen = await probe_of(port).look()

    assert (seen.source, seen.upstream) == (source, upstream)
    assert seen.received == 0x3000200
    assert seen.places == {("127.0.0.1", port), ("10.0.0.7", 5432)}
    assert seen.started_at is not None
    assert seen.started_at <= trio.current_time() - 60.5


async def test_a_replica_with_an_archive_has_a_source(probe_of):
    identity = (*IDENTITY, None, None, "cp %f %p", None, "f", "f")
    async with node(
        probed(("t", "0/3000100", "1", None, None, None), identity=identity)
    ) as port:
        seen = await probe_of(port).look()

    assert seen.source is Source.ARCHIVE
    assert seen.places == {("127.0.0.1", port)}
    assert seen.started_at is None


async def test_what_led_to_a_timeline_is_read_once(probe_of):
    heard: list[bytes] = []
    said = ("f", "0/3000140", "2", None, None, None)
    history = ("1\t0/3000100\tno recovery target specified\n",)
    answers = probed(said, ("7.5",), history, said, identity=FULL, heard=heard)
    async with node(answers) as port:
        probe = probe_of(port)
        first, second = await probe.look(), await probe.look()

    assert first.history == second.history == (Fork(1, LSN(0x3000100)),)
    assert first.promoted_at is not None
    assert first.promoted_at <= trio.current_time() - 7.5
    assert first.examined
    assert b"00000002.history" in heard[3]
    assert b"pg_read_file" in heard[4]


async def test_what_may_not_be_asked_is_not_known(probe_of):
    said = ("f", "0/3000140", "2", None, None, None)
    async with node(probed(said)) as port:
        seen = await probe_of(port).look()

    assert (seen.history, seen.promoted_at, seen.examined) == (None, None, True)


async def test_what_is_refused_all_the_same_is_not_known(probe_of):
    said = ("f", "0/3000140", "2", None, None, None)
    async with node(probed(said, CANCELLED + READY, CANCELLED + READY, identity=FULL)) as port:
        seen = await probe_of(port).look()

    assert (seen.history, seen.promoted_at, seen.examined) == (None, None, True)


async def test_a_node_that_leaves_while_it_is_asked_is_lost(probe_of):
    said = ("f", "0/3000140", "2", None, None, None)
    async with node(probed(said, STARTING, identity=FULL)) as port:
        assert (await failure(probe_of(port))).lost


async def test_a_promotion_seen_in_passing_is_looked_into_by_the_next_look(probe_of):
    said = ("f", "0/3000140", "2", None, None, None)
    async with node(probed(REPLICA, said, said)) as port:
        probe = probe_of(port)
        await probe.look()
        probe.ask()
        await trio.lowlevel.wait_readable(probe.fileno())
        passing = probe.answer()
        looked = await probe.look()

    assert passing is not None
    assert not passing.examined
    assert looked.examined


async def test_a_node_that_reads_its_configuration_again_is_seen_to_have_done_so(probe_of):
    at = [(*REPLICA, None, "  ", f"2026-01-01 00:00:0{second}+00") for second in (1, 1, 2, 3)]
    async with node(probed(*at)) as port:
        probe = probe_of(port)
        seen = [(await probe.look()).reloads for _ in at]
    assert seen == [0, 0, 1, 2]
