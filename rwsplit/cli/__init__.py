"""rwsplit.cli."""
