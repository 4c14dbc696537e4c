"""Examples: raw data as read, before any preprocessing.

Takes: arrays or columns that a reader produced. Gives: `Examples` and the `Source` round them.
The one idea: every reader, whatever its format, ends in these two immutable types, and
everything that a reader decided by itself is written down in `Source.notes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError

__all__ = ["Array", "Columns", "Examples", "Kind", "Modality", "Source"]

Array: TypeAlias = NDArray[Any]
# A table: numeric columns are float64 (NaN = missing), categorical ones '<U…' ('' = missing).
Columns: TypeAlias = dict[str, Array]
Modality: TypeAlias = Literal["image", "table", "array"]
Kind: TypeAlias = Literal["classification", "regression"]


@dataclass(frozen=True)
class Examples:
    """Raw examples: inputs, and where known their targets and names.

    Args:
        inputs: An array [N, ...] (images: uint8 [N, C, H, W]) or columns of length N.
        targets: [N] int64 class indices if the source has classes, else float64 values;
            None for unlabelled examples.
        names: One name an example (a file name, a row number), or None.

    Raises:
        ShapeError: Inputs, targets and names differ in length, or a column is not flat.

    Example:
        >>> examples = Examples({"age": np.array([31.0, 57.0])}, np.array([0, 1]))
        >>> len(examples), examples.take(np.array([1])).targets.tolist()
        (2, [1])
    """

    inputs: Array | Columns
    targets: Array | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.inputs, Mapping):
            for name, column in self.inputs.items():
                if column.ndim != 1:
                    raise ShapeError(f"column {name!r} has shape {column.shape}, expected [N]")
        elif self.inputs.ndim == 0:
            raise ShapeError("inputs are one number, expected an array [N, ...]")
        lengths = {
            "inputs": len(self),
            "targets": len(self) if self.targets is None else len(self.targets),
            "names": len(self) if self.names is None else len(self.names),
        }
        if isinstance(self.inputs, Mapping):
            lengths |= {f"column {name!r}": len(c) for name, c in self.inputs.items()}
        if len(set(lengths.values())) > 1:
            listing = ", ".join(f"{what}: {length}" for what, length in lengths.items())
            raise ShapeError(f"examples of different lengths: {listing}")

    def __len__(self) -> int:
        if isinstance(self.inputs, Mapping):
            for column in self.inputs.values():
                return len(column)
            # A table without input columns still has as many rows as targets or names.
            other = self.targets if self.targets is not None else self.names
            return 0 if other is None else len(other)
        return len(self.inputs)

    def take(self, index: Array) -> Examples:
        """Return the examples at ``index``, in that order.

        Args:
            index: [M] integers in [-N, N), or [N] booleans.

        Returns:
            M examples (copies; the same type and columns).

        Raises:
            DTypeError: The index is neither integer nor boolean.
            ShapeError: A Boolean index has another length than the examples.
            IndexRangeError: An index lies outside the examples.
        """
        index = np.asarray(index)
        if index.size == 0 and index.dtype.kind != "b":
            index = index.astype(np.int64)
        if index.dtype.kind == "b":
            if index.shape != (len(self),):
                raise ShapeError(f"index of shape {index.shape} for {len(self)} examples")
            index = np.flatnonzero(index)
        if index.dtype.kind not in "iu":
            raise DTypeError(f"index has dtype {index.dtype}, expected integers or booleans")
        if index.ndim != 1:
            raise ShapeError(f"index has shape {index.shape}, expected [M]")
        if index.size and not (-len(self) <= int(index.min()) <= int(index.max()) < len(self)):
            worst = int(index.max() if index.max() >= len(self) else index.min())
            raise IndexRangeError(f"index {worst} is outside the {len(self)} examples")
        inputs: Array | Columns
        if isinstance(self.inputs, Mapping):
            inputs = {name: column[index] for name, column in self.inputs.items()}
        else:
            inputs = self.inputs[index]
        return Examples(
            inputs,
            None if self.targets is None else self.targets[index],
            None if self.names is None else tuple(self.names[i] for i in index),
        )


@dataclass(frozen=True)
class Source:
    """A whole data set as read: its parts, its task and everything that was inferred.

    Args:
        name: A short name: ``digits``, ``housing``.
        origin: The path, or who provides it; printed in the report.
        modality: What an example is: image, row of a table or array.
        kind: Classification or regression, inferred or given.
        train: All that may be split into training, validation and (without ``test``) test.
        test: The set's own test part, or None.
        classes: Class names in index order; None for regression.
        target: Name of the target column (``class`` for images).
        notes: Every default chosen or thing inferred, one sentence each.

    Raises:
        ArgumentError: Kind and classes contradict each other.
    """

    name: str
    origin: str
    modality: Modality
    kind: Kind
    train: Examples
    test: Examples | None
    classes: tuple[str, ...] | None
    target: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.kind == "classification") != (self.classes is not None):
            raise ArgumentError(
                f"source {self.name!r}: kind {self.kind!r} with classes {self.classes!r}",
                hint="classification has class names, regression has classes=None",
            )
