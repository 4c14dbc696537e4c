"""The functions of linear algebra under PyTorch's names: `chainrule.linalg`.

Takes: matrices, or stacks of them. Gives: factors, solutions, norms, products, with gradients.
The one idea: names, argument order and defaults are those of torch.linalg. Functions whose
results are complex (eig, eigvals) are left out: tensors are real.

Next room: compiler, which turns recorded operations into programs.
"""

from __future__ import annotations

from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.shape import Axes, expect, normalize_axes
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.ops.contraction import matmul
from chainrule.ops.contraction import vecdot as _vecdot
from chainrule.ops.linalg_functions import (
    cholesky,
    det,
    eigh,
    eigvalsh,
    inv,
    matrix_power,
    pinv,
    qr,
    slogdet,
    solve,
    solve_triangular,
    svd,
    svdvals,
)
from chainrule.ops.linalg_norms import (
    Order,
    cross,
    matrix_norm,
    matrix_rank,
    multi_dot,
    tensorinv,
    tensorsolve,
    trace,
    vander,
)
from chainrule.ops.linalg_norms import matrix_cond as cond
from chainrule.ops.pieces import diagonal as _diagonal
from chainrule.ops.statistics import vector_norm as _vector_norm


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return a diagonal of each matrix; `chainrule.diagonal` of the last two axes."""
    return _diagonal(A, offset, dim1, dim2)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Return the sum of products along an axis; see `chainrule.vecdot`."""
    return _vecdot(x, y, axis=dim)


def vector_norm(
    x: Tensor,
    ord: float = 2.0,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Return the length of vectors along axes; see `chainrule.vector_norm`.

    Args:
        x: Any tensor.
        ord: Which norm.
        dim: The axes (default: all, as one vector).
        keepdim: Keep them, with size 1.
        dtype: Type to which elements are converted first.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.vector_norm(chainrule.tensor([3.0, 4.0])).item()
        5.0
    """
    value = as_tensor(x) if dtype is None else as_tensor(x).to(as_dtype(dtype))
    return _vector_norm(value, ord, dim, keepdims=keepdim)


def norm(
    A: Tensor,
    ord: Order | None = None,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Return the norm of vectors or of matrices.

    Args:
        A: Any tensor.
        ord: Which norm: see `vector_norm` and `matrix_norm`. None: the root of the sum of squares.
        dim: One axis for vectors, two for matrices. None: of all elements if ``ord`` is None
            too, else of the one vector or matrix that A must be.
        keepdim: Keep the axes, with size 1.
        dtype: Type to which elements are converted first.

    Raises:
        ShapeError: The axes do not fit the norm.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.norm(chainrule.tensor([[3.0, 0.0], [0.0, -4.0]]), 1).item()
        4.0
    """
    a = as_tensor(A)
    if ord is None:
        return vector_norm(a, 2.0, dim, keepdim, dtype=dtype)
    axes = normalize_axes("norm", dim, a.ndim)
    if len(axes) == 1 and not isinstance(ord, str):
        return vector_norm(a, ord, dim, keepdim, dtype=dtype)
    expect(
        len(axes) == 2,
        "norm: ord {} of {} along axes {} needs one axis for vectors or two for matrices",
        *(ord, a.spec, list(axes)),
    )
    pair = axes if dim is None or isinstance(dim, int) else tuple(dim)
    return matrix_norm(a, ord, pair, keepdim, dtype=dtype)


__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vander",
    "vecdot",
    "vector_norm",
]
