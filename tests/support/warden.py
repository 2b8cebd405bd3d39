"""Warden: ends the rwsplit processes that a run of tests leaves behind.

Fixtures stop what they started, after Ctrl-C and SIGTERM too (tests/conftest.py); not after a second Ctrl-C, nor after SIGKILL. The
warden waits for the end of its standard input, a pipe whose other end only the run holds, as the guardian of an
embedded cluster does (`rwsplit.embedded.guardian`). A pid is killed only while its command line has the configuration file it was told with.

Imports nothing outside the standard library: it starts once per run, in milliseconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_wardens: list[subprocess.Popen[bytes]] = []


def watch(pid: int, config_path: Path) -> None:
    """Have the process *pid*, a rwsplit with the configuration at *config_path*, ended when this process ends."""
    if not _wardens:
        _wardens.append(
            subprocess.Popen(
                [sys.executable, "-P", os.fspath(Path(__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath)},
                start_new_session=True,
            )
        )
    pipe = _wardens[0].stdin
    assert pipe is not None
    pipe.write(os.fsencode(f"{pid} {config_path}\n"))
    pipe.flush()


def main() -> None:
    """Wait for the end of the run, then kill what is left of it."""
    told = [line.rstrip(b"\n").partition(b" ") for line in sys.stdin.buffer]
    for pid, _, path in told:
        with suppress(OSError):
            if path in Path(f"/proc/{int(pid)}/cmdline").read_bytes().split(b"\0"):
                os.kill(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    main()
