"""rwsplit.app, each file by itself."""
