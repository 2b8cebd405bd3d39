"""Commands: the table of commands, and the one place where an error becomes a sentence and an exit code.

0: fine. 1: a problem was found, or something was refused; standard error says what. 2: wrong usage.

A command's module is imported when that command is asked for: completion in a shell, which runs `rwsplit` at each Tab,
and short commands do not pay for the SQL parser and the server.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from rwsplit import PRODUCT
from rwsplit.errors import ConfigError, RwsplitError

#: Every command, with the examples below its help; None: a group, whose module has an `app` with its own.
COMMANDS: Final[dict[str, str | None]] = {
    "serve": "Example:  rwsplit serve -c config/rwsplit.yaml",
    "demo": "Examples:  rwsplit demo   |   rwsplit demo --pgbench-scale 5 --apply-delay replica3=2s"
    "   |   rwsplit demo --seconds 60 --port 7432",
    "check": "Examples:  rwsplit check -c rwsplit.yaml   |   rwsplit check -c rwsplit.yaml --connect",
    "status": "Examples:  rwsplit status   |   rwsplit status --watch   |   "
    "rwsplit status --json --url postgresql://admin@127.0.0.1:6432",
    "node": None,
    "explain": "Examples:  rwsplit explain 'select * from accounts'   |   "
    "rwsplit explain 'select now()' --in-transaction --json",
    "config": None,
    "console": "Examples:  rwsplit console   |   rwsplit console 'SHOW POOLS'",
}


class Commands(TyperGroup):
    """The root of all commands, with its error boundary."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the same in any context
        """Return the names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, whose module is imported now; None: there is none."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name, COMMANDS[cmd_name])
        return super().get_command(ctx, cmd_name)

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
            # The program that reads our output has ended (`rwsplit config show | head -1`).
            sys.stderr.close()
            raise typer.Exit(1) from None


def _load(name: str, examples: str | None) -> Any:
    module = import_module(f"rwsplit.cli.{name}")
    one = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
    )
    if examples is None:
        one.add_typer(module.app, name=name)
        return typer.main.get_group(one).commands[name]
    one.command(name, epilog=examples)(getattr(module, name))
    return typer.main.get_command(one)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="A drop-in PostgreSQL endpoint that splits reads and writes.",
    epilog="Try it:  rwsplit demo   and beside it   rwsplit status --watch",
)


def _version(asked: bool) -> None:
    if asked:
        print(PRODUCT)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that come before any command."""
