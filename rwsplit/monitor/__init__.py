"""rwsplit.monitor."""
