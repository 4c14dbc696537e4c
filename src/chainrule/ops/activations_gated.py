"""Gates and choices: activations in which elements of a tensor act on each other.

Takes: tensors of real numbers, and an axis. Gives: gated halves, or shares that sum to 1.
The one idea: a gate multiplies one half of the numbers by a function of the other half; a choice
is a softmax of scores, with noise if it is to be drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chainrule.core.dtype import DTypeLike, float64
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.core.shape import normalize_axis
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.activations import gelu, silu
from chainrule.ops.elementwise import floating
from chainrule.ops.generator import Generator
from chainrule.ops.random import rand
from chainrule.ops.softmax import softmax

__all__ = ["geglu", "glu", "gumbel_softmax", "reglu", "softmin", "swiglu"]


def _samples() -> Iterable[Sample]:
    return (
        sample((3, 4)),
        sample((2, 6, 2), dim=1),
        sample(In((4,), -6.0, 6.0), dim=0, name="one vector"),
        sample((0, 4), name="empty"),
    )


def _bent_samples() -> Iterable[Sample]:
    return (
        sample(In((3, 4), avoid=(0.0,))),
        sample(In((2, 6, 2), avoid=(0.0,)), dim=1),
        sample((0, 4), name="empty"),
    )


@composite(_samples)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half of the input along an axis, times the sigmoid of the second half.

    Derivative: s(b) with respect to the first half a, a s(b) (1 - s(b)) to the second half b.
    The gradient of a passes an open gate without being squashed.

    Args:
        input: Any shape whose axis ``dim`` has an even size.
        dim: The axis that is split.

    Returns:
        The input's shape with half the size along ``dim``.

    Raises:
        ShapeError: The size along the axis is odd, or there is no such axis.

    Source: Dauphin, Fan, Auli & Grangier 2017, "Language modeling with gated convolutional
    networks".

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.glu(chainrule.tensor([4.0, 0.0])).tolist()
        [2.0]
    """
    return _gated("glu", input, dim, lambda gate: gate.sigmoid())


@composite(_samples)
def swiglu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half of the input, times `silu` of the second half; see `glu`.

    Source: Shazeer 2020, "GLU variants improve Transformer".
    """
    return _gated("swiglu", input, dim, silu)


@composite(_samples)
def geglu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half of the input, times `gelu` of the second half; see `glu`.

    Source: Shazeer 2020, "GLU variants improve Transformer".
    """
    return _gated("geglu", input, dim, gelu)


@composite(_bent_samples)
def reglu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half of the input, times `relu` of the second half; see `glu`.

    Source: Shazeer 2020, "GLU variants improve Transformer".
    """
    return _gated("reglu", input, dim, lambda gate: gate.relu())


def _gated(op: str, input: Tensor, dim: int, gate: Callable[[Tensor], Tensor]) -> Tensor:
    expect_tensor(op, "input", input)
    made = floating(input)
    axis = normalize_axis(op, dim, made.ndim)
    size = made.shape[axis]
    if size % 2:
        raise ShapeError(
            f"{op}: axis {axis} of input {made.spec} has {size} elements, expected an even number",
            hint="the layer before must give twice as many outputs as are wanted",
        )
    before = (slice(None),) * axis
    return made[(*before, slice(0, size // 2))] * gate(made[(*before, slice(size // 2, size))])


def _softmin_samples() -> Iterable[Sample]:
    return (
        sample((3, 4), dim=1),
        sample((2, 3, 2), dim=1),
        sample(In((2, 3), 1e4 - 1, 1e4 + 1), dim=0, name="large"),
        sample((0, 3), dim=1, name="no rows"),
    )


@composite(_softmin_samples)
def softmin(input: Tensor, dim: int | None = None, *, dtype: DTypeLike | None = None) -> Tensor:
    """Return e^-x / sum(e^-x) along an axis: the softmax of -x, large where x is small.

    Args:
        input: Any shape.
        dim: The axis.
        dtype: Type in which it is computed and returned (default: that of the input).

    Returns:
        Numbers of the same shape that sum to 1 along the axis.

    Raises:
        ArgumentError: No axis was given.
    """
    expect_tensor("softmin", "input", input)
    if dim is None:
        raise ArgumentError(
            f"softmin: the axis of the classes must be given, input {input.spec}",
            hint="softmin(x, dim=-1) for scores [N, K]",
        )
    return softmax(-floating(input), dim=dim, dtype=dtype)


@public
def gumbel_softmax(
    logits: Tensor,
    tau: float = 1.0,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Draw from classes with the probabilities softmax(logits), so that gradients pass.

    softmax((logits + g) / tau) with g = -ln(-ln u), u uniform: the largest element is class k with
    probability softmax(logits)[k]. Towards tau = 0 it becomes one-hot, and its gradient large.

    Args:
        logits: Logarithms of probabilities, up to a constant.
        tau: Temperature, above 0.
        hard: Return exactly one-hot vectors; gradients are those of the soft ones.
        eps: Accepted for PyTorch's sake, which does not use it either.
        dim: The axis of the classes.
        generator: Source of random numbers; None: the default one.

    Returns:
        Numbers of the same shape that sum to 1 along the axis.

    Raises:
        ArgumentError: ``tau`` is not positive.

    Source: Jang, Gu & Poole 2017, "Categorical reparameterization with Gumbel-softmax"; Maddison,
    Mnih & Teh 2017, "The concrete distribution".
    """
    expect_tensor("gumbel_softmax", "logits", logits)
    if not tau > 0:
        raise ArgumentError(f"gumbel_softmax: tau is {tau}, expected a number above 0")
    made = floating(logits)
    axis = normalize_axis("gumbel_softmax", dim, made.ndim)
    # In float64, where u = 0, with noise of -inf, is out of reach.
    drawn = rand(made.shape, dtype=float64, generator=generator)
    noise = -(-call("clip", drawn, 2.0**-54, None).log()).log()
    soft = softmax((made + noise.to(made.dtype)) / tau, axis)
    if not hard:
        return soft
    positions = call("arange", made.shape[axis]).reshape((-1,) + (1,) * (made.ndim - 1 - axis))
    chosen = (positions == soft.detach().argmax(axis, keepdims=True)).to(soft.dtype)
    # Straight through: the value is `chosen`, the gradient that of `soft`.
    return chosen + (soft - soft.detach())
