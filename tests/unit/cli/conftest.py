"""The command line, run in this process against a fake rwsplit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog
from typer.testing import CliRunner, Result

from rwsplit.cli.commands import app
from rwsplit.config.model import LogConfig
from rwsplit.telemetry.logs import configure_logs
from tests.support.operator import FakeOperator, running_console

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Nothing of this machine's is found: no file, no demo, no environment."""
    empty = tmp_path / "cwd"
    empty.mkdir()
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.chdir(empty)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.delenv("RWSPLIT_URL", raising=False)
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setattr("rwsplit.cli.proxy.DEFAULT_FILES", (empty / "config/rwsplit.yaml",))


@pytest.fixture
def run() -> Run:
    """Run `rwsplit WORDS...` and return what came of it."""

    def run(*words: str, **options) -> Result:
        return CliRunner().invoke(app, [*map(str, words)], **options)

    return run


@pytest.fixture
def operator() -> FakeOperator:
    return FakeOperator()


@pytest.fixture
def url(operator, monkeypatch) -> str:
    """A running rwsplit, and the environment that names it; its log is not the command's output."""
    configure_logs(LogConfig(level="error"))
    with running_console(operator) as port:
        url = f"postgresql://admin@127.0.0.1:{port}/app"
        monkeypatch.setenv("RWSPLIT_URL", url)
        yield url
    structlog.reset_defaults()
