"""rwsplit's own SQL runs in databases of others, with rights of its own or of a client: none of it depends on a search path.

Every text in the package that looks like SQL must be part of a statement that is looked at here: those that are constants of a
module are found by themselves, those that are put together are listed with an example. What is said to people is
listed, too. So a query that is added is looked at, or this fails.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest

import rwsplit
from rwsplit.protocol.framing import HEADER_SIZE
from rwsplit.session import audit, inband
from rwsplit.session.backend_calls import _substitute
from rwsplit.session.inband_settings import DEFAULTS
from rwsplit.session.journal import Journal, Touch
from rwsplit.session.parameters import NONE, ParameterStore, selected
from rwsplit.sql.statement import Statement, Verb
from tests.support.own_sql import complaints

#: Packages that know SQL and send none; the console's own language; clusters of our own, for trying things.
ELSEWHERE = ("rwsplit.sql.", "rwsplit.admin.", "rwsplit.cli.")

#: What looks like SQL in a text of any kind.
SQL = re.compile(
    r"\bpg_catalog\.|\bpg_(?!catalog\b|monitor\b|promote\b|hba\b|rewind\b|read_all\w*\b|authid\b)\w+|\bOPERATOR\(|^\s*(?:/\*.*?\*/\s*)?(?:select|with|call|do|"
    r"reset|set|discard|deallocate|alter|begin|create|drop|insert|update|delete|table|values|copy|lock|explain)\s+[a-z'\"]",
    re.IGNORECASE | re.DOTALL,
)
STATEMENT = re.compile(r"\s*(?:/\*.*?\*/\s*)?(?:select|with)\b", re.IGNORECASE | re.DOTALL)

#: Texts that are no SQL of ours, by a word or two of them: why.
SAID = {
    "SELECT pg_promote()": "advice",
    "GRANT EXECUTE ON FUNCTION pg_promote": "advice",
    "ALTER SYSTEM SET recovery_min_apply_delay": "advice",
    "SELECT pg_wal_replay_resume()": "advice",
    "ALTER ROLE ... NOSUPERUSER": "advice",
    "in pg_authid.rolpassword": "advice",
    "set monitor.password_file or": "advice",
    "create the role (monitor.user)": "advice",
    "by --postgres DIR": "advice",
    "is not supported": "an error",
    "begin the session's transaction again": "a purpose",
}
NAMES = {
    "pg_basebackup",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_stat_monitor",
    "pg_trgm",
    "pg_hint_plan",
}
#: Statements that name nothing, or only parameters, roles and statements.
PLAIN = re.compile(
    r"(?:RESET (?:ALL|rwsplit\.\w*)|SET ROLE NONE|SET SESSION AUTHORIZATION DEFAULT|SET rwsplit\.|SET LOCAL rwsplit|DISCARD \w+|"
    r"DEALLOCATE |SET TRANSACTION|BEGIN|COMMIT|ROLLBACK|SELECT$|DO $|RESET $|alter system set |create (?:role|database) |set password_encryption )"
)


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(rwsplit.__path__, "rwsplit."):
        if not found.name.startswith(ELSEWHERE) and not found.name.endswith("__main__"):
            yield found.name


@cache
def constants() -> dict[str, str]:
    """Return the statements that are values of modules, by where they are."""
    found = {}
    for module in modules():
        for name, value in vars(importlib.import_module(module)).items():
            if name.startswith("__"):
                continue
            for number, text in enumerate(_texts(value)):
                if STATEMENT.match(text) and not re.search(
                    r"\{\w+\}", text.replace("{file}", "")
                ):
                    found[f"{module}.{name}[{number}]"] = text
    return found


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case bytes() if value.isascii():
            yield value.decode()
        case Mapping():
            for each in value.values():
                yield from _texts(each)
        case list() | tuple():
            for each in value:
                yield from _texts(each)
        case _:
            return


def put_together() -> Iterator[tuple[str, str]]:
    """Yield an example of each statement that is made of pieces, and where it is made."""
    for version in ("14.1", "16.1"):
        journal = Journal(NONE, "app", version)
        journal.touched |= {
            "*": Touch.SET,
            "work_mem": Touch.SET,
            "role": Touch.SET,
            "some_setting": Touch.RESET,
            "datestyle": Touch.DISCARDED,
            "my.own": Touch.SET,
        }
        yield (
            "relay.readback",
            f"/* rwsplit */ {selected([*journal.columns(), *audit.COLUMNS], journal.fits())}",
        )
    store = ParameterStore()
    one = store.intern({"work_mem": "1MB", "role": "a", "my.own": "x", "search_path": "public"})
    for old, new in ((NONE, one), (one, NONE), (one, store.intern({"work_mem": "2MB"}))):
        for statement in new.change_from(old)[HEADER_SIZE:-1].decode().split("; "):
            yield "session.parameters", statement
    for unless_set in (False, True):
        restored = one.restored({"all"}, unless_set=unless_set)
        assert restored is not None
        yield "session.parameters", restored.decode()
    for itself in (False, True):
        for call in (
            b"select pg_cancel_backend(1)",
            b"select pg_terminate_backend($1::int)",
            b"select pg_cancel_backend($1)",
        ):
            yield "session.backend_calls", _substitute(call, on_itself=itself).decode()
    session = SimpleNamespace(in_band=DEFAULTS, pin=None, set_in_band=lambda settings: None)
    for name, verb in (("route", Verb.SHOW), ("nothing", Verb.SHOW)):
        text, _ = inband.substitute(session, Statement(verb, setting=f"rwsplit.{name}"))  # type: ignore[arg-type]
        yield "session.inband", text


@pytest.mark.parametrize("where", sorted(constants()))
def test_a_statement_of_ours_depends_on_no_search_path(where: str):
    assert complaints(constants()[where].replace("{file}", "0A.history")) == []


def test_statements_that_are_put_together_depend_on_none_either():
    for where, statement in put_together():
        if PLAIN.match(statement):
            continue
        assert complaints(statement) == [], where


def sql_like() -> Iterator[tuple[str, str]]:
    """Yield every text in the package that looks like SQL, with where it is."""
    root = Path(rwsplit.__path__[0])
    for module in modules():
        path = root.joinpath(*module.split(".")[1:])
        file = (
            path.with_suffix(".py")
            if path.with_suffix(".py").exists()
            else path / "__init__.py"
        )
        tree = ast.parse(file.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inside = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in ast.walk(node)
            if part is not node
        }
        for node in ast.walk(tree):
            if id(node) in docstrings or id(node) in inside:
                continue
            text = _text_of(node)
            if text is not None and SQL.search(text):
                yield f"{module}:{node.lineno}", text  # type: ignore[attr-defined]


def _text_of(node: ast.AST) -> str | None:
    """Return the text of a constant; of an f-string with \\0 in place of what is put in."""
    match node:
        case ast.JoinedStr(values=parts):
            return "".join(_text_of(part) or "\0" for part in parts)
        case ast.Constant(value=str(text)):
            return text
        case ast.Constant(value=bytes(data)) if data.isascii():
            return data.decode()
        case _:
            return None


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_no_text_that_looks_like_sql_is_left_out():
    looked_at = _squeezed(
        " ".join([*constants().values(), *(text for _, text in put_together())])
    )
    left_out = []
    for where, text in sql_like():
        if any(word in text for word in SAID) or text in NAMES or PLAIN.match(text):
            continue
        pieces = re.split(r"\0|\{\{?[\w.]*\}?\}|%s", text)
        if not all(_squeezed(piece) in looked_at for piece in pieces):
            left_out.append(f"{where}: {text[:100]!r}")
    assert left_out == []


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("select 1 = 1", "the operator = is not qualified"),
        ("select a operator(public.=) b", "the operator = is not qualified"),
        ("select now()", "the function now is not qualified"),
        ("select public.now()", "the function public.now is not in pg_catalog"),
        ("select 1 from pg_class", "the relation pg_class is not qualified"),
        ("select 1 from pg_catalog.pg_class c, pg_proc", "the relation pg_proc is not qualified"),
        ("select 1 from pg_catalog.pg_class c join public.x y on true", "the relation x is not qualified"),
        ("select 'a'::text", "the type text is not qualified"),
        ("select 'pg_class'::pg_catalog.regclass", "the name in 'pg_class' is not qualified"),
        ("select pg_catalog.has_table_privilege('t', 'select')", "the name in 't' is not qualified"),
        ("select a in (1, 2)", "in looks for an operator by itself"),
        ("select a not in (select 1)", "in looks for an operator by itself"),
        ("select a like 'b'", "like looks for an operator by itself"),
        ("select a between 1 and 2", "between looks for an operator by itself"),
        ("select case a when 1 then 2 end", "case x when y looks for = by itself"),
        ("select a is distinct from b", "is distinct from looks for = by itself"),
        ("select nullif(a, b)", "nullif looks for an operator by itself"),
        ("select 1 from pg_catalog.a join pg_catalog.b using (c)", "using looks for an operator by itself"),
        (r"select 'a\b'", r"what 'a\b' is depends on standard_conforming_strings"),
    ],
)  # fmt: skip
def test_what_depends_on_a_search_path_is_seen(sql: str, complaint: str):
    assert complaint in complaints(sql)
