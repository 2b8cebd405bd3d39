"""rwsplit.protocol."""
