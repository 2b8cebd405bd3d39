"""rwsplit.embedded."""
