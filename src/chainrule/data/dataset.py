"""Datasets: what a loader can take examples from.

Takes: arrays of equal length, or any object with a length and numbered samples.
Gives: whole batches for a sorted or shuffled array of indices.
The one idea: arrays are indexed once a batch; only objects that know no better are asked for
one sample after another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ArgumentError, ChainruleError, DTypeError, ShapeError
from chainrule.data.order import Index

__all__ = ["Batch", "Dataset", "Subset", "TensorDataset", "batch_reader"]

Array: TypeAlias = NDArray[Any]
Batch: TypeAlias = tuple[Array, ...]


@runtime_checkable
class Dataset(Protocol):
    """Anything with a length whose samples are numbered from 0.

    A sample is an array, a number, or a tuple of them. A dataset that can give many samples at
    once has a method ``__getitems__(index)`` as well, which takes an index array and returns a
    tuple of arrays [len(index), ...] (or, as in PyTorch, a list of samples).
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class TensorDataset:
    """Arrays whose first axes run over the same examples.

    Args:
        arrays: Arrays, tensors, or anything that NumPy takes as an array. They are not copied.

    Raises:
        ArgumentError: There are no arrays.
        ShapeError: Their lengths differ, or one has no axis.

    Example:
        >>> dataset = TensorDataset(np.array([[1.0], [2.0], [3.0]]), np.array([0, 1, 0]))
        >>> len(dataset), dataset[np.array([2, 0])][1].tolist()
        (3, [0, 0])
    """

    def __init__(self, *arrays: ArrayLike) -> None:
        self.tensors: Batch = tuple(np.asarray(array) for array in arrays)
        if not arrays:
            raise ArgumentError("TensorDataset: no arrays", hint="TensorDataset(inputs, targets)")
        shapes = [array.shape for array in self.tensors]
        if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
            listing = ", ".join(str(list(shape)) for shape in shapes)
            raise ShapeError(
                f"TensorDataset: shapes {listing} need equal first axes: one entry an example",
                hint=_trimmed(shapes),
            )

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> Batch:
        return tuple(array[index] for array in self.tensors)

    def __getitems__(self, index: Index) -> Batch:
        """Return the samples at an index array: one copy an array."""
        return tuple(array.take(index, axis=0) for array in self.tensors)


def _trimmed(shapes: list[tuple[int, ...]]) -> str:
    if any(not shape for shape in shapes):
        return "TensorDataset(inputs, targets), each with the examples along axis 0"
    least = min(shape[0] for shape in shapes)
    return f"see which examples lack a target; x[:{least}] keeps the first {least}"


class Subset:
    """Some samples of a dataset, in a given order.

    Args:
        dataset: Any dataset.
        indices: Which of its samples.

    Raises:
        DTypeError: The indices are no integers.

    Example:
        >>> Subset(TensorDataset(np.array([10, 20, 30])), [2, 0])[0][0].item()
        30
    """

    def __init__(self, dataset: Dataset, indices: ArrayLike) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices)
        if not self.indices.size:
            self.indices = self.indices.astype(np.int64)
        if self.indices.ndim != 1 or self.indices.dtype.kind not in "iu":
            raise DTypeError(
                f"Subset: indices are {self.indices.dtype} {list(self.indices.shape)}, "
                "expected integers [M]"
            )
        self._read = batch_reader(dataset)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        chosen = self.indices[index]
        return self._read(chosen) if np.ndim(chosen) else self.dataset[int(chosen)]

    def __getitems__(self, index: Index) -> Batch:
        """Return the samples at an index array."""
        return self._read(self.indices[index])


def batch_reader(dataset: Dataset) -> Callable[[Index], Batch]:
    """Return the function that makes a batch of an index array, the quickest that there is.

    Raises:
        ArgumentError: It is no dataset: no length, or no samples by number.
    """
    if hasattr(dataset, "__array__"):
        return TensorDataset(np.asarray(dataset)).__getitems__
    if not isinstance(dataset, Dataset) or isinstance(dataset, dict):
        raise ArgumentError(
            f"DataLoader: {type(dataset).__name__} is no dataset: "
            "it needs __len__ and __getitem__ by number",
            hint="TensorDataset(inputs, targets) for arrays",
        )
    many = getattr(dataset, "__getitems__", None)
    if many is None:
        return lambda index: _collate([dataset[i] for i in index.tolist()], index)

    def read(index: Index) -> Batch:
        found = many(index)
        return _collate(found, index) if isinstance(found, list) else cast("Batch", found)

    return read


def _collate(samples: list[Any], index: Index) -> Batch:
    """Stack samples: tuples field by field, single values into a tuple of one."""
    rows = [sample if isinstance(sample, tuple | list) else (sample,) for sample in samples]
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        listing = " and of ".join(map(str, lengths))
        raise ShapeError(f"DataLoader: samples of {listing} fields cannot be in one batch")
    return tuple(
        _stack([row[field] for row in rows], field, index) for field in range(len(rows[0]))
    )


def _stack(values: list[Any], field: int, index: Index) -> Array:
    arrays = [np.asarray(value) for value in values]
    first = arrays[0]
    for array, i in zip(arrays, index.tolist(), strict=True):
        if array.shape != first.shape:
            raise ShapeError(
                f"DataLoader: field {field} of sample {i} has shape {list(array.shape)}, that of "
                f"sample {index[0]} {list(first.shape)}",
                hint="bring all samples to one shape, or use batch_size=1",
            )
    if first.dtype == object:
        raise ChainruleError(
            f"DataLoader: field {field} of sample {index[0]} is {type(values[0]).__name__}, "
            "expected an array or a number"
        )
    stacked: Array = np.stack(arrays)
    # A Python float stands for the library's default type, not for NumPy's.
    return stacked.astype(np.float32) if isinstance(values[0], float) else stacked
