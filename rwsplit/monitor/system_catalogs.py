"""System catalogs: the queries of a census; PostgreSQL's own objects (oid < 16384) are left out.

They run in databases of others. The owner of a database sets its search path and may have put functions, operators, types
and relations of any name into it. So every name is qualified, and every operator written `operator(pg_catalog.=)`. Syntax that
looks up an operator by itself (`in`, `like`, `between`, `case x when`, `nullif`, `using`) is not used (tests/unit/test_own_sql.py).
"""

from __future__ import annotations

from typing import Final

from rwsplit.sql.body import LIMIT

MOST_ROWS: Final = 100_000
"""Functions or relations beyond which a database is not read: memory is bounded."""
SQL_BODIES_SINCE: Final = 140000
"""The server_version_num of `BEGIN ATOMIC`."""

#: The search path a session starts with; to be asked before OUR_PATH is set.
CLUSTER_PATH: Final = """
select reset_val, source from pg_catalog.pg_settings where name operator(pg_catalog.=) 'search_path'
"""
#: With this path PostgreSQL deparses views and expressions with the schemas of all names but its own.
OUR_PATH: Final = "select pg_catalog.set_config('search_path', 'pg_catalog', false)"
DEFAULT_PATHS: Final = f"""
select r.rolname, pg_catalog.substr(c.setting, {len("search_path=") + 1})
  from pg_catalog.pg_db_role_setting s
  left join pg_catalog.pg_roles r on r.oid operator(pg_catalog.=) s.setrole
 cross join pg_catalog.unnest(s.setconfig) as c(setting)
 where c.setting operator(pg_catalog.~~) 'search_path=%'
   and (s.setdatabase operator(pg_catalog.=) 0
        or s.setdatabase operator(pg_catalog.=) (
            select oid from pg_catalog.pg_database where datname operator(pg_catalog.=) pg_catalog.current_database()))
   and (s.setrole operator(pg_catalog.=) 0 or r.oid is not null)
 order by s.setdatabase operator(pg_catalog.<>) 0
"""  # noqa: S608 - a number of ours

SETTINGS: Final = """
select pg_catalog.concat(
           pg_catalog.pg_conf_load_time(),
           pg_catalog.md5(pg_catalog.string_agg(
               pg_catalog.concat_ws(' ', setdatabase, setrole, setconfig), ',' order by setdatabase, setrole)))
  from pg_catalog.pg_db_role_setting
"""

_CURSOR: Final = "array['pg_catalog.refcursor'::pg_catalog.regtype, 'pg_catalog.refcursor[]'::pg_catalog.regtype]::pg_catalog.oid[]"
_TRIGGER: Final = "array['pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype]::pg_catalog.oid[]"
_INTERPRETED: Final = "'{sql, plpgsql}'::pg_catalog.name[]"
#: Kinds of relations that can be read.
_KINDS: Final = """'{r, p, v, m, f, S}'::pg_catalog."char"[]"""
#: OIDs of what is not PostgreSQL's own (FirstNormalObjectId).
OURS_FROM: Final = 16384
_OURS: Final = f"operator(pg_catalog.>=) {OURS_FROM}"
_VISIBLE: Final = "n.nspname operator(pg_catalog.!~) '^pg_(temp|toast)'"

FUNCTIONS: Final = f"""
select p.oid::pg_catalog.int8, p.xmin::pg_catalog.text, n.nspname, p.proname, p.provolatile::pg_catalog.text,
       l.lanname, e.extname,
       case when a.aggfnoid is null then '{{}}'
            else array[a.aggtransfn::pg_catalog.oid::pg_catalog.int8, a.aggfinalfn::pg_catalog.oid::pg_catalog.int8,
                       a.aggcombinefn::pg_catalog.oid::pg_catalog.int8, a.aggserialfn::pg_catalog.oid::pg_catalog.int8,
                       a.aggdeserialfn::pg_catalog.oid::pg_catalog.int8, a.aggmtransfn::pg_catalog.oid::pg_catalog.int8,
                       a.aggminvtransfn::pg_catalog.oid::pg_catalog.int8, a.aggmfinalfn::pg_catalog.oid::pg_catalog.int8]
       end,
       coalesce(p.pronargs operator(pg_catalog.>=) 1 and p.pronargs operator(pg_catalog.-) p.pronargdefaults operator(pg_catalog.<=) 1
                and t.typtype operator(pg_catalog.=) any ('{{c,p}}'::pg_catalog."char"[]), false),
       p.prorettype operator(pg_catalog.=) any ({_CURSOR})
       or coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]) operator(pg_catalog.&&) {_CURSOR},
       coalesce(p.proconfig, '{{}}'),
       l.lanname operator(pg_catalog.=) any ({_INTERPRETED}) or p.proargdefaults is not null
  from pg_catalog.pg_proc p
  join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) p.pronamespace
  join pg_catalog.pg_language l on l.oid operator(pg_catalog.=) p.prolang
  left join pg_catalog.pg_aggregate a on a.aggfnoid operator(pg_catalog.=) p.oid
  left join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) p.proargtypes[0]
  left join pg_catalog.pg_depend d
       on d.classid operator(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
       and d.objid operator(pg_catalog.=) p.oid and d.deptype operator(pg_catalog.=) 'e'
       and d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
  left join pg_catalog.pg_extension e on e.oid operator(pg_catalog.=) d.refobjid
 where p.oid {_OURS} and p.prorettype operator(pg_catalog.<>) all ({_TRIGGER}) and {_VISIBLE}
 limit {MOST_ROWS}
"""  # noqa: S608 - a number of ours

#: Characters of a parsed query that is deparsed: to do so takes minutes for some, and heeds no timeout (PostgreSQL 16, ruleutils.c).
MOST_TREE: Final = 1 << 20
_SHORT: Final = f"coalesce(pg_catalog.length({{tree}}::pg_catalog.text) operator(pg_catalog.<=) {MOST_TREE}, true)"

_FUNCTION_TEXTS: Final = """
select p.oid::pg_catalog.int8,
       case when {is_short} then pg_catalog.substr(pg_catalog.concat_ws(
           ' ; ', case when l.lanname operator(pg_catalog.=) any ({interpreted}) then {source} end,
           pg_catalog.pg_get_expr(p.proargdefaults, 0)), 1, {limit}) end
  from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid operator(pg_catalog.=) p.prolang
 where p.oid operator(pg_catalog.=) any (%s::pg_catalog.oid[])
"""
FUNCTION_TEXTS: Final = {
    sql_bodies: _FUNCTION_TEXTS.format(
        source=source, is_short=is_short, limit=LIMIT + 1, interpreted=_INTERPRETED
    )
    for sql_bodies, source, is_short in (
        (False, "p.prosrc", "true"),
        (
            True,
            "coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc)",
            _SHORT.format(tree="p.prosqlbody"),
        ),
    )
}
"""The default values of a function's arguments are evaluated by the statement that calls it."""

RELATIONS: Final = f"""
with recursive special(oid) as (
    select oid from pg_catalog.pg_class
     where oid {_OURS} and relkind operator(pg_catalog.=) any ({_KINDS})
       and (relkind operator(pg_catalog.=) any ('{{v, f, S}}'::pg_catalog."char"[])
            or relpersistence operator(pg_catalog.=) 'u' or relrowsecurity)
    union
    select i.inhparent from special s join pg_catalog.pg_inherits i on i.inhrelid operator(pg_catalog.=) s.oid
)
select c.oid::pg_catalog.int8, coalesce(w.xmin::pg_catalog.text, ''), n.nspname, c.relname,
       c.relkind::pg_catalog.text, c.relpersistence::pg_catalog.text,
       coalesce((select pg_catalog.array_agg(inhparent::pg_catalog.int8) from pg_catalog.pg_inherits
                  where inhrelid operator(pg_catalog.=) c.oid), '{{}}')
  from special s
  join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) s.oid
  join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
  left join pg_catalog.pg_rewrite w on w.ev_class operator(pg_catalog.=) c.oid
       and w.rulename operator(pg_catalog.=) '_RETURN'
 where {_VISIBLE}
 limit {MOST_ROWS}
"""  # noqa: S608 - a number of ours
VIEW_TEXTS: Final = f"""
select ev_class::pg_catalog.int8,
       case when {_SHORT.format(tree="ev_action")}
            then pg_catalog.substr(pg_catalog.pg_get_viewdef(ev_class), 1, {LIMIT + 1}) end
  from pg_catalog.pg_rewrite
 where ev_class operator(pg_catalog.=) any (%s::pg_catalog.oid[]) and rulename operator(pg_catalog.=) '_RETURN'
"""  # noqa: S608 - a number of ours
POLICIES: Final = f"""
select p.oid::pg_catalog.int8, p.polrelid::pg_catalog.int8
  from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) p.polrelid
 where c.relrowsecurity and p.polqual is not null
 limit {MOST_ROWS}
"""  # noqa: S608 - a number of ours
POLICY_TEXTS: Final = f"""
select oid::pg_catalog.int8,
       case when {_SHORT.format(tree="polqual")}
            then pg_catalog.substr(pg_catalog.pg_get_expr(polqual, polrelid), 1, {LIMIT + 1}) end
  from pg_catalog.pg_policy where oid operator(pg_catalog.=) any (%s::pg_catalog.oid[])
"""  # noqa: S608 - a number of ours
NAMESAKES: Final = f"""
select n.nspname, c.relname
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
 where c.relname operator(pg_catalog.=) any (%s::pg_catalog.name[])
   and c.relkind operator(pg_catalog.=) any ({_KINDS}) and {_VISIBLE}
"""  # noqa: S608 - nothing in it comes from outside

OPERATORS: Final = f"""
select oprname, oprcode::pg_catalog.oid::pg_catalog.int8 from pg_catalog.pg_operator
 where oid {_OURS} and oprcode operator(pg_catalog.<>) 0
union
select o.oprname, p.oprcode::pg_catalog.oid::pg_catalog.int8
  from pg_catalog.pg_operator o
  join pg_catalog.pg_operator p on p.oid operator(pg_catalog.=) any (array[o.oprnegate, o.oprcom])
 where (o.oid {_OURS} or p.oid {_OURS}) and p.oprcode operator(pg_catalog.<>) 0
"""  # noqa: S608 - nothing in it comes from outside
"""With the functions that the planner puts in an operator's place: its negator's behind NOT, its commutator's."""
CAST_TYPES: Final = f"""
select t.typname, c.castfunc::pg_catalog.int8
  from pg_catalog.pg_cast c join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) c.casttarget
 where c.oid {_OURS} and c.castfunc operator(pg_catalog.<>) 0
"""  # noqa: S608 - nothing in it comes from outside
CHECKED_TYPES: Final = f"""
select k.oid::pg_catalog.int8, t.typname
  from pg_catalog.pg_constraint k join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) k.contypid
 where k.oid {_OURS}
 limit {MOST_ROWS}
"""  # noqa: S608 - a number of ours
CHECK_TEXTS: Final = f"""
select oid::pg_catalog.int8,
       case when {_SHORT.format(tree="conbin")}
            then pg_catalog.substr(pg_catalog.pg_get_constraintdef(oid), 1, {LIMIT + 1}) end
  from pg_catalog.pg_constraint where oid operator(pg_catalog.=) any (%s::pg_catalog.oid[])
"""  # noqa: S608 - a number of ours

PARTS_OF_TYPES: Final = f"""
select t.typname, p.typname
  from pg_catalog.pg_type t
  join pg_catalog.pg_type p on p.oid operator(pg_catalog.=) any (array[t.typbasetype, t.typelem])
 where t.oid {_OURS} and p.oid {_OURS} and p.typtype operator(pg_catalog.=) any ('{{c,d}}'::pg_catalog."char"[])
union
select t.typname, p.typname
  from pg_catalog.pg_class c
  join pg_catalog.pg_type t on t.oid operator(pg_catalog.=) c.reltype
  join pg_catalog.pg_attribute a on a.attrelid operator(pg_catalog.=) c.oid and not a.attisdropped
  join pg_catalog.pg_type p on p.oid operator(pg_catalog.=) a.atttypid
 where c.relkind operator(pg_catalog.=) 'c' and p.oid {_OURS}
"""  # noqa: S608 - nothing in it comes from outside
"""What domains, arrays and composite types are made of. A table is no type here: what is in it has been checked."""

UNCONVERTED: Final = "select pg_catalog.set_config('client_encoding', 'sql_ascii', false)"

BUILTINS: Final = """
select oid::pg_catalog.int8, proname, provolatile::pg_catalog.text from pg_catalog.pg_proc
 where oid operator(pg_catalog.=) any (%s::pg_catalog.oid[])
"""

STUCK: Final = """
select 1 from pg_catalog.pg_stat_activity
 where datname operator(pg_catalog.=) pg_catalog.current_database()
   and usename operator(pg_catalog.=) current_user
   and application_name operator(pg_catalog.=) pg_catalog.current_setting('application_name')
   and state operator(pg_catalog.=) 'active'
   and query_start operator(pg_catalog.<)
       (pg_catalog.now() operator(pg_catalog.-) pg_catalog.make_interval(0, 0, 0, 0, 0, 0, %s))
"""
"""Whether a look of longer than so many seconds is under way: some deparsing heeds no timeout. What we would add to it would not end either."""

HAS_DATABASE: Final = (
    "select 1 from pg_catalog.pg_database where datname operator(pg_catalog.=) %s"
)
DATABASES: Final = "select datname from pg_catalog.pg_database where datallowconn"
