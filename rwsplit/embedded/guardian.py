"""Remove a cluster when the process that owns it ends without doing so.

`python -m rwsplit.embedded.guardian DIR` waits for the end of its standard input, a pipe whose
other end only the owner holds: the kernel closes it however the owner ends, SIGKILL included. It
runs in a session of its own, so Ctrl-C in the owner's terminal does not reach it.

Rejected: PR_SET_PDEATHSIG on the postmasters. It fires when the *thread* that started them ends,
and a worker thread of `rwsplit demo` or of a test ends long before the cluster should.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from rwsplit.embedded.directory import InUse, is_abandoned, remove_leftover
from rwsplit.embedded.processes import wait_until

PATIENCE: Final = 10.0


def start_guardian(directory: Path) -> subprocess.Popen[bytes]:
    """Start a guardian of *directory*; close its stdin to let it go."""
    package_parent = os.fspath(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "rwsplit.embedded.guardian", os.fspath(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PYTHONPATH": package_parent, "PATH": os.environ.get("PATH", os.defpath)},
        start_new_session=True,
    )


def release(guardian: subprocess.Popen[bytes]) -> None:
    """Tell *guardian* that there is nothing left to guard and wait for it to end."""
    assert guardian.stdin is not None
    guardian.stdin.close()
    guardian.wait()


def main() -> None:
    """Wait for the owner's end, then remove what it left."""
    directory = Path(sys.argv[1])
    while os.read(0, 1):
        pass
    # A dying process gives up its descriptors in any order: the pipe may close before the lock.
    wait_until(lambda: not directory.is_dir() or is_abandoned(directory), timeout=PATIENCE)
    with suppress(InUse):  # removed and made again by another run meanwhile
        remove_leftover(directory)


if __name__ == "__main__":
    main()
