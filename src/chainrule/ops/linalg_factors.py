"""Factors of matrices: eigenvectors, singular vectors, an orthogonal and a triangular factor.

Takes: matrices, or stacks of them in the last two axes. Gives: several factors of each.
The one idea: an op has one result, so the factors of a matrix lie one after another in it and
`parts` takes them apart; the derivatives of all of them arrive together in the same way.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError, GradientError
from chainrule.core.shape import Shape, Spec, broadcast_shapes
from chainrule.graph.conversion import call
from chainrule.graph.op import OUTPUT, Op, Saves, register
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, apply
from chainrule.ops.linalg import (
    NONE,
    SOLVE,
    SQUARE,
    STACK,
    each_matrix,
    expect_finite,
    expect_matrix,
    symmetric_part,
)
from chainrule.ops.ranges import eye

TALL = In(values=[[1.5, 0.25], [-0.5, 1.0], [0.25, 0.75]])
WIDE = In(values=[[1.5, 0.25, -0.5], [-0.5, 1.0, 0.25]])


def parts(packed: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
    """Return the factors that lie one after another in the last axis of a tensor."""
    batch = packed.shape[:-1]
    found, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        found.append(packed[..., start : start + size].reshape(*batch, *shape))
        start += size
    return found


class Factors(Op):
    """An op whose result holds several matrices for each matrix."""

    saves = OUTPUT

    @abstractmethod
    def shapes(self, rows: int, columns: int, **attrs: Any) -> tuple[Shape, ...]:
        """Return the shapes of the factors of one matrix."""

    @abstractmethod
    def factors(self, x: Array, **attrs: Any) -> tuple[Array, ...]:
        """Return the factors of each matrix of a stack."""

    def infer(self, x: Spec, **attrs: Any) -> Spec:
        expect_matrix(self.name, x, square=self.name == "eigh")
        shapes = self.shapes(*x.shape[-2:], **attrs)
        return Spec((*x.shape[:-2], sum(map(math.prod, shapes))), x.dtype)

    def eval(self, x: Array, **attrs: Any) -> Array:
        expect_finite(self.name, x)
        made = each_matrix(
            self.name, "has no factors that LAPACK can find", lambda a: self.factors(a, **attrs), x
        )
        batch = x.shape[:-2]
        shapes = self.shapes(*x.shape[-2:], **attrs)
        flat = [
            np.reshape(factor, (*batch, math.prod(shape)))
            for factor, shape in zip(made, shapes, strict=True)
        ]
        return np.concatenate(flat, axis=-1)

    def apart(self, packed: Tensor, x: Tensor, **attrs: Any) -> list[Tensor]:
        """Return the factors of x from a result of this op."""
        return parts(packed, self.shapes(*x.shape[-2:], **attrs))


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return a quotient that is 0 where both are 0.

    Equal eigenvalues have no eigenvectors of their own: the derivative exists only for
    functions that do not depend on them, whose part here is 0.
    """
    nothing = (numerator == 0) & (denominator == 0)
    return call("where", nothing, 0.0, numerator / call("where", nothing, 1.0, denominator))


def _differences(values: Tensor) -> Tensor:
    """Return values[j] - values[i] at [i, j], 1 on the diagonal."""
    gaps = call("unsqueeze", values, -2) - call("unsqueeze", values, -1)
    return gaps + eye(values.shape[-1], dtype=values.dtype)


@register
class EigH(Factors):
    """Eigenvalues in ascending order and eigenvectors of the symmetric part of each matrix."""

    name = "eigh"

    def shapes(self, rows: int, columns: int, **attrs: Any) -> tuple[Shape, ...]:
        return (rows,), (rows, rows)

    def factors(self, x: Array, **attrs: Any) -> tuple[Array, ...]:
        return tuple(np.linalg.eigh(symmetric_part(x)))

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
        values, vectors = self.apart(output, x)
        to_values, to_vectors = self.apart(grad, x)
        inner = _quotient(vectors.mT @ to_vectors, _differences(values))
        identity = eye(values.shape[-1], dtype=values.dtype)
        inner = inner * (1 - identity) + identity * call("unsqueeze", to_values, -1)
        whole = vectors @ inner @ vectors.mT
        return ((whole + whole.mT) * 0.5,)

    def samples(self) -> Iterable[Sample]:
        symmetric = [[2.0, 0.5, -0.25], [0.5, -1.5, 0.5], [-0.25, 0.5, 0.25]]
        return [
            sample(In(values=symmetric)),
            sample(In(values=[[[2.0, 0.25], [0.25, 0.5]], [[-1.0, 0.5], [0.5, 0.25]]])),
            sample(In(values=[[2.0, 0.25], [0.75, 0.5]]), name="not quite symmetric"),
            sample(NONE, name="empty"),
        ]


@register
class SVD(Factors):
    """Left singular vectors, singular values in descending order, right singular vectors."""

    name = "svd"

    def shapes(self, rows: int, columns: int, **attrs: Any) -> tuple[Shape, ...]:
        least = min(rows, columns)
        if attrs["full_matrices"]:
            return (rows, rows), (least,), (columns, columns)
        return (rows, least), (least,), (least, columns)

    def factors(self, x: Array, **attrs: Any) -> tuple[Array, ...]:
        return tuple(np.linalg.svd(x, full_matrices=attrs["full_matrices"]))

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, *, full_matrices: bool) -> tuple[Tensor]:
        """Return the gradient (Townsend 2016); that of vectors without a value is undefined."""
        least = min(x.shape[-2:])
        u, values, vh = self.apart(output, x, full_matrices=full_matrices)
        to_u, to_values, to_vh = self.apart(grad, x, full_matrices=full_matrices)
        u, to_u = u[..., :least], to_u[..., :least]
        vh, to_vh = vh[..., :least, :], to_vh[..., :least, :]
        column, row = call("unsqueeze", values, -1), call("unsqueeze", values, -2)
        gaps = _differences(values * values)
        of_u, of_v = u.mT @ to_u, vh @ to_vh.mT
        inner = _quotient(of_u - of_u.mT, gaps) * row + column * _quotient(of_v - of_v.mT, gaps)
        identity = eye(least, dtype=values.dtype)
        whole = u @ (inner + identity * call("unsqueeze", to_values, -1)) @ vh
        if x.shape[-2] > least:
            whole = whole + _quotient(to_u - u @ of_u, row.expand(to_u.shape)) @ vh
        if x.shape[-1] > least:
            rest = to_vh - of_v.mT @ vh
            whole = whole + u @ _quotient(rest, column.expand(to_vh.shape))
        return (whole,)

    def samples(self) -> Iterable[Sample]:
        return [
            sample(SQUARE, full_matrices=False),
            sample(TALL, full_matrices=False, name="tall"),
            sample(WIDE, full_matrices=False, name="wide"),
            sample(STACK, full_matrices=True),
            sample(In((0, 3)), full_matrices=False, name="no rows"),
        ]


@register
class QR(Factors):
    """An orthogonal and an upper triangular factor."""

    name = "qr"

    def shapes(self, rows: int, columns: int, **attrs: Any) -> tuple[Shape, ...]:
        inner = rows if attrs["mode"] == "complete" else min(rows, columns)
        return (rows, inner), (inner, columns)

    def factors(self, x: Array, **attrs: Any) -> tuple[Array, ...]:
        return tuple(np.linalg.qr(x, mode=attrs["mode"]))

    def vjp(self, grad: Tensor, output: Tensor, x: Tensor, *, mode: str) -> tuple[Tensor]:
        rows, columns = x.shape[-2:]
        if mode == "complete" and rows > columns:
            raise GradientError(
                f"qr: the complete factors of {x.spec} have no derivative: the last "
                f"{rows - columns} columns of Q are not determined",
                hint='mode="reduced"',
            )
        q, r = self.apart(output, x, mode=mode)
        to_q, to_r = self.apart(grad, x, mode=mode)
        to_r = to_r.triu()
        least = min(rows, columns)
        # Columns beyond the square ones: R₂ = Qᵀ A₂.
        right, to_right = r[..., least:], to_r[..., least:]
        to_q = to_q + q @ right @ to_right.mT
        left, to_left = r[..., :least], to_r[..., :least]
        inner = (to_left @ left.mT - q.mT @ to_q).triu()
        inner = inner + inner.triu(1).mT
        whole = apply(SOLVE, left, (to_q + q @ inner).mT, triangle="upper", of="qr").mT
        if columns > least:
            whole = call("concat", [whole, q @ to_right], -1)
        return (whole,)

    def samples(self) -> Iterable[Sample]:
        return [
            sample(SQUARE, mode="reduced"),
            sample(TALL, mode="reduced", name="tall"),
            sample(WIDE, mode="reduced", name="wide"),
            sample(STACK, mode="complete"),
            sample(In((2, 0)), mode="reduced", name="no columns"),
        ]


@register
class PInv(Op):
    """The pseudoinverse; singular values up to max(atol, rtol times the largest) count as 0."""

    name = "pinv"
    saves = Saves(inputs=(0,), output=True)

    def infer(self, x: Spec, atol: Spec, rtol: Spec) -> Spec:
        expect_matrix("pinv", x)
        *batch, rows, columns = x.shape
        if broadcast_shapes("pinv", tuple(batch), atol.shape, rtol.shape) != tuple(batch):
            raise ArgumentError(f"pinv: tolerances {atol} and {rtol} for matrices {x}")
        return Spec((*batch, columns, rows), x.dtype)

    def eval(self, x: Array, atol: Array, rtol: Array) -> Array:
        expect_finite("pinv", x)
        if x.size == 0:
            return np.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
        u, values, vh = each_matrix(
            "pinv",
            "has no factors that LAPACK can find",
            lambda a: np.linalg.svd(a, full_matrices=False),
            x,
        )
        limit = np.maximum(atol, rtol * values[..., 0])[..., None]
        inverse = np.divide(1, values, where=values > limit, out=np.zeros_like(values))
        product = np.matmul(np.swapaxes(vh, -1, -2) * inverse[..., None, :], np.swapaxes(u, -1, -2))
        return np.asarray(product)

    def vjp(
        self, grad: Tensor, output: Tensor, x: Tensor, atol: Tensor, rtol: Tensor
    ) -> tuple[Tensor, None, None]:
        """Return the gradient (Golub and Pereyra 1973), which holds where the rank is constant."""
        p, g = output, grad.mT
        if x.shape[-2] <= x.shape[-1]:
            inner = g @ p
            outer = inner @ p.mT
            whole = outer - (x @ p) @ outer + (p.mT @ p) @ (g - inner @ x) - (p @ inner).mT
        else:
            inner = p @ g
            outer = p.mT @ inner
            whole = (g - x @ inner) @ p @ p.mT + outer - (outer @ p) @ x - (inner @ p).mT
        return whole, None, None

    def samples(self) -> Iterable[Sample]:
        zero = In(values=0.0)
        return [
            sample(SQUARE, zero, zero),
            sample(TALL, zero, zero, name="tall"),
            sample(WIDE, zero, In(values=0.01), name="wide"),
            sample(STACK, In(values=[0.0, 0.125]), zero, name="a limit for each"),
            sample(In((0, 3)), zero, zero, name="no rows"),
        ]


EIGH, SVD_OP, QR_OP, PINV = EigH(), SVD(), QR(), PInv()


def factored(op: Factors, x: Tensor, **attrs: Any) -> list[Tensor]:
    """Return the factors of each matrix."""
    return op.apart(apply(op, x, **attrs), x, **attrs)
