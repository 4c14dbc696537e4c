"""Metric: what a measure of quality is, streamed over batches.

Takes: outputs and targets, batch by batch. Gives: one value for the whole set.
The one idea: keep sums, not means: the value over the set is the same however it was cut into
batches, and a metric stopped in the middle goes on from its saved sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from chainrule.core.dtype import Array, to_compute
from chainrule.core.errors import DataError, ShapeError
from chainrule.graph.tensor import Tensor

__all__ = ["Metric", "StreamedMetric", "elements_of", "same_shape"]


@runtime_checkable
class Metric(Protocol):
    """Anything that can be updated batch by batch and asked for its value.

    `compute` may return a number, which is written to the log, or anything else (a matrix, a
    table), which only `evaluate` returns. An attribute ``higher_is_better`` (bool) says in which
    direction the trainer looks for the best model; without it, lower is better.
    """

    def update(self, output: Any, target: Any, /) -> None:
        """Take in one batch."""

    def compute(self) -> Any:
        """Return the value over all batches since `reset`."""

    def reset(self) -> None:
        """Forget all batches."""

    def state_dict(self) -> dict[str, Any]:
        """Return what has been summed up, as numbers and arrays."""

    def load_state_dict(self, state: Any, /) -> None:
        """Go on from what `state_dict` returned."""


class StreamedMetric(ABC):
    """A metric whose whole memory is a dictionary of float64 or int64 arrays.

    Attributes:
        name: Its name in logs.
        higher_is_better: Whether larger values are better.
    """

    name: str
    higher_is_better: ClassVar[bool] = True

    def __init__(self) -> None:
        self._sums: dict[str, Array] = {}

    def update(self, output: Any, target: Any) -> None:
        """Take in one batch of outputs and targets (tensors or arrays).

        Raises:
            ShapeError: Their shapes do not belong together.
        """
        found = self.summarise(elements_of(output), elements_of(target))
        for key, value in ((k, np.asarray(v)) for k, v in found.items()):
            known = self._sums.get(key)
            if known is not None and known.shape != value.shape:
                raise ShapeError(
                    f"{self.name}: this batch has {list(value.shape)} columns, "
                    f"those before had {list(known.shape)}"
                )
            self._sums[key] = value if known is None else known + value

    @abstractmethod
    def summarise(self, output: Array, target: Array) -> dict[str, Array]:
        """Return the sums over one batch."""

    @abstractmethod
    def compute(self) -> Any:
        """Return the value over all batches since `reset`; NaN if there were none."""

    def reset(self) -> None:
        """Forget all batches."""
        self._sums = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {key: value.copy() for key, value in self._sums.items()}

    def load_state_dict(self, state: Any) -> None:
        """Go on from saved sums.

        Raises:
            DataError: They are no dictionary of arrays of numbers.
        """
        if not isinstance(state, dict):
            raise DataError(f"{self.name}: its saved state is {type(state).__name__}, no object")
        sums = {str(key): np.array(value) for key, value in state.items()}
        if any(array.dtype.kind not in "if" for array in sums.values()):
            raise DataError(f"{self.name}: its saved state holds something else than numbers")
        self._sums = sums

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def elements_of(value: Any) -> Array:
    """Return the elements of a tensor (16-bit floats as float32) or anything array-like."""
    if isinstance(value, Tensor):
        return to_compute(value.array, value.dtype)
    return np.asarray(value)


def same_shape(name: str, output: Array, target: Array) -> tuple[Array, Array]:
    """Return outputs and targets as float64 [N, D]; [N] and [N, 1] are the same.

    Raises:
        ShapeError: They hold different numbers of values. (Left to broadcasting, [N, 1] against
            [N] would compare every output with every target.)
    """
    if _without_last_one(output.shape) != _without_last_one(target.shape):
        raise ShapeError(
            f"{name}: outputs {list(output.shape)} and targets {list(target.shape)} "
            "need equal shapes"
        )
    rows = len(target) if target.ndim else 1
    columns = target.size // rows if rows else 1
    shape = (rows, columns)
    return output.astype(np.float64).reshape(shape), target.astype(np.float64).reshape(shape)


def _without_last_one(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape
