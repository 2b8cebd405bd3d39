"""`python -m rwsplit` is `rwsplit`."""

from __future__ import annotations

from rwsplit.cli.main import main

if __name__ == "__main__":
    main()
