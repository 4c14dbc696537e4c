"""The standard's extension for linear algebra: `chainrule.array_api.linalg`.

Takes: matrices, or stacks of them in the last two axes. Gives: what `chainrule.linalg` gives.
The one idea: only signatures differ. eig and eigvals are left out: their results are complex, and
tensors are real.
"""

from __future__ import annotations

from chainrule.core.dtype import DType, uint64
from chainrule.core.shape import Axes
from chainrule.graph.tensor import Tensor
from chainrule.ops import linalg_functions, linalg_norms, pieces, statistics
from chainrule.ops.axes import matrix_transpose, unsqueeze
from chainrule.ops.contraction import matmul, outer, tensordot, vecdot
from chainrule.ops.linalg_functions import (
    Eigen,
    Orthogonal,
    SignLog,
    Singular,
    cholesky,
    det,
    inv,
    matrix_power,
    slogdet,
    svdvals,
)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return the product of vectors in space that is perpendicular to both."""
    return linalg_norms.cross(x1, x2, dim=axis)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """Return a diagonal of each matrix; see `chainrule.diagonal`."""
    return pieces.diagonal(x, offset, -2, -1)


def eigh(x: Tensor, /) -> Eigen:
    """Return eigenvalues and eigenvectors of symmetric matrices; see `chainrule.linalg.eigh`."""
    return linalg_functions.eigh(x)


def eigvalsh(x: Tensor, /) -> Tensor:
    """Return the eigenvalues of symmetric matrices; see `chainrule.linalg.eigvalsh`."""
    return linalg_functions.eigvalsh(x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: float | str | None = "fro") -> Tensor:
    """Return a norm of each matrix; see `chainrule.linalg.matrix_norm`."""
    return linalg_norms.matrix_norm(x, "fro" if ord is None else ord, keepdim=keepdims)


def matrix_rank(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """Return how many singular values are not 0; see `chainrule.linalg.matrix_rank`."""
    return linalg_norms.matrix_rank(x, rtol=rtol)


def pinv(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """Return the pseudoinverse of each matrix; see `chainrule.linalg.pinv`."""
    return linalg_functions.pinv(x, rtol=rtol)


def qr(x: Tensor, /, *, mode: str = "reduced") -> Orthogonal:
    """Return an orthogonal and an upper triangular factor; see `chainrule.linalg.qr`."""
    return linalg_functions.qr(x, mode)


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return the X for which x1 X = x2; only a 1-d x2 is a vector.

    See `chainrule.linalg.solve`, which with PyTorch takes stacks of vectors, too.
    """
    if x2.ndim == 1:
        return linalg_functions.solve(x1, unsqueeze(x2, -1))[..., 0]
    if x2.ndim > 0 and x2.ndim < x1.ndim:
        x2 = x2.reshape(*(1,) * (x1.ndim - x2.ndim), *x2.shape)  # a matrix, not a stack of vectors
    return linalg_functions.solve(x1, x2)


def svd(x: Tensor, /, *, full_matrices: bool = True) -> Singular:
    """Return the singular value decomposition; see `chainrule.linalg.svd`."""
    return linalg_functions.svd(x, full_matrices)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """Return the sum of a diagonal, see `chainrule.linalg.trace`; of unsigned integers uint64."""
    wide = uint64 if dtype is None and x.dtype.kind == "uint" else dtype
    return linalg_norms.trace(x, offset=offset, dtype=wide)


def vector_norm(
    x: Tensor, /, *, axis: Axes = None, keepdims: bool = False, ord: float = 2.0
) -> Tensor:
    """Return the length of vectors along axes; see `chainrule.vector_norm`."""
    return statistics.vector_norm(x, ord, axis, keepdims=keepdims)


__all__ = [
    "SignLog",
    "cholesky",
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
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]
