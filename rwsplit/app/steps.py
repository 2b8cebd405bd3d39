"""Steps: how each part of rwsplit takes over a configuration, and goes back to the one before.

None of them waits, so that nobody sees one part with the new configuration and another with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from rwsplit.app.descriptors import provide
from rwsplit.app.lobby import OurLobby
from rwsplit.app.memory import Memory
from rwsplit.app.opener import Opener
from rwsplit.app.preparation import Prepared
from rwsplit.app.reloading import Step
from rwsplit.app.welcome import Welcomes
from rwsplit.config.model import Config
from rwsplit.monitor.board import Board
from rwsplit.monitor.catalog import Catalogs
from rwsplit.relay.relay import Relay
from rwsplit.routing.balancing import Chooser
from rwsplit.session.knowledge import Knowledge
from rwsplit.telemetry.logs import configure_logs


@attrs.frozen(kw_only=True)
class Steps:
    """The parts that depend on the configuration; each method is a step."""

    lobby: OurLobby
    opener: Opener
    welcomes: Welcomes
    relay: Relay
    chooser: Callable[[Config], Chooser]
    """Returns the chooser a configuration asks for."""
    memory: Memory
    knowledge: Knowledge
    board: Board
    catalogs: Catalogs

    def in_order(self) -> Sequence[Step]:
        """Return all steps in the order they are taken in."""
        return (
            self.change_logins,
            self.change_sessions,
            self.change_memory,
            self.change_logs,
            self.change_functions,
            self.change_nodes,
        )

    def change_logins(self, what: Prepared, _: Prepared) -> None:
        """Let clients in, and dial nodes, as *what* says."""
        for part in (self.lobby, self.opener):
            part.config, part.keyring = what.config, what.keyring
        self.lobby.tls_context = what.tls_context
        provide(what.config)
        self.lobby.prepare_logins()
        self.welcomes.forget()

    def change_sessions(self, what: Prepared, _: Prepared) -> None:
        """Serve sessions as *what* says."""
        self.relay.reconfigure(what.config, self.chooser(what.config))

    def change_memory(self, what: Prepared, _: Prepared) -> None:
        """Keep the state file where *what* says."""
        self.memory.relocate(what.config)

    def change_logs(self, what: Prepared, instead: Prepared) -> None:
        """Log as *what* says."""
        if what.config.log != instead.config.log:
            configure_logs(what.config.log)

    def change_functions(self, what: Prepared, instead: Prepared) -> None:
        """Take the functions for harmless, or not, that *what* lists."""
        patterns = what.config.routing.functions
        if patterns != instead.config.routing.functions:
            self.knowledge.reconfigure(patterns.reads, patterns.writes)

    def change_nodes(self, what: Prepared, _: Prepared) -> None:
        """Watch the nodes of *what*."""
        self.board.reconfigure(what.config)
        self.catalogs.refresh_all()
