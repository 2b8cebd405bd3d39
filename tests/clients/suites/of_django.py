"""Django's tests of its database layer, from its sdist: the labels below, over two databases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rwsplit.embedded.reachable import ReachableNode
from tests.clients.suites.suite import Outcome, Suite, Target, execute

LABELS: Final = (
    *("basic", "queries", "transactions", "select_for_update", "backends", "bulk_create"),
    *("delete", "aggregation", "expressions", "lookup", "many_to_many", "multiple_database"),
)
SETTINGS: Final = """\
_server = {{
    "ENGINE": "django.db.backends.postgresql",
    "HOST": {host!r},
    "PORT": {port!r},
    "USER": {user!r},
    "PASSWORD": {password!r},
}}
DATABASES = {{
    "default": {{**_server, "NAME": "django"}},
    "other": {{**_server, "NAME": "django_other"}},
}}
SECRET_KEY = "for tests only"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
"""


class DjangoSuite(Suite):
    """The database tests of Django."""

    name = "django"
    requirements = ("psycopg[binary]>=3.2", "setuptools<81")

    def problem(self) -> str:
        return "" if self._runner.is_file() else "no tests/runtests.py"

    @property
    def _runner(self) -> Path:
        return self.sources / "tests" / "runtests.py"

    def version(self) -> str:
        text = (self.sources / "django" / "__init__.py").read_text()
        found = re.search(r"^VERSION = \((\d+), (\d+), (\d+)", text, re.MULTILINE)
        assert found is not None
        return ".".join(found.groups())

    def package(self) -> Sequence[str]:
        return (f"Django=={self.version()}",)

    def prepare(self, primary: ReachableNode) -> None:
        with primary.connect() as connection:
            connection.execute("create database django")
            connection.execute("create database django_other")

    def run(
        self, python: Path, target: Target, directory: Path, arguments: Sequence[str]
    ) -> Outcome:
        (directory / "settings_of_the_suite.py").write_text(
            SETTINGS.format(
                host=target.host, port=target.port, user=target.user, password=target.password
            )
        )
        log = directory / "django.log"
        chosen = [word for word in arguments if not word.startswith("-")] or LABELS
        execute(
            [
                *(python, self._runner, "--settings=settings_of_the_suite", "--noinput"),
                *("--parallel=1", *(word for word in arguments if word.startswith("-"))),
                *chosen,
            ],
            where=self.sources / "tests",
            log=log,
            variables={"PYTHONPATH": f"{directory}:{self.sources}"},
        )
        return read_log(log.read_text())


def read_log(text: str) -> Outcome:
    """Return what unittest's report in *text* tells."""
    ran = re.search(r"^Ran (\d+) tests? in ", text, re.MULTILINE)
    kinds = dict(re.findall(r"(skipped|expected failures)=(\d+)", text))
    failed = sorted(
        {
            f"{where}" if where.endswith(f".{name}") else f"{where}.{name}"
            for name, where in re.findall(
                r"^(?:FAIL|ERROR): (\w+) \(([\w.]+)\)", text, re.MULTILINE
            )
        }
    )
    total = int(ran.group(1)) if ran else 0
    skipped = sum(map(int, kinds.values()))
    # Tearing the databases down comes after the report.
    finished = ran is not None and "Traceback" not in text[ran.end() :]
    return Outcome(total - skipped - len(failed), skipped, failed, finished)
