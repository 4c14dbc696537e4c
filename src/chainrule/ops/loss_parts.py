"""Parts of losses: what they share before and after their formula.

Takes: predictions, targets and settings. Gives: checked pairs, weighted and reduced losses.
The one idea: shapes must agree exactly. What would silently broadcast to a wrong loss is the
commonest mistake here, so it is refused with the remedy.
"""

from __future__ import annotations

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError, ShapeError, unknown_word
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced, require
from chainrule.ops.elementwise import floating

__all__ = [
    "expect_between",
    "expect_not_negative",
    "expect_signs",
    "matched",
    "pair",
    "plus_or_minus",
    "reduced",
    "weighted_reduced",
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


def weighted_reduced(op: str, losses: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Return losses times weights, reduced; the mean is that of the weights.

    Raises:
        ShapeError: The weights do not broadcast to the losses.
    """
    if weight is None:
        return reduced(op, losses, reduction)
    weights = broadcast_weight(op, weight, losses)
    if reduction == "mean":
        return (losses * weights).sum() / weights.sum()
    return reduced(op, losses * weights, reduction)


def broadcast_weight(op: str, weight: Tensor, losses: Tensor) -> Tensor:
    """Return weights in the shape and type of the losses.

    Raises:
        ShapeError: They do not broadcast to that shape.
    """
    expect_tensor(op, "weight", weight)
    try:
        fits = np.broadcast_shapes(weight.shape, losses.shape) == losses.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{op}: weight {weight.spec} does not broadcast to input {losses.spec}")
    return weight.to(losses.dtype).expand(losses.shape)


def pair(op: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return predictions and targets of one shape, targets in the type of the predictions."""
    expect_tensor(op, "input", input)
    expect_tensor(op, "target", target)
    if input.shape != target.shape:
        raise _shape_error(op, input, target)
    made = floating(input)
    return made, target if target.dtype is made.dtype else target.to(made.dtype)


def matched(op: str, **tensors: Tensor) -> list[Tensor]:
    """Return tensors, named as in the call, which must have one shape, in the first one's type."""
    for name, tensor in tensors.items():
        expect_tensor(op, name, tensor)
    (first, *_) = tensors.items()
    made: list[Tensor] = []
    for name, tensor in tensors.items():
        if tensor.shape != first[1].shape:
            hint = f"{name}.expand({', '.join(map(str, first[1].shape))})"
            raise ShapeError(
                f"{op}: {first[0]} {first[1].spec} and {name} {tensor.spec} must have the same "
                "shape",
                hint=hint,
            )
        made.append(floating(tensor) if not made else tensor.to(made[0].dtype))
    return made


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


# --- values ---------------------------------------------------------------------------------


def expect_between(op: str, name: str, values: Tensor) -> None:
    """Check that all values lie from 0 to 1; NaN passes: it is the loss's to show.

    Raises:
        ArgumentError: One does not.
    """
    if is_traced(values):
        outside = (values < 0) | (values > 1)
        error = ArgumentError(f"{op}: {_article(name)} is not between 0 and 1")
        require(~outside.any(), error)
        return
    array = np.asarray(values)
    wrong = (array < 0) | (array > 1)
    if wrong.any():
        value, place = _first(array, wrong)
        raise ArgumentError(
            f"{op}: {name} {value:g}{place} is not between 0 and 1", hint=_remedy(name, value)
        )


def _remedy(name: str, value: float) -> str:
    if name == "input":
        return "scores without a sigmoid go to binary_cross_entropy_with_logits"
    if value == -1:
        return "(target + 1) / 2 for targets -1 and 1"
    if value > 1 and value.is_integer():
        return "cross_entropy for more than two classes"
    return ""


def expect_signs(op: str, target: Tensor, *, exactly: bool = True) -> None:
    """Check that all targets are 1 or -1; NaN passes.

    Args:
        op: The loss, for messages.
        target: The targets.
        exactly: False: only 0 is refused, which stands for "no" elsewhere; any other number is a
            sign with a weight.

    Raises:
        ArgumentError: One is not.
    """
    if is_traced(target):
        missing = target == 0
        if exactly:
            missing = (target.abs() != 1) & ~target.isnan()
        require(~missing.any(), ArgumentError(f"{op}: a target is neither 1 nor -1"))
        return
    array = np.asarray(target)
    unlike = (np.abs(array) != 1) & ~np.isnan(array) if exactly else array == 0
    if unlike.any():
        value, place = _first(array, unlike)
        hint = "2 * target - 1 for targets 0 and 1" if value == 0 else ""
        raise ArgumentError(f"{op}: target {value:g}{place} is neither 1 nor -1", hint=hint)


def plus_or_minus(
    op: str, target: Tensor, shape: tuple[int, ...], dtype: object, *, exactly: bool = True
) -> Tensor:
    """Return targets 1 and -1 of a given shape in a given type, checked; see `expect_signs`.

    Raises:
        ShapeError: They have another shape.
        ArgumentError: One is neither 1 nor -1.
    """
    expect_tensor(op, "target", target)
    if target.shape != shape:
        hint = f"target.reshape({', '.join(map(str, shape))})"
        raise ShapeError(
            f"{op}: target {target.spec} must have the shape {list(shape)}: one for each loss",
            hint=hint if target.size == int(np.prod(shape)) else "",
        )
    expect_signs(op, target, exactly=exactly)
    return call("astype", target, dtype)


def expect_not_negative(op: str, name: str, values: Tensor, hint: str) -> None:
    """Check that no value is below 0; NaN passes.

    Raises:
        ArgumentError: One is.
    """
    if is_traced(values):
        error = ArgumentError(f"{op}: {_article(name)} is negative", hint=hint)
        require(~(values < 0).any(), error)
        return
    array = np.asarray(values)
    wrong = array < 0
    if wrong.any():
        value, place = _first(array, wrong)
        raise ArgumentError(f"{op}: {name} {value:g}{place} is negative", hint=hint)


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _first(array: Array, wrong: Array) -> tuple[float, str]:
    """Return the first wrong value, and where it stands."""
    place = tuple(int(i) for i in np.argwhere(wrong)[0])
    return float(array[place]), f" at position {list(place)}" if place else ""
