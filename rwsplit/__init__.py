"""A drop-in PostgreSQL endpoint: reads to replicas, writes to the primary, pooled, consistent.

The map, top to bottom (imports point down only; `ARCHITECTURE.md` tells the story):

    cli        what an operator types
    app        the composition root: one nursery tree
    admin      the console              telemetry  logs, metrics     embedded  a real 1+3 cluster
    client     accept, TLS, startup, authentication
    monitor    probes -> ClusterView
    relay      the turn loop: established sessions and servers
    server     dialing nodes; pools
    session    one client's conversation: units, pins, prepared statements
    routing    which node answers a statement, and why
    cluster    what is known of the nodes    sql  facts of statements    protocol  the wire
    config     YAML -> frozen values
    lsn, errors
"""

from typing import Final

__all__ = ["PRODUCT", "__version__"]

__version__: Final = "0.1.0"

PRODUCT: Final = f"rwsplit {__version__}"
"""What rwsplit says it is: `rwsplit --version`, SHOW VERSION."""
