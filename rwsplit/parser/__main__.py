"""`python -m rwsplit.parser`: the parser process; its socket is its standard input. Only rwsplit starts it.

What is meant for rwsplit's process group is not heeded from the first moment on, and whoever serves clients goes first, for the processor
and when memory is short: what it reads with takes half a second of the processor to be there.
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
