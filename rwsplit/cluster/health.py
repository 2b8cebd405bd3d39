"""HealthTracker: whether one node answers, from probes and from the failures the relay meets.

Two witnesses are heard. The monitor *probes*: `fall` failures in a row take a node Down, `rise`
successes bring it back (the very first success after the start does at once, so that starting
takes one round). The relay meets a refused connection long before a probe does; that is a
*strike* and bans the node at once. (A lost one has it probed at once: a session can lose its own.) And it knows which nodes owe it answers: one that owes some and has
been *silent* - no answer to any session, none to a probe - for unusually long is suspect, and frozen
if it stays silent although it is probed. A long statement on a node that answers its probes proves nothing.

    Up      --silent, `patience`-> Suspect (after a probe that is asked at once; gets nothing new)
    Suspect --answer, success-->   Up
    Suspect --silent, CONFIRM-->   Frozen  (what it has not begun to answer runs elsewhere; a strike)
    Frozen  --answer, success-->   Banned for what is left of the strike's time, or Up
    Up, Suspect --strike-->        Banned (1 s, doubling to 30 s while strikes keep coming)
    Up, Suspect, Frozen --`fall` failures--> Down
    Banned  --failure-->           Down   (both witnesses agree: it is not a quarrel but an outage)
    Banned  --success, time over-> Up
    Down    --`rise` successes-->  Up

So the back-off grows only where probes succeed and sessions still fail (connection slots, pg_hba,
a sick network), where coming back early would hurt; a node that was really restarted is Down and
is back `rise` probes after it answers, with its strikes forgotten.

The primary is never banned: there is nobody else to take its work. A failure met on it counts like
one failed probe, and the monitor looks at once. Suspect, Frozen, Banned or Down, a node heals by itself; what an
operator wants of it is another axis (`node.AdminState`).
"""

from __future__ import annotations

from typing import Final, assert_never

from rwsplit.cluster.node import NEVER, NOT_PROBED, Banned, Down, Frozen, Health, Suspect, Up

#: Seconds of the first ban, and of the longest.
SHORTEST_BAN: Final = 1.0
LONGEST_BAN: Final = 30.0
#: Seconds after the end of a ban during which another strike doubles it.
STRIKES_REMEMBERED: Final = 60.0
#: Seconds of silence of a node that owes an answer after which it is suspect: twice what its probes
#: usually take, but from ... to ...
PATIENCE: Final = (0.2, 0.4)
#: Seconds more of it, and how many reports of it, after which the node is frozen: a process that was
#: itself held up for a while has not looked that often.
CONFIRM: Final = 0.3
CONFIRMATIONS: Final = 5
#: Weight of the newest probe in what a node's probes usually take.
NEWEST: Final = 0.2


class HealthTracker:
    """The health of one node; *now* is monotonic seconds."""

    def __init__(self, *, rise: int, fall: int, now: float) -> None:
        self.rise = rise
        self.fall = fall
        self.health: Health = Down(since=now, reason=NOT_PROBED)
        self.up_since = NEVER
        self.seen = False
        """Some probe came back, well or not."""
        self._successes = 0
        self._failures = 0
        self._strikes = 0
        self._ban_ended = NEVER
        self._ever_up = False
        self._usual = 0.0
        """Seconds its probes usually take."""
        self._answered = NEVER
        """When a probe was last answered."""
        self._reports = 0
        """How often in a row it was said to be silent."""

    @property
    def patience(self) -> float:
        """Seconds it may be silent while it owes an answer."""
        least, most = PATIENCE
        return min(max(least, 2 * self._usual), most)

    def succeeded(self, now: float, *, bannable: bool = True, took: float = 0.0) -> None:
        """Take note of a probe that was answered and *took* seconds; *bannable* is False for a primary."""
        self._usual += NEWEST * (took - self._usual)
        self._answered = now
        self.seen = True
        self._failures = 0
        self._successes += 1
        match self.health:
            case Up():
                pass
            case Suspect() | Frozen():
                self._heard(now, bannable=bannable)
            case Banned(until=until):
                if now >= until or not bannable:
                    self._rise(now)
            case Down():
                if self._successes >= self.rise or not self._ever_up:
                    self._rise(now)
            case _:
                assert_never(self.health)

    def failed(self, now: float, reason: str, *, silent: bool = False) -> None:
        """Note that a probe failed; *silent*: not one byte came from the node."""
        self.seen = True
        self._successes = 0
        self._failures += 1
        match self.health:
            case Up() | Suspect() | Frozen():
                if self._failures >= self.fall:
                    self.health = Down(since=now, reason=reason, silent=silent)
            case Banned():
                self._strikes = 0
                self.health = Down(since=now, reason=reason, silent=silent)
            case Down(since=since) as known:
                told = Down(since=since, reason=reason, silent=silent)
                if known != told:
                    self.health = told
            case _:
                assert_never(self.health)

    def struck(self, now: float, reason: str) -> None:
        """Take note of a failure that a session met on a replica: ban it, if it was Up.

        One outage is met by every session that had a server there; only the first report counts.
        """
        match self.health:
            case Up() | Suspect():
                until = self._strike(now)
                self._successes = 0
                self.health = Banned(reason=reason, until=until, strikes=self._strikes)
            case Frozen() | Banned() | Down():
                pass
            case _:
                assert_never(self.health)

    def owes(self, now: float, *, heard: float, asked: float, bannable: bool = True) -> bool:
        """Take note that the node owes sessions an answer; return whether it should be probed at once.

        *heard* is when it last answered one, *asked* when it was asked what it has owed longest. To be called
        again and again while it owes something.
        """
        since = max(heard, asked, self._answered)
        match self.health:
            case Up():
                if now - since < self.patience:
                    self._reports = 0
                    return False
                self._reports += 1
                if self._reports > 1:
                    self.health = Suspect(since)
                return self._reports == 1
            case Suspect(since=suspected):
                self._reports += 1
                if heard > suspected:
                    self._heard(now, bannable=bannable)
                elif (
                    now - suspected >= self.patience + CONFIRM and self._reports > CONFIRMATIONS
                ):
                    until = self._strike(now)
                    self.health = Frozen(suspected, until=until, strikes=self._strikes)
            case Frozen(since=frozen):
                if heard > frozen:
                    self._heard(now, bannable=bannable)
            case Banned() | Down():
                pass
            case _:
                assert_never(self.health)
        return False

    def held_up(self, now: float) -> None:
        """Note that rwsplit itself did not run for a while: the node's silence counts from *now*."""
        self._reports = 0
        if isinstance(self.health, Suspect):
            self.health = Suspect(now)

    def _heard(self, now: float, *, bannable: bool) -> None:
        """It gives a sign of life: it is up, unless it was frozen a moment ago."""
        self._reports = 0
        health = self.health
        if isinstance(health, Frozen) and now < health.until and bannable:
            self.health = Banned("was frozen", until=health.until, strikes=health.strikes)
        else:
            self.health = Up()

    def _strike(self, now: float) -> float:
        """Count a strike; return when the ban for it ends."""
        recent = now - self._ban_ended < STRIKES_REMEMBERED
        self._strikes = self._strikes + 1 if recent else 1
        self._ban_ended = now + min(LONGEST_BAN, SHORTEST_BAN * 2.0 ** (self._strikes - 1))
        return self._ban_ended

    def _rise(self, now: float) -> None:
        self.health = Up()
        self.up_since = now
        self._ever_up = True
