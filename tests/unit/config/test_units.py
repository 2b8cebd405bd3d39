"""Durations and sizes as people write them."""

from __future__ import annotations

import math

import pytest

from rwsplit.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5.0),
        ("5", 5.0),
        ("10m", 600.0),
        ("10min", 600.0),
        ("1h", 3600.0),
        ("1.5 h", 5400.0),
        ("2d", 172800.0),
        (" 100us ", 0.0001),
        (".5s", 0.5),
        ("0", 0.0),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "s", "-5s", "5 weeks", "five", "1h30m", "5S", "nan", "\N{ARABIC-INDIC DIGIT FIVE}s"],
)
def test_anything_else_is_not_a_duration(text):
    with pytest.raises(ValueError, match="must be a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8192", 8192), ("64kB", 65536), ("16MB", 1 << 24), ("1.5kB", 1536), ("2GB", 1 << 31)],
)
def test_a_size_is_a_multiple_of_1024(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64KB", "1.5B", "-1", "1e3", "kB"])
def test_anything_else_is_not_a_size(text):
    with pytest.raises(ValueError, match="must be a size such as"):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.1, "100ms"),
        (0.00025, "250us"),
        (90.0, "90s"),
        (120.0, "2m"),
        (7200.0, "2h"),
        (1 / 3, "0.333333s"),
        (math.inf, "inf"),
    ],
)
def test_a_duration_is_written_in_the_largest_whole_unit(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (100, "100B"), (65536, "64kB"), (1 << 24, "16MB"), (1 << 40, "1TB")],
)
def test_a_size_is_written_in_the_largest_whole_unit(size, text):
    assert format_size(size) == text
