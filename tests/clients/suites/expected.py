"""Which tests of a suite are known to fail through rwsplit: the rows of a table in docs/compatibility.md.

The document is the list; a row is `| test, or a pattern of tests with * | why |`, under a heading that begins
with the suite's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "compatibility.md"


def expected_failures(suite: str, text: str) -> list[str]:
    """Return the patterns listed for *suite* in *text*, the document's."""
    sections = re.split(r"^#+ ", text, flags=re.MULTILINE)
    rows = [
        line
        for section in sections
        if section.lower().startswith(f"{suite}:")
        for line in section.splitlines()
    ]
    return [found.group(1) for row in rows if (found := re.match(r"\| `([^`]+)` \|", row))]


def unexpected(failed: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return which of *failed* none of *patterns* covers."""
    expressions = [
        re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
        for pattern in patterns
    ]
    return [name for name in failed if not any(e.fullmatch(name) for e in expressions)]
