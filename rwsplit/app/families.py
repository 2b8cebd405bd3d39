"""Families: what rwsplit counts, as Prometheus' metric families, read on demand."""

from __future__ import annotations

from collections.abc import Iterator

from rwsplit.client.half_open import HalfOpen
from rwsplit.cluster.node import Suspect, Up
from rwsplit.monitor.board import Board
from rwsplit.parser.parser import Parser
from rwsplit.relay.relay import Relay
from rwsplit.routing.route import RouteReason
from rwsplit.server.dial_budget import DialBudget
from rwsplit.telemetry.metrics import Family


def families(
    *, relay: Relay, board: Board, half_open: HalfOpen, budget: DialBudget, parser: Parser
) -> Iterator[Family]:
    """Yield every metric of a running rwsplit as of now."""
    view = board.view
    counters, now = relay.counters, relay.clock()
    yield Family("rwsplit_clients", "Established sessions.", {(): len(relay.clients)})
    yield Family(
        "rwsplit_half_open_clients",
        "Clients that have not logged in.",
        {(): len(half_open)},
    )
    yield Family(
        "rwsplit_half_open_dropped",
        "Clients that had not logged in and made room for others.",
        {(): half_open.dropped},
        counter=True,
    )
    yield Family(
        "rwsplit_login_inquiries",
        "Connections to nodes that are open for a client that logs in.",
        {(): len(budget)},
    )
    yield Family(
        "rwsplit_statements",
        "Statements answered.",
        {(n.name,): counters.statements[n.index] for n in view.nodes},
        ("node",),
        counter=True,
    )
    yield Family(
        "rwsplit_reads",
        "Statements answered as reads.",
        {(n.name,): counters.reads[n.index] for n in view.nodes},
        ("node",),
        counter=True,
    )
    yield Family(
        "rwsplit_routes",
        "Verdicts by reason.",
        {(r.name,): counters.reasons[r.number] for r in RouteReason},
        ("reason",),
        counter=True,
    )
    yield Family(
        "rwsplit_node_up",
        "1 where the node answers.",
        {(n.name,): int(isinstance(n.health, Up | Suspect)) for n in view.nodes},
        ("node",),
    )
    yield Family(
        "rwsplit_node_in_flight",
        "Statements in flight or queued.",
        {(n.name,): counters.load[n.index] for n in view.nodes},
        ("node",),
    )
    yield Family(
        "rwsplit_replica_staleness_seconds",
        "Upper bound of how old an answer may be.",
        {
            (n.name,): max(0.0, view.staleness(n, now))
            for n in view.nodes
            if n is not view.primary and n.fresh_until > float("-inf")
        },
        ("node",),
    )
    yield Family(
        "rwsplit_pool_refused",
        "1 where a node refuses the servers of a pool.",
        {(p.node, p.database, p.user): 1 for p in relay.pools if p.refused is not None},
        ("node", "database", "user"),
    )
    yield Family(
        "rwsplit_misspelt_hints",
        "Statements with a hint that is not understood.",
        {(database,): count for database, count in relay.hinting.misspelt.items()},
        ("database",),
        counter=True,
    )
    yield Family(
        "rwsplit_parser_endings",
        "Parser processes that have ended, by reason.",
        {(ending.name,): count for ending, count in parser.endings.items()},
        ("reason",),
        counter=True,
    )
    for name, documentation, value in (
        ("rwsplit_longest_stall_seconds", "Longest stall so far.", relay.stalls.longest),
        ("rwsplit_longest_turn_seconds", "Longest turn so far.", relay.slices.longest),
        (
            "rwsplit_left_over",
            "Clients and servers that wait for their next slice.",
            len(relay.slices),
        ),
    ):
        yield Family(name, documentation, {(): value})
    for name, documentation, value in (
        ("rwsplit_retries", "Units run again elsewhere.", counters.retries),
        (
            "rwsplit_moves",
            "Reads that waited for a node to be fresh and went to another.",
            counters.moves,
        ),
        ("rwsplit_shared_units", "Units pipelined on a lane.", counters.shared),
        ("rwsplit_cancels", "Cancel requests.", counters.cancels),
        ("rwsplit_timeouts", "Units refused after query_wait_timeout.", counters.timeouts),
        ("rwsplit_sessions_failed", "Sessions ended by an error.", counters.errors),
        ("rwsplit_received_bytes", "Bytes from clients.", counters.bytes_in),
        ("rwsplit_sent_bytes", "Bytes from servers.", counters.bytes_out),
        ("rwsplit_stalls", "Times rwsplit itself was held up.", relay.stalls.number),
        (
            "rwsplit_stalled_seconds",
            "Seconds for which rwsplit itself was held up.",
            relay.stalls.seconds,
        ),
        ("rwsplit_parses", "Statements parsed in the turn loop.", relay.effort.parses),
        ("rwsplit_parser_texts", "Texts parsed in the parser process.", parser.texts),
        (
            "rwsplit_parser_unread",
            "Texts the parser process could not parse.",
            parser.unread,
        ),
    ):
        yield Family(name, documentation, {(): value}, counter=True)
