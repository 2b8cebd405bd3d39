"""Work: what statements have done to the server they ran on: its transaction, its parameters, what they have left, and whose that is."""

from __future__ import annotations

from tests.support import frames
from tests.support.conversation import sql
from tests.support.conversation.world import World, plainly, writes


class Work:
    """On one server."""

    def __init__(self, world: World, node: str) -> None:
        self._world = world
        self._node = node
        self.values = sql.Values()
        self.tx = "I"
        self.owner: str | None = None
        """Whose its transaction or its state is, as far as texts tell."""
        self._writes: list[str] = []
        self._savepoints: list[str] = []
        self._is_read_only = False
        self._before = self.values.copy()
        """Its parameters and state as they are if what runs now fails."""
        self._wanted_before: dict[str, dict[str, str]] = {}
        """By session: the parameters that it has then."""

    @property
    def is_replica(self) -> bool:
        return self._world.primary != self._node

    def status(self, *, fails: bool = False) -> str:
        """Return what ReadyForQuery says, once what runs now has ended."""
        return "E" if self.tx != "I" and (fails or self.tx == "E") else self.tx

    def refusal(self, text: str) -> bytes:
        """Return the error PostgreSQL answers *text* by, if it cannot be run now."""
        error = sql.refusal(
            text,
            is_replica=self.is_replica,
            is_read_only=self._is_read_only,
            has_failed=self.tx == "E",
        )
        plain = plainly(text)
        if error or not plain.startswith(("rollback to", "release")):
            return error
        return b"" if plain.split()[-1] in self._savepoints else frames.error("3B001", "none")

    def tag(self, text: str) -> str:
        """Return the tag of *text*, which is run now."""
        tag = sql.tag_of(text)
        return "ROLLBACK" if self.tx == "E" and tag == "COMMIT" else tag

    def wrong(self, text: str) -> str:
        """Return what is wrong with running *text* here now: it is among what others have left."""
        author = self._world.author(text)
        if author is None:
            return ""
        if self.owner not in (None, author) and (self.tx != "I" or self.values.state):
            left = ", ".join(self.values.state) or "transaction"
            wrong = f"{text!r} of {author} runs in {self.owner}'s {left}"
            self._world.problems.append(wrong)
            return wrong
        has, wants = self.values.own, sql.without_defaults(self._world.parameters[author])
        return "" if has == wants else f"{text!r} of {author} runs with {has}, not {wants}"

    # What is done...

    def run(self, text: str, tag: str) -> None:
        """Have run *text*, which was answered by *tag*."""
        if self.tx == "I" and not self.values.state:
            self.owner = None
        is_wrong = bool(self.wrong(text))
        self._control(plainly(text), tag)
        if writes(text):
            self._writes.append(text)
        self.values.run(text)
        author = self._world.author(text)
        if author is None:
            return
        self.owner = author
        if not is_wrong:
            resets = plainly(text).startswith(("discard", "reset"))
            base = self._world.bases[author] if resets else {}
            self._wanted_before.setdefault(author, self._world.parameters[author])
            self._world.parameters[author] = {**base, **self.values.parameters}

    def _control(self, plain: str, tag: str) -> None:
        """Begin, end or mark the transaction, if that is what was run."""
        if plain.startswith("rollback to"):
            self.tx = "T"
        elif tag in ("COMMIT", "ROLLBACK"):
            self.end(commits=tag == "COMMIT", chains="chain" in plain)
        elif tag == "BEGIN":
            self.tx, self._before = "T", self.values.copy()
            self._is_read_only = "read only" in plain
        elif plain.startswith("savepoint"):
            self._savepoints.append(plain.split()[-1])

    def end(self, *, commits: bool, chains: bool = False) -> None:
        """End the transaction, or the statements that were one without saying so."""
        if commits and not self.is_replica:
            self._world.committed.update(self._writes)
        elif not commits:
            self.values = self._before.copy()
            self._world.parameters.update(self._wanted_before)
        self._writes.clear()
        self._savepoints.clear()
        self._wanted_before.clear()
        self.tx = "T" if chains else "I"
        self._is_read_only = self._is_read_only and chains
        self._before = self.values.copy()

    def fail(self) -> None:
        """Have failed: the transaction is to be ended, or what had begun without one is undone."""
        if self.tx != "I":
            self.tx = "E"
        else:
            self.end(commits=False)
