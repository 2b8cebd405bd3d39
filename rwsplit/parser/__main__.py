"""`python -m rwsplit.parser`: the parser process; its socket is its standard input. Only rwsplit starts it.

What is meant for rwsplit's process group is not heeded from the first moment on: what it reads with takes a while to be there.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    for number in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE"):
        signal.signal(signal.Signals[number], signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)

    from rwsplit.parser.child import main

    main()
