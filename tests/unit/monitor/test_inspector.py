"""What `rwsplit check --connect` makes of a look that could not be taken; the rest is tested on real nodes."""

from __future__ import annotations

from rwsplit.cluster.inspection import Failed, Finding
from rwsplit.config.choices import SslMode
from rwsplit.config.model import Config, MonitorConfig, NodeConfig, TlsConfig
from rwsplit.monitor.inspector import inspect
from rwsplit.monitor.probe import Probe
from rwsplit.protocol import backend
from rwsplit.server.files import out_of_files
from tests.support.scripted import node, says


async def test_a_lack_of_descriptors_is_said_as_it_is(monkeypatch):
    async def look(_probe: Probe) -> None:
        raise out_of_files()

    monkeypatch.setattr(Probe, "look", look)
    found = await inspect(Config(nodes=(NodeConfig(name="pg0", host="h"),)))

    failed = found["pg0"]
    assert isinstance(failed, Failed)
    assert failed.finding is Finding.OUT_OF_FILES
    assert "out of file descriptors" in str(failed)


async def test_a_method_that_must_not_be_used_is_no_wrong_password():
    async with node(says(backend.authentication_cleartext_password())) as port:
        config = Config(
            nodes=(NodeConfig(name="pg0", host="127.0.0.1", port=port),),
            monitor=MonitorConfig(password="pw"),
            tls=TlsConfig(server_tls_sslmode=SslMode.DISABLE),
        )
        failed = (await inspect(config))["pg0"]

    assert isinstance(failed, Failed)
    assert failed.finding is Finding.METHOD_REFUSED
