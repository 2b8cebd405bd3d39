"""Random conversations: messages a client could send, sensible or not, in the order of a seed.

A batch is sent at once, whatever is still unanswered, and is followed by a Sync, a ROLLBACK and a marker, which
end whatever it left open: so its answer is complete when the marker's is, and no batch can wait for ever.

What PostgreSQL answers to such conversations is `twins`' business; these are for what must not happen: a server, a session
or an answer lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.support.differential import without_table_oids
from tests.support.messages import (
    COPY_DONE,
    FLUSH,
    SYNC,
    bind,
    close_portal,
    close_statement,
    copy_data,
    copy_fail,
    describe_portal,
    describe_statement,
    execute,
    parse,
    query,
    statement,
)
from tests.support.raw_client import Frame, RawClient

TABLE: Final = "conversed"
TEXTS: Final = (
    *("select 1", "select $1::int", "select generate_series(1, 5)", "selec", "select 1/0", ""),
    *("begin", "commit", "rollback", "begin read only", "commit and chain", "abort"),
    *("savepoint s", "rollback to s", "release s", "values (1), (2)", "select 1; select 2"),
    *("begin; select 1", "select 1; commit", "show work_mem", "set local work_mem = 100"),
    *(
        f"insert into {TABLE} values (1)",
        f"select count(*) >= 0 from {TABLE}",
        "select nowhere",
    ),
    *(
        f"select * from {TABLE} for update limit 0",
        f"lock {TABLE}",
        "explain (costs off) select 1",
    ),
    *("declare c cursor for select generate_series(1, 4)", "fetch 2 from c", "close c"),
    *(
        "declare h cursor with hold for select 7",
        "fetch h",
        "close h",
        "listen l",
        "unlisten l",
    ),
    *("create temp table t (a int)", "select * from t", "drop table t", "show timezone"),
    *(
        "set timezone = 'Asia/Tokyo'",
        "do $$begin raise notice 'x'; end$$",
        "select $1::text, $2::int",
    ),
    *(
        "start transaction isolation level repeatable read read only",
        "set transaction read write",
    ),
    *("deallocate all", "deallocate a", "discard all", "prepare a as select 5", "execute a"),
    *("prepare c(int) as select $1", "execute c(3)", "reset timezone", "reset all"),
)
PARAMETERS: Final[tuple[Mapping[str, str], ...]] = (
    {},
    {"TimeZone": "America/Lima"},
    {"options": "-c work_mem=7MB -c datestyle=sql"},
)


class Wild:
    """Anything goes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.parameters = self.random.choice(PARAMETERS)

    def batches(self) -> list[bytes]:
        """Return the batches of one conversation."""
        return [self.batch() for _ in range(self.random.randint(1, 5))]

    def batch(self) -> bytes:
        """Return what is sent at once."""
        return b"".join(self.message() for _ in range(self.random.randint(1, 10)))

    def message(self) -> bytes:
        """Return one message, or a few that belong together."""
        chosen = self.random
        makers: tuple[Callable[[], bytes], ...] = (
            lambda: query(self._text()),
            self.prepare,
            self.bind,
            lambda: execute(self._portal(), limit=chosen.choice((0, 0, 0, 1, 3))),
            self.describe,
            lambda: describe_portal(self._portal()),
            self.close,
            lambda: close_portal(self._portal()),
            lambda: FLUSH,
            lambda: SYNC,
            self._whole,
            self._copy,
        )
        [make] = chosen.choices(makers, weights=(22, 18, 16, 14, 5, 4, 3, 2, 2, 8, 4, 3))
        return make()

    def prepare(self) -> bytes:
        """Parse a statement."""
        return parse(self.random.choice(TEXTS), self.new_name())

    def new_name(self) -> str:
        """Return a name to parse a statement under."""
        return self.random.choice(("", "", "a", "b", "c"))

    def bind(self) -> bytes:
        """Bind a statement there may be."""
        return bind(self.new_name(), self.values(), portal=self._portal())

    def describe(self) -> bytes:
        """Describe a statement there may be."""
        return describe_statement(self.new_name())

    def close(self) -> bytes:
        """Close a statement."""
        return close_statement(self.new_name())

    def _text(self) -> str:
        return self.random.choice(TEXTS)

    def _portal(self) -> str:
        return self.random.choice(("", "", "p", "q"))

    def values(self) -> list[str]:
        return self.random.choice(([], [], ["1"], ["1"], ["x"], ["x", "2"]))

    def _whole(self) -> bytes:
        text = self._text()
        return statement(text, ["1"] * text.count("$")) + SYNC

    def _copy(self) -> bytes:
        data = copy_data(b"1\n") + self.random.choice((COPY_DONE, COPY_DONE, copy_fail("x")))
        into = f"copy {TABLE} from stdin"
        ignored = self.random.choice((b"", SYNC))
        return self.random.choice(
            (
                query(into) + data,
                # The Sync in front of the data is ignored, as libpq's is.
                SYNC + parse(into) + bind() + execute() + ignored + data + SYNC,
                query("copy (select 1) to stdout"),
            )
        )


def play(client: RawClient, batches: Sequence[bytes]) -> list[list[Frame]]:
    """Send *batches*, and return the answer to each.

    What is reported of parameters is left out: it may come a message earlier or later.
    Raises: AssertionError with what there is of an answer that does not come.
    """
    return [_play(client, batch, f"marker {number}") for number, batch in enumerate(batches)]


def _play(client: RawClient, batch: bytes, marker: str) -> list[Frame]:
    client.send(batch, SYNC, query("rollback"), query(f"select '{marker}'"))
    found: list[Frame] = []
    try:
        while not (
            len(found) > 2
            and found[-1].code == b"Z"
            and found[-3].code == b"D"
            and found[-3].payload.endswith(marker.encode())
        ):
            found.append(client.frame())
    except (EOFError, OSError) as error:
        raise AssertionError(f"{error!r} after {found} to {batch!r}") from error
    return [without_table_oids(frame) for frame in found if frame.code != b"S"]
