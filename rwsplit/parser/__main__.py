"""`python -m rwsplit.parser`: the parser process; its socket is its standard input. Only rwsplit starts it.

It ignores signals to rwsplit's process group, and lowers its priority for the processor and when memory is short, from the first moment
on: importing the parser takes half a second of processor time.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

NICENESS = 5

if __name__ == "__main__":
    for number in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE"):
        signal.signal(signal.Signals[number], signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
        Path("/proc/self/oom_score_adj").write_text("500")

    from rwsplit.parser.child import main

    main()
