"""The cluster of the tests in containers: `--postgres docker`, the image by `--postgres-image`.

Never run so far where this was written, which has no container engine: expect to mend it at first
use. It keeps to what the image documents: its entrypoint, POSTGRES_* variables, PGDATA, gosu.

The nodes share a network, where the replicas reach `primary` by that name, and publish their port on
the loopback address. The engine must run on this machine. testcontainers' own reaper (Ryuk) removes
everything if the test process is killed.
"""

from __future__ import annotations

import gc
import shlex
import warnings
from types import TracebackType
from typing import Any, Final

import psycopg
from docker.errors import DockerException  # type: ignore[import-untyped]
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from rwsplit.embedded.ports import LOOPBACK, free_ports
from rwsplit.embedded.postgres import EmbeddedError
from rwsplit.embedded.primary import (
    REPLICATOR,
    SETTINGS,
    SUPERUSER,
    make_roles,
    random_passwords,
)
from rwsplit.embedded.processes import wait_until
from rwsplit.embedded.reachable import PRIMARY, ReachableCluster, ReachableNode

POSTGRES_PORT: Final = 5432
START_TIMEOUT: Final = 120.0
OPTIONS: Final = shlex.join(
    f"--{name}={value}"
    for name, value in SETTINGS.items()
    if name not in {"listen_addresses", "unix_socket_directories"}
)
AS_PRIMARY: Final = f"""
echo 'echo "host replication {REPLICATOR} all scram-sha-256" >> "$PGDATA/pg_hba.conf"' \
  > /docker-entrypoint-initdb.d/replication.sh
exec docker-entrypoint.sh postgres {OPTIONS}
"""
AS_REPLICA: Final = f"""
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  install -d -o postgres -g postgres -m 700 "$PGDATA"
  gosu postgres pg_basebackup --pgdata="$PGDATA" --write-recovery-conf --create-slot --slot="$NAME" \
    --checkpoint=fast --no-sync \
    --dbname="host={PRIMARY} user={REPLICATOR} application_name=$NAME" || exit
fi
exec docker-entrypoint.sh postgres {OPTIONS}
"""


def engine_problem() -> str | None:
    """Return why no container engine can be used, None when one answers."""
    with warnings.catch_warnings():
        # The docker package forgets the socket of an attempt that failed; it is collected here.
        warnings.simplefilter("ignore", ResourceWarning)
        problem = _ask_engine()
        gc.collect()
    return problem


def _ask_engine() -> str | None:
    try:
        client = DockerClient().client
        client.ping()
    except DockerException as exc:
        return f"no container engine answers: {exc}"
    client.close()
    return None


class ContainerNode(ReachableNode):
    """One PostgreSQL in a container."""

    def __init__(
        self, name: str, port: int, passwords: dict[str, str], container: DockerContainer
    ) -> None:
        super().__init__(name, LOOPBACK, port, passwords)
        self.container = container

    @property
    def is_running(self) -> bool:
        """Whether the container runs."""
        engine = self._engine()
        engine.reload()
        return bool(engine.status == "running")

    @property
    def is_replica(self) -> bool:
        """Whether it is in recovery."""
        return self.query("select pg_is_in_recovery()") == [(True,)]

    def start(self) -> None:
        """Start a stopped or killed node and block until it accepts connections."""
        self._engine().start()
        self.wait_until_ready()

    def stop(self) -> None:
        """Shut it down."""
        self._engine().stop()

    def kill(self) -> None:
        """SIGKILL all of it."""
        self._engine().kill()

    def pause(self) -> None:
        """Freeze all of it; connections stay."""
        self._engine().pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self._engine().unpause()

    def wait_until_ready(self) -> None:
        """Block until clients can log in.

        Raises: EmbeddedError with its output when they cannot in time.
        """
        if not wait_until(self._answers, timeout=START_TIMEOUT):
            printed, errors = self.container.get_logs()
            text = (printed + errors).decode(errors="replace")
            raise EmbeddedError(f"{self.name} does not answer:\n{text[-4000:]}")

    def _answers(self) -> bool:
        try:
            return bool(self.query("select 1"))
        except psycopg.OperationalError:
            return False

    def _engine(self) -> Any:
        """The engine's own handle of the container."""
        return self.container.get_wrapped_container()


class ContainerCluster(ReachableCluster[ContainerNode]):
    """A primary and *replicas* replicas of *image*."""

    def __init__(self, image: str, *, replicas: int = 3) -> None:
        super().__init__(random_passwords())
        self._image = image
        self._names = [PRIMARY, *(f"replica{number}" for number in range(1, replicas + 1))]
        self._network = Network()

    def __enter__(self) -> ContainerCluster:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the primary, then the replicas together; block until all stream."""
        self._network.create()
        try:
            for name, port in zip(self._names, free_ports(len(self._names)), strict=True):
                self.nodes[name] = self._node(name, port)
            self.primary.container.start()
            self.primary.wait_until_ready()
            make_roles(self.primary)
            for node in self.replicas:
                node.container.start()
            for node in self.replicas:
                node.wait_until_ready()
            self.wait_until_streaming()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove the containers and their network."""
        for node in self.nodes.values():
            node.container.stop()
        self.nodes.clear()
        self._network.remove()

    def _node(self, name: str, port: int) -> ContainerNode:
        container = DockerContainer(self._image)
        container.with_network(self._network).with_network_aliases(name)
        container.with_env("NAME", name).with_env(
            "POSTGRES_PASSWORD", self.passwords[SUPERUSER]
        )
        container.with_env("POSTGRES_HOST_AUTH_METHOD", "scram-sha-256")
        if name != PRIMARY:  # pg_basebackup writes it into the replica's primary_conninfo
            container.with_env("PGPASSWORD", self.passwords[REPLICATOR])
        script = AS_PRIMARY if name == PRIMARY else AS_REPLICA
        container.with_command(shlex.join(["bash", "-c", script]))
        # A fixed port: an engine chooses a random one anew at every start.
        published: dict[str, Any] = {f"{POSTGRES_PORT}/tcp": (LOOPBACK, port)}
        container.ports = published
        return ContainerNode(name, port, self.passwords, container)
