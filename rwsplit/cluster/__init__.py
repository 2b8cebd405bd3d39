"""rwsplit.cluster."""
