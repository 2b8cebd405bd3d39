"""rwsplit.sql."""
