"""Checks: mistakes that would make a training run for hours and come to nothing.

Takes: the parts of a training, losses, gradients. Gives: errors and warnings that say what to do.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from chainrule.core.dtype import to_compute
from chainrule.core.errors import ArgumentError, GradientError, StateError
from chainrule.graph.tensor import Tensor
from chainrule.nn.module import Module
from chainrule.optim.optimizer import Optimizer
from chainrule.train.batches import Batch
from chainrule.train.measures import checked_loss
from chainrule.train.saved import Counters

__all__ = [
    "DivergenceError",
    "check_depends",
    "check_parts",
    "check_received_gradients",
    "check_weights",
    "finite_loss",
    "step_result",
]

# Longer listings of parameters hide the sentence they belong to.
SHOWN = 8


class DivergenceError(StateError):
    """A loss or a weight is no longer a finite number."""


def check_parts(model: Any, optimizer: Any) -> None:
    """Raise unless the optimizer trains the model.

    Raises:
        ArgumentError: One of them is something else, or the optimizer holds none of the model's
            parameters.
    """
    if isinstance(model, type) or not isinstance(model, Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise ArgumentError(
            f"Trainer: model is {what}, expected an nn.Module",
            hint=f"pass an object: {model.__name__}(...)"
            if isinstance(model, type)
            else "class Net(nn.Module): def forward(self, x): ...",
        )
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(
            f"Trainer: optimizer is {optimizer!r}, expected an optimizer",
            hint="optim.Adam(model.parameters(), lr=1e-3)",
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    if not names:
        raise ArgumentError(
            f"Trainer: {type(model).__name__} has no parameters to train",
            hint="assign layers to attributes in __init__; model.requires_grad_() unfreezes them",
        )
    if not any(id(p) in held for p in model.parameters() if p.requires_grad):
        kind = type(optimizer).__name__
        raise ArgumentError(
            f"Trainer: the optimizer {kind} holds none of the parameters of "
            f"{type(model).__name__} ({_listing(names)}), so training would change nothing",
            hint=f"optim.{kind}(model.parameters(), ...), made after the model",
        )


def check_depends(loss: Tensor) -> None:
    """Raise unless a gradient can flow from a loss.

    Raises:
        GradientError: It depends on nothing that requires a gradient.
    """
    if loss.node is None:
        raise GradientError(
            f"backward: the loss {loss.spec} depends on no parameter, so nothing can be learned",
            hint="compute it from model(inputs), without .detach(), .numpy(), .argmax() or "
            "no_grad() on the way",
        )


def check_received_gradients(model: Module) -> None:
    """Warn of parameters that the loss does not depend on.

    Raises:
        GradientError: It depends on none of them.
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    missing = [name for name, p in trained if p.grad is None]
    if len(missing) == len(trained):
        raise GradientError(
            f"backward: the loss depends on no parameter of {type(model).__name__}, so nothing "
            "can be learned",
            hint="compute it from model(inputs), without .detach() on the way",
        )
    if missing:
        warnings.warn(
            f"{len(missing)} of {len(trained)} parameters received no gradient in the first step "
            f"and are not trained: {_listing(missing)}. Use them in forward(), or say that this "
            "is meant: parameter.requires_grad_(False)",
            UserWarning,
            stacklevel=7,
        )


def step_result(result: Any) -> tuple[Any, Any]:
    """Return output and loss, which a step of the user's own must give.

    Raises:
        ArgumentError: It gave something else.
    """
    if not isinstance(result, tuple) or len(result) != 2:
        raise ArgumentError(
            f"Trainer: the step returned {type(result).__name__}, expected (output, loss)",
            hint="end it with: return output, loss",
        )
    return result


def check_weights(model: Module, counters: Counters, *, rate: float, kept: str) -> None:
    """Raise if a trained weight is not finite, before it is saved.

    Raises:
        DivergenceError: One is not.
    """
    for name, parameter in model.named_parameters():
        if not np.isfinite(to_compute(parameter.array, parameter.dtype)).all():
            raise DivergenceError(
                f"{name} {parameter.spec} holds values that are not finite "
                f"(epoch {counters.epoch + 1}, after step {counters.step})",
                hint=_remedy(rate),
                context=[kept] if kept else (),
            )


def finite_loss(loss: Any, counters: Counters, batch: Batch, *, rate: float, kept: str) -> float:
    """Return the loss of a batch as a number.

    Args:
        loss: What the loss function gave.
        counters: Where the training stands.
        batch: The batch, to look for the cause in.
        rate: The learning rate.
        kept: Which checkpoint is left.

    Raises:
        DivergenceError: It is not finite.
    """
    value = float(checked_loss(loss, "loss").item())
    if math.isfinite(value):
        return value
    last = counters.last_loss
    before = "it is the first one" if last is None else f"the one before was {last:.6g}"
    faults = [_not_finite("inputs", batch.inputs), _not_finite("targets", batch.targets)]
    found = [fault for fault in faults if fault]
    raise DivergenceError(
        f"the loss is {value} at epoch {counters.epoch + 1}, step {counters.step + 1} "
        f"(batch {counters.batch + 1}); {before}",
        hint=f"the cause is in the data: {'; '.join(found)}" if found else _remedy(rate),
        context=[kept] if kept else [],
    )


def _not_finite(name: str, value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    count = 0
    for tensor in values:
        if isinstance(tensor, Tensor) and tensor.dtype.is_floating:
            elements = to_compute(tensor.array, tensor.dtype)
            count += elements.size - int(np.count_nonzero(np.isfinite(elements)))
    return f"the {name} of this batch hold {count:,} values that are not finite" if count else ""


def _remedy(rate: float) -> str:
    lower = f"lr={rate / 10:.3g} instead of {rate:.3g}"
    return (
        f"lower the learning rate ({lower}), clip gradients (Trainer(..., clip_norm=1.0)), and "
        "check that inputs are scaled"
    )


def _listing(names: list[str]) -> str:
    more = f", ... {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
