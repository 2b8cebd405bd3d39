"""rwsplit.server."""
