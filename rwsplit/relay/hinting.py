"""Hinting: what clients are told of their hints: words that are not understood, nodes that cannot be had.

A hint is a wish, so one that is misspelt changes nothing; but its author hears of it, once, by a WARNING, and it is
counted. A node that is named is meant, though: one that does not exist is an error at once, and one that is down or
detached is waited for as long as a short outage takes, and then an error that says what to do. The same goes for
nodes that rules name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rwsplit.cluster.node import AdminState, NodeView, Up
from rwsplit.protocol.backend import error_response, notice_response
from rwsplit.protocol.fields import parse_error_fields
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.server.refused import Refused
from rwsplit.session.unit import Unit
from rwsplit.sql.hints import MEANINGFUL
from rwsplit.sql.statement import Hints

if TYPE_CHECKING:
    from rwsplit.relay.client import Client
    from rwsplit.relay.relay import Relay

#: Seconds a statement waits for the node it names, unless `consistency.wait` is longer.
NODE_WAIT: Final = 2.0
#: Different warnings one session gets.
MOST_WARNINGS: Final = 16


class Hinting:
    """Answers for hints that cannot be followed."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.misspelt: dict[str, int] = {}
        """Statements with a hint that is not understood, by database."""

    # Hints that mean nothing...

    def note(self, client: Client, hints: Hints) -> None:
        """Count a statement whose *hints* are not all understood, and warn *client* of each once."""
        problems = [f"hint not understood: {text}" for text in hints.misspelt]
        if (
            hints.node is not None
            and client.server is not None
            and self._is_unknown(hints.node)
        ):
            # Where it is, it stays; and what it says there is as good as an answer.
            problems.append(f'node "{hints.node}", which the hint names, does not exist')
        if not problems:
            return
        self.misspelt[client.database] = self.misspelt.get(client.database, 0) + 1
        if client.in_flight or client.parameters.get("client_min_messages") == "error":
            return
        for problem in problems:
            if problem not in client.warned and len(client.warned) < MOST_WARNINGS:
                client.warned.add(problem)
                client.sink.append(
                    notice_response("WARNING", "01000", problem, hint=MEANINGFUL)
                )
                self._relay.outboxes.touch_client(client)

    # Nodes that cannot be had...

    def is_for_nobody(self, hints: Hints) -> bool:
        """Return whether *hints* name a node that does not exist."""
        return hints.node is not None and self._is_unknown(hints.node)

    def _is_unknown(self, name: str) -> bool:
        return self._relay.view.node(name) is None

    def await_node(self, client: Client, unit: Unit, route: Route) -> bool:
        """Let *unit* wait for the node *route* names, or answer it by an error; return whether it is answered."""
        name = route.node or ""
        if not self._is_unknown(name):
            self._relay.waits.await_node(client)
            return False
        message = f'node "{name}", which {_who(route)} names, does not exist'
        self._relay.own_answers.refuse(client, unit, "22023", message, hint=f"{self._nodes()}.")
        return True

    def is_late(self, unit: Unit, now: float) -> bool:
        """Return whether *unit* has waited long enough for the node it names."""
        if unit.route is None or unit.route.target is not Target.NODE:
            return False
        return now >= unit.arrived + max(NODE_WAIT, self._relay.config.consistency.wait)

    def fail(self, client: Client, unit: Unit) -> None:
        """Answer *unit*, whose node is not to be had, by an error."""
        route = unit.route
        assert route is not None
        node = self._relay.view.node(route.node or "")
        message = f'node "{route.node}", which {_who(route)} names, {_state(node)}'
        others = f"name another one, or none ({self._nodes()})"
        if node is not None and node.admin is not AdminState.ATTACHED:
            hint = f"Attach it (rwsplit node attach {node.name}), or {others}."
        else:
            hint = f"Wait until it is up (rwsplit status), or {others}."
        self._relay.own_answers.fail_unit(client, "57P03", message, hint=hint)

    def refused(self, client: Client, unit: Unit, node: str, refused: Refused) -> None:
        """Answer *unit*, which waits for a server of the *node* it names, by what that said."""
        assert unit.route is not None
        said = parse_error_fields(refused.response[5:])
        code, message = refused.sqlstate or "08006", said.get("M", refused.message)
        detail = f"So says node {node}, which {_who(unit.route)} names."
        error = error_response("ERROR", code, message, detail=detail, hint=said.get("H"))
        self._relay.own_answers.fail_with(client, error, refused.response)

    def _nodes(self) -> str:
        return "Nodes: " + ", ".join(node.name for node in self._relay.view.nodes)


def _who(route: Route) -> str:
    return "a rule" if route.reason is RouteReason.RULE else "the hint"


def _state(node: NodeView | None) -> str:
    if node is None:
        return "does not exist any more"
    if node.admin is not AdminState.ATTACHED:
        return f"is {node.admin.value}"
    if isinstance(node.health, Up):
        return "is not to be had"
    return f"is down ({node.health.reason})"
