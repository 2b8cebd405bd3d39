"""rwsplit.admin."""
