"""Other people's test suites through rwsplit: psycopg's own, and Django's of its database layer."""
