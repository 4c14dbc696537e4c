"""Losses from distributions: minus the logarithm of the probability that a model gives the target.

Takes: parameters of a distribution, and targets. Gives: a 0-d tensor (or a loss for each element).
The one idea: a network that predicts a distribution says how sure it is, not only what it expects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from chainrule.core.errors import ArgumentError, ShapeError, unknown_word
from chainrule.core.shape import broadcast_shapes
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import floating
from chainrule.ops.loss_parts import expect_not_negative, pair, reduced

__all__ = ["gaussian_nll_loss", "kl_div", "poisson_nll_loss"]


def _gaussian_samples() -> Iterable[Sample]:
    variance = In((3, 2), 0.2, 2.0)
    return (
        sample((3, 2), (3, 2), variance),
        sample((3, 2), (3, 2), variance, full=True, reduction="sum"),
        sample((3, 2), (3, 2), In((3, 1), 0.2, 2.0), reduction="none", name="one variance a row"),
        sample((3, 2), (3, 2), In((3,), 0.2, 2.0), name="one variance an example"),
        sample((3, 2), (2,), variance, name="one target for all examples"),
        sample((2,), (3, 2), In((1,), 0.2, 2.0), reduction="none", name="one mean for all"),
        sample((0, 2), (0, 2), In((0, 2), 0.2, 2.0), reduction="sum", name="no examples"),
    )


@composite(_gaussian_samples)
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Return -ln of the normal density with mean input and variance var at the target.

    (ln v + (input - target)² / v) / 2, with v = max(var, eps). A network that predicts both mean
    and variance learns where its errors are large (the uncertainty of the data).

    Args:
        input: Means, any shape.
        target: Values seen, of the same shape or one that broadcasts with it.
        var: Variances: of the input's shape, of that shape with one size 1 or without the last
            axis, or one number.
        full: Add the constant ln(2 π) / 2.
        eps: Variances are raised to this; their gradient passes all the same.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes do not broadcast, or the variances have another shape.
        ArgumentError: A variance is negative, or ``eps`` is not positive.

    Source: Nix & Weigend 1994, "Estimating the mean and variance of the target distribution".

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> one, two = chainrule.tensor([1.0]), chainrule.tensor([2.0])
        >>> F.gaussian_nll_loss(two, one, one).item()
        0.5
    """
    op = "gaussian_nll_loss"
    expect_tensor(op, "input", input)
    expect_tensor(op, "target", target)
    broadcast_shapes(op, input.shape, target.shape)
    x = floating(input)
    t = target if target.dtype is x.dtype else target.to(x.dtype)
    if not eps > 0:
        raise ArgumentError(f"{op}: eps={eps}, expected a number above 0")
    hint = "predict ln var and give its exp(), or softplus() of the output"
    if isinstance(var, Tensor):
        expect_not_negative(op, "var", var, hint)
        variance = _variances(op, x, var)
    else:
        if not var >= 0:
            raise ArgumentError(f"{op}: var {var} is negative", hint=hint)
        variance = call("full", (), float(var), dtype=x.dtype)
    # The value is raised to eps, the gradient passes as it is.
    raised = (variance - variance.detach()) + eps
    variance = call("where", variance < eps, raised, variance)
    losses = (variance.log() + (x - t).square() / variance) * 0.5
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(op, losses, reduction)


def _variances(op: str, x: Tensor, var: Tensor) -> Tensor:
    made = var.to(x.dtype)
    if x.ndim and var.shape == x.shape[:-1]:
        return made.unsqueeze(-1)
    if var.shape == x.shape or var.ndim == 0:
        return made
    if var.ndim == x.ndim:
        unlike = [v for v, size in zip(var.shape, x.shape, strict=True) if v != size]
        if unlike == [1]:
            return made
    raise ShapeError(
        f"{op}: var {var.spec} must have the shape of input {x.spec}, or 1 as one size",
        hint=f"var.reshape({', '.join(map(str, x.shape))})" if var.size == x.size else "",
    )


def _poisson_samples() -> Iterable[Sample]:
    counts = In((3, 2), 0.0, 5.0, avoid=(1.0,))
    return (
        sample((3, 2), counts),
        sample((3, 2), counts, full=True, reduction="sum"),
        sample(In((3, 2), 0.2, 3.0), counts, log_input=False, reduction="none", name="rates"),
        sample((0,), In((0,)), reduction="sum", name="no examples"),
    )


@composite(_poisson_samples)
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Return -ln of the Poisson probability of counts, without the part that is constant.

    e^input - target input; with ``log_input=False`` input - target ln(input + eps).

    Args:
        input: Logarithms of expected counts, or the expected counts.
        target: Counts, of the same shape.
        log_input: Whether the input holds logarithms.
        full: Add Stirling's approximation of ln(target!) where the target is above 1.
        eps: Keeps the logarithm of 0 finite.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes differ.
    """
    op = "poisson_nll_loss"
    x, t = pair(op, input, target)
    losses = x.exp() - t * x if log_input else x - t * (x + eps).log()
    if full:
        above = call("where", t > 1, t, 2.0)
        stirling = above * above.log() - above + (above * (2 * math.pi)).log() * 0.5
        losses = losses + call("where", t > 1, stirling, 0.0)
    return reduced(op, losses, reduction)


def _divergence_samples() -> Iterable[Sample]:
    logarithms, p = In((3, 4), -3.0, -0.1), In((3, 4), 0.1, 0.9)
    return (
        sample(logarithms, p, reduction="batchmean"),
        sample(logarithms, p, reduction="sum"),
        sample(logarithms, p, reduction="none"),
        sample(logarithms, logarithms, log_target=True, name="logarithms"),
        sample(In((0, 2)), In((0, 2)), reduction="sum", name="no examples"),
    )


@composite(_divergence_samples)
def kl_div(
    input: Tensor, target: Tensor, *, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """Return the Kullback-Leibler divergence of a model from target probabilities.

    sum(t (ln t - input)), with 0 ln 0 = 0. It is 0 if the model is exact, and the bits (in units
    of e) lost by coding with the model else.

    Args:
        input: Logarithms of the model's probabilities, as `log_softmax` gives them.
        target: Probabilities of the same shape.
        reduction: ``"batchmean"``: the sum divided by the first size, the mathematical value;
            ``"mean"`` (PyTorch's default) over all elements, ``"sum"``, or ``"none"``.
        log_target: Whether the targets are logarithms too.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: ``reduction`` is another word.

    Source: Kullback & Leibler 1951, "On information and sufficiency".

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> p = chainrule.tensor([[0.25, 0.75]])
        >>> F.kl_div(p.log(), p, reduction="batchmean").item()
        0.0
    """
    x, t = pair("kl_div", input, target)
    if log_target:
        never = t == -math.inf
        gap = call("where", never, 0.0, t) - call("where", never & x.isinf(), 0.0, x)
        losses = t.exp() * gap
    else:
        zero = t == 0
        own = t * call("where", zero, 1.0, t).log()
        losses = own - t * call("where", zero & x.isinf(), 0.0, x)
    if reduction == "batchmean":
        return losses.sum() / (losses.shape[0] if losses.ndim else 1)
    if reduction not in ("mean", "sum", "none"):
        known = ("batchmean", "mean", "none", "sum")
        raise unknown_word("reduction of kl_div", reduction, known)
    return reduced("kl_div", losses, reduction)
