"""Tables: CSV, TSV and Parquet files as typed columns with a target.

Takes: a table file. Gives: a `Source` whose columns are numbers or categories.
The one idea: types are inferred from whole columns, and each decision that changes what the
network sees (target, categories, columns left out, rows dropped) is written into the notes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule.core.errors import ArgumentError, DataError, did_you_mean
from chainrule.data.decide import Decision, decide_targets, encode_targets, percent
from chainrule.data.delimited import MISSING, Cells, as_number, read_delimited
from chainrule.data.examples import Array, Columns, Examples, Kind, Source
from chainrule.data.parquet import read_parquet

__all__ = ["TABLE_SUFFIXES", "RawTable", "read_table", "table_examples", "table_source"]

TABLE_SUFFIXES = (".csv", ".tsv", ".data", ".parquet")
# A column of numbers with so few cells that are none is more likely wrong than categorical.
STRAY_SHARE = 0.05
# Fewer different numbers than this may be codes of categories ("1", "2", "other").
STRAY_DISTINCT = 20
# Below so many rows, "all different" or "all the same" says little.
MIN_ROWS_TO_JUDGE = 20
# Fixed-width text of a column in memory; beyond, it is prose and no category.
MAX_TEXT_BYTES = 2**30
LISTED_COLUMNS = 12
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_ID_NAME = re.compile(r"(.*[_\s.-])?(id|index|idx|no|nr|row|rownum)|.*Id|.*ID|[Uu]nnamed: 0|#")


@dataclass(frozen=True)
class RawTable:
    """A table before its columns are given a meaning.

    Args:
        path: Where it came from.
        columns: Name to numbers float64 or to text, in file order.
        places: Line (text files) or row number of each row.
        unit: ``line`` or ``row``.
        delimiter: Of a text file, else empty.
        notes: What was inferred so far.
    """

    path: Path
    columns: dict[str, Array | list[str]]
    places: Sequence[int]
    unit: str
    delimiter: str = ""
    notes: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Return the path and the line or row number, as messages begin."""
        return f"{self.path}, {self.unit} {self.places[row]}"


def read_table(
    path: Path,
    *,
    names: Sequence[str] | None = None,
    known: Iterable[str] = (),
    comment: str = "",
) -> RawTable:
    """Read a table file, text or Parquet (told by suffix and content).

    Args:
        path: A .csv, .tsv, .data (plain or .gz) or .parquet file.
        names: Column names of a text file without a header line.
        known: Names that a header would contain.
        comment: Lines of a text file that begin with this are skipped.

    Raises:
        DataError: The file is missing or damaged.
    """
    if path.suffix.lower() == ".parquet":
        columns = read_parquet(path)
        rows = len(next(iter(columns.values()), ()))
        return RawTable(path, columns, range(1, rows + 1), "row", notes=("read: Parquet",))
    cells: Cells = read_delimited(path, names=names, known=known, comment=comment)
    text: dict[str, Array | list[str]] = dict(cells.columns)
    return RawTable(path, text, cells.lines, "line", cells.delimiter, cells.notes)


def table_source(
    table: RawTable,
    *,
    test: RawTable | None = None,
    name: str,
    origin: str,
    target: str | None = None,
    kind: str | None = None,
    usual: Kind | None = None,
) -> Source:
    """Give the columns of a table their meaning.

    Args:
        table: The rows to train on.
        test: The set's own test rows, with the same columns, or None.
        name: Name of the source.
        origin: Where it comes from.
        target: Name of the target column; None: the last one.
        kind: ``classification`` or ``regression``; None: ``usual``, else inferred.
        usual: The kind that this set is known for.

    Raises:
        ArgumentError: There is no column of that name.
        DataError: Nothing to learn from: no input column, no target, infinite numbers.
    """
    notes = list(table.notes)
    goal = _target_name(table, target, notes)
    train_rows, lost = _drop_untargeted(table, goal, notes)
    test_rows = None if test is None else _drop_untargeted(test, goal, notes)[0]
    columns, dropped = _type_columns(train_rows, goal, notes)
    if len(columns) < 2:
        gone = f" (left out: {', '.join(dropped)})" if dropped else ""
        raise DataError(
            f"{table.path}: no input column besides the target {goal!r}{gone}",
            hint="the delimiter must be one of , ; tab | or white space",
        )
    numeric = {key for key, column in columns.items() if column.dtype.kind == "f"}
    test_columns = None
    if test_rows is not None:
        _check_same_columns(train_rows, test_rows)
        test_columns = _type_known(test_rows, columns, numeric)
    targets = decide_targets(
        columns.pop(goal),
        None if test_columns is None else test_columns.pop(goal),
        kind=kind,
        what=f"column {goal!r}",
        origin=str(table.path),
        usual=None if usual is None else (usual, "as usual for this set"),
    )
    notes += targets.notes
    notes += _describe(columns)
    examples = Examples(columns, targets.train, _row_names(train_rows))
    own_test = None
    if test_rows is not None and test_columns is not None:
        own_test = Examples(test_columns, targets.test, _row_names(test_rows))
    notes.insert(0, _describe_rows(len(examples), own_test, table, lost))
    return _source(name, origin, targets, examples, own_test, goal, notes)


def table_examples(
    table: RawTable,
    *,
    numeric: Collection[str],
    categorical: Collection[str],
    target: str,
    classes: tuple[str, ...] | None,
) -> Examples:
    """Read rows for a network that was trained already.

    Args:
        table: The rows.
        numeric: Input columns that hold numbers.
        categorical: Input columns that hold categories.
        target: The target column; it may be absent, and is then not read.
        classes: Class names in index order; None: the target is a number.

    Returns:
        The examples; targets are None unless every row has one.

    Raises:
        DataError: An input column is missing, a number is none, or a class is unknown.
    """
    columns: Columns = {}
    for name in (*numeric, *categorical):
        if name not in table.columns:
            raise DataError(
                f"{table.path}: the column {name!r}, an input of the network, is missing",
                hint=did_you_mean(name, table.columns) or f"it has {_listing(table.columns)}",
            )
        known = name in numeric
        columns[name] = _as_numbers(table, name) if known else _as_text(table.columns[name])
    goal: Array | None = None
    if target in table.columns:
        what, origin = f"column {target!r}", str(table.path)
        if classes is None:
            values = _as_numbers(table, target)
            goal = None if np.isnan(values).any() else values
        else:
            words = _as_text(table.columns[target])
            goal = None if (words == "").any() else encode_targets(words, classes, what, origin)
    return Examples(columns, goal, _row_names(table))


def _source(
    name: str,
    origin: str,
    targets: Decision,
    train: Examples,
    test: Examples | None,
    goal: str,
    notes: list[str],
) -> Source:
    return Source(
        name=name,
        origin=origin,
        modality="table",
        kind=targets.kind,
        train=train,
        test=test,
        classes=targets.classes,
        target=goal,
        notes=tuple(notes),
    )


# --- the target ---------------------------------------------------------------------------


def _target_name(table: RawTable, target: str | None, notes: list[str]) -> str:
    names = list(table.columns)
    if target is None:
        notes.append(f"target: column {names[-1]!r} (the last one)")
        return names[-1]
    if target not in table.columns:
        folded = {name.lower(): name for name in names}
        guess = did_you_mean(target, folded)
        for low, name in folded.items():
            guess = guess.replace(repr(low), repr(name))
        raise ArgumentError(
            f"{table.path}: no column is named {target!r}",
            hint=f"{guess} columns: {_listing(names)}".strip(),
        )
    return target


def _drop_untargeted(table: RawTable, goal: str, notes: list[str]) -> tuple[RawTable, int]:
    """Leave out rows whose target is missing; nothing can be learnt from them."""
    column = table.columns[goal]
    if isinstance(column, np.ndarray):
        keep = np.flatnonzero(~np.isnan(column))
    else:
        keep = np.array([i for i, cell in enumerate(column) if cell.lower() not in MISSING], int)
    lost = len(column) - len(keep)
    if not lost:
        return table, 0
    if len(keep) == 0:
        raise DataError(f"{table.path}: column {goal!r}, the target, has no value in any row")
    notes.append(f"rows: {lost:,} without a value in {goal!r} were left out")
    columns: dict[str, Array | list[str]] = {}
    for key, cells in table.columns.items():
        columns[key] = cells[keep] if isinstance(cells, np.ndarray) else [cells[i] for i in keep]
    places = [table.places[i] for i in keep.tolist()]
    return RawTable(table.path, columns, places, table.unit, table.delimiter, table.notes), lost


# --- types of columns ---------------------------------------------------------------------


def _type_columns(table: RawTable, goal: str, notes: list[str]) -> tuple[Columns, list[str]]:
    """Return typed columns, and the names of those left out because they say nothing."""
    columns: Columns = {}
    dropped: list[str] = []
    for name, raw in table.columns.items():
        typed = raw if isinstance(raw, np.ndarray) else _infer_numbers(table, name, raw, notes)
        if isinstance(typed, np.ndarray):
            _refuse_infinite(table, name, typed)
        reason = "" if name == goal else _useless(name, typed)
        if reason:
            notes.append(f"column {name!r}: left out, because {reason}")
            dropped.append(name)
        else:
            columns[name] = typed if isinstance(typed, np.ndarray) else _as_text(typed)
    return columns, dropped


def _type_known(table: RawTable, like: Columns, numeric: Collection[str]) -> Columns:
    """Type the columns of a further table as those of the first one."""
    columns: Columns = {}
    for name in like:
        columns[name] = (
            _as_numbers(table, name) if name in numeric else _as_text(table.columns[name])
        )
    return columns


def _infer_numbers(
    table: RawTable, name: str, cells: list[str], notes: list[str]
) -> Array | list[str]:
    """Return numbers if every cell that is not missing holds one, else the text."""
    numbers = _parse(cells)
    if isinstance(numbers, np.ndarray):
        return numbers
    if table.delimiter not in ("", ",") and (comma := _parse_decimal_commas(cells)) is not None:
        notes.append(f"column {name!r}: decimal commas read as points")
        return comma
    counts = {cell: n for cell, n in Counter(cells).items() if cell.lower() not in MISSING}
    stray = [cell for cell in counts if as_number(cell) is None]
    share = 1 - sum(counts[cell] for cell in stray) / sum(counts.values())
    if 1 - STRAY_SHARE <= share < 1 and len(counts) - len(stray) > STRAY_DISTINCT:
        row = cells.index(stray[0])
        raise DataError(
            f"{table.place(row)}, column {name!r}: {stray[0]!r} is not a number, "
            f"but {100 * share:.4g} % of the column's cells are",
            hint="correct the cell, or leave it empty if the value is missing",
        )
    if share > 0:
        notes.append(
            f"column {name!r}: {percent(share)} of its cells are numbers, the others "
            f"text such as {stray[0]!r}: read as categories"
        )
    return cells


def _parse(cells: list[str]) -> Array | None:
    """Return float64 with NaN for missing cells, or None if a cell is no number."""
    try:
        values = [np.nan if c.lower() in MISSING else float(c) for c in cells]
    except ValueError:
        return None
    # Python takes "1_000" for a number; no data file means that.
    return None if any("_" in c for c in cells) else np.array(values, np.float64)


def _parse_decimal_commas(cells: list[str]) -> Array | None:
    for cell in cells:
        if cell.lower() not in MISSING and not _DECIMAL_COMMA.fullmatch(cell):
            return None
    return _parse([cell.replace(",", ".") for cell in cells])


def _refuse_infinite(table: RawTable, name: str, values: Array) -> None:
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raw = table.columns[name][int(bad[0])]
        shown = repr(raw) if isinstance(raw, str) else str(raw)
        raise DataError(
            f"{table.place(int(bad[0]))}, column {name!r}: {shown} is not a finite number"
            + (f" (and {len(bad) - 1:,} more)" if len(bad) > 1 else ""),
            hint="correct the cell, or leave it empty if the value is missing",
        )


def _useless(name: str, column: Array | list[str]) -> str:
    """Say why a column cannot help to predict, or return an empty string."""
    rows = len(column)
    if isinstance(column, np.ndarray):
        present = column[~np.isnan(column)]
        distinct = len(np.unique(present))
    else:
        counts = {cell: n for cell, n in Counter(column).items() if cell.lower() not in MISSING}
        present, distinct = np.empty(sum(counts.values())), len(counts)
    if distinct == 0:
        return "it has no value in any row"
    if distinct == 1 and len(present) == rows and rows > 1:
        return "it holds the same value in every row"
    if rows < MIN_ROWS_TO_JUDGE:
        return ""
    if isinstance(column, np.ndarray):
        consecutive = distinct == rows and bool(np.all(np.diff(present) == 1))
        whole = distinct == rows and bool(np.all(present == np.floor(present)))
        named_so = _ID_NAME.fullmatch(name) is not None
        if (whole and named_so) or (consecutive and name == "column_1"):
            return "it only numbers the rows"
        return ""
    if distinct == len(present):
        return "it holds a different text in every row"
    if 2 * distinct > len(present):
        return f"it holds {distinct:,} different texts in {len(present):,} rows"
    if max(map(len, column)) * 4 * rows > MAX_TEXT_BYTES:
        return "its texts are too long to be categories"
    return ""


def _as_numbers(table: RawTable, name: str) -> Array:
    """Return a column that must be numeric; the first cell that is no number is an error."""
    raw = table.columns[name]
    values = raw if isinstance(raw, np.ndarray) else _parse(raw)
    if values is None and not isinstance(raw, np.ndarray) and table.delimiter not in ("", ","):
        values = _parse_decimal_commas(raw)
    if values is None:
        row = next(
            i
            for i, cell in enumerate(raw)
            if cell.lower() not in MISSING and as_number(cell) is None
        )
        raise DataError(
            f"{table.place(row)}, column {name!r}: {raw[row]!r} is not a number, "
            "but the column was trained on as numbers"
        )
    _refuse_infinite(table, name, values)
    return values


def _as_text(column: Array | list[str]) -> Array:
    """Return '<U…' with '' for missing cells; numbers as the shortest text that is equal."""
    if isinstance(column, np.ndarray):
        words = [
            "" if v != v else str(int(v)) if v.is_integer() else repr(v) for v in column.tolist()
        ]
    else:
        blank = {cell: "" for cell in set(column) if cell.lower() in MISSING}
        words = [blank.get(cell, cell) for cell in column] if blank else column
    return np.array(words, dtype=np.str_)


def _check_same_columns(train: RawTable, test: RawTable) -> None:
    for name in train.columns:
        if name not in test.columns:
            raise DataError(f"{test.path}: the column {name!r} of {train.path} is missing")


# --- notes --------------------------------------------------------------------------------


def _describe_rows(count: int, test: Examples | None, table: RawTable, lost: int) -> str:
    left = f" (of {count + lost:,})" if lost else ""
    own = "" if test is None else f", and {len(test):,} rows of the set's own test part"
    return f"data: {count:,} rows{left} of {len(table.columns)} columns{own}"


def _describe(columns: Columns) -> list[str]:
    numeric = [name for name, column in columns.items() if column.dtype.kind == "f"]
    texts = {name: column for name, column in columns.items() if column.dtype.kind != "f"}
    notes = []
    if numeric:
        notes.append(f"numeric columns ({len(numeric)}): {_listing(numeric)}")
    if texts:
        sizes = {name: len(np.unique(column[column != ""])) for name, column in texts.items()}
        counted = [f"{name} ({size} values)" for name, size in sizes.items()]
        notes.append(f"categorical columns ({len(texts)}): {_listing(counted)}")
    gaps = {
        name: int(np.isnan(c).sum() if c.dtype.kind == "f" else (c == "").sum())
        for name, c in columns.items()
    }
    missing = [
        f"{name} {gap:,} ({percent(gap / len(columns[name]))})" for name, gap in gaps.items() if gap
    ]
    if missing:
        notes.append(f"missing values: {_listing(missing)}")
    return notes


def _listing(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - LISTED_COLUMNS} more" if len(listed) > LISTED_COLUMNS else ""
    return ", ".join(listed[:LISTED_COLUMNS]) + more


def _row_names(table: RawTable) -> tuple[str, ...]:
    return tuple(f"{table.unit} {place}" for place in table.places)
