"""rwsplit.session."""
