"""rwsplit.routing."""
