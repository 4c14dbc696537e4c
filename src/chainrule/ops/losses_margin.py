"""Losses with a margin: right is not enough, it has to be right by a distance.

Takes: scores and labels. Gives: a 0-d tensor (or one loss for each example).
The one idea: what is beyond the margin costs nothing and has no gradient, so only the hard
examples, the support vectors, shape the model.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainrule.core.errors import ArgumentError, DTypeError, IndexRangeError, ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced, require
from chainrule.ops.elementwise import floating
from chainrule.ops.loss_parts import (
    broadcast_weight,
    expect_between,
    matched,
    pair,
    plus_or_minus,
    reduced,
)

__all__ = [
    "hinge_embedding_loss",
    "hinge_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
]

_SIGNS = In((3, 2), kind="int", values=[[1, -1], [-1, 1], [1, 1]])


def _positive_part(x: Tensor) -> Tensor:
    return call("clip", x, 0.0, None)


def _hinge_samples() -> Iterable[Sample]:
    scores = In((3, 2), -3.0, 3.0, avoid=(-1.0, 1.0))
    return (
        sample(scores, _SIGNS),
        sample(scores, _SIGNS, squared=True, reduction="sum"),
        sample(In((3, 2), avoid=(-0.5, 0.5)), _SIGNS, margin=0.5, reduction="none"),
        sample(In((0,)), In((0,), kind="int"), reduction="sum", name="no examples"),
    )


@composite(_hinge_samples)
def hinge_loss(
    input: Tensor,
    target: Tensor,
    *,
    margin: float = 1.0,
    squared: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return mean(max(0, margin - target input)): the loss of a support vector machine.

    Derivative: -target where the product is below the margin, else 0. Its scores are no
    probabilities; for more than two classes see `multi_margin_loss`.

    Args:
        input: Scores, any shape.
        target: 1 or -1, of the same shape.
        margin: From where on an example costs nothing.
        squared: Square each loss (L2-SVM), which is smooth and punishes large errors more.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: A target is neither 1 nor -1.

    Source: Cortes & Vapnik 1995, "Support-vector networks"; Tang 2013 (squared).

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.hinge_loss(chainrule.tensor([2.0, 0.5]), chainrule.tensor([1, 1])).item()
        0.25
    """
    x, t = pair("hinge_loss", input, target)
    t = plus_or_minus("hinge_loss", target, x.shape, x.dtype)
    losses = _positive_part(margin - t * x)
    return reduced("hinge_loss", losses.square() if squared else losses, reduction)


def _embedding_samples() -> Iterable[Sample]:
    distances = In((3, 2), 0.2, 2.0, avoid=(1.0, 0.5))
    return (
        sample(distances, _SIGNS),
        sample(distances, _SIGNS, margin=0.5, reduction="sum"),
        sample(distances, _SIGNS, reduction="none"),
        sample(In((0,)), In((0,), kind="int"), reduction="sum", name="no examples"),
    )


@composite(_embedding_samples)
def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Return the input for target 1, and max(0, margin - input) for target -1.

    The input is a distance: small for a pair that is alike, above the margin for one that is not.

    Args:
        input: Distances, any shape.
        target: 1 for alike, -1 for different, of the same shape.
        margin: How far apart is far enough.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: A target is 0. (Other numbers are signs with weights.)
    """
    op = "hinge_embedding_loss"
    x, t = pair(op, input, target)
    t = plus_or_minus(op, target, x.shape, x.dtype, exactly=False)
    near = call("where", t == -1, 0.0, x)
    return reduced(op, near + call("where", t == 1, 0.0, _positive_part(margin - x)), reduction)


def _ranking_samples() -> Iterable[Sample]:
    first, second = In((3, 2), 1.5, 3.0), In((3, 2), -1.0, 1.0)
    return (
        sample(first, second, _SIGNS),
        sample(first, second, _SIGNS, margin=0.3, reduction="sum"),
        sample(first, second, _SIGNS, margin=5.0, reduction="none"),
        sample(In((0,)), In((0,)), In((0,), kind="int"), reduction="sum", name="no examples"),
    )


@composite(_ranking_samples)
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """Return mean(max(0, -target (input1 - input2) + margin)): which of two should rank higher.

    Args:
        input1: Scores, any shape.
        input2: Scores of the same shape.
        target: 1 where the first should be larger, -1 where the second, of the same shape.
        margin: By how much.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: A target is 0. (Other numbers are signs with weights.)
    """
    op = "margin_ranking_loss"
    first, second = matched(op, input1=input1, input2=input2)
    t = plus_or_minus(op, target, first.shape, first.dtype, exactly=False)
    return reduced(op, _positive_part(margin - t * (first - second)), reduction)


def _soft_samples() -> Iterable[Sample]:
    return (
        sample((3, 2), _SIGNS),
        sample((3, 2), _SIGNS, reduction="sum"),
        sample((3, 2), _SIGNS, reduction="none"),
        sample(In((0,)), In((0,), kind="int"), reduction="sum", name="no examples"),
    )


@composite(_soft_samples)
def soft_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return mean(ln(1 + e^(-target input))), the logistic loss of targets 1 and -1.

    Args:
        input: Scores, any shape.
        target: 1 or -1, of the same shape.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Returns:
        The loss; as large as the score where a large score is wrong (PyTorch's is inf there).

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: A target is 0. (Other numbers are signs with weights.)
    """
    x, t = pair("soft_margin_loss", input, target)
    t = plus_or_minus("soft_margin_loss", target, x.shape, x.dtype, exactly=False)
    return reduced("soft_margin_loss", call("softplus", -t * x, threshold=None), reduction)


def _labels_samples() -> Iterable[Sample]:
    labels = In((3, 4), 0.1, 0.9)
    return (
        sample((3, 4), labels),
        sample((3, 4), labels, In((4,), 0.5, 2.0), reduction="sum", name="weighted"),
        sample((4,), In((4,), 0.1, 0.9), reduction="none", name="one example"),
        sample(In((0, 4)), In((0, 4)), reduction="sum", name="no examples"),
    )


@composite(_labels_samples)
def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, *, reduction: str = "mean"
) -> Tensor:
    """Return the mean over classes of the yes/no cross-entropy of each, for several labels.

    Args:
        input: Scores [..., C].
        target: For each class whether the example has it, from 0 to 1, of the same shape.
        weight: Weight of each class [C].
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` over the examples.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: A target is not between 0 and 1.
    """
    op = "multilabel_soft_margin_loss"
    x, t = pair(op, input, target)
    expect_between(op, "target", target)
    losses = call("binary_cross_entropy_with_logits", x, t, reduction="none")
    if weight is not None:
        losses = losses * broadcast_weight(op, weight, x)
    return reduced(op, losses.mean(-1), reduction)


def _classes_samples() -> Iterable[Sample]:
    scores, classes = In((3, 4), -0.4, 0.4), In(kind="int", values=(1, 3, 0))
    far = In((3, 4), 3.0, 9.0, distinct=True)
    return (
        sample(scores, classes),
        sample(scores, classes, p=2, margin=2.0, name="squared"),
        sample(far, classes, margin=0.2, reduction="none", name="far apart"),
        sample(In((4,), -0.4, 0.4), In(kind="int", values=2), reduction="sum", name="one example"),
        sample(In((0, 3)), In((0,), kind="int"), reduction="sum", name="no examples"),
    )


@composite(_classes_samples)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return the hinge loss of classes: sum over j != t of max(0, margin - x[t] + x[j])^p / C.

    Args:
        input: Scores [N, C], or [C] for one example.
        target: Classes from 0 to C - 1: [N], or 0-d.
        p: 1, or 2 for the squared hinge.
        margin: By how much the right class should lead.
        weight: Weight of each class [C].
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: Scores and targets do not belong together.
        IndexRangeError: A target is not a class.
        ArgumentError: ``p`` is another number.

    Source: Crammer & Singer 2001; Weston & Watkins 1999 (the sum).
    """
    op = "multi_margin_loss"
    expect_tensor(op, "input", input)
    expect_tensor(op, "target", target)
    x = _at_least_vector(input)
    if p not in (1, 2):
        raise ArgumentError(f"{op}: p={p}, expected 1 or 2")
    index = _indices(op, x, target, x.shape[:-1]).unsqueeze(-1)
    right = call("take_along_axis", x, index, -1)
    losses = _positive_part(margin - right + x)
    losses = losses.square() if p == 2 else losses
    other = call("arange", x.shape[-1]) != index
    if weight is not None:
        if weight.shape != x.shape[-1:]:
            raise ShapeError(f"{op}: weight {weight.spec} must have one element for each class")
        losses = losses * call("take", weight.to(x.dtype), index, 0)
    return reduced(op, call("where", other, losses, 0.0).sum(-1) / x.shape[-1], reduction)


def _sets_samples() -> Iterable[Sample]:
    scores = In((2, 4), -0.4, 0.4)
    labels = In(kind="int", values=((3, 0, -1, 1), (1, -1, -1, -1)))
    return (
        sample(scores, labels),
        sample(scores, labels, reduction="none"),
        sample(
            In((4,), -0.4, 0.4), In(kind="int", values=(0, 1, 2, 3)), reduction="sum", name="all"
        ),
        sample(In((2, 3), -0.4, 0.4), In(kind="int", values=((-1, 0, 1), (2, 0, -1))), name="none"),
    )


@composite(_sets_samples)
def multilabel_margin_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Return the hinge loss of label sets: each label of the example against each other class.

    sum over labels j and classes i that are no labels of max(0, 1 - x[j] + x[i]) / C.

    Args:
        input: Scores [N, C], or [C].
        target: The labels of each example from the left, then -1; of the same shape.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` over the examples.

    Raises:
        ShapeError: The shapes differ.
        IndexRangeError: A target is neither a class nor -1.
    """
    op = "multilabel_margin_loss"
    expect_tensor(op, "input", input)
    expect_tensor(op, "target", target)
    x = _at_least_vector(input)
    index = _indices(op, x, target, x.shape, least=-1)
    classes = x.shape[-1]
    counted = (index < 0).long().cumsum(-1) == 0  # up to the first -1
    index = call("where", counted, index, 0)
    scores = call("take_along_axis", x, index, -1)
    equal = call("arange", classes) == index.unsqueeze(-1)  # [..., label, class]
    belongs = (equal & counted.unsqueeze(-1)).any(-2)  # [..., class]
    losses = _positive_part(1.0 - scores.unsqueeze(-1) + x.unsqueeze(-2))
    compared = counted.unsqueeze(-1) & ~belongs.unsqueeze(-2)
    total = call("where", compared, losses, 0.0).sum((-2, -1)) / classes
    return reduced(op, total, reduction)


def _at_least_vector(x: Tensor) -> Tensor:
    """Return scores; a single one is that of the only class."""
    made = floating(x)
    return made if made.ndim else made.reshape((1,))


def _indices(
    op: str, x: Tensor, target: Tensor, shape: tuple[int, ...], *, least: int = 0
) -> Tensor:
    """Return targets after checking type, shape and range."""
    if x.ndim not in (1, 2) or not x.shape[-1]:
        raise ShapeError(f"{op}: input {x.spec}, expected scores [N, C] or [C]")
    if target.dtype.is_floating or target.dtype.kind == "bool":
        raise DTypeError(
            f"{op}: target {target.spec}, expected classes as integers", hint="target.long()"
        )
    if x.ndim == 1 and target.ndim <= 1 and target.size == int(np.prod(shape)):
        target = target.reshape(shape)
    if target.shape != shape:
        raise ShapeError(
            f"{op}: input {x.spec} needs a target of shape {list(shape)}, got {target.spec}",
            hint=f"target.squeeze({len(shape)})" if target.shape == (*shape, 1) else "",
        )
    number = x.shape[-1]
    if is_traced(target):
        right = (target >= least) & (target < number)
        require(right.all(), IndexRangeError(f"{op}: a target is not one of {number} classes"))
        return target.long()
    values = np.asarray(target)
    wrong = (values < least) | (values >= number)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise IndexRangeError(
            f"{op}: target {int(values[place])} at position {list(place)} is not a class: input "
            f"{x.spec} has {number}, so targets run from {least} to {number - 1}",
            hint=f"the last layer needs at least {int(values.max()) + 1} outputs",
        )
    return target.long()
