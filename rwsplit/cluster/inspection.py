"""Inspection: what one look at each node says of a cluster, before rwsplit serves it.

The monitor has a history to judge by and time to see things settle; an inspection has one look. So it says what is wrong now, and
what to do about it, and leaves it to `cluster.topology` to decide who is the primary where several nodes claim to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

import attrs

from rwsplit.cluster.node import Role
from rwsplit.cluster.observation import Observation, Source
from rwsplit.cluster.replay import Replay


class Finding(Enum):
    """What may be wrong with a node or a cluster, and what to do about it."""

    HOST_UNKNOWN = "the host name cannot be resolved; correct it in nodes, or in DNS"
    CONNECTION_REFUSED = "nothing listens there; is the port right, is PostgreSQL running, and does listen_addresses include that address?"
    NO_ANSWER = "is the address right, and does the firewall let rwsplit in?"
    UNREACHABLE = "no connection could be made"
    LOGIN_FAILED = (
        "the password (monitor.password, monitor.password_file) is wrong, or there is no such role; "
        "PostgreSQL does not say which"
    )
    LOGIN_INCOMPLETE = "set monitor.password_file or monitor.password"
    LOGIN_REFUSED = "create the role (monitor.user) on the primary, let it LOGIN, and let it in through pg_hba.conf"
    METHOD_REFUSED = "change its pg_hba.conf, turn on TLS, or change auth.server_require_auth or auth.server_cleartext"
    OUT_OF_FILES = "this command may not open another connection"
    DATABASE_UNKNOWN = "correct monitor.database"
    NOT_ACCEPTING = "it is starting, stopping, or a replica with hot_standby off"
    LOOK_FAILED = "it let the monitor in but did not answer its query"
    OTHER_CLUSTER = "has another system identifier: it is a node of another cluster"
    NOT_STREAMING = (
        "not streaming: it has no walreceiver that streams; see its log, primary_conninfo and "
        "primary_slot_name"
    )
    ARCHIVE_ONLY = "not streaming: it takes its WAL from an archive (restore_command) and lags by up to a segment"
    OTHER_TIMELINE = "is on another timeline than the primary and does not follow it; pg_rewind it or build it anew"
    NO_PRIMARY = "no node that answered is a primary; writes would wait"
    SEVERAL_PRIMARIES = "several nodes are primaries; stop all but the right one"
    NOT_PG_MONITOR = (
        "what it streams from is not visible: GRANT pg_monitor to the role (monitor.user)"
    )
    REPLAY_PAUSED = (
        "its replay is paused, so it falls behind and gets no reads; resume it there by "
        "SELECT pg_wal_replay_resume(), unless its log says that PostgreSQL itself paused it, and why"
    )
    APPLY_DELAY = (
        "so it gets no reads but those that ask for a longer max_lag; shorten the one or lengthen the other, or leave "
        "it as it is if the node is for other purposes"
    )
    MAY_NOT_PROMOTE = "`rwsplit node promote` would be refused"
    SUPERUSER = (
        "is a superuser, which the monitor's role must never be: code that the owner of a database plants there would run with "
        "all rights; give it LOGIN and pg_monitor only (ALTER ROLE ... NOSUPERUSER)"
    )
    WORTH_A_LOOK = "the file is used as it is"
    STATE_NOT_SAVED = "after a restart, detached nodes would be attached, and an old primary could be taken for the right one"


#: Findings with which rwsplit works, though something it can do is missing.
WARNINGS: Final = {
    Finding.ARCHIVE_ONLY,
    Finding.NOT_PG_MONITOR,
    Finding.REPLAY_PAUSED,
    Finding.APPLY_DELAY,
    Finding.MAY_NOT_PROMOTE,
    Finding.SUPERUSER,
    Finding.WORTH_A_LOOK,
}


#: What is wrong with a replica that takes its WAL from elsewhere than a walsender.
_SOURCES: Final = {
    Source.NONE: Finding.NOT_STREAMING,
    Source.ARCHIVE: Finding.ARCHIVE_ONLY,
    Source.UNSEEN: Finding.NOT_PG_MONITOR,
}


@attrs.frozen
class Failed:
    """A node that was not seen; *reason* is what it or the network said."""

    finding: Finding
    reason: str


@attrs.frozen
class Seen:
    """A node that was seen."""

    look: Observation
    may_promote: bool = True
    """Whether the monitor's role may execute pg_promote."""
    is_superuser: bool = False
    """Whether the monitor's role is a superuser."""
    replay: Replay = attrs.field(factory=Replay)


@attrs.frozen
class Line:
    """One line of the result, about a node, a file or the cluster; without a finding all is well."""

    subject: str
    text: str
    finding: Finding | None = None

    @property
    def verdict(self) -> str:
        """`ok`, `warn` or `FAIL`."""
        if self.finding is None:
            return "ok"
        return "warn" if self.finding in WARNINGS else "FAIL"


def judge(
    answers: Mapping[str, Failed | Seen], user: str, database: str, max_lag: float
) -> list[Line]:
    """Return what *answers*, by node, come to.

    *user* is the monitor's role, *database* where it logs in; reads go to replicas that lag by *max_lag* seconds at most.
    """
    seen = {name: found for name, found in answers.items() if isinstance(found, Seen)}
    counted = Counter(found.look.system_identifier for found in seen.values()).most_common(1)
    identifier = counted[0][0] if counted else ""
    own = {
        name: found
        for name, found in seen.items()
        if found.look.system_identifier == identifier
    }
    primaries = [name for name, found in own.items() if found.look.role is Role.PRIMARY]
    timeline = own[primaries[0]].look.timeline if len(primaries) == 1 else None
    lines: list[Line] = []
    for name, found in answers.items():
        if isinstance(found, Failed):
            lines.append(Line(name, f"{found.reason}: {found.finding.value}", found.finding))
        else:
            texts = _findings(found, is_own=name in own, timeline=timeline, max_lag=max_lag)
            lines.extend(_about(name, found.look, texts))
    return [*lines, *_about_cluster(own, primaries, user, database)]


def _about(
    name: str, look: Observation, texts: Iterable[tuple[Finding, str]]
) -> Iterator[Line]:
    """Yield the lines of a node that was seen, one for each of *texts*: at least one."""
    summary = f"{look.role.value}, timeline {look.timeline}, PostgreSQL {look.server_version}"
    is_well = True
    for finding, text in texts:
        is_well = False
        yield Line(name, f"{summary}: {text}", finding)
    if is_well:
        yield Line(name, summary)


def _findings(
    found: Seen, *, is_own: bool, timeline: int | None, max_lag: float
) -> Iterator[tuple[Finding, str]]:
    """Yield what is wrong with a node that was seen, and that in words."""
    look, replay = found.look, found.replay
    if not is_own:
        yield _said(Finding.OTHER_CLUSTER)
        return
    if look.role is not Role.REPLICA:
        return
    if timeline is not None and look.timeline != timeline:
        yield _said(Finding.OTHER_TIMELINE)
    if look.source in _SOURCES:
        yield _said(_SOURCES[look.source])
    if replay.paused:
        yield _said(Finding.REPLAY_PAUSED)
    if replay.delay >= max_lag:
        numbers = f"recovery_min_apply_delay is {replay.delay_words} there, consistency.max_lag {max_lag:g} s"
        yield Finding.APPLY_DELAY, f"{numbers}, {Finding.APPLY_DELAY.value}"


def _said(finding: Finding) -> tuple[Finding, str]:
    return finding, finding.value


def _about_cluster(
    own: Mapping[str, Seen], primaries: list[str], user: str, database: str
) -> Iterator[Line]:
    if not primaries:
        yield Line("cluster", Finding.NO_PRIMARY.value, Finding.NO_PRIMARY)
    elif len(primaries) > 1:
        finding = Finding.SEVERAL_PRIMARIES
        claims = ", ".join(f"{name} (timeline {own[name].look.timeline})" for name in primaries)
        yield Line("cluster", f"{claims}: {finding.value}", finding)
    if not own:
        return
    if any(found.is_superuser for found in own.values()):
        yield Line("monitor", f"{user} {Finding.SUPERUSER.value}", Finding.SUPERUSER)
    lacking = [name for name, found in own.items() if not found.may_promote]
    if not lacking:
        yield Line("promote", f"{user} may execute pg_promote")
    elif any(own[name].may_promote for name in primaries):
        yield Line(
            "promote",
            f"{user} may execute pg_promote, but {', '.join(lacking)} did not replay that yet, "
            f"so {Finding.MAY_NOT_PROMOTE.value} there",
            Finding.MAY_NOT_PROMOTE,
        )
    else:
        yield Line(
            "promote",
            f"{user} may not execute pg_promote, so {Finding.MAY_NOT_PROMOTE.value}; in database {database}: "
            f"GRANT EXECUTE ON FUNCTION pg_promote TO {user}",
            Finding.MAY_NOT_PROMOTE,
        )
