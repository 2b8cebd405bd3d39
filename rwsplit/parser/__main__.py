"""`python -m rwsplit.parser`: the parser process; its socket is its standard input. Only rwsplit starts it.

It ignores signals to rwsplit's process group from the first moment on, since importing the parser takes a while.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    for number in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE"):
        signal.signal(signal.Signals[number], signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)

    from rwsplit.parser.child import main

    main()
