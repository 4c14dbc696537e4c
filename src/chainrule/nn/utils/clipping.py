"""Utilities on parameters: clipping of gradients, parameters as one vector.

Takes: parameters. Gives: their gradients limited, or all of them laid end to end.
The one idea: one rare step along a cliff must not undo many small ones (Pascanu et al. 2013).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from chainrule.core.dtype import promote
from chainrule.core.errors import ArgumentError, GradientError
from chainrule.core.shape import expect
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together so that their norm is at most ``max_norm``.

    The direction stays; only the length is limited.

    Args:
        parameters: Parameters, or one; those without gradient are passed over.
        max_norm: The largest length.
        norm_type: Which norm: 2, 1, any p > 0, or inf for the largest absolute value.
        error_if_nonfinite: Whether a norm that is NaN or infinite is an error.

    Returns:
        The norm before, a 0-d tensor.

    Raises:
        ArgumentError: ``max_norm`` is negative or NaN, or ``norm_type`` is not positive.
        GradientError: The norm is not finite and ``error_if_nonfinite`` is set.
    """
    if not max_norm >= 0 or not norm_type > 0:
        raise ArgumentError(
            f"clip_grad_norm_: max_norm is {max_norm}, norm_type {norm_type}; expected "
            "max_norm of at least 0 and norm_type above 0"
        )
    owners = _with_gradient(parameters)
    if not owners:
        return call("full", (), 0.0)
    with no_grad():
        norms = [_norm(owner.grad, norm_type) for owner in owners if owner.grad is not None]
        widest = promote(*(norm.dtype for norm in norms))
        total = _norm(call("stack", [norm.to(widest) for norm in norms]), norm_type)
        if error_if_nonfinite and not math.isfinite(total.item()):
            raise GradientError(
                f"clip_grad_norm_: the norm of the gradients is {total.item()}",
                hint="lower the learning rate, or look for log(0), 0/0 and overflow in the loss",
            )
        # 1e-6 as in PyTorch: keeps the quotient finite where all gradients are 0.
        factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for owner in owners:
            if owner.grad is not None:
                # A new tensor: the same gradient tensor may stand in several `.grad`.
                scaled = owner.grad * factor.to(owner.grad.dtype)
                scaled.origin = owner.grad.origin
                owner.grad = scaled
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value].

    Args:
        parameters: Parameters, or one; those without gradient are passed over.
        clip_value: The largest absolute value.

    Raises:
        ArgumentError: ``clip_value`` is negative or NaN.
    """
    if not clip_value >= 0:
        raise ArgumentError(f"clip_grad_value_: clip_value is {clip_value}, expected at least 0")
    with no_grad():
        for owner in _with_gradient(parameters):
            if owner.grad is not None:
                owner.grad = owner.grad.clamp(-clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters flattened and laid end to end."""
    return call("concat", [parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Set all parameters from a vector, as `parameters_to_vector` lays them out.

    Raises:
        ShapeError: The vector has not as many elements as all parameters together.
    """
    owners = list(parameters)
    total = sum(owner.numel() for owner in owners)
    expect(
        vec.shape == (total,),
        "vector_to_parameters: {} for parameters with {} elements",
        *(vec.spec, total),
    )
    start = 0
    with no_grad():
        for owner in owners:
            end = start + owner.numel()
            owner.copy_(vec[start:end].reshape(owner.shape))
            start = end


def _with_gradient(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [parameter for parameter in given if parameter.grad is not None]


def _norm(x: Tensor, kind: float) -> Tensor:
    # Squares of float16 overflow from 256 on.
    x = x.float() if x.dtype.is_half else x
    size = x.abs()
    if math.isinf(kind):
        return size.amax()
    if kind == 1.0:
        return size.sum()
    if kind == 2.0:
        return (x * x).sum().sqrt()
    return (size**kind).sum() ** (1.0 / kind)
