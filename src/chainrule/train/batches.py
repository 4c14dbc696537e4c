"""Batches: what a loader yields, checked and made tensors.

Takes: any iterable of pairs. Gives: batches of tensors with their number of examples.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from chainrule.core.errors import ArgumentError, ShapeError, StateError
from chainrule.graph.tensor import Tensor, as_tensor, make

__all__ = [
    *("NOTHING", "Batch", "batches", "call_model", "input_batches", "length_of", "no_batches"),
    "set_epoch",
]

# Examples in a batch when `predict` is given an array instead of a loader.
PREDICT_BATCH = 256


class Batch(NamedTuple):
    """A batch: inputs (a tensor, or a tuple of them), targets, and how many examples they are."""

    inputs: Any
    targets: Any
    examples: int


NOTHING = Batch(None, None, 0)


def batches(loader: Iterable[Any], name: str) -> Generator[Batch, None, None]:
    """Yield the batches of a loader.

    Args:
        loader: Yields pairs (inputs, targets) of tensors or arrays; several inputs as a tuple.
        name: What the user calls it, for the text of errors.

    Raises:
        ArgumentError: It is not iterable, or does not yield pairs.
        ShapeError: Inputs and targets are not equally many.
    """
    iterator = _iterator(loader, name)
    try:
        for number, item in enumerate(iterator, 1):
            yield _batch(item, name, number)
    finally:
        _close(iterator)


def input_batches(loader: Iterable[Any] | Tensor | np.ndarray[Any, Any]) -> Iterator[Any]:
    """Yield the inputs of a loader, with or without targets, or slices of an array."""
    if isinstance(loader, Tensor | np.ndarray):
        data = as_tensor(loader)
        for start in range(0, len(data), PREDICT_BATCH):
            yield make(data.array[start : start + PREDICT_BATCH], data.dtype)
        return
    iterator = _iterator(loader, "loader")
    try:
        for item in iterator:
            yield _tensors(item[0] if isinstance(item, tuple | list) else item)
    finally:
        _close(iterator)


def call_model(model: Any, inputs: Any) -> Any:
    """Return the model's output; a tuple of inputs becomes several arguments."""
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell a loader which epoch comes, so that its order depends on nothing else."""
    if hasattr(loader, "set_epoch"):
        loader.set_epoch(epoch)


def length_of(loader: Any) -> int | None:
    """Return the number of batches in an epoch, where the loader knows it."""
    try:
        return len(loader)
    except TypeError:
        return None


def no_batches(loader: Any, name: str, epoch: int) -> StateError:
    """Build the error for a loader that yielded nothing."""
    dataset = getattr(loader, "dataset", None)
    if isinstance(loader, Iterator):
        return StateError(
            f"{name}: gave no batches in epoch {epoch}: an iterator can be run through only once",
            hint="pass a DataLoader or a list of batches",
        )
    size = length_of(dataset)
    if size and getattr(loader, "drop_last", False):
        return StateError(
            f"{name}: gave no batches: the dataset has {size:,} examples, a batch "
            f"{getattr(loader, 'batch_size', '?')}, and drop_last leaves out what is less",
            hint="choose a smaller batch_size, or drop_last=False",
        )
    what = f"its dataset {type(dataset).__name__} is empty" if size == 0 else "it is empty"
    return StateError(f"{name}: gave no batches: {what}", hint="check what the dataset was made of")


def _iterator(loader: Any, name: str) -> Iterator[Any]:
    try:
        return iter(loader)
    except TypeError:
        if hasattr(loader, "__iter__"):
            raise
        raise ArgumentError(
            f"{name}: {type(loader).__name__} is no loader: it cannot be iterated over",
            hint="DataLoader(TensorDataset(inputs, targets), batch_size=64, shuffle=True)",
        ) from None


def _batch(item: Any, name: str, number: int) -> Batch:
    if not isinstance(item, tuple | list) or len(item) != 2:
        if isinstance(item, tuple | list):
            what = f"{len(item)} values"
        else:
            what = str(getattr(item, "spec", type(item).__name__))
        three = isinstance(item, tuple | list) and len(item) > 2
        raise ArgumentError(
            f"{name}: batch {number} is {what}, expected a pair (inputs, targets)",
            hint="several inputs go into a tuple: yield (a, b), targets"
            if three
            else "DataLoader(TensorDataset(inputs, targets), batch_size=64)",
        )
    inputs, targets = _tensors(item[0]), _tensors(item[1])
    first = inputs[0] if isinstance(inputs, tuple) else inputs
    examples = len(first) if isinstance(first, Tensor) and first.ndim else 1
    if not examples:
        raise StateError(f"{name}: batch {number} has no examples")
    if isinstance(targets, Tensor) and targets.ndim and len(targets) != examples:
        raise ShapeError(
            f"{name}: batch {number} has {examples} inputs {first.spec} "
            f"but {len(targets)} targets {targets.spec}",
            hint="the first axis of both runs over the examples",
        )
    return Batch(inputs, targets, examples)


def _tensors(value: Any) -> Any:
    """Return arrays and numbers as tensors, also within tuples, lists and dictionaries."""
    if isinstance(value, tuple):
        return tuple(_tensors(item) for item in value)
    if isinstance(value, dict):
        return {key: _tensors(item) for key, item in value.items()}
    return as_tensor(value)


def _close(iterator: Any) -> None:
    """End an iterator's threads, if it has any, without waiting for the garbage collector."""
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
