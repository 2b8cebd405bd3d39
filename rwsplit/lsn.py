"""LSN: a byte position in the write-ahead log, as a plain int (64 bits).

The text form is PostgreSQL's `pg_lsn`: two hexadecimal halves, `16/B374D848`
(PostgreSQL manual, section 8.20). LSNs are comparable only within one timeline.
"""

from __future__ import annotations

from typing import Final, NewType

LSN = NewType("LSN", int)

#: Size of the short and long WAL page headers (src/include/access/xlog_internal.h).
SHORT_PAGE_HEADER: Final = 24
LONG_PAGE_HEADER: Final = 40


def parse_lsn(text: str) -> LSN:
    """Return the position written as *text*, such as `0/16B3748`.

    Raises:
        ValueError: *text* is not two hexadecimal numbers of at most 32 bits around a slash.
    """
    high, slash, low = text.partition("/")
    if not slash or not 1 <= len(high) <= 8 or not 1 <= len(low) <= 8:
        raise ValueError(f"not an LSN: {text!r}")
    return LSN(int(high, 16) << 32 | int(low, 16))


def format_lsn(lsn: int) -> str:
    """Return *lsn* as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def normalise_insert_lsn(lsn: int, *, block_size: int, segment_size: int) -> LSN:
    """Return *lsn* moved back to the page boundary if it stands just behind a page header.

    `pg_current_wal_insert_lsn()` reports the place where the next record will go: after a record that
    ends exactly at a page's end that is behind the next page's header (24 bytes, 40 at a segment's
    start), while replay stays at the boundary until more WAL comes. Without this about one sample
    in two thousand could never be reached by an idle replica.
    """
    in_page = lsn % block_size
    header = LONG_PAGE_HEADER if lsn % segment_size < block_size else SHORT_PAGE_HEADER
    return LSN(lsn - header) if in_page == header else LSN(lsn)
