"""Sets: distinct elements of a tensor, and which elements are in another.

Takes: tensors. Gives: distinct elements in ascending order, where they stand, how often.
The one idea: NumPy's rules (array API 2025.12): each NaN is distinct, 0.0 and -0.0 are equal.

How many distinct elements there are depends on the elements: such functions have no shape rule,
so they are not for compiled functions, and no gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from chainrule.core.dtype import Array, int64, to_compute, to_storage
from chainrule.graph.op import composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, as_tensor, common, make
from chainrule.ops.gathering import take_along_axis
from chainrule.ops.sorting import searchsorted, sort


class UniqueAll(NamedTuple):
    """Distinct elements and all that is known of their places."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Distinct elements and how often each comes."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Distinct elements and which of them stands at each place."""

    values: Tensor
    inverse_indices: Tensor


@public
def unique_all(x: Tensor) -> UniqueAll:
    """Return the distinct elements of a tensor with their places and counts.

    Args:
        x: Any tensor.

    Returns:
        ``values`` in ascending order; ``indices`` of their first occurrence in the flattened
        tensor; ``inverse_indices`` of x's shape, which make x of the values; ``counts``.

    Example:
        >>> import chainrule
        >>> found = chainrule.array_api.unique_all(chainrule.tensor([3, 1, 3]))
        >>> found.values.tolist(), found.indices.tolist(), found.counts.tolist()
        ([1, 3], [1, 0], [1, 2])
    """
    x = as_tensor(x)
    found = np.unique_all(to_compute(x.array, x.dtype))
    values = make(to_storage(found.values, x.dtype), x.dtype)
    return UniqueAll(
        values,
        _whole(found.indices),
        _whole(found.inverse_indices.reshape(x.shape)),
        _whole(found.counts),
    )


def _whole(array: Array) -> Tensor:
    return make(array.astype(np.int64), int64)


@public
def unique_counts(x: Tensor) -> UniqueCounts:
    """Return the distinct elements of a tensor and how often each comes; see `unique_all`."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


@public
def unique_inverse(x: Tensor) -> UniqueInverse:
    """Return the distinct elements and which of them stands at each place; see `unique_all`."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


@public
def unique_values(x: Tensor) -> Tensor:
    """Return the distinct elements of a tensor in ascending order; see `unique_all`."""
    return unique_all(x).values


def _isin_samples() -> Iterable[Sample]:
    few = In(values=[1.0, -1.0, 3.0])
    some = In(values=[[1.0, 2.0], [3.0, -1.5]])
    return [
        *(sample(some, few), sample(some, few, invert=True)),
        sample(some, In((0,)), name="nothing"),
    ]


@composite(_isin_samples, differentiable=False)
def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Return for each element whether it is among others.

    Args:
        elements: A tensor or a number.
        test_elements: The others, of any shape.
        invert: Whether it is not among them.

    Returns:
        Booleans, of the shape of ``elements``. NaN is equal to nothing.

    Example:
        >>> import chainrule
        >>> chainrule.isin(chainrule.tensor([1, 2, 3]), chainrule.tensor([3, 1])).tolist()
        [True, False, True]
    """
    x, others = common(elements, test_elements)
    others = others.reshape(-1)
    if others.size == 0:
        found = x != x if x.dtype.kind != "float" else (x == x) & (x != x)
    else:
        others = sort(others)
        places = searchsorted(others, x).clip(0, others.shape[0] - 1)
        found = take_along_axis(others, places.reshape(-1)).reshape(x.shape) == x
    return ~found if invert else found
