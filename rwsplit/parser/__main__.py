"""`python -m rwsplit.parser`: the parser process; its socket is its standard input. Only rwsplit starts it."""

from __future__ import annotations

from rwsplit.parser.child import main

if __name__ == "__main__":
    main()
