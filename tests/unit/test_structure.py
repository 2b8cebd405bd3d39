"""The structure of the code: no circle of imports, no very long file, no class with very many attributes.

What breaks a rule already is listed, as it is now. A list may only become shorter: a test fails, too, if what it
lists is mended, so that the lists stay true.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grimp

import rwsplit

ROOT: Final = Path(rwsplit.__file__).parent

MOST_LINES: Final = 400
MOST_ATTRIBUTES: Final = 15

#: Files that import each other, through others or not, by package.
CIRCLES: Final = (
    (
        "relay",
        "bringing cancelling choice deadlines dispatch faults healing hinting homes invariants late lingering loss moments needed outboxes overdue own_answers "
        "parsing pins plain readback reading rebasing relay replies resetting rooms sending sequences server_timers signalling silence slices "
        "standing tidying trials unread upkeep",
    ),
)


#: Files of more than MOST_LINES lines.
LONG: Final = frozenset(
    {
        "admin/commands.py",
        "cluster/picture.py",
        "config/model.py",
        "protocol/responses.py",
        "relay/dispatch.py",
        "relay/late.py",
        "relay/relay.py",
        "relay/replies.py",
    }
)

#: Classes of more than MOST_ATTRIBUTES attributes, and how many they have, inherited ones included.
WIDE: Final = {
    "cluster.node.NodeView": 20,
    "config.model.PoolConfig": 20,
    "exchange.waits.Waiter": 48,
    "monitor.board.Board": 20,
    "relay.client.Client": 74,
    "relay.relay.Relay": 58,
    "server.pool.Pool": 22,
    "server.server.Server": 34,
    "session.assembly.Assembly": 23,
    "session.conversation.Conversation": 42,
    "session.draft.Draft": 23,
    "session.frames.Frames": 47,
    "session.session.Session": 47,
    "session.state.SessionState": 36,
    "session.unit.Unit": 43,
    "sql.script.Script": 32,
    "sql.statement.Statement": 30,
}


# Circles...


def test_there_is_no_circle_of_imports_but_those_that_are_listed():
    listed = {
        frozenset(f"rwsplit.{package}.{module}" for module in modules.split())
        for package, modules in CIRCLES
    }

    found = circles(
        grimp.build_graph("rwsplit", exclude_type_checking_imports=False, cache_dir=None)
    )

    assert {*map(said, found - listed)} == set(), (
        "new circles, or listed ones that are not what they were"
    )
    assert {*map(said, listed - found)} == set(), "listed circles that are not there any more"


def circles(graph: grimp.ImportGraph) -> set[frozenset[str]]:
    """Return the largest sets of modules each of which imports every other, through others or not."""
    found = set()
    for module in graph.modules:
        around = graph.find_upstream_modules(module) & graph.find_downstream_modules(module)
        if around - {module}:
            found.add(frozenset(around | {module}))
    return found


def said(circle: frozenset[str]) -> str:
    return " ".join(sorted(circle))


def test_a_circle_is_found_whole():
    graph = grimp.ImportGraph()
    for importer, imported in ("ab", "bc", "ca", "cd", "de", "ed", "ef"):
        graph.add_import(importer=importer, imported=imported)
    assert circles(graph) == {frozenset("abc"), frozenset("de")}


# Long files...


def test_there_is_no_long_file_but_those_that_are_listed():
    found = {
        str(path.relative_to(ROOT))
        for path in files()
        if len(path.read_text().splitlines()) > MOST_LINES
    }

    assert found - LONG == set(), f"files of more than {MOST_LINES} lines"
    assert LONG - found == set(), "listed files that are not long any more"


# Classes with many attributes...


def test_there_is_no_class_with_many_attributes_but_those_that_are_listed():
    classes = Classes({module(path): ast.parse(path.read_text()) for path in files()})

    counts = {each: len(classes.attributes(*each)) for each in classes.nodes}
    found = {
        f"{place}.{name}".removeprefix("rwsplit."): count
        for (place, name), count in counts.items()
        if count > MOST_ATTRIBUTES
    }

    assert {name: n for name, n in found.items() if n > WIDE.get(name, MOST_ATTRIBUTES)} == {}
    assert {name: n for name, n in WIDE.items() if n > found.get(name, 0)} == {}, (
        "there are less by now"
    )


class Classes:
    """The classes of some modules, and the attributes that instances of each have."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.nodes: dict[tuple[str, str], ast.ClassDef] = {}
        """By module and name."""
        self._imported: dict[tuple[str, str], tuple[str, str]] = {}
        """By module and name there: module and name where it is defined."""
        for place, tree in trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    self.nodes[place, node.name] = node
                elif isinstance(node, ast.ImportFrom) and node.module:
                    for each in node.names:
                        self._imported[place, each.asname or each.name] = node.module, each.name

    def attributes(self, place: str, name: str) -> set[str]:
        """Return the attributes of the class called *name* in the module *place*; what has a setter is none."""
        lineage = list(self._lineage(place, name))
        found = set().union(*map(own_attributes, lineage))
        return found - {
            each.name
            for node in lineage
            for each in node.body
            if isinstance(each, ast.FunctionDef)
        }

    def _lineage(self, place: str, name: str) -> Iterator[ast.ClassDef]:
        """Yield the class called *name* in the module *place* and what it inherits from, as far as that is ours."""
        place, name = self._imported.get((place, name), (place, name))
        node = self.nodes.get((place, name))
        if node is not None:
            yield node
            for each in node.bases:
                yield from self._lineage(place, base(each))


def base(expression: ast.expr) -> str:
    """Return the name of a base class, without what it is generic in."""
    return ast.unparse(expression).partition("[")[0]


def own_attributes(node: ast.ClassDef) -> set[str]:
    """Return the attributes that the class *node* itself defines: slots, fields of attrs, and what methods assign."""
    found: set[str] = set()
    has_fields = any(ast.unparse(each).startswith("attrs.") for each in node.decorator_list)
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name("__slots__")], value=slots):
                found.update(ast.literal_eval(slots))
            case ast.AnnAssign(target=ast.Name(name)) if has_fields:
                found.add(name)
            case (
                ast.FunctionDef(args=ast.arguments(args=[ast.arg(me), *_]))
                | ast.AsyncFunctionDef(args=ast.arguments(args=[ast.arg(me), *_]))
            ):
                found.update(assigned(statement, me))
    return found


def assigned(method: ast.stmt, me: str) -> Iterator[str]:
    """Yield the attributes of *me* to which *method* assigns."""
    for node in ast.walk(method):
        match node:
            case ast.Attribute(value=ast.Name(owner), attr=name, ctx=ast.Store()) if (
                owner == me
            ):
                yield name


def test_attributes_are_counted_wherever_they_are_defined():
    one = """
class Base:
    __slots__ = ("a", "b")
    def __init__(self, other):
        self.a, self.c = 1, 2
        other.nothing = 3
    @property
    def shown(self): ...
    @shown.setter
    def shown(self, value): self.d: int = value
    @classmethod
    def make(cls): cls.e = 1
"""
    two = """
from one import Base as Foundation
class Derived(Foundation[int], Exception):
    NOTHING: int = 1
    async def run(self):
        for self.f in ():
            self.shown += 1
@attrs.frozen(kw_only=True)
class Value:
    g: int
    h: int = 2
"""
    classes = Classes({"one": ast.parse(one), "two": ast.parse(two)})

    assert classes.attributes("one", "Base") == {*"abcde"}
    assert classes.attributes("two", "Derived") == {*"abcdef"}
    assert classes.attributes("two", "Value") == {*"gh"}


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(("rwsplit", *path.relative_to(ROOT).with_suffix("").parts))
