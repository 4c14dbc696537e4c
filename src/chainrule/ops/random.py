"""Random tensors: uniform, normal, whole and permuted numbers, reproducible everywhere.

Takes: shapes, parameters, a generator. Gives: tensors of random numbers.
The one idea: a `Generator` is a key and a counter, and each call reserves a block of counters;
the numbers are functions of both (see `random_bits`), so the same seed gives the same bits on
every machine. (Normal numbers pass through log and cos, whose last bit may differ.)
"""

from __future__ import annotations

import math

import numpy as np

from chainrule.core.device import as_device
from chainrule.core.dtype import (
    DType,
    DTypeLike,
    as_dtype,
    bfloat16,
    float16,
    float32,
    float64,
    int64,
    uint32,
    uint64,
)
from chainrule.core.errors import ArgumentError, DTypeError
from chainrule.core.shape import Shape, normalize_shape
from chainrule.graph.conversion import call
from chainrule.graph.op import public
from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops.cast import astype
from chainrule.ops.creation import Size, leaf_if, size_from
from chainrule.ops.elementwise import Operand, floating
from chainrule.ops.generator import Generator, default_generator, manual_seed
from chainrule.ops.philox import blocks_for, random_bits

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "manual_seed",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "truncated_normal",
    "uniform",
]

# From that many of a word's top bits a number in [0, 1) is made, all that the type resolves.
_DIGITS = {float16: 11, bfloat16: 8, float32: 24, float64: 53}

_LOW = 2**32 - 1


def _bits(shape: Shape, dtype: DType, generator: Generator | None) -> Tensor:
    source = default_generator() if generator is None else generator
    return random_bits(source.reserve(blocks_for(shape, dtype)), shape, dtype=dtype)


def _unit(shape: Shape, dtype: DType, generator: Generator | None) -> Tensor:
    """Return numbers in [0, 1), multiples of 2^-digits."""
    digits = _DIGITS[dtype]
    word = uint64 if dtype is float64 else uint32
    top = _bits(shape, word, generator) >> (word.bits - digits)
    return astype(top, dtype) * 2.0**-digits


def _checked(name: str, dtype: DTypeLike | None, device: str) -> DType:
    as_device(device)
    target = float32 if dtype is None else as_dtype(dtype)
    if not target.is_floating:
        raise DTypeError(
            f"{name}: got dtype {target.name}, expected a floating type",
            hint="chainrule.randint gives integers",
        )
    return target


@public
def rand(
    *size: Size,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return numbers distributed uniformly on [0, 1), ``rand(2, 3)`` or ``rand((2, 3))``.

    Args:
        size: Shape of the result.
        generator: Source of random numbers (default: the one that `manual_seed` seeds).
        dtype: A floating type (default: float32). The numbers are the multiples of 2^-24
            (float32) or 2^-53 (float64), all equally likely.
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.

    Raises:
        DTypeError: The dtype is not floating.

    Example:
        >>> import chainrule
        >>> chainrule.rand(2, 3, generator=chainrule.Generator(0)).shape
        (2, 3)
    """
    target = _checked("rand", dtype, device)
    return leaf_if(_unit(size_from("rand", size), target, generator), requires_grad)


@public
def uniform(
    low: float,
    high: float,
    size: Size,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return numbers distributed uniformly on [low, high); see `rand` for the arguments.

    Raises:
        ArgumentError: The bounds are not finite and in order.
    """
    target = _checked("uniform", dtype, device)
    if not -math.inf < low <= high < math.inf:
        raise ArgumentError(f"uniform: from {low} to {high}: expected finite bounds in order")
    made = _unit(normalize_shape("uniform", size), target, generator) * (high - low) + low
    if low < high and not target.is_half:
        # Rounding may reach the upper bound, which does not belong to the range.
        below = np.nextafter(target.compute.type(high), target.compute.type(low))
        made = call("minimum", made, float(below))
    return leaf_if(made, requires_grad)


@public
def randn(
    *size: Size,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return numbers from the standard normal distribution, ``randn(2, 3)`` or ``randn((2, 3))``.

    By the method of Box and Muller (1958): the angle of a point is uniform, its squared
    distance exponential. The largest numbers possible are 6.7 (float32) and 8.6 (float64)
    standard deviations from 0. See `rand` for the arguments.

    Raises:
        DTypeError: The dtype is not floating.
    """
    target = _checked("randn", dtype, device)
    return leaf_if(_normal(size_from("randn", size), target, generator), requires_grad)


def _normal(shape: Shape, dtype: DType, generator: Generator | None) -> Tensor:
    count = math.prod(shape)
    compute = float64 if dtype is float64 else float32
    word = uint64 if compute is float64 else uint32
    half = ((count + 1) // 2,)
    # In (0, 1], so that the logarithm is finite, and as fine near 0 as the word allows.
    share = (astype(_bits(half, word, generator), compute) + 0.5) * 2.0**-word.bits
    radius = call("sqrt", call("log", share) * -2)
    # cos(2π (u + 3/4)) = sin(2π u): both coordinates of the point in one pass.
    turns = _unit(half, compute, generator) + tensor([[0.0], [0.75]], dtype=compute)
    both = (radius * call("cos", turns * (2 * math.pi))).reshape(-1)
    drawn = both if count % 2 == 0 else both[:count]
    return astype(drawn.reshape(shape), dtype)


@public
def normal(
    mean: float | Tensor,
    std: float | Tensor,
    size: Size | None = None,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return numbers from normal distributions with given means and standard deviations.

    Args:
        mean: A number, or a tensor of means.
        std: A number, or a tensor of standard deviations that broadcasts with the means.
        size: Shape of the result; not needed if a parameter is a tensor.
        generator: Source of random numbers (default: the one that `manual_seed` seeds).
        dtype: A floating type; by default that of the parameters, else float32.
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.

    Raises:
        ArgumentError: The standard deviation is negative, or no shape can be told.
    """
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    if size is None and not tensors:
        raise ArgumentError("normal: no size given", hint="chainrule.normal(0, 1, (2, 3))")
    if not isinstance(std, Tensor) and not std >= 0:
        raise ArgumentError(f"normal: std is {std}, expected 0 or more")
    if dtype is None and tensors:
        dtype = floating(tensors[0]).dtype
    target = _checked("normal", dtype, device)
    shape = np.broadcast_shapes(*(t.shape for t in tensors)) if size is None else size
    drawn = _normal(normalize_shape("normal", shape), target, generator)
    return leaf_if(astype(drawn * std + mean, target), requires_grad)


@public
def truncated_normal(
    mean: float,
    std: float,
    low: float,
    high: float,
    size: Size,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Return numbers from a normal distribution cut off below low and above high.

    By inversion: x = mean + std √2 erfinv(u) for u uniform between the bounds' erf.

    Args:
        mean: Mean before the cut.
        std: Standard deviation before the cut, above 0.
        low: Smallest number possible.
        high: Largest number possible.
        size: Shape of the result.
        generator: Source of random numbers (default: the one that `manual_seed` seeds).
        dtype: A floating type (default: float32).
        requires_grad: Whether operations on it are recorded.
        device: Where it lives.

    Raises:
        ArgumentError: ``std`` is not positive, or the range is empty or more than some eight
            standard deviations from the mean.
    """
    target = _checked("truncated_normal", dtype, device)
    if not std > 0:
        raise ArgumentError(f"truncated_normal: std is {std}, expected a number above 0")
    scale = std * math.sqrt(2)
    start, end = math.erf((low - mean) / scale), math.erf((high - mean) / scale)
    if not start < end:
        raise ArgumentError(
            f"truncated_normal: from {low} to {high} lies next to nothing of a normal "
            f"distribution with mean {mean} and standard deviation {std}"
        )
    share = _unit(normalize_shape("truncated_normal", size), float64, generator)
    drawn = call("erfinv", share * (end - start) + start) * scale + mean
    return leaf_if(call("clip", astype(drawn, target), low, high), requires_grad)


@public
def randint(
    low: int,
    high: int | Size | None = None,
    size: Size | None = None,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    device: str = "cpu",
) -> Tensor:
    """Return whole numbers from low to high - 1, all equally likely; ``randint(high, size)`` too.

    For n different numbers the probabilities differ by less than one part in 2^64 / n.

    Args:
        low: Smallest number; with two arguments it is the upper end, and the smallest is 0.
        high: Upper end, itself excluded.
        size: Shape of the result.
        generator: Source of random numbers (default: the one that `manual_seed` seeds).
        dtype: Type of the elements (default: int64).
        device: Where it lives.

    Raises:
        ArgumentError: The range is empty, or does not fit the dtype.

    Example:
        >>> import chainrule
        >>> dice = chainrule.randint(1, 7, (100,), generator=chainrule.Generator(0))
        >>> dice.min().item(), dice.max().item()
        (1, 6)
    """
    as_device(device)
    if size is None:
        if high is None:
            raise ArgumentError("randint: no size given", hint="chainrule.randint(0, 10, (2, 3))")
        low, high, size = 0, low, high
    if not isinstance(high, int):
        raise ArgumentError(f"randint: high is {high!r}, expected an integer")
    target = int64 if dtype is None else as_dtype(dtype)
    _check_range(low, high, target)
    span = high - low
    bits = _bits(normalize_shape("randint", size), uint64, generator)
    offset = bits if span == 2**64 else _scaled(bits, span)
    if target is uint64:
        return offset + low
    return astype(astype(offset, int64) + low, target)


def _scaled(bits: Tensor, span: int) -> Tensor:
    """Return ⌊bits span / 2^64⌋ by halves, whose products fit 64 bits (Lemire 2019)."""
    high, low = bits >> 32, bits & _LOW
    if span <= 2**32:
        return (high * span + ((low * span) >> 32)) >> 32
    span_high, span_low = span >> 32, span & _LOW
    middle = high * span_low + ((low * span_low) >> 32)
    carry = low * span_high + (middle & _LOW)
    return high * span_high + (middle >> 32) + (carry >> 32)


def _check_range(low: int, high: int, dtype: DType) -> None:
    if low >= high:
        raise ArgumentError(f"randint: from {low} to {high} there is no number; high is excluded")
    if dtype.kind == "float":
        smallest, largest = -(2 ** _DIGITS[dtype]), 2 ** _DIGITS[dtype]
    elif dtype.kind == "bool":
        smallest, largest = 0, 1
    else:
        info = np.iinfo(dtype.storage)
        smallest, largest = int(info.min), int(info.max)
    if low < smallest or high - 1 > largest:
        raise ArgumentError(
            f"randint: from {low} to {high - 1} does not fit {dtype.name} ({smallest} to {largest})"
        )


@public
def bernoulli(
    p: Operand, size: Size | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Return 1 with probability p and 0 otherwise.

    Args:
        p: Probabilities, a tensor; or one number, with ``size``.
        size: Shape of the result (default: that of p).
        generator: Source of random numbers (default: the one that `manual_seed` seeds).

    Returns:
        Zeros and ones in p's dtype (float32 for a number).

    Raises:
        ArgumentError: A single probability is not between 0 and 1.
    """
    if isinstance(p, int | float) and not 0 <= p <= 1:
        raise ArgumentError(f"bernoulli: p is {p}, expected a probability from 0 to 1")
    chance = floating(p)
    shape = chance.shape if size is None else normalize_shape("bernoulli", size)
    compute = float64 if chance.dtype is float64 else float32
    drawn = _unit(shape, compute, generator) < astype(chance.detach(), compute)
    return astype(drawn, chance.dtype)


@public
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    device: str = "cpu",
) -> Tensor:
    """Return the numbers from 0 to n - 1 in random order.

    The order that sorts n random words of 64 bits: words meet with probability n² / 2^65.

    Args:
        n: How many numbers.
        generator: Source of random numbers (default: the one that `manual_seed` seeds).
        dtype: Type of the elements (default: int64).
        device: Where it lives.
    """
    as_device(device)
    (count,) = normalize_shape("randperm", n)
    order = call("argsort", _bits((count,), uint64, generator), 0)
    return astype(order, int64 if dtype is None else dtype)


@public
def rand_like(
    x: Tensor,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return numbers uniform on [0, 1), in x's shape and dtype; see `rand`."""
    target = _checked("rand_like", x.dtype if dtype is None else dtype, "cpu")
    return leaf_if(_unit(x.shape, target, generator), requires_grad)


@public
def randn_like(
    x: Tensor,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return standard normal numbers, in x's shape and dtype; see `randn`."""
    target = _checked("randn_like", x.dtype if dtype is None else dtype, "cpu")
    return leaf_if(_normal(x.shape, target, generator), requires_grad)


@public
def randint_like(
    x: Tensor,
    low: int,
    high: int | None = None,
    *,
    generator: Generator | None = None,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """Return whole numbers from low to high - 1 (or 0 to low - 1), in x's shape and dtype."""
    first, end = (0, low) if high is None else (low, high)
    target = x.dtype if dtype is None else dtype
    return randint(first, end, x.shape, generator=generator, dtype=target)
