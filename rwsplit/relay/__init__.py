"""rwsplit.relay."""
