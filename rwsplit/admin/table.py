"""Table: what the console answers, typed, in either of the wire's formats.

A driver that asks for binary results (asyncpg always does) gets PostgreSQL's binary forms: big-endian
integers and doubles, one byte for a boolean, plain UTF-8 for text.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from struct import Struct

import attrs

from rwsplit.protocol import backend

Value = str | int | float | bool | None

_int8 = Struct("!q").pack
_float8 = Struct("!d").pack


class Type(Enum):
    """A column's type; values are PostgreSQL's OID and size."""

    TEXT = (25, -1)
    INT8 = (20, 8)
    FLOAT8 = (701, 8)
    BOOL = (16, 1)


@attrs.frozen
class Column:
    """One column."""

    name: str
    type: Type = Type.TEXT


@attrs.frozen
class Table:
    """Columns and rows."""

    columns: tuple[Column, ...]
    rows: Sequence[tuple[Value, ...]]


def columns(text: str) -> tuple[Column, ...]:
    """Return the columns written as *text*: `node lag_bytes:int8 backup:bool`."""
    made = []
    for word in text.split():
        name, _, kind = word.partition(":")
        made.append(Column(name, Type[kind.upper() or "TEXT"]))
    return tuple(made)


def describe(described: Sequence[Column], formats: Sequence[int] = ()) -> bytes:
    """Return the RowDescription of columns sent in *formats* (none: text; one for all; one each)."""
    made = [
        backend.Column(column.name, *column.type.value, format=code)
        for column, code in zip(described, spread(formats, len(described)), strict=True)
    ]
    return backend.row_description(made)


def encode_row(table: Table, number: int, formats: Sequence[int] = ()) -> bytes:
    """Return row *number* of *table* as a DataRow in *formats*."""
    codes = spread(formats, len(table.columns))
    row = zip(table.columns, table.rows[number], codes, strict=True)
    return backend.data_row(
        [_binary(column.type, value) if code else _text(value) for column, value, code in row]
    )


def spread(formats: Sequence[int], count: int) -> Sequence[int]:
    """Return one format code for each of *count* columns."""
    if len(formats) == count:
        return formats
    return [formats[0] if len(formats) == 1 else 0] * count


def _text(value: Value) -> bytes | None:
    match value:
        case None:
            return None
        case bool():
            return b"t" if value else b"f"
        case _:
            return str(value).encode("utf-8", "replace").replace(b"\0", b"")


def _binary(kind: Type, value: Value) -> bytes | None:
    if value is None:
        return None
    match kind:
        case Type.TEXT:
            return _text(value)
        case Type.INT8:
            return _int8(int(value))
        case Type.FLOAT8:
            return _float8(float(value))
        case Type.BOOL:
            return b"\1" if value else b"\0"
