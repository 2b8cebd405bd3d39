"""Policy: the ordered rules that turn the facts of a script into a verdict.

Wrong in one direction loses correctness, wrong in the other only speed, so a script goes to a replica only if
everything about it is known to be safe there. The order: what the session's state demands, then hints, then
`SET rwsplit.route`, then the operator's rules, then the facts. A hint or rule for a replica is followed
except where PostgreSQL itself would refuse the statement there.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from rwsplit.config.choices import ConsistencyLevel
from rwsplit.config.model import RuleConfig
from rwsplit.routing.route import Route, RouteReason, Target
from rwsplit.sql.script import Script
from rwsplit.sql.statement import Hints, PrimaryOnly, Verb

READ: Final = Route(Target.REPLICA, RouteReason.READ)
_PARAMETER: Final = Route(Target.REPLICA, RouteReason.PARAMETER)
_LEARNED: Final = Route(Target.PRIMARY, RouteReason.LEARNED_WRITE)
_LEARNED_STATE: Final = Route(Target.PRIMARY, RouteReason.LEARNED_STATE)
_BEGIN: Final = Route(Target.PRIMARY, RouteReason.TRANSACTION)
_BEGIN_READ_ONLY: Final = Route(Target.REPLICA, RouteReason.READ_ONLY_TRANSACTION)

_BY_FACT: Final[dict[PrimaryOnly, Route]] = {
    fact: Route(Target.PRIMARY, RouteReason[fact.name]) for fact in PrimaryOnly
}

#: What a hot standby refuses, whatever a hint or rule says.
_REFUSED: Final = frozenset(
    {
        PrimaryOnly.UNPARSED,
        PrimaryOnly.MAY_WRITE,
        PrimaryOnly.LOCKS_ROWS,
        PrimaryOnly.SERIALIZABLE,
        PrimaryOnly.SESSION_STATE,
    }
)

_LEVELS: Final = frozenset({None, *(level.value for level in ConsistencyLevel)})


def route_facts(script: Script) -> Route:
    """Return the verdict that follows from *script* alone."""
    if script.primary_only is not None and not _asks_in_read_only(script):
        single = script.single
        if single is not None and single.verb is Verb.BEGIN:
            return (
                _BEGIN if script.primary_only is not PrimaryOnly.SERIALIZABLE else _serializable
            )
        return _PARAMETER if script.anywhere else _BY_FACT[script.primary_only]
    if script.cost.writes:
        return _LEARNED
    if script.controls_transaction:
        return _transaction(script)
    return READ


def _asks_in_read_only(script: Script) -> bool:
    """Say whether *script* asks for a node's role within its one READ ONLY transaction: then for that of its replica."""
    return (
        script.primary_only is PrimaryOnly.NODE_ROLE
        and all(s.verb not in {Verb.COMMIT, Verb.ROLLBACK} for s in script.statements[:-1])
        and _transaction(script) is _BEGIN_READ_ONLY
    )


def _transaction(script: Script) -> Route:
    """Only a string whose every BEGIN says READ ONLY, and that does not undo it, may use a replica."""
    begins = [s for s in script.statements if s.verb is Verb.BEGIN]
    read_only = all(
        s.read_only is True and (s.isolation or "").lower() != "serializable" for s in begins
    )
    undone = any(s.verb is Verb.SET and s.read_only is False for s in script.statements)
    if script.cost.precedes_state:
        return _LEARNED_STATE
    if begins and script.statements[0].verb is Verb.BEGIN and read_only and not undone:
        return _BEGIN_READ_ONLY
    return _BEGIN


def route_hints(script: Script, hints: Hints) -> Route | None:
    """Return the verdict of a hint, None where it leaves the choice to the facts."""
    verdict: Route | None = None
    if hints.node is not None:
        verdict = _if_possible(script, Route(Target.NODE, RouteReason.HINT, hints.node))
    elif hints.route == "primary" or hints.consistency not in _LEVELS:
        # A level this version does not know can only be stricter: the primary satisfies them all.
        verdict = Route(Target.PRIMARY, RouteReason.HINT)
    elif hints.route == "replica":
        verdict = _if_possible(script, Route(Target.REPLICA, RouteReason.HINT))
    else:
        verdict = route_facts(script)
    if verdict.target is Target.REPLICA and (hints.max_lag is not None or hints.consistency):
        return verdict._replace(max_lag=hints.max_lag, consistency=hints.consistency)
    return verdict


def route_setting(script: Script, setting: str) -> Route:
    """Return the verdict under `SET rwsplit.route` = *setting* (`primary` or `replica`)."""
    if setting == "primary":
        return Route(Target.PRIMARY, RouteReason.SESSION_ROUTE)
    return _if_possible(script, Route(Target.REPLICA, RouteReason.SESSION_ROUTE))


def _if_possible(script: Script, wanted: Route) -> Route:
    """Return *wanted*, a replica, unless PostgreSQL would refuse *script* there."""
    if script.primary_only in _REFUSED or script.cost.writes:
        return route_facts(script)
    if script.controls_transaction:
        return _transaction(script)
    return wanted


class Rules:
    """The operator's rules that can match one session (its user, database and application)."""

    __slots__ = ("_rules",)

    def __init__(
        self, rules: Sequence[RuleConfig], *, user: str, database: str, application_name: str
    ) -> None:
        self._rules = [
            rule
            for rule in rules
            if _like(rule.user, user)
            and _like(rule.database, database)
            and _like(rule.application_name, application_name)
        ]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def route(self, script: Script) -> Route | None:
        """Return the verdict of the first rule that matches *script*, None if none does."""
        for rule in self._rules:
            if _any_like(rule.table, script, "tables") and _any_like(
                rule.function, script, "functions"
            ):
                return _rule_route(rule, script)
        return None


def _rule_route(rule: RuleConfig, script: Script) -> Route:
    if rule.to == "primary":
        return Route(Target.PRIMARY, RouteReason.RULE)
    if rule.to == "replica":
        return _if_possible(script, Route(Target.REPLICA, RouteReason.RULE))
    node = Route(Target.NODE, RouteReason.RULE, rule.to.removeprefix("node:"))
    return _if_possible(script, node)


def _like(pattern: str | None, text: str) -> bool:
    return pattern is None or fnmatchcase(text, pattern)


def _any_like(pattern: str | None, script: Script, attribute: str) -> bool:
    if pattern is None:
        return True
    names = (name for s in script.statements for name in getattr(s, attribute))
    return any(
        _like(pattern, name) or _like(pattern, name.rpartition(".")[2]) for name in names
    )


_serializable: Final = _BY_FACT[PrimaryOnly.SERIALIZABLE]
