"""Defaults: which values a session's parameters have before anybody sets them, and where servers have other ones.

ALTER ROLE and ALTER DATABASE ... SET give them to who logs in afterwards, the configuration gives them to a node; PostgreSQL takes
them over when a server is opened. A session keeps those of its login, as without rwsplit, whatever its servers were opened with:

- Servers of a replica whose defaults are others than the primary's are opened with those, in the startup packet (`needed`). So there
  RESET leads to them, too. What only says how a node works - costs, memory, cache - stays the node's.
- When the primary's have changed, servers are opened with the new ones, and a session of before has what it began with as
  if it had asked for it at startup (`kept`). What comes from the configuration changes for all at once, as with PostgreSQL.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

#: What each transaction has for itself.
_OF_TRANSACTIONS: Final = (
    "'transaction_isolation', 'transaction_read_only', 'transaction_deferrable'"
)
_HEX: Final = "pg_catalog.encode(pg_catalog.convert_to(coalesce({}, ''), pg_catalog.getdatabaseencoding()), 'hex')"
_IS: Final = "OPERATOR(pg_catalog.=)"
_HERE: Final = f"(select oid from pg_catalog.pg_database where datname {_IS} pg_catalog.current_database())"  # noqa: S608 - nothing in it comes from outside
_MYSELF: Final = f"(select oid from pg_catalog.pg_roles where rolname {_IS} session_user)"  # noqa: S608 - as above
#: Hexadecimal digits of all values together. With more nothing is known of a node's defaults: sessions have what their servers were opened with.
MOST_DIGITS: Final = 64 << 10
#: Bytes of the startup parameters a server is opened with because its node's defaults are others: PostgreSQL takes 10 000 with all else.
MOST_STARTUP: Final = 8000
#: One row: the encoding, and `name=value` of all anybody may set, `name!value` where role or database say so, if that is not too long. Custom
#: parameters are not in pg_settings. It runs with a client's search path and rights: names and operators are qualified.
QUERY: Final = f"""/* rwsplit */
select pg_catalog.getdatabaseencoding(),
       case when pg_catalog.sum(pg_catalog.length(value)) OPERATOR(pg_catalog.<=) {MOST_DIGITS}
            then pg_catalog.string_agg(pg_catalog.concat(name, mark, value), ',' order by name) end
  from (select pg_catalog.lower(name) as name, {_HEX.format("reset_val")} as value,
               case when source {_IS} any (array['database', 'user', 'database user']) then '!' else '=' end as mark
          from pg_catalog.pg_settings
         where context {_IS} 'user' and name OPERATOR(pg_catalog.<>) all (array[{_OF_TRANSACTIONS}])
        union
        select pg_catalog.lower(name), {_HEX.format("pg_catalog.current_setting(name, true)")}, '!'
          from (select pg_catalog.split_part(pg_catalog.unnest(setconfig), '=', 1) as name from pg_catalog.pg_db_role_setting
                 where (setdatabase {_IS} 0 or setdatabase {_IS} {_HERE})
                   and (setrole {_IS} 0 or setrole {_IS} {_MYSELF})) as said
         where name OPERATOR(pg_catalog.~~) '%.%'
           and pg_catalog.lower(name) OPERATOR(pg_catalog.<>) all (
               select pg_catalog.lower(name) from pg_catalog.pg_settings)) as found
"""  # noqa: S608 - nothing in it comes from outside

#: What says how a node works, not what a client is answered.
_OF_THE_NODE: Final = re.compile(
    "(?:enable_|jit|geqo|debug_|trace_|log_|tcp_|vacuum_|wal_|commit_|min_parallel_|max_parallel_|parallel_)"
    ".*|.*(?:_cost|_flush_after|_collapse_limit|_concurrency|_work_mem|_keepalives.*|_statistics_target)"
    "|work_mem|hash_mem_multiplier|temp_buffers|effective_cache_size|cursor_tuple_fraction"
    "|constraint_exclusion|recursive_worktable_factor|plan_cache_mode|stats_fetch_consistency"
    "|client_connection_check_interval|synchronize_seqscans|gin_.*|temp_tablespaces"
    "|local_preload_libraries|exit_on_error|allow_in_place_tablespaces|io_.*|seq_page_cost"
)


class Default(NamedTuple):
    """One parameter's value."""

    value: str
    is_said: bool
    """ALTER ROLE or ALTER DATABASE says so, not the configuration."""


class Defaults:
    """The values of one database and role on one node at one moment; immutable, interned."""

    __slots__ = ("__weakref__", "values")

    def __init__(self, values: Mapping[str, Default]) -> None:
        self.values = values
        """By name, in lower case."""

    def get(self, name: str) -> str:
        """Return the value of the parameter *name*, empty if there is none."""
        found = self.values.get(name)
        return "" if found is None else found.value

    @property
    def search_path(self) -> str | None:
        """The search path, None if that is not known."""
        found = self.values.get("search_path")
        return None if found is None else found.value

    def agree(self, other: Defaults, but: Collection[str]) -> bool:
        """Return whether *other* are the same, apart from those named in *but*, or one is not known."""
        return not (self.values and other.values) or all(
            self.values.get(name) == other.values.get(name)
            for name in self.values.keys() | other.values.keys()
            if name not in but
        )


def read(encoding: bytes | None, pairs: bytes | None) -> Defaults:
    """Return what the answer to QUERY says."""
    key = (encoding or b"", pairs or b"")
    found = _known.get(key)
    if found is None:
        codec = "utf-8" if encoding == b"UTF8" else "ascii"
        values = {}
        for pair in filter(None, key[1].split(b",")):
            name, mark, value = _MARK.split(pair)
            text = unhexlify(value).decode(codec, "surrogateescape")
            values[name.decode("utf-8", "surrogateescape")] = Default(text, mark == b"!")
        found = _known[key] = Defaults(MappingProxyType(values))
    return found


def needed(wanted: Defaults, there: Defaults) -> dict[str, str]:
    """Return with which startup parameters a server that has *there* has *wanted*, as far as clients can tell.

    Nothing if what one of them has is not known, or it would be too long.
    """
    if not (wanted.values and there.values):
        return {}
    found = {
        name: wanted.get(name)
        for name in wanted.values.keys() | there.values.keys()
        if wanted.get(name) != there.get(name)
        and (
            not _OF_THE_NODE.fullmatch(name) or _is_said(wanted, name) or _is_said(there, name)
        )
    }
    size = sum(
        len((name + value).encode(errors="replace")) + 2 for name, value in found.items()
    )
    return found if size <= MOST_STARTUP else {}


def kept(own: Defaults, current: Defaults) -> dict[str, str]:
    """Return what a session that began with *own* must be given where servers have *current*; nothing if one is not known."""
    if not (own.values and current.values):
        return {}
    return {
        name: own.get(name)
        for name in own.values.keys() | current.values.keys()
        if own.get(name) != current.get(name)
        and (_is_said(own, name) or _is_said(current, name))
    }


def is_of_node(there: Defaults, wanted: Defaults, name: str) -> bool:
    """Return whether it is the node's configuration that makes *name* differ."""
    return not (_is_said(there, name) or _is_said(wanted, name))


def _is_said(defaults: Defaults, name: str) -> bool:
    found = defaults.values.get(name)
    return found is not None and found.is_said


_MARK: Final = re.compile(rb"([=!])")
_known: WeakValueDictionary[tuple[bytes, bytes], Defaults] = WeakValueDictionary()
