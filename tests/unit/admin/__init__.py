"""Tests of rwsplit.admin."""
