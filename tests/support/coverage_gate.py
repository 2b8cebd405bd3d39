"""The coverage gate: `python -m tests.support.coverage_gate`, after the tests that need no cluster.

The core decides, so every branch of it is tested: 100 %. The edge talks to kernels, nodes and clocks; much of it is
tried by the tests with a cluster, which are not measured. Its floor keeps it from sinking.
"""

from __future__ import annotations

import io
import sys
from typing import Final

from coverage import Coverage

CORE: Final = (
    *(
        f"rwsplit/{package}/*"
        for package in ("protocol", "sql", "cluster", "routing", "session", "exchange")
    ),
    *(f"rwsplit/config/{module}.py" for module in ("model", "choices", "validators")),
)
CORE_FLOOR: Final = 100.0
TOTAL_FLOOR: Final = 92.0


def main() -> int:
    """Print what misses its floor; return 1 if anything does."""
    measured = Coverage()
    measured.load()

    status = 0
    for name, floor, include in (("core", CORE_FLOOR, [*CORE]), ("rwsplit", TOTAL_FLOOR, None)):
        percent, text = _report(measured, include)
        print(f"coverage of {name}: {percent:.2f} %, at least {floor:g} % wanted")
        if percent < floor:
            print(text)
            status = 1
    return status


def _report(measured: Coverage, include: list[str] | None) -> tuple[float, str]:
    text = io.StringIO()
    percent = measured.report(
        include=include, file=text, show_missing=True, skip_covered=True, ignore_errors=True
    )
    return percent, text.getvalue()


if __name__ == "__main__":
    sys.exit(main())
