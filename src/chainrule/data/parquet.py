"""Parquet: columnar files, read through pyarrow (extra ``full``).

Takes: a .parquet file. Gives: named columns, numbers as float64 and everything else as text.
The one idea: what the footer claims is checked for consistency before columns are unpacked,
and whatever a damaged file makes the parser raise comes out as one kind of error.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.core.errors import DataError, missing_extra
from chainrule.core.files import read_bytes
from chainrule.data.examples import Array

__all__ = ["read_parquet"]

# A run-length encoded column can claim any number of rows in a few bytes. Real tables hold
# far less than this many cells in a byte; small claims are harmless whatever the file.
MAX_CELLS_PER_BYTE = 1000
MIN_CELLS = 10**7


def read_parquet(path: Path) -> dict[str, Array | list[str]]:
    """Read a Parquet file.

    Returns:
        Name to column: float64 [N] (NaN = null) for numbers, text ('' = null) for strings,
        booleans, dates and times.

    Raises:
        DataError: The file is missing or damaged, or a column is nested or binary.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_extra("pyarrow", "reading Parquet") from None
    raw = read_bytes(path)
    # What pyarrow raises on damage, found by mutating files; KeyError: unknown time zones.
    damaged = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError)
    try:
        file = pq.ParquetFile(io.BytesIO(raw), page_checksum_verification=True)
        _check_footer(file.metadata, len(raw), path)
        table = file.read(use_threads=True)
        table.validate(full=True)
        names = list(table.column_names)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{path}: two columns are named {twice!r}")
        return {name: _column(pa, table.column(name), name, path) for name in names}
    except DataError:
        raise
    except (*damaged, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path}: not a readable Parquet file: {reason}",
            hint="copy or download the file again",
        ) from error


def _check_footer(metadata: Any, size: int, path: Path) -> None:
    # Nothing about single column chunks is asked for here: where their statistics are damaged,
    # pyarrow 26 ends the whole process (a C++ exception leaves a function that may not throw).
    rows, columns = metadata.num_rows, metadata.num_columns
    if rows <= 0 or columns <= 0:
        raise DataError(f"{path}: {rows:,} rows and {columns} columns: nothing to read")
    if rows * columns > max(MIN_CELLS, MAX_CELLS_PER_BYTE * size):
        raise DataError(
            f"{path}: damaged footer: it claims {rows:,} rows of {columns} columns "
            f"in a file of {size:,} bytes"
        )


def _column(pa: Any, column: Any, name: str, path: Path) -> Array | list[str]:
    """Convert one chunked Arrow column."""
    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind):
        values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.array(values, np.float64)
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_temporal(kind)
    if not (texts or types.is_boolean(kind)):
        raise DataError(
            f"{path}, column {name!r}: of type {kind}, expected numbers, text, booleans or dates",
            hint=f"leave the column out: table.drop_columns([{name!r}])",
        )
    if types.is_boolean(kind):
        names = {True: "True", False: "False", None: ""}
        return [names[value] for value in column.to_pylist()]
    values = column.cast(pa.large_string()).to_pylist()
    return ["" if value is None else value.strip() for value in values]
