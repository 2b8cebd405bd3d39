"""HealthTracker: whether one node answers, from probes and from the failures the relay meets.

Two witnesses are heard. The monitor *probes*: `fall` failures in a row take a node Down, `rise`
successes bring it back (the very first success after the start does at once, so that starting
takes one round). The relay meets a refused or lost connection long before a probe does; that is a
*strike* and bans the node at once:

    Up      --strike-->            Banned (1 s, doubling to 30 s while strikes keep coming)
    Up      --`fall` failures-->   Down
    Banned  --failure-->           Down   (both witnesses agree: it is not a quarrel but an outage)
    Banned  --success, time over-> Up
    Down    --`rise` successes-->  Up

So the back-off grows only where probes succeed and sessions still fail (connection slots, pg_hba,
a sick network), where coming back early would hurt; a node that was really restarted is Down and
is back `rise` probes after it answers, with its strikes forgotten.

The primary is never banned: there is nobody else to take its work. A failure met on it counts like
one failed probe, and the monitor looks at once. Banned or Down, a node heals by itself; what an
operator wants of it is another axis (`node.AdminState`).
"""

from __future__ import annotations

from typing import Final, assert_never

from rwsplit.cluster.node import NEVER, Banned, Down, Health, Up

#: Seconds of the first ban, and of the longest.
SHORTEST_BAN: Final = 1.0
LONGEST_BAN: Final = 30.0
#: Seconds after the end of a ban during which another strike doubles it.
STRIKES_REMEMBERED: Final = 60.0


class HealthTracker:
    """The health of one node; *now* is monotonic seconds."""

    def __init__(self, *, rise: int, fall: int, now: float) -> None:
        self.rise = rise
        self.fall = fall
        self.health: Health = Down(since=now, reason="not probed yet")
        self.up_since = NEVER
        self.seen = False
        """Some probe came back, well or not."""
        self._successes = 0
        self._failures = 0
        self._strikes = 0
        self._ban_ended = NEVER
        self._ever_up = False

    def succeeded(self, now: float, *, bannable: bool = True) -> None:
        """Take note of a probe that was answered; *bannable* is False for a primary."""
        self.seen = True
        self._failures = 0
        self._successes += 1
        match self.health:
            case Up():
                pass
            case Banned(until=until):
                if now >= until or not bannable:
                    self._rise(now)
            case Down():
                if self._successes >= self.rise or not self._ever_up:
                    self._rise(now)
            case _:
                assert_never(self.health)

    def failed(self, now: float, reason: str) -> None:
        """Take note of a probe that failed."""
        self.seen = True
        self._successes = 0
        self._failures += 1
        match self.health:
            case Up():
                if self._failures >= self.fall:
                    self.health = Down(since=now, reason=reason)
            case Banned():
                self._strikes = 0
                self.health = Down(since=now, reason=reason)
            case Down(since=since, reason=known):
                if known != reason:
                    self.health = Down(since=since, reason=reason)
            case _:
                assert_never(self.health)

    def struck(self, now: float, reason: str) -> None:
        """Take note of a failure that a session met on a replica: ban it, if it was Up.

        One outage is met by every session that had a server there; only the first report counts.
        """
        match self.health:
            case Up():
                recent = now - self._ban_ended < STRIKES_REMEMBERED
                self._strikes = self._strikes + 1 if recent else 1
                until = now + min(LONGEST_BAN, SHORTEST_BAN * 2.0 ** (self._strikes - 1))
                self._ban_ended = until
                self._successes = 0
                self.health = Banned(reason=reason, until=until, strikes=self._strikes)
            case Banned() | Down():
                pass
            case _:
                assert_never(self.health)

    def _rise(self, now: float) -> None:
        self.health = Up()
        self.up_since = now
        self._ever_up = True
