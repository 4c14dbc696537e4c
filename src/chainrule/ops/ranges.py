"""Ranges and grids: tensors made from positions of their elements.

Takes: numbers, or a tensor of matrices. Gives: sequences, identity matrices, triangles, grids.
The one idea: compare or combine the indices that `arange` gives.
"""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.core.device import as_device
from chainrule.core.dtype import DTypeLike, as_dtype, float32, float64
from chainrule.core.errors import ArgumentError, DTypeError
from chainrule.core.shape import expect, normalize_shape
from chainrule.graph.conversion import call
from chainrule.graph.op import composite, public
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.ops.creation import arange, leaf_if
from chainrule.ops.elementwise import Operand


def _linspace_samples() -> Iterable[Sample]:
    return [
        *(sample(start=0.0, stop=1.0, num=5), sample(start=3.0, stop=-2.0, num=4, endpoint=False)),
        *(sample(start=0.1, stop=0.7, num=1), sample(start=0.0, stop=1.0, num=0)),
        sample(start=-1e8, stop=1e8 + 1, num=33, dtype=float64),
    ]


@composite(_linspace_samples, differentiable=False)
def linspace(
    start: float,
    stop: float,
    num: int,
    *,
    endpoint: bool = True,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return ``num`` equally spaced numbers from start to stop, both exact.

    Args:
        start: First number.
        stop: Last number (or, without ``endpoint``, the one after it).
        num: How many.
        endpoint: Whether stop is included.
        dtype: A floating type (default: float32).
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.

    Raises:
        ArgumentError: ``num`` is negative.
        DTypeError: The dtype is not floating.

    Example:
        >>> import chainrule
        >>> chainrule.linspace(0, 1, 5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    as_device(device)
    target = float32 if dtype is None else as_dtype(dtype)
    if not target.is_floating:
        raise DTypeError(
            f"linspace: got dtype {target.name}, expected a floating type",
            hint="chainrule.arange gives integers",
        )
    if num < 0:
        raise ArgumentError(f"linspace: num is {num}, expected 0 or more")
    start, stop = float(start), float(stop)  # 0-d tensors would compute in their own dtype
    # Without the endpoint: the same numbers as with one more, but for the last.
    count = num if endpoint else num + 1
    step = (stop - start) / max(count - 1, 1)
    # From both ends inwards, in float64, so that neither end is off by a rounding error.
    upper = count // 2 if count > 1 else 0
    index = arange(num, dtype=float64)
    made = index * step + start
    if upper:
        made = call("where", index < count - upper, made, stop - (count - 1 - index) * step)
    return leaf_if(call("astype", made, target), requires_grad)


def _eye_samples() -> Iterable[Sample]:
    return [
        *(sample(n_rows=3), sample(n_rows=2, n_cols=4, k=1), sample(n_rows=4, n_cols=2, k=-1)),
        sample(n_rows=0, n_cols=3),
    ]


@composite(_eye_samples, differentiable=False)
def eye(
    n_rows: int,
    n_cols: int | None = None,
    *,
    k: int = 0,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return a matrix with ones on a diagonal and zeros elsewhere.

    Args:
        n_rows: Number of rows.
        n_cols: Number of columns (default: as many as rows).
        k: Which diagonal: 0 the main one, positive ones above, negative ones below.
        dtype: Type of the elements (default: float32).
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.

    Example:
        >>> import chainrule
        >>> chainrule.eye(2).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    as_device(device)
    rows, columns = normalize_shape("eye", (n_rows, n_rows if n_cols is None else n_cols))
    target = float32 if dtype is None else as_dtype(dtype)
    on_diagonal = arange(rows).reshape(rows, 1) + k == arange(columns)
    return leaf_if(call("astype", on_diagonal, target), requires_grad)


def _triangle_samples() -> Iterable[Sample]:
    return [
        *(sample((3, 3)), sample((2, 3, 4), k=1), sample((4, 2), k=-1), sample((0, 3))),
        sample((2, 3), k=7),
    ]


@composite(_triangle_samples)
def tril(x: Operand, diagonal: int = 0, *, k: int | None = None) -> Tensor:
    """Return matrices with zeros above a diagonal: the lower triangle.

    Args:
        x: A tensor of matrices, [..., rows, columns].
        diagonal: The last diagonal kept: 0 the main one, positive ones above, negative below.
        k: The array API's name for ``diagonal``.

    Raises:
        ShapeError: x has fewer than two axes.

    Example:
        >>> import chainrule
        >>> chainrule.tril(chainrule.ones(2, 2)).tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """
    made = as_tensor(x)
    return call("where", _offset("tril", made) <= (diagonal if k is None else k), made, 0)


@composite(_triangle_samples)
def triu(x: Operand, diagonal: int = 0, *, k: int | None = None) -> Tensor:
    """Return matrices with zeros below a diagonal: the upper triangle; see `tril`."""
    made = as_tensor(x)
    return call("where", _offset("triu", made) >= (diagonal if k is None else k), made, 0)


def _offset(name: str, x: Tensor) -> Tensor:
    """Return column - row for each element of a matrix."""
    expect(x.ndim >= 2, "{}: at least two axes are needed, got {}", name, x.spec)
    rows, columns = x.shape[-2:]
    return arange(columns) - arange(rows).reshape(rows, 1)


@public
def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Return the coordinates of a grid, one tensor for each 1-d tensor of positions.

    Args:
        arrays: Positions along each axis; a 0-d tensor is one position.
        indexing: ``"ij"``: axis i of the results belongs to array i. ``"xy"`` (the array API's
            default; PyTorch's is "ij"): the first two axes are exchanged, as in images.

    Raises:
        ArgumentError: ``indexing`` is neither.
        ShapeError: An array has more than one axis.

    Example:
        >>> import chainrule
        >>> y, x = chainrule.meshgrid(chainrule.arange(2), chainrule.arange(3), indexing="ij")
        >>> y.tolist()
        [[0, 0, 0], [1, 1, 1]]
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: indexing is {indexing!r}, expected 'xy' or 'ij'")
    for position, array in enumerate(arrays):
        expect(array.ndim <= 1, "meshgrid: array {} is {}, expected 1-d", position, array.spec)
    arrays = tuple(array.reshape(-1) for array in arrays)
    axes = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        axes[0], axes[1] = 1, 0
    shape = [0] * len(arrays)
    for axis, array in zip(axes, arrays, strict=True):
        shape[axis] = array.shape[0]
    made = []
    for axis, array in zip(axes, arrays, strict=True):
        ones_around = [1] * len(arrays)
        ones_around[axis] = array.shape[0]
        made.append(array.reshape(ones_around).expand(shape))
    return tuple(made)
