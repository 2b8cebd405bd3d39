"""Tests of rwsplit.cli."""
