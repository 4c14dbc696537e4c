"""Linear algebra: equations, inverses, determinants and factors of matrices.

Takes: matrices, or stacks of them in the last two axes. Gives: tensors with gradients.
The one idea: names and meanings are those of torch.linalg; NumPy's LAPACK does the work.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.op import OPS, composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply, as_tensor, common
from chainrule.ops.linalg import SOLVE, SQUARE, STACK, Triangle, expect_matrix
from chainrule.ops.linalg_factors import EIGH, PINV, QR_OP, SVD_OP, TALL, WIDE, factored
from chainrule.ops.ranges import eye


class Eigen(NamedTuple):
    """Eigenvalues in ascending order and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class Singular(NamedTuple):
    """A = U diag(S) Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class Orthogonal(NamedTuple):
    """A = Q R."""

    Q: Tensor
    R: Tensor


class SignLog(NamedTuple):
    """det A = sign · exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


@public
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """Return the triangular L with positive diagonal for which L Lᵀ = A.

    Args:
        A: Symmetric positive definite, [..., N, N]. Of a matrix that is not quite symmetric the
            symmetric part (A + Aᵀ) / 2 is taken.
        upper: Return Lᵀ instead.

    Returns:
        [..., N, N]. Its gradient is symmetric (Murray 2016).

    Raises:
        ArgumentError: A matrix is not positive definite, or holds NaN or infinity.
        ShapeError: The matrices are not square.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> a = chainrule.tensor([[4.0, 2.0], [2.0, 5.0]])
        >>> chainrule.linalg.cholesky(a).tolist()
        [[2.0, 0.0], [1.0, 2.0]]
    """
    lower = apply(OPS["cholesky"], as_tensor(A))
    return lower.mT if upper else lower


@public
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """Return the X for which A X = B.

    Args:
        A: Equations, [..., N, N].
        B: Right sides as columns, [..., N, K]; or one vector for each matrix, [..., N].
        left: False solves X A = B, with right sides as rows.

    Returns:
        Of the shape of B, broadcast with A's stack. Solving is more accurate and faster than
        multiplying by `inv`.

    Raises:
        ArgumentError: A matrix is singular, or holds NaN or infinity.
        ShapeError: Shapes do not fit.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> a = chainrule.tensor([[2.0, 0.0], [0.0, 4.0]])
        >>> chainrule.linalg.solve(a, chainrule.tensor([2.0, 2.0])).tolist()
        [1.0, 0.5]
    """
    a, b = common(as_tensor(A), as_tensor(B))
    expect_matrix("solve", a.spec, square=True)
    vector = b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])
    columns = call("unsqueeze", b, -1) if vector else b
    if left or vector:
        result = apply(SOLVE, a if left else a.mT, columns)
    else:
        expect_matrix("solve", b.spec)
        result = apply(SOLVE, a.mT, columns.mT).mT
    return call("squeeze", result, -1) if vector else result


def _triangular_samples() -> Iterable[Sample]:
    right = In((3, 2))
    return [
        sample(SQUARE, right, upper=True),
        sample(SQUARE, right, upper=False, unitriangular=True),
        sample(SQUARE, In((2, 3)), upper=False, left=False, name="from the right"),
    ]


@composite(_triangular_samples)
def solve_triangular(
    A: Tensor,
    B: Tensor,
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Tensor:
    """Return the X for which A X = B, reading one triangle of A.

    Args:
        A: [..., N, N].
        B: [..., N, K], or [..., K, N] from the right.
        upper: Which triangle is read.
        left: False solves X A = B.
        unitriangular: Take the diagonal for ones, whatever stands there.

    Raises:
        ArgumentError: An element of the diagonal is 0.
        ShapeError: Shapes do not fit.
        DTypeError: The elements are not floating.
    """
    a, b = common(as_tensor(A), as_tensor(B))
    expect_matrix("solve_triangular", a.spec, square=True)
    expect_matrix("solve_triangular", b.spec)
    if unitriangular:
        identity = eye(a.shape[-1], dtype=a.dtype)
        a = (a.triu(1) if upper else a.tril(-1)) + identity
    else:
        a = a.triu() if upper else a.tril()
    if left:
        return apply(SOLVE, a, b, triangle="upper" if upper else "lower", of="solve_triangular")
    turned: Triangle = "lower" if upper else "upper"
    return apply(SOLVE, a.mT, b.mT, triangle=turned, of="solve_triangular").mT


def _square_samples() -> Iterable[Sample]:
    return [sample(SQUARE), sample(STACK), sample((0, 0), name="empty")]


@composite(_square_samples)
def inv(A: Tensor) -> Tensor:
    """Return the inverse of each matrix: A⁻¹ A = 1.

    Args:
        A: [..., N, N].

    Raises:
        ArgumentError: A matrix is singular, or holds NaN or infinity.
        ShapeError: The matrices are not square.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.inv(chainrule.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
        [[0.5, 0.0], [0.0, 0.25]]
    """
    a = as_tensor(A)
    expect_matrix("inv", a.spec, square=True)
    return apply(SOLVE, a, eye(a.shape[-1], dtype=a.dtype), of="inv")


@public
def det(A: Tensor) -> Tensor:
    """Return the determinant of each matrix.

    Its gradient, the matrix of cofactors, is right for singular matrices, too.

    Args:
        A: [..., N, N].

    Returns:
        [...].

    Raises:
        ArgumentError: An element is NaN or infinite.
        ShapeError: The matrices are not square.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.det(chainrule.tensor([[2.0, 1.0], [0.0, 4.0]])).item()
        8.0
    """
    return apply(OPS["det"], as_tensor(A))


@public
def slogdet(A: Tensor) -> SignLog:
    """Return sign and logarithm of the size of each determinant, where `det` would overflow.

    Args:
        A: [..., N, N].

    Returns:
        ``sign`` and ``logabsdet``, each [...]; 0 and -inf for a singular matrix.

    Raises:
        ArgumentError: An element is NaN or infinite.
        ShapeError: The matrices are not square.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> sign, log = chainrule.linalg.slogdet(chainrule.tensor([[-1.0, 0.0], [0.0, 1.0]]))
        >>> sign.item(), log.item()
        (-1.0, 0.0)
    """
    found = apply(OPS["slogdet"], as_tensor(A))
    return SignLog(found[..., 0].detach(), found[..., 1])


@public
def eigh(A: Tensor, UPLO: str = "L") -> Eigen:
    """Return eigenvalues and eigenvectors of symmetric matrices: A = V diag(w) Vᵀ.

    Args:
        A: Symmetric, [..., N, N]; of a matrix that is not quite symmetric the symmetric part.
        UPLO: ``L`` or ``U``, for PyTorch's callers; both triangles are read, since they are equal.

    Returns:
        ``eigenvalues`` [..., N] in ascending order, ``eigenvectors`` [..., N, N] as columns. A
        column's sign is arbitrary, so only functions that do not depend on it have a meaningful
        gradient; where eigenvalues are equal the same holds of their vectors.

    Raises:
        ArgumentError: An element is NaN or infinite, or UPLO is unknown.
        ShapeError: The matrices are not square.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> w, v = chainrule.linalg.eigh(chainrule.tensor([[2.0, 0.0], [0.0, 1.0]]))
        >>> w.tolist()
        [1.0, 2.0]
    """
    if UPLO not in ("L", "U"):
        raise unknown_word("UPLO", UPLO, ("L", "U"))
    values, vectors = factored(EIGH, as_tensor(A))
    return Eigen(values, vectors)


def _symmetric_samples() -> Iterable[Sample]:
    return [
        sample(In(values=[[2.0, 0.5, -0.25], [0.5, -1.5, 0.5], [-0.25, 0.5, 0.25]])),
        sample(In(values=[[[2.0, 0.25], [0.25, 0.5]], [[-1.0, 0.5], [0.5, 0.25]]])),
        sample((0, 0), name="empty"),
    ]


@composite(_symmetric_samples)
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Return the eigenvalues of symmetric matrices in ascending order; see `eigh`.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.eigvalsh(chainrule.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
        [1.0, 2.0]
    """
    return eigh(A, UPLO).eigenvalues


@public
def svd(A: Tensor, full_matrices: bool = True) -> Singular:
    """Return the singular value decomposition A = U diag(S) Vh.

    Args:
        A: [..., M, N].
        full_matrices: Make U and Vh square; else [..., M, K] and [..., K, N], K = min(M, N).

    Returns:
        ``U``, ``S`` [..., K] in descending order, ``Vh``. The sign of a pair of vectors is
        arbitrary, so only functions that do not depend on it have a meaningful gradient; vectors
        beyond the K first have none.

    Raises:
        ArgumentError: An element is NaN or infinite.
        ShapeError: There are fewer than two axes.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.svd(chainrule.tensor([[3.0, 0.0], [0.0, -4.0]])).S.tolist()
        [4.0, 3.0]
    """
    return Singular(*factored(SVD_OP, as_tensor(A), full_matrices=full_matrices))


def _matrix_samples() -> Iterable[Sample]:
    return [sample(SQUARE), sample(TALL), sample(WIDE), sample(STACK), sample((0, 3), name="empty")]


@composite(_matrix_samples)
def svdvals(A: Tensor) -> Tensor:
    """Return the singular values of each matrix in descending order; see `svd`.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.svdvals(chainrule.tensor([[3.0, 0.0], [0.0, -4.0]])).tolist()
        [4.0, 3.0]
    """
    return svd(A, full_matrices=False).S


@public
def qr(A: Tensor, mode: str = "reduced") -> Orthogonal:
    """Return an orthogonal Q and an upper triangular R with A = Q R.

    Args:
        A: [..., M, N].
        mode: ``reduced``: Q is [..., M, K], R [..., K, N] with K = min(M, N). ``complete``: Q is
            [..., M, M], R [..., M, N], with a gradient only if M ≤ N. ``r``: Q is empty.

    Raises:
        ArgumentError: The mode is unknown, or an element is NaN or infinite.
        ShapeError: There are fewer than two axes.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> q, r = chainrule.linalg.qr(chainrule.tensor([[3.0, 1.0], [4.0, 2.0]]))
        >>> q.shape, r.shape
        ((2, 2), (2, 2))
    """
    if mode not in ("reduced", "complete", "r"):
        raise unknown_word("mode", mode, ("reduced", "complete", "r"))
    found = factored(QR_OP, as_tensor(A), mode="reduced" if mode == "r" else mode)
    q, r = found
    return Orthogonal(call("zeros", 0, dtype=r.dtype) if mode == "r" else q, r)


@public
def pinv(
    A: Tensor,
    *,
    atol: float | Tensor | None = None,
    rtol: float | Tensor | None = None,
    hermitian: bool = False,
) -> Tensor:
    """Return the Moore-Penrose pseudoinverse of each matrix.

    Args:
        A: [..., M, N].
        atol: Singular values up to this count as 0 (default: 0).
        rtol: So do those up to this multiple of the largest; by default max(M, N) times the
            dtype's epsilon if no ``atol`` is given, else 0. One number, or one for each matrix.
        hermitian: For PyTorch's callers; symmetric matrices need no care of their own here.

    Returns:
        [..., N, M]. Its gradient holds where the rank is constant.

    Raises:
        ArgumentError: An element is NaN or infinite.
        ShapeError: There are fewer than two axes.
        DTypeError: The elements are not floating.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.pinv(chainrule.tensor([[2.0, 0.0], [0.0, 0.0]])).tolist()
        [[0.5, 0.0], [0.0, 0.0]]
    """
    a = as_tensor(A)
    expect_matrix("pinv", a.spec)
    return apply(PINV, a, *tolerances(a, atol, rtol))


def tolerances(
    a: Tensor, atol: float | Tensor | None, rtol: float | Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the bounds, absolute and relative, up to which singular values count as 0."""
    if rtol is None:
        epsilon = float(np.finfo(a.dtype.compute).eps)
        rtol = max(a.shape[-2:], default=0) * epsilon if atol is None else 0.0
    found = []
    for name, value in (("atol", 0.0 if atol is None else atol), ("rtol", rtol)):
        if isinstance(value, int | float) and not value >= 0:
            raise ArgumentError(f"linalg: {name} is {value}, expected 0 or more")
        found.append(as_tensor(value, a).detach().to(a.dtype))
    return found[0], found[1]


def _power_samples() -> Iterable[Sample]:
    return [
        *(sample(SQUARE, n=3), sample(STACK, n=2), sample(SQUARE, n=-2), sample(SQUARE, n=1)),
        sample((0, 0), n=2, name="empty"),
    ]


@composite(_power_samples)
def matrix_power(A: Tensor, n: int) -> Tensor:
    """Return the product of n copies of each matrix, by repeated squaring.

    Args:
        A: [..., N, N].
        n: How many; 0 gives ones on the diagonal, a negative number powers of the inverse.

    Raises:
        ArgumentError: n is negative and a matrix singular.
        ShapeError: The matrices are not square.

    Example:
        >>> import chainrule
        >>> chainrule.linalg.matrix_power(chainrule.tensor([[1.0, 1.0], [0.0, 1.0]]), 5).tolist()
        [[1.0, 5.0], [0.0, 1.0]]
    """
    a = as_tensor(A)
    expect(
        a.ndim >= 2 and a.shape[-1] == a.shape[-2],
        "matrix_power: got {}, expected square matrices [..., N, N]",
        a.spec,
    )
    if n < 0:
        return matrix_power(inv(a), -n)
    if n == 0:
        return call("expand", eye(a.shape[-1], dtype=a.dtype), a.shape)
    result: Tensor | None = None
    while n:
        if n % 2:
            result = a if result is None else a @ result
        n //= 2
        a = a @ a if n else a
    assert result is not None  # n was positive
    return result
