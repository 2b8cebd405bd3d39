"""Completion: the words that may stand at a place, for a shell that completes a command.

What is asked of a running rwsplit - the names of its nodes - is asked quietly: where there is none to ask nothing is offered.
"""

from __future__ import annotations

import typer

from rwsplit.cli.proxy import ask, find_proxy
from rwsplit.config.settings import all_settings
from rwsplit.errors import RwsplitError


def node_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the nodes of the rwsplit that the command is about whose names begin with *incomplete*."""
    try:
        found = ask(find_proxy(ctx.params.get("url"), ctx.params.get("config")), "SHOW NODES")
    except (RwsplitError, OSError):
        return []
    return [name for row in found if (name := str(row["node"])).startswith(incomplete)]


def setting_paths(incomplete: str) -> list[str]:
    """Return the paths of the settings that begin with *incomplete*."""
    return [s.path for s in all_settings() if s.path.startswith(incomplete)]
