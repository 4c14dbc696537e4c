"""Encoders: columns of a table become the numbers that a network reads.

Takes: the columns of the training examples. Gives: a frozen `TableEncoder`, which turns any
table with these columns into float32 [N, D].
The one idea: what training did not show cannot be read later. A value unknown then is "other",
a column unknown then is ignored, and a column that was there then must be there now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import DataError, did_you_mean, unknown_word
from chainrule.data.examples import Columns
from chainrule.data.scalers import METHODS, Float32, Float64, Scaler
from chainrule.data.state import State

__all__ = ["CategoryColumn", "NumericColumn", "TableEncoder", "as_texts"]

Array: TypeAlias = NDArray[Any]

# A level is rare below N / 1000 examples, but at least 2 and at most 20: what a network learns
# from fewer is chance, and as a column of its own it would only be memorised.
RARE_FRACTION = 1 / 1000
RARE_LEAST, RARE_MOST = 2, 20
# More columns from one category cost more than they tell; the most frequent ones are kept.
MAX_LEVELS = 100
MISSING_LABEL, OTHER_LABEL = "(missing)", "(other)"


class Place(NamedTuple):
    """Builds the text for a place in a table: ``train.csv, line 17, column 'age'``."""

    origin: str
    names: tuple[str, ...] | None

    def __call__(self, column: str, row: int | None = None) -> str:
        named = "" if row is None else f", {self.names[row] if self.names else f'row {row}'}"
        return f"{self.origin}{named}, column {column!r}"


@dataclass(frozen=True)
class NumericColumn:
    """A numeric column: missing values filled in, scaled, and where needed marked.

    Args:
        name: Name of the column.
        fill: The training median, which stands in for a missing value.
        scaler: The scaling, or None if all training values were equal (they tell nothing).
        marks_missing: Whether a second feature says 1 where the value was missing.
    """

    name: str
    fill: float
    scaler: Scaler | None
    marks_missing: bool

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that it gives."""
        value = () if self.scaler is None else (self.name,)
        return (*value, f"{self.name} {MISSING_LABEL}") if self.marks_missing else value

    @classmethod
    def fit(cls, name: str, column: Array, method: str, place: Place) -> NumericColumn | None:
        """Learn from the training column; None if nothing can be learnt from it."""
        values = _as_numbers(column, name, place)
        missing = np.isnan(values)
        present = values[~missing]
        if not present.size:
            return None
        fill = float(np.median(present))
        filled = np.where(missing, fill, values)
        constant = bool((present == present[0]).all())
        scaler = None if constant else Scaler.fit(filled, method=method, what=place(name))
        result = cls(name, fill, scaler, bool(missing.any()))
        return result if result.features else None

    def write(self, column: Array, out: Float32, place: Place) -> None:
        """Write the features into ``out`` [N, len(features)]."""
        values = _as_numbers(column, self.name, place)
        missing = np.isnan(values)
        if self.scaler is not None:
            self.scaler.apply(np.where(missing, self.fill, values), out=out[:, 0])
            finite = np.isfinite(out[:, 0])
            if not finite.all():
                row = int(np.argmin(finite))
                raise DataError(f"{place(self.name, row)}: {values[row]} is far too large")
        if self.marks_missing:
            out[:, -1] = missing

    def state_dict(self) -> dict[str, Any]:
        """Return the column's rule as JSON."""
        return {
            "type": "numeric",
            "name": self.name,
            "fill": self.fill,
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "marks_missing": self.marks_missing,
        }

    @classmethod
    def from_state(cls, value: object, where: str) -> NumericColumn:
        """Rebuild it from its `state_dict`; a damaged one is a DataError."""
        state = State(value, where, ("type", "name", "fill", "scaler", "marks_missing"))
        raw = state.raw("scaler")
        scaler = None if raw is None else Scaler.from_state(raw, f"{where}, key 'scaler'")
        if scaler is not None and scaler.shift.shape != ():
            state.fail("scaler", "one shift and one scale")
        result = cls(state.text("name"), state.number("fill"), scaler, state.flag("marks_missing"))
        if not result.features:
            state.fail("marks_missing", "true, as there is no scaler")
        return result


@dataclass(frozen=True)
class CategoryColumn:
    """A categorical column: one feature a level, 1 where the value is that level.

    Args:
        name: Name of the column.
        levels: The levels with a feature of their own, sorted; '' is a missing value.
        other: Whether a last feature stands for all other values. It is there if training had
            rare levels to learn it from; without it an unknown value gives zeros only.
    """

    name: str
    levels: tuple[str, ...]
    other: bool

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that it gives."""
        levels = [f"{self.name}={level or MISSING_LABEL}" for level in self.levels]
        return (*levels, f"{self.name}={OTHER_LABEL}") if self.other else tuple(levels)

    @classmethod
    def fit(cls, name: str, column: Array) -> CategoryColumn | None:
        """Learn from the training column; None if nothing can be learnt from it."""
        values = as_texts(column)
        levels, counts = np.unique(values, return_counts=True)
        least = min(max(len(values) * RARE_FRACTION, RARE_LEAST), RARE_MOST)
        # The most frequent first; the sort is stable, so equals stay in the order of the alphabet.
        ranked = np.argsort(-counts, kind="stable")
        kept = np.sort(ranked[: np.count_nonzero(counts >= least)][:MAX_LEVELS])
        result = cls(name, tuple(levels[kept].tolist()), other=len(kept) < len(levels))
        return result if len(result.features) > 1 else None

    def write(self, column: Array, out: Float32) -> None:
        """Write the features into ``out`` [N, len(features)]."""
        values = as_texts(column)
        levels = np.array(self.levels, dtype=np.str_)
        place = np.searchsorted(levels, values) if len(levels) else np.zeros(len(values), int)
        known = place < len(levels)
        known[known] = levels[place[known]] == values[known]
        out[:] = 0
        rows = np.flatnonzero(known)
        out[rows, place[rows]] = 1
        if self.other:
            out[:, -1] = ~known

    def state_dict(self) -> dict[str, Any]:
        """Return the column's rule as JSON."""
        return {
            "type": "category",
            "name": self.name,
            "levels": list(self.levels),
            "other": self.other,
        }

    @classmethod
    def from_state(cls, value: object, where: str) -> CategoryColumn:
        """Rebuild it from its `state_dict`; a damaged one is a DataError."""
        state = State(value, where, ("type", "name", "levels", "other"))
        result = cls(state.text("name"), state.texts("levels"), state.flag("other"))
        # NumPy drops NUL characters at the end of a text, so such a level could not be found.
        as_stored = tuple(np.array(result.levels, dtype=np.str_).tolist())
        if as_stored != tuple(sorted(result.levels)):
            state.fail("levels", "levels in sorted order")
        if len(result.features) < 2:
            state.fail("levels", "at least two features")
        return result


@dataclass(frozen=True)
class TableEncoder:
    """All columns of a table, in the order of their features.

    Example:
        >>> columns = {"age": np.array([20.0, 40.0]), "sex": np.array(["m", "m"])}
        >>> encoder, notes = TableEncoder.fit(columns)
        >>> encoder.apply({"age": np.array([30.0]), "more": np.array(["?"])}).tolist()
        [[0.0]]
        >>> notes[-1]
        "column 'sex': ignored, as it has one value only"
    """

    columns: tuple[NumericColumn | CategoryColumn, ...]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all features: ``age``, ``age (missing)``, ``city=Paris``, ``city=(other)``."""
        return tuple(name for column in self.columns for name in column.features)

    def named(self, kind: type[NumericColumn] | type[CategoryColumn]) -> tuple[str, ...]:
        """Return the names of the columns of one kind."""
        return tuple(column.name for column in self.columns if isinstance(column, kind))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one encoded example."""
        return (len(self.features),)

    @classmethod
    def fit(
        cls,
        columns: Columns,
        method: str = "zscore",
        *,
        origin: str = "data",
        names: tuple[str, ...] | None = None,
    ) -> tuple[TableEncoder, tuple[str, ...]]:
        """Learn from the training columns; returns the encoder and notes on every choice.

        Raises:
            ArgumentError: The method is unknown.
            DataError: No column tells anything, or a number is infinite.
        """
        if method not in METHODS:
            raise unknown_word("scaling", method, METHODS)
        encoded: list[NumericColumn | CategoryColumn] = []
        ignored: list[str] = []
        for name, values in columns.items():
            column = (
                NumericColumn.fit(name, values, method, Place(origin, names))
                if values.dtype.kind in "biuf"
                else CategoryColumn.fit(name, values)
            )
            if column is None:
                ignored.append(f"column {name!r}: ignored, as {_why_ignored(values)}")
            else:
                encoded.append(column)
        if not encoded:
            listing = "; ".join(ignored) or "there are no input columns"
            raise DataError(f"{origin}: no column to learn from: {listing}")
        encoder = cls(tuple(encoded))
        return encoder, (*_describe(encoder, columns, method), *ignored)

    def apply(
        self, columns: Columns, origin: str = "data", names: tuple[str, ...] | None = None
    ) -> Float32:
        """Encode a table.

        Args:
            columns: At least the columns that it was fitted on; others are ignored.
            origin: Where the table came from, for the text of errors.
            names: One name a row (``line 17``), likewise.

        Returns:
            [N, D] float32.

        Raises:
            DataError: A column is missing, or a value is not what its column holds.
        """
        for column in self.columns:
            if column.name not in columns:
                raise DataError(
                    f"{origin}: column {column.name!r} is missing",
                    hint=did_you_mean(column.name, columns) or "columns: " + ", ".join(columns),
                )
        place = Place(origin, names)
        n = len(columns[self.columns[0].name])
        out = np.empty((n, len(self.features)), dtype=np.float32)
        start = 0
        for column in self.columns:
            end = start + len(column.features)
            if isinstance(column, NumericColumn):
                column.write(columns[column.name], out[:, start:end], place)
            else:
                column.write(columns[column.name], out[:, start:end])
            start = end
        return out

    def state_dict(self) -> dict[str, Any]:
        """Return all rules as JSON."""
        return {"columns": [column.state_dict() for column in self.columns]}

    @classmethod
    def from_state(cls, value: object, where: str) -> TableEncoder:
        """Rebuild it from its `state_dict`; a damaged one is a DataError."""
        state = State(value, where, ("columns",))
        columns: list[NumericColumn | CategoryColumn] = []
        for i, item in enumerate(state.items("columns")):
            place = f"{where}, column {i}"
            kind = item.get("type") if isinstance(item, dict) else None
            if kind == "numeric":
                columns.append(NumericColumn.from_state(item, place))
            elif kind == "category":
                columns.append(CategoryColumn.from_state(item, place))
            else:
                raise DataError(f"{place}: type is {kind!r}, expected numeric or category")
        if not columns or len({column.name for column in columns}) < len(columns):
            state.fail("columns", "at least one column, each name once")
        return cls(tuple(columns))


def _as_numbers(column: Array, name: str, place: Place) -> Float64:
    """Return float64 with NaN for missing; numbers written as text are read."""
    if column.dtype.kind in "biuf":
        values: Float64 = column.astype(np.float64, copy=False)
    else:
        values = np.empty(len(column), dtype=np.float64)
        for row, text in enumerate(column.tolist()):
            try:
                # float() would also take "1_000".
                values[row] = float("x" if "_" in text else text) if text.strip() else np.nan
            except ValueError:
                raise DataError(f"{place(name, row)}: {text!r} is not a number") from None
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise DataError(f"{place(name, row)}: {values[row]}, expected a finite number")
    return values


def as_texts(column: Array) -> NDArray[np.str_]:
    """Return texts with '' for missing; whole numbers are written without a decimal point."""
    if column.dtype.kind == "U":
        return column
    if column.dtype.kind in "biu":
        return column.astype(np.str_)
    numbers = column.tolist()
    return np.array(
        ["" if x != x else str(int(x)) if x.is_integer() else str(x) for x in numbers],
        dtype=np.str_,
    )


def _why_ignored(column: Array) -> str:
    if column.dtype.kind in "biuf":
        has_value = bool((column == column).any())
        return "all its values are equal" if has_value else "it has no value in training"
    different = len(np.unique(column))
    return "it has one value only" if different == 1 else f"none of its {different} values recurs"


def _describe(encoder: TableEncoder, columns: Columns, method: str) -> list[str]:
    notes = []
    numeric = [c for c in encoder.columns if isinstance(c, NumericColumn)]
    if numeric:
        notes.append(f"numeric columns ({len(numeric)}): {METHODS[method]}")
    for column in numeric:
        if column.marks_missing:
            missing = int(np.isnan(columns[column.name]).sum())
            notes.append(
                f"column {column.name!r}: {missing:,} missing values of training filled with the "
                f"median {column.fill:g}, and marked in a feature of their own"
            )
    categories = [c for c in encoder.columns if isinstance(c, CategoryColumn)]
    if categories:
        width = sum(len(column.features) for column in categories)
        notes.append(f"categorical columns ({len(categories)}): one-hot, {width} features")
    for category in categories:
        if category.other:
            grouped = len(np.unique(as_texts(columns[category.name]))) - len(category.levels)
            values = "1 rare value has" if grouped == 1 else f"{grouped:,} rare values share"
            notes.append(f"column {category.name!r}: {values} the feature {OTHER_LABEL}")
    return notes
