"""Activations of straight pieces: cheap bends, with a kink where two pieces meet.

Takes: tensors of real numbers. Gives: tensors of the same shape.
The one idea: the derivative at a kink is that of the piece which PyTorch takes; nothing outside
of the piece in question is ever computed with, so infinities stay harmless.
"""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.activations import bent_samples
from chainrule.ops.elementwise import floating
from chainrule.ops.generator import Generator
from chainrule.ops.random import rand

__all__ = [
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "prelu",
    "relu6",
    "rrelu",
    "softshrink",
    "threshold",
]


def _leaky_samples() -> Iterable[Sample]:
    return (
        *bent_samples(0.0),
        sample(In((4,), avoid=(0.0,)), negative_slope=0.2),
        sample(In((4,), avoid=(0.0,)), negative_slope=0.0, name="no slope"),
    )


@composite(_leaky_samples)
def leaky_relu(x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x where it is positive, and ``negative_slope`` x elsewhere.

    Derivative: 1 where positive, ``negative_slope`` elsewhere. Range: all numbers. No unit can
    die, as with `relu`; whether that helps depends on the task.

    Args:
        x: Any shape.
        negative_slope: Slope for x <= 0; the derivative at 0 is this one.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Source: Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic
    models".
    """
    made = floating(x)
    if negative_slope == 0.0:
        return made.relu()  # -inf times 0 is NaN, the rectifier of -inf is 0
    return call("where", made > 0, made, made * negative_slope)


def _prelu_samples() -> Iterable[Sample]:
    def signed(*shape: int) -> In:
        return In(shape, avoid=(0.0,))

    slope = In((3,), 0.1, 0.5)
    return (
        sample(signed(2, 3), In((1,), 0.1, 0.5), name="one slope"),
        sample(signed(2, 3), slope, name="features"),
        sample(signed(2, 3, 2, 2), slope, name="channels"),
        sample(signed(4), In((1,), 0.1, 0.5), name="vector"),
        sample(signed(), In((), 0.1, 0.5), name="0-d"),
        sample((0, 3), slope, name="empty"),
    )


@composite(_prelu_samples)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return the input where it is positive, and weight times it elsewhere.

    Derivative: 1 where positive, the weight elsewhere; with respect to the weight: min(x, 0).
    Range: all numbers. `leaky_relu` with a slope that is learned: do not let weight decay pull
    it to 0.

    Args:
        input: [N, C, ...], or any shape with a single slope.
        weight: The slopes: one number (0-d or [1]), or one for each channel [C].

    Returns:
        The shape of the input.

    Raises:
        ShapeError: There is neither one slope nor one for each channel.

    Source: He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers".

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.prelu(chainrule.tensor([[-2.0, -2.0]]), chainrule.tensor([0.5, 0.25])).tolist()
        [[-1.0, -0.5]]
    """
    expect_tensor("prelu", "input", input)
    expect_tensor("prelu", "weight", weight)
    made = floating(input)
    slopes = weight.reshape(_slopes_shape(made, weight))
    positive = made > 0
    # Where the input is +inf the slope's gradient would be 0 times inf.
    below = call("where", positive, 0.0, made)
    return call("where", positive, made, below * slopes)


def _slopes_shape(x: Tensor, weight: Tensor) -> tuple[int, ...]:
    """Return the shape in which the slopes broadcast with the input."""
    if weight.numel() == 1 and weight.ndim <= 1:
        return ()
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.shape != (channels,):
        raise ShapeError(
            f"prelu: weight {weight.spec} must hold one slope, or one for each of the "
            f"{channels} channels of input {x.spec}",
            hint=f"nn.PReLU({channels})" if channels > 1 else "nn.PReLU()",
        )
    return (channels,) + (1,) * (x.ndim - 2)


def _rrelu_samples() -> Iterable[Sample]:
    return (*bent_samples(0.0), sample(In((4,), avoid=(0.0,)), lower=0.2, upper=0.4))


@composite(_rrelu_samples)
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return the input where it is positive, and a random multiple of it elsewhere.

    Derivative: 1 where positive, the multiple drawn elsewhere. Range: all numbers. The noise
    works against overfitting on small data.

    Args:
        input: Any shape.
        lower: Smallest multiple.
        upper: Largest multiple.
        training: Whether each element draws its own; else all take (lower + upper) / 2.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.
        generator: Source of random numbers; None: the default one.

    Returns:
        The same shape.

    Raises:
        ArgumentError: ``lower`` is above ``upper``, or one of them is not finite.

    Source: Xu, Wang, Chen & Li 2015, "Empirical evaluation of rectified activations in
    convolutional network".
    """
    check_slopes("rrelu", lower, upper)
    made = floating(input)
    if not training:
        return leaky_relu(made, (lower + upper) / 2)
    drawn = rand(made.shape, generator=generator) * (upper - lower) + lower
    slopes = drawn if drawn.dtype is made.dtype else drawn.to(made.dtype)
    return call("where", made > 0, made, made * slopes)


def check_slopes(op: str, lower: float, upper: float) -> None:
    """Check the range of random slopes.

    Raises:
        ArgumentError: It is empty or not finite.
    """
    if not -float("inf") < lower <= upper < float("inf"):
        raise ArgumentError(
            f"{op}: slopes from lower={lower} to upper={upper}, expected a finite range",
            hint=f"lower={upper}, upper={lower}" if upper < lower else "",
        )


def _hardtanh_samples() -> Iterable[Sample]:
    wide = In((3,), -3.0, 4.0, avoid=(-2.0, 3.0))
    return (*bent_samples(-1.0, 1.0), sample(wide, min_val=-2.0, max_val=3.0))


@composite(_hardtanh_samples)
def hardtanh(
    x: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Return x limited to a range.

    Derivative: 1 inside, 0 outside and at the ends. Range: min_val to max_val. A cheap `tanh`;
    outside of the range a unit gets no gradient at all.

    Args:
        x: Any shape.
        min_val: Smallest result.
        max_val: Largest result.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Raises:
        ArgumentError: The range is empty.

    Source: Collobert 2004, "Large scale machine learning".
    """
    if min_val > max_val:
        raise ArgumentError(f"hardtanh: min_val={min_val} must not be above max_val={max_val}")
    made = floating(x)
    inner = call("where", made >= max_val, max_val, made)
    return call("where", made <= min_val, min_val, inner)


@composite(lambda: bent_samples(0.0, 6.0))
def relu6(x: Tensor, inplace: bool = False) -> Tensor:
    """Return x limited to the range from 0 to 6.

    Derivative: 1 between 0 and 6, else 0. For arithmetic of few bits, which needs a known range.

    Args:
        x: Any shape.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Source: Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10".
    """
    return hardtanh(x, 0.0, 6.0)


@composite(lambda: bent_samples(-3.0, 3.0))
def hardsigmoid(x: Tensor, inplace: bool = False) -> Tensor:
    """Return relu6(x + 3) / 6, a cheap `sigmoid`.

    Derivative: 1/6 between -3 and 3, else 0. Range: 0 to 1, both included: beyond ±3 no gradient
    comes through.

    Args:
        x: Any shape.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Source: Courbariaux, Bengio & David 2015, "BinaryConnect"; the form of Howard et al. 2019,
    "Searching for MobileNetV3".
    """
    return hardtanh(floating(x) + 3.0, 0.0, 6.0) / 6.0


@composite(lambda: bent_samples(-3.0, 3.0))
def hardswish(x: Tensor, inplace: bool = False) -> Tensor:
    """Return x relu6(x + 3) / 6, a cheap `silu`.

    Derivative: 0 up to -3, (2 x + 3) / 6 between, 1 from 3 on. Range: from -3/8 up.

    Args:
        x: Any shape.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Source: Howard et al. 2019, "Searching for MobileNetV3".
    """
    made = floating(x)
    inner = hardtanh(made, -3.0, 3.0)  # x (x + 3) at -inf would be inf times 0
    return call("where", made >= 3.0, made, inner * (inner + 3.0) / 6.0)


@composite(lambda: (*bent_samples(-0.5, 0.5), sample(In((4,), avoid=(-1.0, 1.0)), lambd=1.0)))
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return 0 where the input is from -lambd to lambd, and the input elsewhere.

    Derivative: 0 within, 1 outside. Range: all numbers but those within. Hard thresholding of
    sparse codes: it jumps, so a network trained with it may too.

    Args:
        input: Any shape.
        lambd: Half the width of what becomes 0.

    Returns:
        The same shape.

    Source: Donoho & Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """
    made = floating(input)
    return call("where", (made >= -lambd) & (made <= lambd), 0.0, made)


@composite(lambda: (*bent_samples(-0.5, 0.5), sample(In((4,), avoid=(-1.0, 1.0)), lambd=1.0)))
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return the input moved towards 0 by lambd, and 0 where it would cross it.

    Derivative: 0 from -lambd to lambd, 1 outside. Range: all numbers. Soft thresholding: the
    step of L1-regularised least squares.

    Args:
        input: Any shape.
        lambd: How far; 0 or more.

    Returns:
        The same shape.

    Raises:
        ArgumentError: ``lambd`` is negative.

    Source: Donoho 1995, "De-noising by soft-thresholding".
    """
    if not lambd >= 0:
        raise ArgumentError(f"softshrink: lambd is {lambd}, expected 0 or more")
    made = floating(input)
    return made - call("clip", made, -lambd, lambd)


def _threshold_samples() -> Iterable[Sample]:
    bent = In((2, 3), avoid=(0.5,))
    return (
        sample(bent, threshold=0.5, value=-1.0),
        sample(In((), avoid=(0.1,)), threshold=0.1, value=20.0, name="0-d"),
        sample((0, 2), threshold=0.0, value=0.0, name="empty"),
    )


@composite(_threshold_samples)
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return the input where it is above a threshold, and a fixed value elsewhere.

    Derivative: 1 above, else 0. `relu` is threshold 0 and value 0.

    Args:
        input: Any shape.
        threshold: What must be exceeded.
        value: The result elsewhere.
        inplace: Accepted for PyTorch's sake: elements of tensors never change.

    Returns:
        The same shape.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.threshold(chainrule.tensor([0.0, 2.0]), 1.0, -1.0).tolist()
        [-1.0, 2.0]
    """
    made = floating(input)
    return call("where", made <= threshold, value, made)
