"""Losses of yes and no: how far predicted probabilities, or scores, are from the truth.

Takes: predictions and targets of one shape. Gives: a 0-d tensor (or one loss for each element).
The one idea: from scores, before the sigmoid, every loss is a softplus and exact at any size; from
probabilities the logarithm has to be cut off.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.loss_parts import broadcast_weight, expect_between, pair, reduced

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "dice_loss",
    "sigmoid_focal_loss",
]

# PyTorch's: logarithms of probabilities do not fall below -100, nor their slopes rise above 1e12.
_LEAST_LOGARITHM = -100.0
_LEAST_PROBABILITY = 1e-12


def _probabilities(*shape: int) -> In:
    return In(shape, 0.1, 0.9)


def _binary_samples() -> Iterable[Sample]:
    return (
        sample((3, 2), _probabilities(3, 2)),
        sample(In((4,), -30.0, 30.0), _probabilities(4), reduction="sum", name="large"),
        sample((2, 3), _probabilities(2, 3), (3,), reduction="none", name="weight"),
        sample((), _probabilities(), name="0-d"),
        sample((0,), _probabilities(0), reduction="sum", name="no examples"),
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

    Derivative with respect to a score: s(input) - target, with the sigmoid s.

    Args:
        input: Scores, any shape.
        target: Probabilities of "yes", from 0 to 1, of the same shape.
        weight: Weight of each loss; broadcasts. The mean is over all elements, as in PyTorch.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.
        pos_weight: Weight of the "yes" part, one for each element of the last axis; broadcasts.

    Returns:
        mean(-pos_weight t ln s(x) - (1 - t) ln(1 - s(x))), computed as
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
    x, t = pair(op, input, target)
    expect_between(op, "target", target)
    losses = _from_scores(x, t, pos_weight)
    if weight is not None:
        losses = losses * broadcast_weight(op, weight, x)
    return reduced(op, losses, reduction)


def _from_scores(x: Tensor, t: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of each element."""
    infinite = x.isinf()
    finite = call("where", infinite, 0.0, x)
    softplus = call("softplus", -finite, threshold=None)
    if pos_weight is not None:
        softplus = softplus * ((pos_weight - 1.0) * t + 1.0)
    # Certain and right costs nothing (the formula would say inf times 0), else infinitely much.
    missed = call("where", x > 0, 1.0 - t, t).detach()
    certain = call("where", missed > 0, math.inf, missed)
    return call("where", infinite, certain, (1.0 - t) * finite + softplus)


def _likelihood_samples() -> Iterable[Sample]:
    p = _probabilities
    return (
        sample(p(3, 2), p(3, 2)),
        sample(p(4), p(4), reduction="sum"),
        sample(p(2, 3), p(2, 3), (3,), reduction="none", name="weight"),
        sample(p(), p(), name="0-d"),
        sample(p(0), p(0), reduction="sum", name="no examples"),
    )


@composite(_likelihood_samples)
def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Return the cross-entropy of yes/no predictions, from probabilities.

    Prefer `binary_cross_entropy_with_logits`: a probability that has rounded to 0 or 1 has lost
    what the score before the sigmoid still says.

    Args:
        input: Probabilities of "yes", any shape.
        target: What they should be, from 0 to 1, of the same shape.
        weight: Weight of each loss; broadcasts. The mean is over all elements, as in PyTorch.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Returns:
        mean(-t ln x - (1 - t) ln(1 - x)), with logarithms of at least -100 and slopes of at most
        1e12, so that a wrong certainty is neither infinite nor without a gradient.

    Raises:
        ShapeError: The shapes differ, even if they would broadcast.
        ArgumentError: An input or a target is not between 0 and 1.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.binary_cross_entropy(chainrule.tensor([0.0]), chainrule.tensor([1.0])).item()
        100.0
    """
    op = "binary_cross_entropy"
    x, t = pair(op, input, target)
    expect_between(op, "input", input)
    expect_between(op, "target", target)
    losses = -(t * _limited_log(x) + (1.0 - t) * _limited_log(1.0 - x))
    if weight is not None:
        losses = losses * broadcast_weight(op, weight, x)
    return reduced(op, losses, reduction)


def _limited_log(p: Tensor) -> Tensor:
    """Return ln p, at least -100, with a slope of at most 1e12."""
    tiny = p < _LEAST_PROBABILITY
    fixed = p.detach()
    cut = call("clip", fixed.log(), _LEAST_LOGARITHM, None)
    line = (p - fixed) * (1 / _LEAST_PROBABILITY) + cut
    return call("where", tiny, line, call("where", tiny, 1.0, p).log())


def _focal_samples() -> Iterable[Sample]:
    p = _probabilities
    return (
        sample((3, 2), p(3, 2)),
        sample((4,), p(4), alpha=-1.0, gamma=1.5, reduction="sum"),
        sample((2, 2), p(2, 2), gamma=0.0, reduction="mean", name="no focus"),
        sample((0,), p(0), reduction="sum", name="no examples"),
    )


@composite(_focal_samples)
def sigmoid_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
) -> Tensor:
    """Return the focal loss of yes/no predictions, from scores before the sigmoid.

    alpha_t (1 - p_t)^gamma (-ln p_t), with p_t the probability given to what is true: examples
    that are right already count little, so many easy ones do not drown the few hard ones. Helps
    where one answer is rare; elsewhere `binary_cross_entropy_with_logits` is better calibrated.

    Args:
        inputs: Scores, any shape.
        targets: Probabilities of "yes", from 0 to 1, of the same shape.
        alpha: Weight of "yes" against 1 - alpha of "no"; negative: neither is weighted.
        gamma: How strongly easy examples are left out; 0 or more.
        reduction: ``"none"`` (the default of torchvision, whose names these are), ``"mean"`` or
            ``"sum"``.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: A target is not between 0 and 1, alpha is above 1, or gamma negative.

    Source: Lin, Goyal, Girshick, He & Dollár 2017, "Focal loss for dense object detection".
    """
    op = "sigmoid_focal_loss"
    x, t = pair(op, inputs, targets)
    if not alpha <= 1:
        raise ArgumentError(f"{op}: alpha={alpha}, expected 0 to 1, or a negative number for none")
    expect_focus(op, gamma)
    expect_between(op, "target", targets)
    missed = x.sigmoid() * (1.0 - t) + (-x).sigmoid() * t  # 1 - p_t, exact near 0
    losses = focused(_from_scores(x, t), missed, gamma)
    if alpha >= 0:
        losses = losses * (alpha * t + (1.0 - alpha) * (1.0 - t))
    return reduced(op, losses, reduction)


def expect_focus(op: str, gamma: float) -> None:
    """Check the exponent of a focal loss.

    Raises:
        ArgumentError: It is negative or NaN.
    """
    if not gamma >= 0:
        raise ArgumentError(f"{op}: gamma={gamma}, expected 0 or more")


def focused(losses: Tensor, missed: Tensor, gamma: float) -> Tensor:
    """Return losses times missed^gamma, where missed is 1 - p of the truth."""
    if gamma == 0:
        return losses
    # At 0 the slope of a power below 1 is infinite, but the loss itself is 0.
    none = missed <= 0
    factor = call("where", none, 0.0, call("where", none, 1.0, missed) ** gamma)
    return losses * factor


def _dice_samples() -> Iterable[Sample]:
    p = _probabilities
    return (
        sample(p(2, 5), p(2, 5)),
        sample(p(2, 3, 4), p(2, 3, 4), smooth=0.5, reduction="none"),
        sample(p(0, 4), p(0, 4), reduction="sum", name="no examples"),
    )


@composite(_dice_samples)
def dice_loss(
    input: Tensor, target: Tensor, smooth: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Return 1 - (2 overlap + smooth) / (both areas + smooth), for each example.

    The overlap of two masks against their size, so a small region counts as much as a large one.

    Args:
        input: Probabilities of belonging to the region [N, ...].
        target: The region, from 0 to 1, of the same shape.
        smooth: Above 0 keeps the loss of two empty regions at 0.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for a loss for each example.

    Raises:
        ShapeError: The shapes differ, or there is no axis of examples.
        ArgumentError: ``smooth`` is negative.

    Source: Milletari, Navab & Ahmadi 2016, "V-Net"; Dice 1945.
    """
    x, t = pair("dice_loss", input, target)
    if not smooth >= 0:
        raise ArgumentError(f"dice_loss: smooth={smooth}, expected 0 or more")
    if x.ndim < 2:
        rows = (1, x.numel())
        x, t = x.reshape(rows), t.reshape(rows)
    axes = tuple(range(1, x.ndim))
    overlap = (x * t).sum(axes)
    areas = x.sum(axes) + t.sum(axes)
    losses = 1.0 - (2.0 * overlap + smooth) / (areas + smooth)
    return reduced("dice_loss", losses, reduction)
