"""Softmax: scores to probabilities along an axis.

Takes: any real numbers. Gives: positive numbers that sum to 1, or their logarithms.
The one idea: softmax does not change when a constant is added to all scores, so the largest one
is taken off first and nothing overflows (Blanchard, Higham & Higham 2021).
"""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.core.dtype import DTypeLike
from chainrule.core.errors import ArgumentError
from chainrule.core.shape import normalize_axis, one_axis
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import floating

__all__ = ["log_softmax", "shifted", "softmax"]


def _samples() -> Iterable[Sample]:
    return (
        sample((3, 4), axis=1),
        sample((2, 3, 2), dim=1),
        sample((4,), axis=-1),
        sample(In((2, 3), 1e4 - 1, 1e4 + 1), axis=0, name="large"),
        sample((3, 1), axis=1, name="one class"),
        sample((), axis=0, name="0-d"),
        sample((0, 3), axis=1, name="no rows"),
    )


@composite(_samples)
def softmax(
    x: Tensor,
    axis: int | None = None,
    *,
    dim: int | None = None,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Return e^x / sum(e^x) along an axis.

    Derivative of element i with respect to x_j: y_i ((i == j) - y_j). Range: from 0 to 1. It
    turns scores into probabilities; for a loss use `log_softmax` or `cross_entropy` of the scores.

    Args:
        x: Scores (logits), any shape.
        axis: The axis of the classes.
        dim: Another name for ``axis``.
        dtype: Type in which it is computed and returned (default: that of x).

    Returns:
        Probabilities of the same shape, which sum to 1 along the axis.

    Raises:
        ArgumentError: No axis was given.
        ShapeError: There is no such axis.

    Example:
        >>> import chainrule
        >>> chainrule.softmax(chainrule.tensor([0.0, 0.0]), axis=0).tolist()
        [0.5, 0.5]
    """
    along = _axis("softmax", x, axis, dim)
    powers = shifted(_cast(x, dtype), along).exp()
    return powers / _total(powers, along)


@composite(_samples)
def log_softmax(
    x: Tensor,
    axis: int | None = None,
    *,
    dim: int | None = None,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Return ln softmax(x) along an axis, without forming the softmax; see `softmax`.

    The logarithm of a probability too small for its type is still exact.
    """
    along = _axis("log_softmax", x, axis, dim)
    lowered = shifted(_cast(x, dtype), along)
    return lowered - _total(lowered.exp(), along).log()


def _cast(x: Tensor, dtype: DTypeLike | None) -> Tensor:
    return x if dtype is None else x.to(dtype)


def shifted(x: Tensor, axis: int) -> Tensor:
    """Return x minus its maximum along an axis, as floating-point numbers.

    The maximum is taken as a constant: what is computed from here on must not depend on it.
    """
    made = floating(x)
    if made.ndim == 0:
        return made - made.detach()
    if made.shape[axis] == 0:
        return made
    return made - made.detach().amax(axis, keepdims=True)


def _total(powers: Tensor, axis: int) -> Tensor:
    return powers.sum(axis, keepdims=True) if powers.ndim else powers


def _axis(op: str, x: Tensor, axis: int | None, dim: int | None) -> int:
    chosen = one_axis(op, axis, dim, None)
    if chosen is None:
        raise ArgumentError(
            f"{op}: the axis of the classes must be given, input {x.spec}",
            hint=f"{op}(x, dim=-1) for scores [N, K]",
        )
    return normalize_axis(op, chosen, max(x.ndim, 1))
