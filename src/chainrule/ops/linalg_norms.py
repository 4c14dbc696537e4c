"""Sizes and products of matrices: norms, rank, trace, condition, products of many.

Takes: matrices, or stacks of them in two axes. Gives: tensors with gradients.
The one idea: sizes are sums of elements or of singular values; products are `matmul`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from chainrule.core.dtype import DTypeLike, as_dtype, int64
from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.core.shape import broadcast_shapes, expect, normalize_axis
from chainrule.graph.conversion import call
from chainrule.graph.op import composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, as_tensor, common
from chainrule.ops.contraction import matmul
from chainrule.ops.linalg import SQUARE, STACK, expect_matrix
from chainrule.ops.linalg_factors import TALL, WIDE
from chainrule.ops.linalg_functions import inv, solve, svdvals, tolerances
from chainrule.ops.pieces import diagonal
from chainrule.ops.statistics import vector_norm

Order = float | str


def _norm_samples() -> Iterable[Sample]:
    away = In((3, 4), low=0.2, high=2.0, distinct=True)
    return [
        *(sample(TALL), sample(STACK, ord="fro", dim=(0, 2)), sample(WIDE, ord="nuc")),
        *(sample(away, ord=1), sample(away, ord=-1), sample(away, ord=math.inf, keepdim=True)),
        *(sample(away, ord=-math.inf), sample(SQUARE, ord=2), sample(STACK, ord=-2)),
    ]


@composite(_norm_samples)
def matrix_norm(
    A: Tensor,
    ord: Order = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Return a norm of each matrix.

    Args:
        A: [..., M, N].
        ord: ``"fro"``: the root of the sum of squares. ``"nuc"``: the sum of singular values; 2:
            the largest of them, -2: the smallest. 1: the largest sum of sizes in a column, -1:
            the smallest; inf and -inf: the same of rows.
        dim: The axes of rows and of columns.
        keepdim: Keep them, with size 1.
        dtype: Type to which elements are converted first.

    Raises:
        ArgumentError: The norm is unknown.
        ShapeError: There are no such axes, or nothing to choose a largest element from.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> a = chainrule.tensor([[3.0, 0.0], [0.0, -4.0]])
        >>> chainrule.linalg.matrix_norm(a).item(), chainrule.linalg.matrix_norm(a, "nuc").item()
        (5.0, 7.0)
    """
    a = as_tensor(A) if dtype is None else as_tensor(A).to(as_dtype(dtype))
    expect_matrix("matrix_norm", a.spec)
    expect(len(dim) == 2, "matrix_norm: dim is {}, expected two axes", tuple(dim))
    row, column = (normalize_axis("matrix_norm", axis, a.ndim) for axis in dim)
    expect(row != column, "matrix_norm: dim names axis {} twice", row)
    if ord == "fro":
        return vector_norm(a, 2.0, (row, column), keepdims=keepdim)
    if ord in ("nuc", 2, -2):
        values = svdvals(call("moveaxis", a, (row, column), (-2, -1)))
        chosen = {"nuc": "sum", 2: "max", -2: "min"}[ord]
        result = call(chosen, values, -1)
        return _kept(result, a, row, column) if keepdim else result
    if ord not in (1, -1, math.inf, -math.inf):
        known = ("fro", "nuc", "1", "-1", "2", "-2", "inf", "-inf")
        raise unknown_word("norm of a matrix", str(ord), known)
    added = row if ord in (1, -1) else column
    sums = a.abs().sum(added, keepdims=True)
    chosen = "max" if ord in (1, math.inf) else "min"
    result = call(chosen, sums, (row, column), keepdims=True)
    return result if keepdim else call("squeeze", result, (row, column))


def _kept(result: Tensor, a: Tensor, row: int, column: int) -> Tensor:
    shape = [1 if axis in (row, column) else size for axis, size in enumerate(a.shape)]
    return result.reshape(shape)


def _cond_samples() -> Iterable[Sample]:
    return [sample(SQUARE), sample(TALL, p=-2), sample(SQUARE, p=1), sample(STACK, p="fro")]


@composite(_cond_samples)
def matrix_cond(A: Tensor, p: Order | None = None) -> Tensor:
    """Return how much a matrix can magnify relative errors: ‖A‖ ‖A⁻¹‖.

    Args:
        A: [..., M, N]; square unless p is None, 2 or -2.
        p: The norm, see `matrix_norm`; None is 2, the ratio of extreme singular values.

    Returns:
        [...]; inf for a singular matrix.

    Raises:
        ShapeError: The matrices are not square.
        ArgumentError: The norm is unknown.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.cond(chainrule.tensor([[4.0, 0.0], [0.0, 2.0]])).item()
        2.0
    """
    a = as_tensor(A)
    if p is None or p in (2, -2):
        values = svdvals(a)
        first, last = values[..., 0], values[..., -1]
        return last / first if p == -2 else first / last
    return matrix_norm(a, p) * matrix_norm(inv(a), p)


def _rank_samples() -> Iterable[Sample]:
    poor = In(values=[[1.0, 2.0], [2.0, 4.0]])
    return [sample(poor), sample(TALL), sample(STACK, atol=1.5), sample(SQUARE, rtol=0.75)]


@composite(_rank_samples, differentiable=False)
def matrix_rank(
    A: Tensor,
    *,
    atol: float | Tensor | None = None,
    rtol: float | Tensor | None = None,
    hermitian: bool = False,
) -> Tensor:
    """Return how many singular values of each matrix are not 0, up to rounding.

    Args:
        A: [..., M, N].
        atol: Singular values up to this count as 0; see `pinv`.
        rtol: So do those up to this multiple of the largest.
        hermitian: For PyTorch's callers; the result is the same.

    Returns:
        int64, [...].

    Example:
        >>> import chainrule
        >>> chainrule.linalg.matrix_rank(chainrule.tensor([[1.0, 2.0], [2.0, 4.0]])).item()
        1
    """
    a = as_tensor(A).detach()
    expect_matrix("matrix_rank", a.spec)
    absolute, relative = tolerances(a, atol, rtol)
    values = svdvals(a)
    if values.shape[-1] == 0:
        return call("zeros", a.shape[:-2], dtype=int64)
    limit = call("maximum", absolute, relative * values[..., 0])
    return call("count_nonzero", values > call("unsqueeze", limit, -1), -1)


def _trace_samples() -> Iterable[Sample]:
    return [sample((3, 4)), sample((2, 3, 3), offset=1), sample((3, 2), offset=-1), sample((0, 2))]


@composite(_trace_samples)
def trace(x: Tensor, *, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """Return the sum of a diagonal of each matrix.

    Args:
        x: [..., M, N].
        offset: 0 for the main diagonal, k > 0 for the k-th above it, k < 0 below.
        dtype: Type to which elements are converted before they are added.

    Raises:
        ShapeError: There are fewer than two axes.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.trace(chainrule.tensor([[1, 2], [3, 4]])).item()
        5
    """
    x = as_tensor(x)
    expect(x.ndim >= 2, "trace: got {}, expected a matrix [..., M, N]", x.spec)
    return call("sum", diagonal(x, offset, -2, -1), -1, dtype=dtype)


def _cross_samples() -> Iterable[Sample]:
    return [sample((4, 3), (4, 3)), sample((2, 3), (3,)), sample((3, 2), (3, 2), dim=0)]


@composite(_cross_samples)
def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Return the product of vectors in space that is perpendicular to both.

    Args:
        input: Vectors, of size 3 along the axis.
        other: Vectors; other axes broadcast.
        dim: The axis of coordinates.

    Raises:
        ShapeError: The axis does not have size 3, or shapes do not broadcast.

    Example:
        >>> import chainrule
        >>> x, y = chainrule.tensor([1.0, 0.0, 0.0]), chainrule.tensor([0.0, 1.0, 0.0])
        >>> chainrule.linalg.cross(x, y).tolist()
        [0.0, 0.0, 1.0]
    """
    x, y = common(as_tensor(input), as_tensor(other))
    broadcast_shapes("cross", x.shape, y.shape)
    for operand in (x, y):
        axis = normalize_axis("cross", dim, operand.ndim)
        expect(
            operand.shape[axis] == 3,
            "cross: {} has size {} along axis {}, expected 3",
            *(operand.spec, operand.shape[axis], dim),
        )

    def turned(t: Tensor, places: int) -> Tensor:
        return call("roll", t, -places, dim)

    return turned(x, 1) * turned(y, 2) - turned(x, 2) * turned(y, 1)


@public
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """Return the product of several matrices, in the order that needs the fewest operations.

    Args:
        tensors: At least two matrices; the first and the last may be vectors.

    Raises:
        ArgumentError: There are fewer than two.
        ShapeError: Inner sizes differ, or one has other axes.

    Example:
        >>> import chainrule
        >>> a, b, c = chainrule.ones(1, 9), chainrule.ones(9, 2), chainrule.ones(2, 3)
        >>> chainrule.linalg.multi_dot([a, b, c]).tolist()
        [[18.0, 18.0, 18.0]]
    """
    given = [as_tensor(t) for t in tensors]
    if len(given) < 2:
        raise ArgumentError(f"multi_dot: got {len(given)} tensors, expected two or more")
    matrices = list(given)
    if given[0].ndim == 1:
        matrices[0] = call("unsqueeze", given[0], 0)
    if given[-1].ndim == 1:
        matrices[-1] = call("unsqueeze", given[-1], 1)
    for position, matrix in enumerate(matrices):
        expect(
            matrix.ndim == 2,
            "multi_dot: tensor {} is {}, expected a matrix",
            *(position, given[position].spec),
        )
    sizes = [matrix.shape[0] for matrix in matrices] + [matrices[-1].shape[1]]
    product = _ordered(matrices, _best_splits(sizes), 0, len(matrices) - 1)
    columns = () if given[-1].ndim == 1 else product.shape[1:]
    return product.reshape((*(() if given[0].ndim == 1 else product.shape[:1]), *columns))


def _best_splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Return for each run of matrices where to part it; matrix i is sizes[i] by sizes[i + 1]."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split = {}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            outer = sizes[first] * sizes[last + 1]
            cost[first, last], split[first, last] = min(
                (cost[first, k] + cost[k + 1, last] + outer * sizes[k + 1], k)
                for k in range(first, last)
            )
    return split


def _ordered(
    matrices: Sequence[Tensor], split: dict[tuple[int, int], int], first: int, last: int
) -> Tensor:
    if first == last:
        return matrices[first]
    k = split[first, last]
    return matmul(_ordered(matrices, split, first, k), _ordered(matrices, split, k + 1, last))


def _vander_samples() -> Iterable[Sample]:
    return [sample((3,)), sample((2, 3), N=4), sample((3,), N=2)]


@composite(_vander_samples)
def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Return the powers 0 to N - 1 of each element, in a new last axis.

    Args:
        x: [..., M].
        N: How many (default: M).

    Raises:
        ShapeError: x is 0-d.
        ArgumentError: N is not positive.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.vander(chainrule.tensor([2.0, 3.0]), N=3).tolist()
        [[1.0, 2.0, 4.0], [1.0, 3.0, 9.0]]
    """
    x = as_tensor(x)
    expect(x.ndim >= 1, "vander: got {}, expected [..., M]", x.spec)
    count = x.shape[-1] if N is None else N
    if count < 1:
        raise ArgumentError(f"vander: N is {count}, expected 1 or more")
    powers = [call("ones_like", x)]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    return call("stack", powers, -1)


@public
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """Return the inverse of a tensor read as a matrix of its first ``ind`` axes and the rest.

    Raises:
        ShapeError: The products of both groups of sizes differ.
        ArgumentError: ``ind`` is not positive, or the matrix is singular.
    """
    a = as_tensor(A)
    if ind < 1:
        raise ArgumentError(f"tensorinv: ind is {ind}, expected 1 or more")
    rows, columns = a.shape[:ind], a.shape[ind:]
    size = math.prod(rows)
    expect(
        size == math.prod(columns),
        "tensorinv: {} read as a matrix of {} rows and {} columns is not square",
        *(a.spec, size, math.prod(columns)),
    )
    return inv(a.reshape(size, size)).reshape(*columns, *rows)


@public
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """Return the X for which tensordot(A, X) over all axes of X gives B.

    Args:
        A: Its first axes are those of B, its others those of X.
        B: The right side.
        dims: Axes of A that are moved to its end first.

    Raises:
        ShapeError: A read as a matrix is not square, or B does not fit.
        ArgumentError: That matrix is singular.
    """
    a, b = common(as_tensor(A), as_tensor(B))
    if dims is not None:
        a = call("moveaxis", a, tuple(dims), tuple(range(a.ndim - len(dims), a.ndim)))
    wanted = a.shape[b.ndim :]
    size = math.prod(wanted)
    expect(
        size == b.spec.size and a.spec.size == size * size,
        "tensorsolve: A {} and B {}: A needs as many elements as B for each element of X {}",
        *(a.spec, b.spec, list(wanted)),
    )
    return solve(a.reshape(size, size), b.reshape(size)).reshape(wanted)
