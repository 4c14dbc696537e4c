"""Linear algebra on square matrices: solving, Cholesky's factor, determinants.

Takes: matrices, or stacks of them in the last two axes. Gives: what LAPACK finds, through NumPy.
The one idea: NumPy's LAPACK is the definition; compiled programs call it too, and every
derivative is again written with these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError, DTypeError
from chainrule.core.shape import Spec, broadcast_shapes, expect
from chainrule.graph.conversion import call
from chainrule.graph.op import OUTPUT, Cost, Op, Saves, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ops.ranges import eye

R = TypeVar("R")
Triangle = Literal["", "lower", "upper"]
_TRANSPOSED: dict[Triangle, Triangle] = {"": "", "lower": "upper", "upper": "lower"}

# Well-conditioned matrices, so that 16-bit inputs still have results worth comparing.
SQUARE = In(values=[[2.0, 0.5, -0.25], [0.25, -1.5, 0.5], [-0.5, 0.25, 1.0]])
STACK = In(values=[[[2.0, 0.5], [-0.25, 1.5]], [[-1.0, 0.25], [0.5, 3.0]]])
NONE = In((0, 0))


def expect_matrix(op: str, x: Spec, *, square: bool = False) -> None:
    """Raise unless a tensor holds matrices of real numbers.

    Args:
        op: The function, for messages.
        x: What came.
        square: Whether they must have as many rows as columns.

    Raises:
        DTypeError: The elements are not floating.
        ShapeError: There are fewer than two axes, or the matrices are not square.
    """
    if not x.dtype.is_floating:
        raise DTypeError(
            f"{op}: got {x}, expected floating-point matrices", hint="convert them: x.double()"
        )
    expect(len(x.shape) >= 2, "{}: got {}, expected a matrix [..., M, N]", op, x)
    if square:
        expect(
            x.shape[-1] == x.shape[-2], "{}: got {}, expected square matrices [..., N, N]", op, x
        )


def each_matrix(op: str, fault: str, function: Callable[[Array], R], x: Array) -> R:
    """Return a function of a stack of matrices, or say which of them it fails for.

    Args:
        op: The function, for messages.
        fault: What is wrong with a matrix for which LAPACK gives up.
        function: Takes the stack, or one matrix of it.
        x: The stack, [..., M, N].

    Raises:
        ArgumentError: It fails.
    """
    try:
        return function(x)
    except np.linalg.LinAlgError:
        for place in np.ndindex(x.shape[:-2]):
            try:
                function(x[place])
            except np.linalg.LinAlgError:
                which = f" {list(place)} of the stack" if place else ""
                raise ArgumentError(f"{op}: the matrix{which} {fault}") from None
        raise


def expect_finite(op: str, x: Array) -> None:
    """Raise `ArgumentError` if an element is NaN or infinite.

    LAPACK may not come back then, and what it gives depends on the library.
    """
    if not np.isfinite(x).all():
        bad = np.argwhere(~np.isfinite(x))[0].tolist()
        raise ArgumentError(
            f"{op}: element {bad} is {x[tuple(bad)]}, expected finite numbers",
            hint="find where it arises: x.isfinite().all()",
        )


def symmetric_part(x: Array) -> Array:
    """Return (x + xᵀ) / 2."""
    half: Array = (x + np.swapaxes(x, -1, -2)) / x.dtype.type(2)
    return half


@register
class Solve(Op):
    """The X for which A X = B; of a triangular A only that triangle is read."""

    name = "solve"
    saves = Saves(inputs=(0,), output=True)

    def infer(self, a: Spec, b: Spec, *, triangle: Triangle = "", of: str = "solve") -> Spec:
        expect_matrix(of, a, square=True)
        expect_matrix(of, b)
        expect(
            a.shape[-1] == b.shape[-2],
            "{}: A {} and B {} need as many rows, got {} != {}",
            *(of, a, b, a.shape[-1], b.shape[-2]),
        )
        return Spec((*broadcast_shapes(of, a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), a.dtype)

    def eval(self, a: Array, b: Array, *, triangle: Triangle = "", of: str = "solve") -> Array:
        if triangle:
            return _substituted(of, np.tril(a) if triangle == "lower" else np.triu(a), b, triangle)
        expect_finite(of, a)
        try:
            return np.linalg.solve(a, b)
        except np.linalg.LinAlgError:
            # np.linalg.inv fails for the same matrices, and takes them one at a time.
            each_matrix(of, "is singular: it has no inverse", np.linalg.inv, a)
            raise

    def vjp(
        self,
        grad: Tensor,
        output: Tensor,
        a: Tensor,
        b: Tensor,
        *,
        triangle: Triangle = "",
        of: str = "solve",
    ) -> tuple[Tensor | None, Tensor]:
        to_b = apply(SOLVE, a.mT, grad, triangle=_TRANSPOSED[triangle], of=of)
        if a.node is None:
            return None, to_b
        to_a = -(to_b @ output.mT)
        if triangle:
            to_a = to_a.tril() if triangle == "lower" else to_a.triu()
        return to_a, to_b

    def cost(self, *inputs: Spec, **attrs: Any) -> Cost:
        output = self.infer(*inputs)
        n = inputs[0].shape[-1]
        stack = math.prod(output.shape[:-2])
        moved = output.nbytes + sum(spec.nbytes for spec in inputs)
        factors = 0 if attrs.get("triangle") else 2 * n**3 // 3
        return Cost(stack * (factors + 2 * n * n * output.shape[-1]), moved)

    def samples(self) -> Iterable[Sample]:
        return [
            sample(SQUARE, (3, 2)),
            sample(STACK, (2, 1), name="one matrix of right sides"),
            sample(In(values=[[1.5, 0.5], [0.25, 1.0]]), (2, 2, 1), name="one matrix of equations"),
            sample(SQUARE, (3, 2), triangle="lower"),
            sample(STACK, (2, 2, 1), triangle="upper"),
            sample(NONE, (0, 2), name="empty"),
        ]


def _substituted(of: str, a: Array, b: Array, triangle: Triangle) -> Array:
    """Return the solution of triangular equations, row after row."""
    expect_finite(of, a)
    diagonal = np.diagonal(a, 0, -2, -1)
    if not diagonal.all():
        *place, row = np.argwhere(diagonal == 0)[0].tolist()
        which = f" {place} of the stack" if place else ""
        raise ArgumentError(f"{of}: the matrix{which} is singular: element [{row}, {row}] is 0")
    x = np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), a.dtype)
    size = a.shape[-1]
    for row in range(size) if triangle == "lower" else reversed(range(size)):
        known = slice(0, row) if triangle == "lower" else slice(row + 1, size)
        done = np.matmul(a[..., row : row + 1, known], x[..., known, :])[..., 0, :]
        x[..., row, :] = (b[..., row, :] - done) / diagonal[..., row, None]
    return x


@register
class Cholesky(Op):
    """The lower triangular L for which L Lᵀ is the symmetric part of A."""

    name = "cholesky"
    saves = OUTPUT

    def infer(self, a: Spec) -> Spec:
        expect_matrix("cholesky", a, square=True)
        return a

    def eval(self, a: Array) -> Array:
        expect_finite("cholesky", a)
        fault = "is not positive definite"
        return each_matrix("cholesky", fault, np.linalg.cholesky, symmetric_part(a))

    def vjp(self, grad: Tensor, output: Tensor, a: Tensor) -> tuple[Tensor]:
        # Murray 2016: L⁻ᵀ Φ(Lᵀ gL) L⁻¹, Φ the lower triangle with half of the diagonal.
        inner = (output.mT @ grad.tril()).tril()
        inner = inner - inner * eye(a.shape[-1], dtype=a.dtype) * 0.5
        half = apply(SOLVE, output.mT, inner, triangle="upper", of="cholesky")
        whole = apply(SOLVE, output.mT, half.mT, triangle="upper", of="cholesky")
        return ((whole + whole.mT) * 0.5,)

    def samples(self) -> Iterable[Sample]:
        positive = [[2.0, 0.5, -0.25], [0.5, 1.5, 0.5], [-0.25, 0.5, 1.0]]
        return [
            sample(In(values=positive)),
            sample(In(values=[[[1.0, 0.25], [0.25, 2.0]], [[3.0, 0.5], [0.5, 1.5]]])),
            sample(In(values=[[2.0, 0.25], [0.75, 1.0]]), name="not quite symmetric"),
            sample(NONE, name="empty"),
        ]


@register
class Det(Op):
    """The determinant of each matrix."""

    name = "det"
    saves = Saves(inputs=(0,))

    def infer(self, a: Spec) -> Spec:
        expect_matrix("det", a, square=True)
        return Spec(a.shape[:-2], a.dtype)

    def eval(self, a: Array) -> Array:
        expect_finite("det", a)
        return np.asarray(np.linalg.det(a))

    def vjp(self, grad: Tensor, output: Tensor, a: Tensor) -> tuple[Tensor]:
        return (grad.reshape(*grad.shape, 1, 1) * apply(_COFACTORS, a),)

    def samples(self) -> Iterable[Sample]:
        return [
            sample(SQUARE),
            sample(STACK),
            sample(In(values=[[1.5]])),
            sample(NONE, name="empty"),
        ]


@register
class Cofactors(Op):
    """The cofactor of each element, det(A) A⁻ᵀ: what the determinant changes by with it."""

    name = "cofactors"
    saves = Saves(inputs=(0,), output=True)

    def infer(self, a: Spec) -> Spec:
        expect_matrix("cofactors", a, square=True)
        return a

    def eval(self, a: Array) -> Array:
        expect_finite("det", a)
        # By singular values, since a singular matrix has cofactors but no inverse.
        u, s, vh = np.linalg.svd(a)
        others = np.ones_like(s)
        for i in range(s.shape[-1]):
            others[..., i] = np.prod(np.delete(s, i, axis=-1), axis=-1)
        sign = np.linalg.det(u) * np.linalg.det(vh)
        return np.asarray(np.matmul(u * (others * np.round(sign)[..., None])[..., None, :], vh))

    def vjp(self, grad: Tensor, output: Tensor, a: Tensor) -> tuple[Tensor]:
        inverse = apply(SOLVE, a.mT, eye(a.shape[-1], dtype=a.dtype), of="det")
        total = (grad * inverse).sum((-2, -1), keepdims=True)
        return (total * output - inverse @ grad.mT @ output,)

    def samples(self) -> Iterable[Sample]:
        return [sample(SQUARE), sample(STACK), sample(NONE, name="empty")]


@register
class SLogDet(Op):
    """Sign and logarithm of the size of each determinant, side by side in the last axis."""

    name = "slogdet"
    saves = Saves(inputs=(0,))

    def infer(self, a: Spec) -> Spec:
        expect_matrix("slogdet", a, square=True)
        return Spec((*a.shape[:-2], 2), a.dtype)

    def eval(self, a: Array) -> Array:
        expect_finite("slogdet", a)
        return np.stack(np.linalg.slogdet(a), axis=-1)

    def vjp(self, grad: Tensor, output: Tensor, a: Tensor) -> tuple[Tensor]:
        inverse = apply(SOLVE, a.mT, eye(a.shape[-1], dtype=a.dtype), of="slogdet")
        return (call("unsqueeze", grad[..., 1:], -1) * inverse,)

    def samples(self) -> Iterable[Sample]:
        return [sample(SQUARE), sample(STACK), sample(NONE, name="empty")]


SOLVE, _COFACTORS = Solve(), Cofactors()
