"""What the documentation names exists: modules, settings, metrics, log events, targets of make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rwsplit.config.settings import all_settings

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
SOURCE = "".join(path.read_text() for path in sorted((ROOT / "rwsplit").rglob("*.py")))
SECTIONS = {setting.path.partition(".")[0] for setting in all_settings()}
SETTINGS = {setting.path for setting in all_settings()}
#: Mappings, whose keys are an operator's.
MAPPINGS = ("pool.databases", "pool.users", "nodes", "routing.rules", "users.file")
PACKAGES = {path.parent.name for path in (ROOT / "rwsplit").glob("*/__init__.py")}


def names(path: Path, pattern: str) -> set[str]:
    """Return what the group of *pattern* finds in the file *path*."""
    return set(re.findall(pattern, path.read_text()))


def is_in_source(name: str) -> bool:
    """Return whether *name* is a module or a package of rwsplit, or a name in a module."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath("rwsplit", *parts[:end])
        rest = parts[end:]
        module = place.with_suffix(".py")
        if module.exists():
            return all(re.search(rf"\b{word}", module.read_text()) for word in rest)
        if place.is_dir():
            return not rest
    return False


def test_modules_that_the_map_names_exist():
    named = names(ROOT / "ARCHITECTURE.md", rf"`((?:{'|'.join(sorted(PACKAGES))})\.[\w.]+)")
    assert len(named) > 50
    missing = {name for name in named if not is_in_source(name)}
    assert missing - SETTINGS == set()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_settings_that_are_named_exist(path: Path):
    for name in names(path, rf"`((?:{'|'.join(sorted(SECTIONS))})\.[a-z_.]+)"):
        assert name in SETTINGS or name.startswith(MAPPINGS) or is_in_source(name), name


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_metrics_that_are_named_exist(path: Path):
    for name in names(path, r"`(rwsplit_[a-z_]+)`"):
        family = re.sub(r"_total$", "", name)
        assert f'"{family}"' in SOURCE, name


def test_log_events_that_are_named_exist():
    events = set(
        re.findall(r'\.(?:debug|info|warning|error|exception)\(\s*"([a-z_]+)"', SOURCE)
    )
    table = re.findall(
        r"^\| ((?:`[a-z_]+`[,;]? ?)+) \| (?:info|warning|error)",
        (ROOT / "docs" / "operations.md").read_text(),
        re.MULTILINE,
    )
    assert len(table) > 10
    for cell in table:
        for name in re.findall(r"`([a-z_]+)`", cell):
            assert name in events or f'"{name}"' in SOURCE, name


def test_targets_of_make_that_are_named_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCS:
        named = names(path, r"(?:`|^    )make ([a-z-]+)")
        assert named <= targets, (path, named - targets)
