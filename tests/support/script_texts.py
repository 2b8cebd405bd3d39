"""Texts: the SQL scripts are made of, by what it is about.

All of it is said to a database of its own, made by SCHEMA. What has `kept` in its name belongs to the session
(`Line.by`); temporary tables, prepared statements, cursors and parameters have the same names in all sessions, so that
one's would be found by the other if they leaked.
"""

from __future__ import annotations

from typing import Final

#: Run once for each session's names.
SCHEMA: Final = (
    "create table kept (id int primary key, v text not null check (v <> 'bad')) with (autovacuum_enabled = off)",
    "create table kept_ref (id int references kept, n int) with (autovacuum_enabled = off)",
    "create sequence kept_seq",
    "insert into kept values (1, 'one'), (2, 'two'), (3, 'three')",
)
#: What they hold is compared at the end of each script, and put back as it was.
STATE: Final = (
    "select (select array_agg(kept order by id)::text from kept), "
    "(select array_agg(kept_ref order by id, n)::text from kept_ref), "
    "(select last_value::text || is_called from kept_seq), "
    "(select array_agg(relname order by 1)::text from pg_class where relname ~ '^kept_scratch')"
)
RESTORE: Final = (
    "truncate kept, kept_ref",  # so that rows lie in the order they are made in
    "insert into kept values (1, 'one'), (2, 'two'), (3, 'three')",
    "alter sequence kept_seq restart",
    "drop table if exists kept_scratch",
)

READS: Final = (
    "select 1",
    "select id, v from kept order by id",
    "select count(*) from kept",
    "select count(*) from kept_ref",
    "select generate_series(1, 5)",
    "values (1), (2)",
    "table kept_ref order by id, n",
    "explain (costs off) select v from kept",
    "select 'x'::text, null, 1.5",
    "",
    "/* nothing */ ;",
    "select current_user, current_schema()",
    "select now() = transaction_timestamp()",
    "select now() <= statement_timestamp()",
    "select count(*) from pg_cursors",
    "select $1::int + 1",
    "select v from kept where id = $1",
    "select $1::text, $2::int",
)
#: Reads that take so long that they are met by what happens to their replicas; the last one has told some rows by then.
LASTING: Final = (
    "select 5 from pg_sleep(0.01)",
    "select id, pg_sleep(0.005) from kept order by id",
    "select repeat('x', 4000), pg_sleep(0.001) from generate_series(1, 30)",
)
ASKING: Final = (
    "show work_mem",
    "show timezone",
    "show datestyle",
    "show search_path",
    "show application_name",
    "show transaction_isolation",
    "show transaction_read_only",
    "select current_setting('work_mem')",
    # Once a parameter like this has been set, PostgreSQL keeps it, empty, for all sessions of that server.
    "select nullif(current_setting('kept.own', true), '')",
    "select * from t",
    "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    "select currval('kept_seq')",
    # Not lastval(): behind SET TRANSACTION in one query, what rwsplit says first for it has taken the snapshot.
)
WRITES: Final = (
    "insert into kept values (4, 'four') on conflict do nothing",
    "insert into kept values (5, 'five') returning id, v",
    "update kept set v = v || '!' where id = 1",
    "update kept set v = v || $1 where id = 2",
    "delete from kept where id = 3 returning v",
    "insert into kept_ref values (1, 10)",
    "with w as (insert into kept_ref values (2, 20) returning n) select n from w",
    "select id from kept order by id for update",
    "lock kept_ref in exclusive mode",
    "select nextval('kept_seq')",
    "truncate kept_ref",
    "create table kept_scratch (a int)",
    "drop table kept_scratch",
)
ERRORS: Final = (
    "selec",
    "select 1/0",
    "select nowhere from kept",
    "select * from nosuch",
    "select 'x'::int",
    "select 6 / (3 - id) from kept order by id",
    "insert into kept values (1, 'again')",
    "insert into kept values (7, 'bad')",
    "insert into kept_ref values (99, 1)",
    "update kept set v = null where id = 2",
    "do $$begin raise exception 'mine' using errcode = 'ZZ123', hint = 'h'; end$$",
    "do $$begin raise notice 'noticed'; end$$",
    "select nosuch(1)",
    "set nosuch = 1",
)
TRANSACTIONS: Final = (
    "begin",
    "begin",
    "start transaction",
    "begin read write",
    "begin read only",
    "begin isolation level repeatable read",
    "begin isolation level serializable",
    "commit",
    "commit",
    "end",
    "rollback",
    "abort",
    "commit and chain",
    "rollback and chain",
    "savepoint s",
    "rollback to s",
    "release s",
    "set transaction read only",
    "set transaction read write",
    "set transaction isolation level repeatable read",
    "set local work_mem = '5MB'",
    "set local timezone = 'UTC'",
    "prepare transaction 'kept_2pc'",
    "commit prepared 'kept_2pc'",
    "rollback prepared 'kept_2pc'",
)
SETTINGS: Final = (
    "set timezone = 'Asia/Tokyo'",
    "set work_mem = '9MB'",
    "set work_mem = 'much'",
    "reset work_mem",
    "reset timezone",
    "reset all",
    "set kept.own = 'mine'",
    "set application_name = 'renamed'",
    "set datestyle = 'german'",
    "set search_path to pg_catalog, public",
    "select set_config('work_mem', '8MB', false)",
    "select set_config('timezone', 'Asia/Seoul', true)",
    "set default_transaction_read_only = on",
    "set session characteristics as transaction isolation level repeatable read",
    "set session characteristics as transaction read only",
    "set role none",
    "discard all",
    "discard temp",
)
PREPARED: Final = (
    "prepare a as select 5",
    "prepare b(int) as select $1 + 1",
    "prepare w as insert into kept_ref values (3, 30) returning n",
    "execute a",
    "execute b(2)",
    "execute b('x')",
    "execute w",
    "deallocate a",
    "deallocate b",
    "deallocate all",
)
STATEFUL: Final = (
    "create temp table t (a int)",
    "create temp table t (a int) on commit drop",
    "insert into t values (1) returning a",
    "drop table t",
    "listen kept_news",
    "notify kept_news, 'hello'",
    "select pg_notify('kept_news', 'there')",
    "unlisten *",
    "select pg_advisory_lock(hashtext('kept'))",
    "select pg_try_advisory_xact_lock(hashtext('kept'))",
    "select pg_advisory_unlock(hashtext('kept'))",
    "select pg_advisory_unlock_all()",
    "declare c cursor for select generate_series(1, 4)",
    "declare h cursor with hold for select id from kept order by id",
    "fetch 2 from c",
    "fetch 2 from h",
    "move 1 in c",
    "close c",
    "close h",
    "close all",
)
#: Each with how often it is chosen.
KINDS: Final = (
    (READS, 6),
    (ASKING, 3),
    (WRITES, 4),
    (ERRORS, 2),
    (TRANSACTIONS, 8),
    (SETTINGS, 2),
    (PREPARED, 2),
    (STATEFUL, 3),
)
