"""Tests of rwsplit.config."""
