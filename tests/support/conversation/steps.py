"""Steps: a conversation around the relay as data, in the order of a sequence diagram.

    Conversation(
        "a read goes to a replica, and the server back to its pool",
        says("a", query("select 1")),
        gets("n1", query("select 1")),
        answers("n1"),
        hears("a", *rows("select 1")),
        is_("n1", "idle"),
    )

n0 is the primary, n1 and n2 are replicas; reads that may go to several go to the first. A node's name is its first server's, too; the
second one, whether it is there from the beginning or opened later, is "n1/2". `says`, `sends` and all other steps in which something
happens check first that nobody has got anything but what `gets` and `hears` have told: so they tell all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from rwsplit.exchange.waits import Waiting
from tests.support import frames
from tests.support.conversation.wording import Like

Message = bytes | Like


@attrs.frozen
class Says:
    """A client sends *messages* in one write."""

    client: str
    messages: bytes


@attrs.frozen
class Gets:
    """A server has got exactly these *messages* since it was last asked."""

    server: str
    messages: tuple[Message, ...]


@attrs.frozen
class Sends:
    """A server sends *messages* in one write; None: what PostgreSQL would answer to all it was asked."""

    server: str
    messages: bytes | None


@attrs.frozen
class Hears:
    """A client has got exactly these *messages* since it was last asked."""

    client: str
    messages: tuple[Message, ...]


@attrs.frozen
class Ends:
    """A server's connection ends."""

    server: str


@attrs.frozen
class Leaves:
    """A client closes its connection."""

    client: str


@attrs.frozen
class Gone:
    """rwsplit has closed a client's connection."""

    client: str


@attrs.frozen
class Cancels:
    """A client's CancelRequest comes."""

    client: str


@attrs.frozen
class Strikes:
    """The cancel request that rwsplit has sent for a server arrives there; it is on its way, and no other is."""

    server: str


@attrs.frozen
class Becomes:
    """The view of the cluster changes: *node* is from now on as *condition* says (`Stage.become`)."""

    node: str
    condition: str


@attrs.frozen
class Passes:
    """Time passes; timers that are due strike."""

    seconds: float


@attrs.frozen
class Opens:
    """*node* lets in a server that rwsplit opens; it must be doing so."""

    node: str


@attrs.frozen
class Refuses:
    """*node* refuses a server that rwsplit opens with *sqlstate*, "" if it cannot be reached at all, "no files" if rwsplit cannot try."""

    node: str
    sqlstate: str


@attrs.frozen
class Is:
    """A server's lease is *state* (`exchange.lease.STATES`)."""

    server: str
    state: str


@attrs.frozen
class Waits:
    """A client waits for that, None: for nothing but its answers."""

    client: str
    what: Waiting | None


Check = Gets | Hears | Gone | Is | Waits | Strikes
Act = Says | Sends | Ends | Leaves | Cancels | Becomes | Passes | Opens | Refuses
Step = Act | Check


@attrs.frozen(init=False)
class Conversation:
    """*title*, a sentence that says what holds, and the steps that show it."""

    title: str
    steps: tuple[Step, ...]
    size: int
    """Servers in each pool at the beginning, and at most."""
    settings: Mapping[str, Any]
    """Of the configuration, by path: `pool.lane_depth`."""
    parameters: Mapping[str, Mapping[str, str]]
    """What clients have asked for at startup."""
    injected: bool
    """Faults are injected at each of its steps."""
    wrong: str
    """What rwsplit does instead, if it does not do this yet."""
    whole: str
    """Why what is said must come in one read: what it is about. Else it may come byte by byte."""
    breaks: str
    """What cases with a fault, of any conversation, may fail with as long as it is wrong."""

    def __init__(
        self,
        title: str,
        *steps: Step,
        size: int = 1,
        settings: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Mapping[str, str]] | None = None,
        injected: bool = True,
        wrong: str = "",
        whole: str = "",
        breaks: str = "",
    ) -> None:
        self.__attrs_init__(
            title,
            steps,
            size,
            settings or {},
            parameters or {},
            injected,
            wrong,
            whole,
            breaks,
        )

    @property
    def clients(self) -> list[str]:
        """The clients that take part."""
        return sorted({step.client for step in self.steps if isinstance(step, Says)})


def says(client: str, *messages: bytes) -> Says:
    return Says(client, b"".join(messages))


def gets(server: str, *messages: Message) -> Gets:
    return Gets(server, messages)


def answers(server: str) -> Sends:
    """Have *server* answer all it was asked as PostgreSQL would."""
    return Sends(server, None)


def sends(server: str, *messages: bytes) -> Sends:
    return Sends(server, b"".join(messages))


def hears(client: str, *messages: Message) -> Hears:
    return Hears(client, messages)


ends, leaves, gone, cancels, strikes = Ends, Leaves, Gone, Cancels, Strikes
becomes, passes, opens, refuses, is_, waits = Becomes, Passes, Opens, Refuses, Is, Waits


# Messages that conversations are full of...


def rows(text: str, status: str = "I", *, tag: str = "SELECT 1") -> tuple[bytes, ...]:
    """The whole answer to *text*, a Query that returns a row: what PostgreSQL sends, as far as tests care."""
    return (frames.COLUMNS, frames.row(text), frames.complete(tag), frames.ready(status))


def done(tag: str, status: str = "I") -> tuple[bytes, ...]:
    """The whole answer to a Query that returns no rows."""
    return (frames.complete(tag), frames.ready(status))


def failed(state: str, status: str = "I") -> tuple[bytes, ...]:
    """The whole answer to a Query that fails."""
    return (frames.error(state), frames.ready(status))


def an_error(state: str, *parts: str) -> Like:
    """An error of rwsplit's own."""
    return Like(f"ErrorResponse ERROR {state} ", parts)


def a_fatal(state: str, *parts: str) -> Like:
    """An error of rwsplit's own that ends the session."""
    return Like(f"ErrorResponse FATAL {state} ", parts)


def a_warning(*parts: str) -> Like:
    """A warning of rwsplit's own."""
    return Like("NoticeResponse WARNING ", parts)


def a_notice(*parts: str) -> Like:
    """A notice of rwsplit's own."""
    return Like("NoticeResponse NOTICE ", parts)


def a_query(*parts: str) -> Like:
    """A Query of rwsplit's own that has *parts* in it."""
    return Like("Query ", parts)


A_QUESTION: Final = Like("Query ", ("/* rwsplit */ SELECT ",))
"""What a statement has made of parameters, or left."""
ROLLBACK: Final = frames.query("ROLLBACK")
DISCARD: Final = frames.query("DISCARD ALL")
FAIL: Final = frames.query("ROLLBACK TO SAVEPOINT rwsplit_refuses")
"""Fails a transaction."""
