"""Distribution: which tests run in one process when a run is spread over several (pytest-xdist, `--dist loadgroup`).

Tests that share a fixture of their module stay together, since each process would have to make it anew. All others go to whichever
process is free.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests together that share a fixture of their module."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if isinstance(item, pytest.Function) and _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares_a_fixture(item: pytest.Function) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(each.scope == "module" for found in definitions for each in found)
