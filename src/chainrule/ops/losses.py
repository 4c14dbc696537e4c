"""Losses: how far predictions are from targets, as one number to make smaller.

Takes: predictions and targets. Gives: a 0-d tensor (or one loss for each element).
The one idea: shapes must agree exactly. What would silently broadcast to a wrong loss is the
commonest mistake here, so it is refused with the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.core.errors import ArgumentError, ShapeError, unknown_word
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced, require
from chainrule.ops.elementwise import floating

__all__ = [
    "binary_cross_entropy_with_logits",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "reduced",
    "smooth_l1_loss",
]

REDUCTIONS = ("mean", "sum", "none")


def reduced(op: str, losses: Tensor, reduction: str) -> Tensor:
    """Return the mean or the sum of all losses, or the losses as they are.

    Raises:
        ArgumentError: ``reduction`` is another word.
    """
    if reduction == "mean":
        return losses.mean()
    if reduction == "sum":
        return losses.sum()
    if reduction == "none":
        return losses
    raise unknown_word(f"reduction of {op}", reduction, REDUCTIONS)


def _pair(op: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return predictions and targets of one shape, targets in the type of the predictions."""
    expect_tensor(op, "input", input)
    expect_tensor(op, "target", target)
    if input.shape != target.shape:
        raise _shape_error(op, input, target)
    made = floating(input)
    return made, target if target.dtype is made.dtype else target.to(made.dtype)


def _shape_error(op: str, input: Tensor, target: Tensor) -> ShapeError:
    rule = f"{op}: input {input.spec} and target {target.spec} must have the same shape"
    try:
        together = np.broadcast_shapes(input.shape, target.shape)
    except ValueError:
        hint = ""
        if input.size == target.size:
            hint = f"target.reshape({', '.join(map(str, input.shape))})"
        return ShapeError(rule, hint=hint)
    if together not in (input.shape, target.shape):
        rule += f"; broadcast to {list(together)} they would compare every input with every target"
    hint = f"target.expand({', '.join(map(str, input.shape))})"
    if target.shape == (*input.shape, 1):
        hint = f"target.squeeze({target.ndim - 1})"
    elif input.shape == (*target.shape, 1):
        axis = input.ndim - 1
        hint = f"input.squeeze({axis}), or target.unsqueeze({axis})"
    elif input.size == target.size:
        hint = f"target.reshape({', '.join(map(str, input.shape))})"
    return ShapeError(rule, hint=hint)


def _samples(*kinks: float, **attrs: Any) -> Iterable[Sample]:
    """Return samples in which differences keep away from the kinks."""

    def inputs(*shape: int) -> tuple[In, In]:
        # Targets within ±0.05 of 0, so that the difference keeps clear of a kink.
        return In(shape, -3.0, 3.0, avoid=kinks), In(shape, -0.04, 0.04)

    return (
        sample(*inputs(3, 2), **attrs),
        sample(*inputs(4), reduction="sum", **attrs),
        sample(*inputs(2, 1, 3), reduction="none", **attrs),
        sample(*inputs(), name="0-d", **attrs),
        sample(*inputs(0, 2), reduction="sum", name="no examples", **attrs),
    )


@composite(_samples)
def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the mean squared error.

    Args:
        input: Predictions, any shape.
        target: What they should be, of the same shape; taken in the type of the input.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for a loss for each element.

    Returns:
        mean((input - target)^2), 0-d unless ``reduction="none"``.

    Raises:
        ShapeError: The shapes differ, even if they would broadcast.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.mse_loss(chainrule.tensor([1.0, 3.0]), chainrule.tensor([1.0, 1.0])).item()
        2.0
    """
    x, t = _pair("mse_loss", input, target)
    return reduced("mse_loss", (x - t).square(), reduction)


@composite(lambda: _samples(0.0))
def l1_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the mean absolute error |input - target|; see `mse_loss` for the arguments."""
    x, t = _pair("l1_loss", input, target)
    return reduced("l1_loss", (x - t).abs(), reduction)


def _smooth_samples() -> Iterable[Sample]:
    return (*_samples(-1.0, 1.0), *_samples(-0.5, 0.5, beta=0.5), *_samples(0.0, beta=0.0))


@composite(_smooth_samples)
def smooth_l1_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Return d^2 / (2 beta) for small differences d, and |d| - beta / 2 beyond ``beta``.

    Args:
        input: Predictions, any shape.
        target: What they should be, of the same shape.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.
        beta: Where the parabola turns into a line; 0: `l1_loss`.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: ``beta`` is negative.

    Source: Girshick 2015, "Fast R-CNN".
    """
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta={beta}, expected 0 or more")
    x, t = _pair("smooth_l1_loss", input, target)
    difference = x - t
    distance = difference.abs()
    if beta == 0:
        return reduced("smooth_l1_loss", distance, reduction)
    parabola = difference.square() * (0.5 / beta)
    losses = call("where", distance < beta, parabola, distance - 0.5 * beta)
    return reduced("smooth_l1_loss", losses, reduction)


def _huber_samples() -> Iterable[Sample]:
    return (*_samples(-1.0, 1.0), *_samples(-2.0, 2.0, delta=2.0))


@composite(_huber_samples)
def huber_loss(
    input: Tensor, target: Tensor, *, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """Return d^2 / 2 for small differences d, and delta (|d| - delta / 2) beyond ``delta``.

    Args:
        input: Predictions, any shape.
        target: What they should be, of the same shape.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.
        delta: Where the parabola turns into a line.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: ``delta`` is not positive.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta={delta}, expected a positive number")
    x, t = _pair("huber_loss", input, target)
    difference = x - t
    distance = difference.abs()
    line = (distance - 0.5 * delta) * delta
    losses = call("where", distance <= delta, difference.square() * 0.5, line)
    return reduced("huber_loss", losses, reduction)


def _binary_samples() -> Iterable[Sample]:
    def probabilities(*shape: int) -> In:
        return In(shape, 0.1, 0.9)

    return (
        sample((3, 2), probabilities(3, 2)),
        sample(In((4,), -30.0, 30.0), probabilities(4), reduction="sum", name="large"),
        sample((2, 3), probabilities(2, 3), (3,), reduction="none", name="weight"),
        sample((), probabilities(), name="0-d"),
        sample((0,), probabilities(0), reduction="sum", name="no examples"),
    )


@composite(_binary_samples)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the cross-entropy of yes/no predictions, from scores before the sigmoid.

    Args:
        input: Scores, any shape.
        target: Probabilities of "yes", from 0 to 1, of the same shape.
        weight: Weight of each loss; broadcasts.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.
        pos_weight: Weight of the "yes" part, one for each element of the last axis; broadcasts.

    Returns:
        mean(-pos_weight t ln s(x) - (1 - t) ln(1 - s(x))) with the sigmoid s, computed as
        (1 - t) x + (1 + (pos_weight - 1) t) softplus(-x), which overflows nowhere.

    Raises:
        ShapeError: The shapes differ, even if they would broadcast.
        ArgumentError: A target is not between 0 and 1.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> score, yes = chainrule.tensor([0.0]), chainrule.tensor([1.0])
        >>> round(F.binary_cross_entropy_with_logits(score, yes).item(), 4)
        0.6931
    """
    op = "binary_cross_entropy_with_logits"
    x, t = _pair(op, input, target)
    _expect_probabilities(op, target)
    softplus = call("softplus", -x)
    if pos_weight is not None:
        softplus = softplus * ((pos_weight - 1.0) * t + 1.0)
    losses = (1.0 - t) * x + softplus
    if weight is not None:
        losses = losses * weight
        if losses.shape != x.shape:
            raise ShapeError(f"{op}: weight {weight.spec} does not broadcast to input {x.spec}")
    return reduced(op, losses, reduction)


def _expect_probabilities(op: str, target: Tensor) -> None:
    if is_traced(target):
        outside = (target < 0) | (target > 1)
        require(~outside.any(), ArgumentError(f"{op}: a target is not between 0 and 1"))
        return
    values = np.asarray(target)
    # Written so that NaN passes: it is the loss's to show.
    wrong = (values < 0) | (values > 1)
    if wrong.any():
        place = [int(i) for i in np.argwhere(wrong)[0]]
        value = values[tuple(place)]
        hint = "(target + 1) / 2 for targets -1 and 1" if value == -1 else ""
        if value > 1 and float(value).is_integer():
            hint = "cross_entropy for more than two classes"
        raise ArgumentError(
            f"{op}: target {value:g} at position {place} is not between 0 and 1", hint=hint
        )
