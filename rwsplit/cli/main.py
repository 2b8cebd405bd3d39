"""`rwsplit`: the commands, and the one place where an error becomes a sentence and an exit code.

0: fine. 1: a problem was found, or something was refused; standard error says what. 2: wrong usage.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rwsplit.admin.views import product_version
from rwsplit.cli import check, config, console, demo, explain, node, serve, status
from rwsplit.errors import ConfigError, RwsplitError


class Commands(TyperGroup):
    """The root of all commands, with its error boundary."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what rwsplit raises on purpose ends it with 1 and one sentence."""
        try:
            return super().invoke(ctx)
        except RwsplitError as exc:
            lines = exc.problems if isinstance(exc, ConfigError) else [str(exc)]
            for line in lines:
                print(f"rwsplit: {line}", file=sys.stderr)
            raise typer.Exit(1) from None
        except BrokenPipeError:
            # Whoever read our output has seen enough (`rwsplit config show | head -1`).
            sys.stderr.close()
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A drop-in PostgreSQL endpoint that splits reads and writes.",
    epilog="Try it:  rwsplit demo   and beside it   rwsplit status --watch",
)


def _version(asked: bool) -> None:
    if asked:
        print(product_version())
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that come before any command."""


app.command(epilog="Example:  rwsplit serve -c config/rwsplit.yaml")(serve.serve)
app.command(
    epilog="Examples:  rwsplit demo   |   rwsplit demo --pgbench-scale 5 --apply-delay replica3=2s"
    "   |   rwsplit demo --seconds 60 --port 7432"
)(demo.demo)
app.command(
    epilog="Examples:  rwsplit check -c rwsplit.yaml   |   rwsplit check -c rwsplit.yaml --connect"
)(check.check)
app.command(
    epilog="Examples:  rwsplit status   |   rwsplit status --watch   |   "
    "rwsplit status --json --url postgresql://admin@127.0.0.1:6432"
)(status.status)
app.add_typer(node.app, name="node")
app.command(
    epilog="Examples:  rwsplit explain 'select * from accounts'   |   "
    "rwsplit explain 'select now()' --in-transaction --json"
)(explain.explain)
app.add_typer(config.app, name="config")
app.command(epilog="Examples:  rwsplit console   |   rwsplit console 'SHOW POOLS'")(
    console.console
)


def main() -> None:
    """Run the command line; the entry point."""
    app()
