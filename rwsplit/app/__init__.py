"""rwsplit.app."""
