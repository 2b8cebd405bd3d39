"""System catalogs: the queries a census is made of; what PostgreSQL brings along (oid < 16384) is left out.

Unqualified names resolve in pg_catalog, as the search path is empty when they run.
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.body import LIMIT

MOST_ROWS: Final = 100_000
"""Functions or relations beyond which a database is not read: memory is bounded."""
SQL_BODIES_SINCE: Final = 140000
"""The server_version_num of `BEGIN ATOMIC`."""

CLUSTER_PATH: Final = "select reset_val, source from pg_settings where name = 'search_path'"
DEFAULT_PATHS: Final = """
select r.rolname, substr(c.setting, length('search_path=') + 1)
  from pg_db_role_setting s
  left join pg_roles r on r.oid = s.setrole,
       unnest(s.setconfig) as c(setting)
 where c.setting like 'search_path=%'
   and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
   and (s.setrole = 0 or r.oid is not null)
 order by s.setdatabase <> 0
"""

SETTINGS: Final = """
select concat(pg_conf_load_time(),
              md5(string_agg(concat_ws(' ', setdatabase, setrole, setconfig), ',' order by setdatabase, setrole)))
  from pg_db_role_setting
"""

FUNCTIONS: Final = f"""
select p.oid::int8, p.xmin::text, n.nspname, p.proname, p.provolatile::text, l.lanname, e.extname,
       case when a.aggfnoid is null then '{{}}'
            else array[a.aggtransfn::oid::int8, a.aggfinalfn::oid::int8, a.aggcombinefn::oid::int8,
                       a.aggserialfn::oid::int8, a.aggdeserialfn::oid::int8, a.aggmtransfn::oid::int8,
                       a.aggminvtransfn::oid::int8, a.aggmfinalfn::oid::int8] end,
       coalesce(p.pronargs = 1 and t.typtype = 'c', false),
       p.prorettype in ('refcursor'::regtype, 'refcursor[]'::regtype)
       or coalesce(p.proallargtypes, p.proargtypes::oid[])
          && '{{refcursor, refcursor[]}}'::regtype[]::oid[],
       l.lanname in ('sql', 'plpgsql') or p.proargdefaults is not null
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  join pg_language l on l.oid = p.prolang
  left join pg_aggregate a on a.aggfnoid = p.oid
  left join pg_type t on t.oid = p.proargtypes[0]
  left join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid
       and d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
  left join pg_extension e on e.oid = d.refobjid
 where p.oid >= 16384
   and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
   and n.nspname !~ '^pg_(temp|toast)'
 limit {MOST_ROWS}
"""  # noqa: S608 - a number of ours

_FUNCTION_TEXTS: Final = """
select p.oid::int8,
       left(concat_ws(' ; ', case when l.lanname in ('sql', 'plpgsql') then {source} end,
                      pg_get_expr(p.proargdefaults, 0)), {limit})
  from pg_proc p join pg_language l on l.oid = p.prolang
 where p.oid = any(%s::oid[])
"""
FUNCTION_TEXTS: Final = {
    sql_bodies: _FUNCTION_TEXTS.format(source=source, limit=LIMIT + 1)
    for sql_bodies, source in (
        (False, "p.prosrc"),
        (True, "coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)"),
    )
}
"""The default values of a function's arguments are evaluated by the statement that calls it."""

RELATIONS: Final = f"""
with recursive special(oid) as (
    select oid from pg_class
     where oid >= 16384 and relkind in ('r', 'p', 'v', 'm', 'f')
       and (relkind in ('v', 'f') or relpersistence = 'u' or relrowsecurity)
    union
    select i.inhparent from special s join pg_inherits i on i.inhrelid = s.oid
)
select c.oid::int8, coalesce(w.xmin::text, ''), n.nspname, c.relname, c.relkind::text,
       c.relpersistence::text,
       coalesce((select array_agg(inhparent::int8) from pg_inherits where inhrelid = c.oid), '{{}}')
  from special s
  join pg_class c on c.oid = s.oid
  join pg_namespace n on n.oid = c.relnamespace
  left join pg_rewrite w on w.ev_class = c.oid and w.rulename = '_RETURN'
 where n.nspname !~ '^pg_(temp|toast)'
 limit {MOST_ROWS}
"""  # noqa: S608 - a number of ours
VIEW_TEXTS: Final = f"""
select oid::int8, left(pg_get_viewdef(oid), {LIMIT + 1}) from pg_class where oid = any(%s::oid[])
"""  # noqa: S608 - a number of ours
POLICIES: Final = f"""
select p.polrelid::int8, left(pg_get_expr(p.polqual, p.polrelid), {LIMIT + 1})
  from pg_policy p join pg_class c on c.oid = p.polrelid
 where c.relrowsecurity and p.polqual is not null
"""  # noqa: S608 - a number of ours
NAMESAKES: Final = """
select n.nspname, c.relname
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relname = any(%s::name[]) and c.relkind in ('r', 'p', 'v', 'm', 'f')
   and n.nspname !~ '^pg_(temp|toast)'
"""

OPERATORS: Final = """
select oprname, oprcode::oid::int8 from pg_operator where oid >= 16384 and oprcode <> 0
"""
CAST_TYPES: Final = """
select t.typname, c.castfunc::int8
  from pg_cast c join pg_type t on t.oid = c.casttarget
 where c.oid >= 16384 and c.castfunc >= 16384
"""
CHECKED_TYPES: Final = f"""
select t.typname, left(pg_get_constraintdef(k.oid), {LIMIT + 1})
  from pg_constraint k join pg_type t on t.oid = k.contypid
 where k.oid >= 16384
"""  # noqa: S608 - a number of ours
