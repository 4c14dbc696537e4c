"""Penalties: what keeps weights small, against learning the training data by heart.

Takes: a model. Gives: a term for its loss, or its weights brought back into bounds.
The one idea: large weights make a function that turns sharply between examples; biases and the
scales of normalisation do not, so they are left alone (Goodfellow, Bengio & Courville 2016, ch. 7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn.convolution import ConvTranspose
from chainrule.nn.module import Module
from chainrule.nn.normalization import Norm

Weights = Module | Iterable[Tensor]


def weights_of(model: Weights) -> list[Tensor]:
    """Return the weights of a model: parameters of two or more axes, but those of norms.

    Biases, scales and shifts are left out. An iterable of tensors is taken as it is.

    Example:
        >>> from chainrule import nn
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        >>> [weight.shape for weight in weights_of(model)]
        [(4, 3), (2, 4)]
    """
    if not isinstance(model, Module):
        return [model] if isinstance(model, Tensor) else list(model)
    norms = (module for module in model.modules() if isinstance(module, Norm))
    left_out = {id(param) for norm in norms for param in norm.parameters(recurse=False)}
    return [p for p in model.parameters() if p.ndim >= 2 and id(p) not in left_out]


def l1_penalty(model: Weights, strength: float) -> Tensor:
    """Return strength Σ|w| over the weights of a model, a term for the loss.

    It drives weights to exactly 0 and so picks inputs (Tibshirani 1996, "lasso").

    Args:
        model: The model, or the tensors themselves; see `weights_of`.
        strength: At least 0.

    Raises:
        ArgumentError: ``strength`` is negative, or there are no weights.

    Example:
        >>> import chainrule
        >>> l1_penalty([chainrule.tensor([[1.0, -2.0]])], 0.1).item()
        0.30000001192092896
    """
    return _penalty("l1_penalty", model, strength, lambda weight: weight.abs().sum())


def l2_penalty(model: Weights, strength: float) -> Tensor:
    """Return ½ strength Σw² over the weights of a model, a term for the loss.

    Its gradient is strength w, as that of an optimizer's ``weight_decay`` (Hoerl & Kennard 1970,
    "ridge"). With Adam it is not the same as decoupled decay: see `optim.AdamW`.

    Args:
        model: The model, or the tensors themselves; see `weights_of`.
        strength: At least 0.

    Raises:
        ArgumentError: ``strength`` is negative, or there are no weights.
    """
    return _penalty("l2_penalty", model, strength, lambda weight: (weight * weight).sum() * 0.5)


def elastic_penalty(model: Weights, l1: float, l2: float) -> Tensor:
    """Return l1 Σ|w| + ½ l2 Σw² over the weights of a model (Zou & Hastie 2005).

    Args:
        model: The model, or the tensors themselves; see `weights_of`.
        l1: Strength of the first term.
        l2: Strength of the second.

    Raises:
        ArgumentError: One is negative, or there are no weights.
    """
    weights = weights_of(model)
    return l1_penalty(weights, l1) + l2_penalty(weights, l2)


def max_norm_(model: Weights, max_norm: float) -> None:
    """Scale the incoming weights of each unit down to a norm of at most ``max_norm``, in place.

    Called after each step: w ← w min(1, max_norm / ‖w‖) for each output unit or channel
    (Srivastava et al. 2014; 3 to 4 is usual, along with dropout and a large rate).

    Args:
        model: The model, or tensors whose first axis counts units; see `weights_of`.
        max_norm: The largest norm, above 0.

    Raises:
        ArgumentError: ``max_norm`` is not positive.

    Example:
        >>> import chainrule
        >>> weight = chainrule.tensor([[3.0, 4.0], [0.3, 0.4]])
        >>> max_norm_([weight], 1.0)
        >>> [[round(w, 4) for w in row] for row in weight.tolist()]
        [[0.6, 0.8], [0.3, 0.4]]
    """
    if not arguments.number("max_norm_", "max_norm", max_norm, low=0.0):
        raise ArgumentError("max_norm_: max_norm is 0, expected a positive number")
    # Their second axis counts output channels.
    turned: set[int] = set()
    if isinstance(model, Module):
        turned = {id(m.weight) for m in model.modules() if isinstance(m, ConvTranspose)}
    with no_grad():
        for weight in weights_of(model):
            unit = 1 if id(weight) in turned else 0
            axes = tuple(axis for axis in range(weight.ndim) if axis != unit)
            norm = (weight * weight).sum(axes, keepdim=True).sqrt()
            factor = call("where", norm > max_norm, max_norm / norm, call("ones_like", norm))
            weight.copy_(weight * factor)


def decay_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups for an optimizer: weights decay, biases and norms do not.

    Args:
        model: The model.
        weight_decay: Of the first group.

    Example:
        >>> from chainrule import nn, optim
        >>> groups = decay_groups(nn.Linear(3, 2), 0.05)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(1, 0.05), (1, 0.0)]
        >>> optimizer = optim.AdamW(groups, lr=1e-3)
    """
    weights = weights_of(model)
    held = {id(weight) for weight in weights}
    others = [param for param in model.parameters() if id(param) not in held]
    groups = [(weights, weight_decay), (others, 0.0)]
    return [{"params": params, "weight_decay": decay} for params, decay in groups if params]


def _penalty(
    name: str, model: Weights, strength: float, size: Callable[[Tensor], Tensor]
) -> Tensor:
    arguments.number(name, "strength", strength, low=0.0)
    weights = weights_of(model)
    if not weights:
        raise ArgumentError(
            f"{name}: the model has no weights of two or more axes",
            hint="pass the parameters themselves: model.parameters()",
        )
    total = size(weights[0])
    for weight in weights[1:]:
        total = total + size(weight)
    return total * strength
