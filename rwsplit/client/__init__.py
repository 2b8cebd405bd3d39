"""rwsplit.client."""
