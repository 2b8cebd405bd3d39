"""`rwsplit serve`: the proxy itself."""

from __future__ import annotations

from rwsplit.cli.check import config_file
from rwsplit.cli.groups import first_error
from rwsplit.cli.options import ConfigFile


def serve(config: ConfigFile = None) -> None:
    """Serve clients as a configuration file says, until SIGTERM or Ctrl-C."""
    path = config_file(config)
    # Imported here: sqlglot takes half a second that no other command needs.
    from rwsplit.app.serve import run

    with first_error():
        run(path)
