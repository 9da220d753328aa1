"""Spans of time and sizes, as people write them."""

from __future__ import annotations

import pytest
from clusterray.common.errors import UsageError
from clusterray.common.units import parse_duration, parse_size, show_duration, show_size
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("15m", 900), ("30d", 2_592_000), ("1h30m", 5400), ("90", 90), (90, 90), (1.5, 1.5), (" 500 ms ", 0.5), ("1w", 604_800)],
)
def test_spans_as_in_the_documentation_are_understood(text: str | float, seconds: float) -> None:
    """`timeout = "2h"` means two hours."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("500MB", 5 * 10**8),
        ("1GiB", 2**30),
        ("1.5 kB", 1500),
        ("12", 12),
        (7, 7),
        ("0", 0),
        ("10 b", 10),
        ("3T", 3 * 10**12),
    ],
)
def test_sizes_as_in_the_documentation_are_understood(text: str | int, size: int) -> None:
    """`memory = "2GB"` means two thousand million bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "h", "2x", "-1h", "nan", "inf", "1e400", "2 h h", "½h", "1,5h", True, -1, float("nan"), 10**400])
def test_what_is_no_span_is_one_sentence(text: str | float) -> None:
    """A slip in a span is told, with what to write."""
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert str(text) in str(caught.value)


@pytest.mark.parametrize("text", ["", "GB", "2XB", "-1GB", "2GB2MB", "nan", "1e400", True, -1, float("inf"), 10**400])
def test_what_is_no_size_is_one_sentence(text: str | float) -> None:
    """A slip in a size is told, with what to write."""
    with pytest.raises(UsageError):
        parse_size(text)


@given(st.integers(0, 2**53))
def test_any_number_of_bytes_or_seconds_reads_back(number: int) -> None:
    """A bare number is bytes, or seconds."""
    assert parse_size(str(number)) == number
    assert parse_duration(str(number)) == float(number)


@given(st.text(max_size=12))
def test_any_text_is_a_value_or_a_usage_error(text: str) -> None:
    """No text crashes the reader of units."""
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except UsageError:
            pass


def test_they_are_shown_as_people_read_them() -> None:
    """Progress and listings show short, familiar units."""
    assert [show_duration(span) for span in (0, 42.4, 192, 3900, 7200, 2_592_000, -3)] == [
        "0s",
        "42s",
        "3m 12s",
        "1h 05m",
        "2h",
        "30d",
        "0s",
    ]
    assert [show_size(size) for size in (0, 999, 1000, 12_345_678, 2 * 10**9, 10**16)] == [
        "0 B",
        "999 B",
        "1 kB",
        "12.3 MB",
        "2 GB",
        "10000 TB",
    ]
