"""rwsplit.telemetry."""
