"""The peers, each set up as its manual suggests and otherwise left at its defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from rwsplit.embedded.ports import LOOPBACK, free_ports
from tests.bench.contestant import APPLICATION, Peer, Stage, dsn_of

SPARE: Final = 20
"""Connections a peer allows beyond the clients: those of a run that just ended may linger."""
FIRST_WITH_PREPARED: Final = (1, 21)
"""The PgBouncer that began to support prepared statements in transaction mode."""


class PgBouncer(Peer):
    """One pool, no splitting: reads go to one replica, the writing workload to the primary."""

    name = "pgbouncer"
    program = "pgbouncer"
    what = "transaction mode, pool of 20, in front of one replica (writes: the primary)"

    def version(self) -> str | None:
        return _number(self.printed_version("--version"))

    def write_files(self, stage: Stage, directory: Path) -> list[str]:
        self._password = stage.password
        [self._port] = free_ports(1)
        replica, primary = stage.cluster.replicas[0], stage.cluster.primary
        stage.cluster.write_userlist(directory / "userlist.txt")
        lines = [
            "[databases]",
            f"{APPLICATION} = host={LOOPBACK} port={replica.port}",
            f"primary = host={LOOPBACK} port={primary.port} dbname={APPLICATION}",
            "[pgbouncer]",
            f"listen_addr = {LOOPBACK}",
            f"listen_port = {self._port}",
            "unix_socket_dir =",
            f"auth_type = {stage.auth}",
            f"auth_file = {directory / 'userlist.txt'}",
            "pool_mode = transaction",
            "default_pool_size = 20",
            f"max_client_conn = {stage.most_clients + SPARE}",
            "log_connections = 0",
            "log_disconnections = 0",
        ]
        version = tuple(int(number) for number in (self.version() or "0").split("."))
        if version >= FIRST_WITH_PREPARED:
            lines.append("max_prepared_statements = 200")
        _write(directory / "pgbouncer.ini", lines)
        return [str(directory / "pgbouncer.ini")]

    def dsn_of_reads(self) -> str:
        return dsn_of(self._port, self._password)

    def dsn_of_writes(self) -> str:
        return dsn_of(self._port, self._password, "primary")


class Pgpool(Peer):
    """It splits: reads are balanced over the primary and the replicas, session by session."""

    name = "pgpool"
    program = "pgpool"
    what = "streaming replication mode, reads balanced over the four nodes"

    def version(self) -> str | None:
        return _number(self.printed_version("--version"))

    def write_files(self, stage: Stage, directory: Path) -> list[str]:
        self._password = stage.password
        self._port, pcp_port = free_ports(2)
        checked_with = stage.cluster.passwords["rwsplit"]
        lines = [
            "backend_clustering_mode = 'streaming_replication'",
            f"listen_addresses = '{LOOPBACK}'",
            f"port = {self._port}",
            f"pcp_listen_addresses = '{LOOPBACK}'",
            f"pcp_port = {pcp_port}",
            f"unix_socket_directories = '{directory}'",
            f"pcp_socket_dir = '{directory}'",
            f"wd_ipc_socket_dir = '{directory}'",
            f"pid_file_name = '{directory / 'pgpool.pid'}'",
            f"logdir = '{directory}'",
            "load_balance_mode = on",
            f"num_init_children = {max(32, stage.most_clients + SPARE)}",
            "sr_check_user = 'rwsplit'",
            f"sr_check_password = '{checked_with}'",
            "sr_check_database = 'postgres'",
        ]
        for number, node in enumerate(stage.cluster.nodes.values()):
            lines += [
                f"backend_hostname{number} = '{LOOPBACK}'",
                f"backend_port{number} = {node.port}",
                f"backend_weight{number} = 1",
            ]
        if stage.auth == "trust":
            lines.append("pool_passwd = ''")
        else:
            lines += ["enable_pool_hba = on", "pool_passwd = 'pool_passwd'"]
        _write(directory / "pgpool.conf", lines)
        _write(directory / "pool_hba.conf", [f"host all all {LOOPBACK}/32 {stage.auth}"])
        _write(directory / "pool_passwd", [f"{APPLICATION}:TEXT{stage.password}"])
        _write(directory / "pcp.conf", [])
        files = {"-f": "pgpool.conf", "-a": "pool_hba.conf", "-F": "pcp.conf"}
        named = [part for flag, name in files.items() for part in (flag, str(directory / name))]
        return ["-n", "-D", *named]

    def dsn_of_reads(self) -> str:
        return dsn_of(self._port, self._password)

    def dsn_of_writes(self) -> str:
        return self.dsn_of_reads()


class HAProxy(Peer):
    """It balances connections and reads nothing in them: one port for reads, one for writes."""

    name = "haproxy"
    program = "haproxy"
    what = "tcp, connections spread over the three replicas (writes: a port to the primary)"

    def version(self) -> str | None:
        return _number(self.printed_version("-v"))

    def write_files(self, stage: Stage, directory: Path) -> list[str]:
        self._password = stage.password
        self._read_port, self._write_port = free_ports(2)
        most = stage.most_clients + SPARE
        lines = [
            "global",
            f"    maxconn {2 * most}",
            "defaults",
            "    mode tcp",
            f"    maxconn {most}",
            "    timeout connect 5s",
            "    timeout client 10m",
            "    timeout server 10m",
            "listen reads",
            f"    bind {LOOPBACK}:{self._read_port}",
            "    balance roundrobin",
            *(
                f"    server {node.name} {LOOPBACK}:{node.port}"
                for node in stage.cluster.replicas
            ),
            "listen writes",
            f"    bind {LOOPBACK}:{self._write_port}",
            f"    server primary {LOOPBACK}:{stage.cluster.primary.port}",
        ]
        _write(directory / "haproxy.cfg", lines)
        return ["-db", "-f", str(directory / "haproxy.cfg")]

    def dsn_of_reads(self) -> str:
        return dsn_of(self._read_port, self._password)

    def dsn_of_writes(self) -> str:
        return dsn_of(self._write_port, self._password)


def _write(path: Path, lines: list[str]) -> None:
    path.touch(mode=0o600)
    path.write_text("".join(f"{line}\n" for line in lines))


def _number(printed: str | None) -> str | None:
    """Return the first version number in *printed*."""
    found = re.search(r"\d+(\.\d+)+", printed or "")
    return found.group() if found else None
