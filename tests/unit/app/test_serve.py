"""What a process that serves is set to before it does."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rwsplit.app import serve

MINIMAL = "listen: 127.0.0.1:0\nnodes: {pg0: 127.0.0.1:1}\nmonitor: {user: rwsplit}\nauth: {type: trust}\n"


@pytest.fixture
def restored() -> Iterator[None]:
    """A process that is as it was."""
    interval = sys.getswitchinterval()
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()


@pytest.mark.usefixtures("restored")
def test_code_is_nothing_the_collector_looks_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It looked at 100 000 objects of modules each time, and everybody waited for 60 ms."""
    seen: list[int] = []

    class Host:
        def run(self, *_: Any) -> None:
            seen.append(len(gc.get_objects()))

    monkeypatch.setattr(serve, "Host", Host)
    monkeypatch.setattr(serve, "configure_logs", lambda _: None)
    path = tmp_path / "rwsplit.yaml"
    path.write_text(MINIMAL)
    serve.run(path)
    assert seen[0] < 1000
