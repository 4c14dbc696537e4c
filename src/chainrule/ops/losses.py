"""Losses of regression: how far predicted numbers are from the true ones.

Takes: predictions and targets of one shape. Gives: a 0-d tensor (or one loss for each element).
The one idea: each is minus the logarithm of the probability of the target, up to a constant: under
a normal distribution of errors (mse), a Laplace one (l1), or one between the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.loss_parts import broadcast_weight, pair, reduced, weighted_reduced

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


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


def _weighted_samples(*kinks: float, **attrs: Any) -> Iterable[Sample]:
    inputs = In((3, 2), -3.0, 3.0, avoid=kinks), In((3, 2), -0.04, 0.04)
    return (
        sample(*inputs, In((3, 2), 0.5, 2.0), name="weighted", **attrs),
        sample(*inputs, In((2,), 0.5, 2.0), reduction="none", name="weighted columns", **attrs),
    )


def _mse_samples() -> Iterable[Sample]:
    half = sample((3, 2), (3, 2), half=True, name="half")
    return (*_samples(), *_weighted_samples(), half)


@composite(_mse_samples)
def mse_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    half: bool = False,
) -> Tensor:
    """Return the mean squared error.

    Derivative with respect to an input: 2 (input - target) / N. The loss of normally distributed
    errors; a single outlier may rule it, see `huber_loss`.

    Args:
        input: Predictions, any shape.
        target: What they should be, of the same shape; taken in the type of the input.
        weight: How much each element counts; broadcasts. 0 leaves it out.
        reduction: ``"mean"`` (weighted by the weights), ``"sum"``, or ``"none"`` for a loss for
            each element.
        half: Return half of it, the textbook's 1 / (2 N) sum((input - target)^2), whose
            derivative has no factor 2.

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
    x, t = pair("mse_loss", input, target)
    losses = (x - t).square()
    return weighted_reduced("mse_loss", losses * 0.5 if half else losses, weight, reduction)


def _l1_samples() -> Iterable[Sample]:
    return (*_samples(0.0), *_weighted_samples(0.0))


@composite(_l1_samples)
def l1_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Return the mean absolute error mean(|input - target|).

    Derivative: the sign of the difference (0 at 0) / N. Outliers count no more than others; the
    best constant prediction is the median.

    Args:
        input: Predictions, any shape.
        target: What they should be, of the same shape.
        weight: How much each element counts; broadcasts.
        reduction: ``"mean"`` (weighted by the weights), ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes differ, even if they would broadcast.
    """
    x, t = pair("l1_loss", input, target)
    return weighted_reduced("l1_loss", (x - t).abs(), weight, reduction)


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
    x, t = pair("smooth_l1_loss", input, target)
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
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Return d^2 / 2 for small differences d, and delta (|d| - delta / 2) beyond ``delta``.

    Args:
        input: Predictions, any shape.
        target: What they should be, of the same shape.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.
        delta: Where the parabola turns into a line.
        weight: How much each element counts; broadcasts. The mean is over all elements, as in
            PyTorch, where that of `mse_loss` is divided by the weights.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: ``delta`` is not positive.

    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta={delta}, expected a positive number")
    x, t = pair("huber_loss", input, target)
    difference = x - t
    distance = difference.abs()
    line = (distance - 0.5 * delta) * delta
    losses = call("where", distance <= delta, difference.square() * 0.5, line)
    if weight is not None:
        losses = losses * broadcast_weight("huber_loss", weight, losses)
    return reduced("huber_loss", losses, reduction)
