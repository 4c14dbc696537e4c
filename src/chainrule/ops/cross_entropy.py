"""Cross-entropy: the loss of classification.

Takes: scores [N, C, ...] and classes [N, ...] or probabilities [N, C, ...]. Gives: a 0-d tensor.
The one idea: with scores lowered by their maximum, -ln softmax(x)[t] is ln(sum e^x) - x[t], so
logarithms of probabilities are never formed, whatever the size of the scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import (
    ArgumentError,
    ChainruleError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced, require
from chainrule.ops.caution import caution
from chainrule.ops.elementwise import floating
from chainrule.ops.loss_parts import reduced
from chainrule.ops.losses_binary import expect_focus, focused
from chainrule.ops.softmax import log_softmax, shifted

__all__ = ["cross_entropy", "focal_loss", "nll_loss"]

# How far the sum of a row may be from 1 for it to pass as probabilities: float16 softmax's error.
_PROBABILITY_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Classes:
    """Integer targets, checked.

    Attributes:
        index: The classes, with 0 in the place of ignored ones.
        counted: Which targets are not ignored, as Booleans; None: all.
        axis: The axis of the classes in the scores.
    """

    index: Tensor
    counted: Tensor | None
    axis: int


def _samples() -> Iterable[Sample]:
    def classes(*values: object) -> In:
        return In(kind="int", values=values)

    ignored = classes(1, -100, 0)
    weight = In((4,), 0.5, 2.0)
    return (
        sample((3, 4), classes(1, 3, 0)),
        sample((4,), In(kind="int", values=2), name="one example"),
        sample((2, 3, 2), classes((0, 2), (1, 1)), name="positions"),
        sample((3, 4), ignored, reduction="sum", name="ignored"),
        sample((3, 4), ignored, weight, name="weighted"),
        sample((3, 4), ignored, weight, label_smoothing=0.2, name="smoothed"),
        sample((2, 3), classes(2, 0), ignore_index=2, reduction="none", name="none"),
        sample((2, 3), In((2, 3), 0.1, 0.9), name="soft"),
        sample((2, 4), In((2, 4), 0.1, 0.9), weight, label_smoothing=0.1, name="soft smoothed"),
        sample(In((2, 3), -1e4, 1e4, distinct=True), classes(0, 2), name="large"),
        sample((0, 3), In((0,), kind="int"), reduction="sum", name="no examples"),
    )


@composite(_samples)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross-entropy of class scores: -ln softmax(input)[target].

    Rows that look like probabilities (none negative, sums of 1) cause a `LikelyMistakeWarning`:
    scores are expected here, before any softmax.

    Args:
        input: Scores (logits) [N, C], [C] for one example, or [N, C, d1, ...] for a class at each
            of many positions.
        target: Classes 0 to C - 1, integers of the input's shape without C; or probabilities of
            the input's shape.
        weight: Weight of each class [C], or None.
        ignore_index: A target that does not count.
        reduction: ``"mean"`` (weighted by the weights of the targets), ``"sum"``, or ``"none"``
            for a loss for each target.
        label_smoothing: This part of each target is spread evenly over all classes, 0 to 1.

    Returns:
        A 0-d tensor, or for ``"none"`` one of the input's shape without C. A mean over nothing
        (all ignored) is NaN. Its derivative with respect to the scores: softmax(input) - target.

    Raises:
        ShapeError: Scores and targets do not belong together.
        IndexRangeError: A target is not a class.
        DTypeError: Targets are real numbers but not probabilities for each class.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> scores = chainrule.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> round(F.cross_entropy(scores, chainrule.tensor([0, 1])).item(), 4)
        0.1269

    Source of label smoothing: Szegedy et al. 2016, "Rethinking the Inception architecture".
    """
    op = "cross_entropy"
    expect_tensor(op, "input", input)
    expect_tensor(op, "target", target)
    x = floating(input)
    axis = _class_axis(op, x)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(f"{op}: label_smoothing={label_smoothing}, expected 0 to 1")
    _check_weight(op, x, axis, weight)
    if target.dtype.is_floating:
        _check_soft(op, x, target)
        _warn_of_probabilities(x, axis)
        return _soft(op, x, target, weight, axis, reduction, label_smoothing)
    classes = _classes(op, x, target, axis, ignore_index)
    _warn_of_probabilities(x, axis)
    return _hard(op, x, classes, weight, reduction, label_smoothing)


def _nll_samples() -> Iterable[Sample]:
    for s in _samples():
        wanted = "soft" not in s.name and "label_smoothing" not in s.attrs
        if wanted:
            yield s


@composite(_nll_samples)
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return -input[target] for logarithms of probabilities, as `log_softmax` gives them.

    `cross_entropy` is both in one; see there for the arguments.
    """
    op = "nll_loss"
    x, classes = _scores_and_classes(op, input, target, weight, ignore_index)
    return _weighted(op, -_picked(x, classes), classes, weight, reduction)


def _focal_samples() -> Iterable[Sample]:
    classes, weight = In(kind="int", values=(1, -100, 0)), In((4,), 0.5, 2.0)
    return (
        sample((3, 4), In(kind="int", values=(1, 3, 0))),
        sample((3, 4), classes, weight, gamma=1.5, name="weighted"),
        sample((3, 4), classes, gamma=0.0, reduction="sum", name="no focus"),
        sample((2, 3, 2), In(kind="int", values=((0, 2), (1, 1))), reduction="none"),
    )


@composite(_focal_samples)
def focal_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the focal loss of classes: -(1 - p)^gamma ln p, with p = softmax(input)[target].

    Examples that are right already count little. With ``gamma=0`` it is `cross_entropy`; of
    yes/no predictions: `sigmoid_focal_loss`.

    Args:
        input: Scores (logits) as for `cross_entropy`.
        target: Classes as integers.
        weight: Weight of each class [C] (the paper's alpha).
        gamma: How strongly easy examples are left out; 0 or more.
        ignore_index: A target that does not count.
        reduction: ``"mean"`` (weighted by the weights of the targets), ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: Scores and targets do not belong together.
        IndexRangeError: A target is not a class.
        ArgumentError: ``gamma`` is negative.
        DTypeError: The targets are no integers.

    Source: Lin, Goyal, Girshick, He & Dollár 2017, "Focal loss for dense object detection".
    """
    op = "focal_loss"
    x, classes = _scores_and_classes(op, input, target, weight, ignore_index)
    expect_focus(op, gamma)
    lowered = shifted(x, classes.axis)
    losses = lowered.exp().sum(classes.axis).log() - _picked(lowered, classes)
    losses = focused(losses, -(-losses).expm1(), gamma)
    return _weighted(op, losses, classes, weight, reduction)


def _scores_and_classes(
    op: str, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, Classes]:
    """Return scores and checked integer targets."""
    expect_tensor(op, "input", input)
    expect_tensor(op, "target", target)
    x = floating(input)
    axis = _class_axis(op, x)
    _check_weight(op, x, axis, weight)
    if target.dtype.is_floating:
        raise DTypeError(
            f"{op}: target {target.spec} holds real numbers, expected classes as integers",
            hint="target.long()",
        )
    return x, _classes(op, x, target, axis, ignore_index)


def _hard(
    op: str,
    x: Tensor,
    classes: Classes,
    weight: Tensor | None,
    reduction: str,
    smoothing: float,
) -> Tensor:
    """Return the loss against one class for each position."""
    axis = classes.axis
    lowered = shifted(x, axis)
    total = lowered.exp().sum(axis).log()
    losses = total - _picked(lowered, classes)
    if smoothing == 0.0:
        return _weighted(op, losses, classes, weight, reduction)
    spread = _spread(lowered, total, weight, axis) * (smoothing / x.shape[axis])
    return _weighted(op, losses * (1.0 - smoothing), classes, weight, reduction, spread)


def _picked(x: Tensor, classes: Classes) -> Tensor:
    """Return x at the target of each position."""
    axis = classes.axis
    return call("take_along_axis", x, classes.index.unsqueeze(axis), axis).squeeze(axis)


def _spread(lowered: Tensor, total: Tensor, weight: Tensor | None, axis: int) -> Tensor:
    """Return -sum over classes of weight ln p for each position."""
    logarithms = lowered - total.unsqueeze(axis)
    if weight is not None:
        logarithms = logarithms * _along_classes(weight, lowered, axis)
    return -logarithms.sum(axis)


def _weighted(
    op: str,
    losses: Tensor,
    classes: Classes,
    weight: Tensor | None,
    reduction: str,
    spread: Tensor | None = None,
) -> Tensor:
    """Weight, mask and reduce losses; ``spread`` is a part that carries its weights already."""
    weights = None
    if weight is not None:
        weights = call("take", weight.to(losses.dtype), classes.index, 0)
        losses = losses * weights
    if spread is not None:
        losses = losses + spread
    if classes.counted is not None:
        losses = call("where", classes.counted, losses, 0.0)
        weights = classes.counted.to(losses.dtype) if weights is None else weights
        weights = call("where", classes.counted, weights, 0.0)
    if reduction == "mean" and weights is not None:
        return losses.sum() / weights.sum()
    return reduced(op, losses, reduction)


def _soft(
    op: str,
    x: Tensor,
    target: Tensor,
    weight: Tensor | None,
    axis: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    """Return the loss against probabilities of all classes."""
    number = x.shape[axis]
    t = target.to(x.dtype)
    if smoothing:
        t = t * (1.0 - smoothing) + smoothing / number
    if weight is not None:
        t = t * _along_classes(weight, x, axis)
    logarithms = log_softmax(x, axis)
    # A class that neither is nor may be the target: 0 ln 0 is 0, not 0 times -inf.
    absent = (t == 0) & (logarithms == -math.inf)
    losses = -(t * call("where", absent, 0.0, logarithms)).sum(axis)
    return reduced(op, losses, reduction)


def _along_classes(weight: Tensor, x: Tensor, axis: int) -> Tensor:
    return weight.to(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1 - axis))


def _class_axis(op: str, x: Tensor) -> int:
    expect(
        x.ndim > 0,
        "{}: input {} is 0-d, expected scores [N, C] with a score for each class",
        *(op, x.spec),
    )
    return 0 if x.ndim == 1 else 1


def _check_weight(op: str, x: Tensor, axis: int, weight: Tensor | None) -> None:
    if weight is not None:
        expect(
            weight.shape == (x.shape[axis],),
            "{}: weight {} must have one element for each of the {} classes of input {}",
            *(op, weight.spec, x.shape[axis], x.spec),
        )


def _check_soft(op: str, x: Tensor, target: Tensor) -> None:
    if target.shape == x.shape:
        return
    classes = x.shape[: 0 if x.ndim == 1 else 1] + x.shape[2:]
    if target.shape in (classes, (*classes, 1)):
        squeeze = f".squeeze({len(classes)})" if target.shape != classes else ""
        raise DTypeError(
            f"{op}: target {target.spec} holds real numbers, expected classes as integers "
            f"(or a probability for each class, as input {x.spec})",
            hint=f"target{squeeze}.long(), or mse_loss for regression",
        )
    hint = "target holds a probability for each class, or classes as integers [N]"
    if target.ndim == x.ndim > 1 and target.shape[0] == x.shape[0]:
        hint = f"{target.shape[1]} classes need {target.shape[1]} outputs of the last layer; "
        hint += f"chainrule.one_hot(classes, {x.shape[1]}) makes {x.shape[1]} columns"
    elif target.ndim > 1 and (target.shape[0], *target.shape[2:]) == x.shape:
        hint = "the scores come first: cross_entropy(scores, target)"
    raise ShapeError(
        f"{op}: target {target.spec} of probabilities must have the shape of input {x.spec}",
        hint=hint,
    )


def _classes(op: str, x: Tensor, target: Tensor, axis: int, ignore_index: int) -> Classes:
    """Return integer targets after checking their shape and range."""
    if target.dtype.kind == "bool":
        raise DTypeError(
            f"{op}: target {target.spec} holds Booleans, expected classes as integers",
            hint="target.long()",
        )
    expected = (*x.shape[:axis], *x.shape[axis + 1 :])
    if target.shape != expected:
        raise _target_shape_error(op, x, target, expected)
    index = target.long()
    if target.size == 0:
        return Classes(index, None, axis)
    number = x.shape[axis]
    if is_traced(target):
        # The error is built from the elements: the compiled function fails, then the eager one.
        counted = target != ignore_index
        right = (target >= 0) & (target < number) | ~counted
        require(right.all(), IndexRangeError(f"{op}: a target is not one of {number} classes"))
        return Classes(call("where", counted, index, 0), counted, axis)
    values = target.array
    if int(values.min()) >= 0 and int(values.max()) < number and ignore_index not in range(number):
        return Classes(index, None, axis)
    wrong = ((values < 0) | (values >= number)) & (values != ignore_index)
    if wrong.any():
        raise _range_error(op, x, values, wrong, number)
    counted = target != ignore_index
    return Classes(call("where", counted, index, 0), counted, axis)


def _target_shape_error(
    op: str, x: Tensor, target: Tensor, expected: tuple[int, ...]
) -> ShapeError:
    listing = list(expected)
    rule = f"{op}: input {x.spec} needs a target of shape {listing}, got {target.spec}"
    hint = ""
    if target.shape == (*expected, 1):
        hint = f"target.squeeze({len(expected)})"
    elif target.shape == x.shape:
        hint = "target.float() if these are probabilities (one-hot), else target.argmax(1)"
    elif x.ndim > 2 and target.shape == x.shape[:-1]:
        order = ", ".join(map(str, (0, x.ndim - 1, *range(1, x.ndim - 1))))
        hint = f"the classes belong on axis 1: input.permute({order})"
    elif x.shape[:1] != target.shape[:1] and x.ndim and target.ndim:
        rule += f": {x.shape[0]} predictions, {target.shape[0]} targets"
    return ShapeError(rule, hint=hint)


def _range_error(op: str, x: Tensor, values: Array, wrong: Array, number: int) -> ChainruleError:
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f" at position {list(place)}" if place else ""
    hint = f"the last layer needs at least {int(values.max()) + 1} outputs"
    if number == 1:
        hint = "two classes need 2 outputs; one output goes with binary_cross_entropy_with_logits"
    elif int(values.max()) == number and int(values.min()) >= 1:
        hint = "classes count from 0: target - 1"
    elif values[place] < 0:
        hint = f"ignore_index={int(values[place])} leaves such targets out"
    return IndexRangeError(
        f"{op}: target {int(values[place])}{where} is not a class: input {x.spec} has {number} "
        f"class{'es' if number != 1 else ''}, so targets run from 0 to {number - 1}",
        hint=hint,
    )


def _warn_of_probabilities(x: Tensor, axis: int) -> None:
    """Warn if every row holds probabilities; one row is looked at first, so this costs little."""
    if x.size == 0 or x.shape[axis] < 2 or is_traced(x):
        return
    scores = np.moveaxis(np.asarray(x), axis, -1)
    if _are_probabilities(scores[(0,) * (scores.ndim - 1)]) and _are_probabilities(scores):
        caution(
            f"cross_entropy: input {x.spec} looks like probabilities (none negative, all sums 1); "
            "scores before the softmax are expected, and this trains slowly",
            hint="leave the softmax out of the model; use x.softmax(1) only to show probabilities",
        )


def _are_probabilities(rows: Array) -> bool:
    if rows.min() < 0:
        return False
    return bool(np.all(np.abs(rows.sum(-1) - 1.0) <= _PROBABILITY_TOLERANCE))
