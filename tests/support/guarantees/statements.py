"""What clients say: statements that begin and end transactions, write a register, read some, or do neither.

There are many ways to read the same registers and to write the same value; whatever the way, a read returns rows of (register,
value, node), and a write gives the register that value in one transaction, with the trigger's entry in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from tests.support.guarantees.history import Level

TABLE: Final = "guarantees"
LEDGER: Final = "guarantees_ledger"
#: Named statements of the protocol that every session parses, with the placeholders they take.
NAMED_READ: Final = "read_one"
NAMED_WRITE: Final = "write_one"

_COLUMNS: Final = "register, value, current_setting('cluster_name')"

SCHEMA: Final = f"""
drop table if exists {TABLE} cascade;
drop table if exists {LEDGER};
drop table if exists {TABLE}_inbox cascade;
create table {TABLE} (register int primary key, value int) with (fillfactor = 50);
create table {LEDGER} (register int, value int);
create table {TABLE}_inbox (register int, value int);
create view {TABLE}_view as select register, value from {TABLE};

create or replace function {TABLE}_book() returns trigger language plpgsql as $$
begin insert into {LEDGER} values (new.register, new.value); return new; end $$;
create trigger book after update on {TABLE} for each row execute function {TABLE}_book();

create or replace function {TABLE}_put(r int, v int) returns void language plpgsql as $$
begin update {TABLE} set value = v where register = r and value <= v; end $$;
create or replace function {TABLE}_put_in_sql(r int, v int) returns void language sql as $$
update {TABLE} set value = v where register = r and value <= v $$;
create or replace procedure {TABLE}_call(r int, v int) language plpgsql as $$
begin update {TABLE} set value = v where register = r and value <= v; end $$;
create or replace procedure {TABLE}_call_and_commit(r int, v int) language plpgsql as $$
begin update {TABLE} set value = v where register = r and value <= v; commit; end $$;

create or replace function {TABLE}_empty() returns trigger language plpgsql as $$
begin perform {TABLE}_put(new.register, new.value); return null; end $$;
create trigger empty before insert on {TABLE}_inbox for each row execute function {TABLE}_empty();

create or replace function {TABLE}_get(r int) returns table (register int, value int, node text)
language sql stable as $$
select g.register, g.value, current_setting('cluster_name') from {TABLE} g where g.register = r $$;
create or replace function {TABLE}_get_in_plpgsql(r int) returns table (register int, value int, node text)
language plpgsql stable as $$
begin return query
select g.register, g.value, current_setting('cluster_name') from {TABLE} g where g.register = r; end $$;
"""
#: What a session that uses SQL's PREPARE says first.
PREPARE: Final = (
    f"prepare sql_read(int) as select {_COLUMNS} from {TABLE} where register = $1",
    f"prepare sql_write(int, int) as update {TABLE} set value = $2 where register = $1 and value <= $2",
)
#: The texts of the named statements.
NAMED: Final[Mapping[str, str]] = {
    NAMED_READ: f"select {_COLUMNS} from {TABLE} where register = $1",
    NAMED_WRITE: f"update {TABLE} set value = $2::int where register = $1::int and value <= $2::int",
}


class Begin(NamedTuple):
    """BEGIN; *is_frozen*: one snapshot for all; *reads_only*: READ ONLY."""

    sql: str
    is_frozen: bool = False
    reads_only: bool = False


class End(NamedTuple):
    """COMMIT, ROLLBACK or PREPARE TRANSACTION, as its tag will tell; *chains*: AND CHAIN; *prepares*: that name."""

    sql: str
    chains: bool = False
    prepares: str = ""


class Resolve(NamedTuple):
    """COMMIT PREPARED, ROLLBACK PREPARED."""

    sql: str
    commits: bool


class Writing(NamedTuple):
    """Gives *register* *value*; *name*: of the prepared statement it executes; *data*: of a COPY FROM."""

    sql: str
    register: int
    value: int
    name: str | None = None
    data: bytes = b""
    commits: bool = False
    """It is a procedure that commits what it did."""

    @property
    def arguments(self) -> tuple[int, ...]:
        """Return what a prepared statement is bound to."""
        return self.register, self.value


class Reading(NamedTuple):
    """Returns the values of registers; *level*: what its hint asks for, None without one."""

    sql: str
    register: int | None
    """None: all of them."""
    name: str | None = None
    level: Level | None = None

    @property
    def arguments(self) -> tuple[int, ...]:
        """Return what a prepared statement is bound to."""
        return () if self.register is None else (self.register,)


class Setting(NamedTuple):
    """`SET rwsplit.consistency` and its like; *level*: what reads ask for from then on."""

    sql: str
    level: Level | None


class Restrict(NamedTuple):
    """SET TRANSACTION READ ONLY."""

    sql: str = "set transaction read only"


class Other(NamedTuple):
    """Anything that neither reads nor writes; a SAVEPOINT *needs_snapshot* no more than BEGIN does."""

    sql: str
    needs_snapshot: bool = True


Statement: TypeAlias = Begin | End | Resolve | Writing | Reading | Setting | Restrict | Other

WayToWrite: TypeAlias = Callable[[int, int], Writing]
WayToRead: TypeAlias = Callable[[int | None], Reading]


def _update(register: int, value: int) -> str:
    return (
        f"update {TABLE} set value = {value} where register = {register} and value <= {value}"
    )


def _where(register: int | None) -> str:
    return "" if register is None else f" where register = {register}"


def _select(register: int | None, source: str = TABLE) -> str:
    return f"select {_COLUMNS} from {source}{_where(register)}"


def _writing(text: Callable[[int, int], str]) -> WayToWrite:
    return lambda register, value: Writing(text(register, value), register, value)


def _reading(text: Callable[[int | None], str]) -> WayToRead:
    return lambda register: Reading(text(register), register)


#: Inside transactions and pipelines, by whatever protocol.
WAYS_TO_WRITE: Final[Mapping[str, WayToWrite]] = {
    "update": _writing(_update),
    "named update": lambda r, v: Writing(_update(r, v), r, v, NAMED_WRITE),
    "returning": _writing(lambda r, v: f"{_update(r, v)} returning value"),
    "upsert": _writing(
        lambda r, v: (
            f"insert into {TABLE} values ({r}, {v}) on conflict (register) "
            f"do update set value = {v} where {TABLE}.value <= {v}"
        )
    ),
    "with": _writing(
        lambda r, v: f"with w as ({_update(r, v)} returning value) select count(*) from w"
    ),
    "merge": _writing(
        lambda r, v: (
            f"merge into {TABLE} g using (values ({r}, {v})) w(r, v) on g.register = w.r "
            "when matched and g.value <= w.v then update set value = w.v"
        )
    ),
    "function": _writing(lambda r, v: f"select {TABLE}_put({r}, {v})"),
    "function in sql": _writing(lambda r, v: f"select {TABLE}_put_in_sql({r}, {v})"),
    "do": _writing(lambda r, v: f"do $$begin perform {TABLE}_put({r}, {v}); end$$"),
    "call": _writing(lambda r, v: f"call {TABLE}_call({r}, {v})"),
    "execute": _writing(lambda r, v: f"execute sql_write({r}, {v})"),
    "insert": _writing(lambda r, v: f"insert into {TABLE}_inbox values ({r}, {v})"),
    "explain analyze": _writing(
        lambda r, v: f"explain (analyze, costs off, timing off) {_update(r, v)}"
    ),
}
#: One to a burst, alone in a Query.
WAYS_TO_WRITE_ALONE: Final[Mapping[str, WayToWrite]] = {
    "copy from": lambda r, v: Writing(
        f"copy {TABLE}_inbox from stdin", r, v, data=f"{r}\t{v}\n".encode()
    ),
    "call and commit": lambda r, v: Writing(
        f"call {TABLE}_call_and_commit({r}, {v})", r, v, commits=True
    ),
}
#: Of one register, by whatever protocol.
WAYS_TO_READ: Final[Mapping[str, WayToRead]] = {
    "select": _reading(_select),
    "named select": lambda r: Reading(_select(r), r, NAMED_READ),
    "view": _reading(lambda r: _select(r, f"{TABLE}_view")),
    "with": _reading(lambda r: f"with w as materialized ({_select(r)}) select * from w"),
    "function": _reading(lambda r: f"select * from {TABLE}_get({r})"),
    "function in plpgsql": _reading(lambda r: f"select * from {TABLE}_get_in_plpgsql({r})"),
    "execute": _reading(lambda r: f"execute sql_read({r})"),
    "copy to": _reading(lambda r: f"copy ({_select(r)}) to stdout"),
}
#: Of all registers.
WAYS_TO_READ_ALL: Final[Mapping[str, WayToRead]] = {
    "snapshot": _reading(_select),
    "snapshot of the view": _reading(lambda r: _select(r, f"{TABLE}_view")),
    "snapshot by copy": _reading(lambda r: f"copy ({_select(r)}) to stdout"),
}
#: Hints, each with the level that a read with it asks for; None: that of its session.
HINTS: Final[Mapping[str, Level | None]] = {
    "consistency=eventual": Level.EVENTUAL,
    "consistency=session": Level.SESSION,
    "consistency=cluster": Level.CLUSTER,
    "primary": Level.CLUSTER,
    "replica": None,
    "max_lag=1s": None,
    "node=replica1": Level.EVENTUAL,
    "node=replica2": Level.EVENTUAL,
    "node=replica3": Level.EVENTUAL,
    "node=primary": Level.EVENTUAL,
}


def hinted(reading: Reading, hint: str) -> Reading:
    """Return *reading* with a hint of `HINTS`; it is not prepared by name then."""
    sql = f"/* rwsplit: {hint} */ {reading.sql}"
    return reading._replace(sql=sql, name=None, level=HINTS[hint])
