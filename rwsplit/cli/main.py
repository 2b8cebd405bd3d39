"""`rwsplit`: the entry point. It imports nothing before it knows that more than the version is asked for."""

from __future__ import annotations

import sys

from rwsplit import PRODUCT


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["--version"]:
        print(PRODUCT)
        return
    from rwsplit.cli.commands import app

    app(prog_name="rwsplit")
