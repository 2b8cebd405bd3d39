"""Sizes and times as people read them."""

from __future__ import annotations

import pytest

from rwsplit.cli.units import shown_bytes, shown_seconds


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (74752, "73.0 kB"),
        (3 << 19, "1.5 MB"),
        (5 << 30, "5.0 GB"),
    ],
)
def test_sizes_have_one_unit(size: int, shown: str):
    assert shown_bytes(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "0 s"),
        (119.9, "119 s"),
        (200, "3 min"),
        (7300, "2 h"),
        (47.5 * 3600, "47 h"),
        (5e5, "5 days"),
    ],
)
def test_times_have_one_unit(seconds: float, shown: str):
    assert shown_seconds(seconds) == shown
