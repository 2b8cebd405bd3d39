"""`rwsplit node`: what the operator wants of the nodes."""

from __future__ import annotations

import json
import sys
import threading
from typing import Annotated

import typer
from rich.console import Console

from rwsplit.cli.completion import node_names
from rwsplit.cli.headline import left_to_do
from rwsplit.cli.options import ConfigFile, Json, Url
from rwsplit.cli.proxy import Place, ProxyError, connected, find_proxy, operate, rows
from rwsplit.cli.status import read_status, render_status

POLL = 0.2

app = typer.Typer(
    no_args_is_help=True,
    help="List, attach, detach, drain, promote or accept nodes.",
    epilog="Examples:  rwsplit node list   |   rwsplit node drain pg2 --wait   |   rwsplit node accept pg2",
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The node's name in the configuration.",
        autocompletion=node_names,
    ),
]


@app.command("list", epilog="Examples:  rwsplit node list   |   rwsplit node list --json")
def list_nodes(url: Url = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the nodes."""
    place = find_proxy(url, config)
    with connected(place) as connection:
        found = read_status(connection)
    if as_json:
        print(json.dumps(found["nodes"], indent=2))
    else:
        Console().print(render_status(found, place))


@app.command(epilog="Example:  rwsplit node attach pg2")
def attach(name: Name, url: Url = None, config: ConfigFile = None) -> None:
    """Give a detached or draining node work again."""
    _operate(find_proxy(url, config), "ATTACH NODE %s", name)
    print(f"{name} is attached")


@app.command(epilog="Example:  rwsplit node detach pg2")
def detach(name: Name, url: Url = None, config: ConfigFile = None) -> None:
    """Give a node no more work; running statements finish. It stays so until it is attached."""
    _operate(find_proxy(url, config), "DETACH NODE %s", name)
    print(f"{name} is detached")


@app.command(epilog="Examples:  rwsplit node drain pg2   |   rwsplit node drain pg2 --wait")
def drain(
    name: Name,
    url: Url = None,
    config: ConfigFile = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return when nothing runs there.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Wait for this long at most.")
    ] = None,
) -> None:
    """Give a node no new work; what runs finishes, then it is detached."""
    place = find_proxy(url, config)
    _operate(place, "DRAIN NODE %s", name)
    if wait:
        _wait_until_detached(place, name, timeout)
        print(f"{name} is drained and detached")
    else:
        print(f"{name} is draining")


@app.command(
    epilog="Examples:  rwsplit node promote pg2   |   rwsplit node promote pg2 --force"
)
def promote(
    name: Name,
    url: Url = None,
    config: ConfigFile = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also if that loses what others have; says how much."),
    ] = False,
) -> None:
    """Promote a replica to be the primary; a primary that is up must be drained first.

    Refused if another replica has received more. Says what is lost, and what is left to do.
    """
    command = "PROMOTE NODE %s FORCE" if force else "PROMOTE NODE %s"
    place = find_proxy(url, config)
    for told in operate(place, command, [name]):
        print(told)
    with connected(place) as connection:
        found = read_status(connection)
    for task in left_to_do(found, name):
        print(f"still to do: {task}")


@app.command(epilog="Example:  rwsplit node accept pg0")
def accept(name: Name, url: Url = None, config: ConfigFile = None) -> None:
    """Take a node that is a primary for the right one.

    For when rwsplit cannot tell, and says so: the one it knew is gone for good, or there are several. What is on the
    others beyond that node's timeline is not seen any more.
    """
    _operate(find_proxy(url, config), "ACCEPT NODE %s", name)
    print(f"{name} is the primary")


def _operate(place: Place, command: str, name: str) -> None:
    """Do *command*, and pass on what the operator has to know of it: that it was not saved."""
    for notice in operate(place, command, [name]):
        print(f"rwsplit: {notice}", file=sys.stderr)


def _wait_until_detached(place: Place, name: str, timeout: float | None) -> None:
    pause = threading.Event()
    waited = 0.0
    with connected(place) as connection:
        while True:
            node = next((n for n in rows(connection, "SHOW NODES") if n["node"] == name), None)
            if node is None or node["admin_state"] == "detached":
                return
            if node["admin_state"] == "attached":
                raise ProxyError(f"{name} was attached again")
            if timeout is not None and waited >= timeout:
                raise ProxyError(
                    f"{name} still has {node['in_flight']} statements or transactions after {timeout:g} s; "
                    "it goes on draining"
                )
            pause.wait(POLL)
            waited += POLL
