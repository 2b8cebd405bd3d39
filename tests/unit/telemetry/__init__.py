"""Tests of rwsplit.telemetry."""
