"""Options that several commands share, spelt once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The rwsplit to speak to: postgresql://admin@host:6432"
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="A configuration file."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON (docs/operations.md).")]
