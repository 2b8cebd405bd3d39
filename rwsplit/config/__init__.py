"""rwsplit.config."""
