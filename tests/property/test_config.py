"""Whatever stands in a configuration file, or is SET: a configuration comes of it, or a refusal with a reason."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st

from rwsplit.config.changes import compare
from rwsplit.config.edit import set_value
from rwsplit.config.loader import parse
from rwsplit.config.model import Config
from rwsplit.config.settings import all_settings, values
from rwsplit.errors import ConfigError

EXAMPLE = (Path(__file__).parents[2] / "config" / "rwsplit.example.yaml").read_text()
MINIMUM = "nodes: {pg0: 10.0.0.10}\nauth: {type: trust}\n"
#: Characters of a refusal: an operator reads it.
READABLE = 100_000

paths = st.sampled_from([setting.path for setting in all_settings()])
words = st.sampled_from(sorted({part for s in all_settings() for part in s.path.split(".")}))
odd_numbers = st.sampled_from(
    [int("9" * 400), -(10**300), 2**31, 2**63, 0, -1, 1e308, -0.5, float("nan"), float("inf"), 5e-324]
)  # fmt: skip
odd_texts = st.sampled_from(
    ["", " ", "*", "\0", "\ud800", "a" * 5000, "~nobody/x", "/", ".", "/dev/full", "[::1]", "h:99999999", ":",
     "9" * 400 + "s", "1e999ms", "node:", "%s", "\u2028", "=", "<<", "null", "name"]
)  # fmt: skip
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | odd_numbers | odd_texts
    | words | st.text(max_size=10)
)  # fmt: skip
keys = words | odd_texts | st.integers().map(str) | st.text(max_size=5)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)
#: Pieces of YAML that JSON has no words for.
odd_yaml = st.sampled_from(
    ["&a [*a]", "*a", "? [a, b]\n: 1", "!!bool x", "!!int x", "!!binary '?'", "!!set {a, b}", "<<: *x", "- ", "---\n",
     "%YAML 3.0\n", "!!python/object:os.system x", "2001-99-99", "0x" + "f" * 4000, "[" * 60, "{a: " * 25, "\t", "\x07",
     "? {a: 1}\n: 2", "!!omap [a: 1]", "!<tag:x> y", "'", '"\\x', "#", ": :"]
)  # fmt: skip


def judged(text: str) -> Config | None:
    """Return the configuration that *text* is, None if it is refused; anything else is a failure."""
    config, refusal = None, None
    try:
        config = parse(text)
    except ConfigError as error:
        refusal = error
    if config is None:
        assert refusal is not None
        assert refusal.problems
        assert len(str(refusal)) < READABLE
        return None
    # What a reload does with it before it is in force.
    shown = values(config)
    assert all(isinstance(value, str) for value in shown.values())
    compare(parse(MINIMUM), config)
    "\n".join(shown.values()).encode()
    return config


def with_value(path: str, tree: Any) -> str:
    """Return a document that has *tree* as the setting *path*, and is else fine."""
    *sections, name = path.replace("NAME", "pg0").split(".")
    document: dict[str, Any] = {"nodes": {"pg0": {"host": "h"}}, "auth": {"type": "trust"}}
    here = document
    for section in sections:
        here = here.setdefault(section, {})
    here[name] = tree
    return json.dumps(document)


@settings(deadline=None)
@given(trees)
def test_any_tree_is_a_configuration_or_refused(tree: Any):
    judged(json.dumps(tree))


@settings(deadline=None)
@given(paths, trees)
def test_any_value_of_any_setting_is_taken_or_refused(path: str, tree: Any):
    judged(with_value(path, tree))


@settings(deadline=None)
@given(paths, odd_yaml)
def test_any_yaml_as_a_setting_is_taken_or_refused(path: str, piece: str):
    judged(with_value(path, "PIECE").replace('"PIECE"', piece))
    section, _, name = path.rpartition(".")
    if section and "." not in section and section not in {"nodes", "auth"}:
        judged(f"{MINIMUM}{section}:\n  {name}: {piece}\n")


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 30), odd_yaml | st.text(max_size=3)),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_a_file_with_damage_is_taken_or_refused(damage: list[tuple[int, int, str]]):
    text = EXAMPLE
    for at, length, piece in damage:
        text = text[:at] + piece + text[at + length :]
    judged(text)


@settings(deadline=None)
@given(
    paths | st.text(max_size=10) | st.sampled_from(["", ".", "pool.", "pool..size", "nodes.pg0.x.y"]),
    trees.map(json.dumps) | odd_yaml | st.text(max_size=10),
)  # fmt: skip
def test_a_value_that_is_refused_leaves_the_file_byte_for_byte(path: str, value: str):
    raw = MINIMUM.replace("\n", "\r\n").encode() + b"# a comment\n"
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "rwsplit.yaml"
        file.write_bytes(raw)
        try:
            set_value(file, path, value)
        except ConfigError:
            assert file.read_bytes() == raw
        else:
            parse(file.read_text(), path=file)
        assert [each.name for each in file.parent.iterdir()] == ["rwsplit.yaml"]
