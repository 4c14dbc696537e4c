"""Instance normalisation: mean 0 and variance 1 in each channel of each example.

Takes: inputs [N, C, *S]. Gives: the same shape.
The one idea: what is common to a whole image (its contrast) is taken out, what lies where stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.core.shape import expect
from chainrule.graph.node import no_grad
from chainrule.graph.op import COMPOSITES, Composite, public
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.normalization_groups import expect_channels, scaled, widened

__all__ = ["instance_norm"]


def _samples() -> Iterable[Sample]:
    positive = In((2,), 0.5, 2.0)
    return (
        sample((2, 3, 4)),
        sample((2, 2, 2, 3), (2,), positive, (2,), (2,), eps=0.1, name="scale"),
        sample((1, 2, 3), (2,), positive, (2,), (2,), use_input_stats=False, name="running"),
        sample((0, 2, 3), (2,), positive, (2,), (2,), name="no examples"),
    )


@public
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return inputs with mean 0 and variance 1 in each channel of each example.

    Good for style transfer and generators, where an image's contrast should not matter; harmful
    where it does.

    Args:
        input: [N, C, ...].
        running_mean: [C], or None; moved in place towards the mean over the examples.
        running_var: [C], or None; likewise, by the unbiased variances.
        weight: Scale [C], or None.
        bias: Shift [C], or None.
        use_input_stats: Take mean and (biased) variance from each example itself; if not, the
            running ones.
        momentum: Share of the new value in an update of a running one.
        eps: Added to the variance.

    Returns:
        weight (input - mean) / sqrt(var + eps) + bias, of the input's shape.

    Raises:
        ShapeError: A vector has another size than the channels, or there is one position only,
            so that there is no variance.
        ArgumentError: Running statistics are to be used and are missing.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[[1.0, 3.0], [20.0, 10.0]]])
        >>> F.instance_norm(x, eps=0.0).tolist()
        [[[-1.0, 1.0], [1.0, -1.0]]]

    Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance normalization: the missing ingredient
    for fast stylization".
    """
    expect_channels("instance_norm", input, weight, bias)
    _check_running(input, running_mean, running_var)
    x, given = widened(input)
    if not use_input_stats:
        result = scaled(_by_running(x, running_mean, running_var, eps), weight, bias)
        return result if result.dtype is given else result.to(given)
    count = _positions(x)
    axes = tuple(range(2, x.ndim))
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    variance = centred.square().mean(axes, keepdims=True)
    _update(running_mean, running_var, mean, variance, momentum, count)
    result = scaled(centred * (variance + eps).rsqrt(), weight, bias)
    return result if result.dtype is given else result.to(given)


def _positions(x: Tensor) -> int:
    """Return the number of positions in a channel, at least 2."""
    count = math.prod(x.shape[2:])
    expect(
        count > 1,
        "instance_norm: input {} has {} position in each channel; a variance needs at least 2",
        *(x.spec, count),
        hint="larger images, or batch_norm, which also looks at the other examples",
    )
    return count


def _by_running(x: Tensor, mean: Tensor | None, var: Tensor | None, eps: float) -> Tensor:
    if mean is None or var is None:
        raise ArgumentError(
            "instance_norm: use_input_stats=False needs running_mean and running_var"
        )
    shape = (x.shape[1], *(1,) * (x.ndim - 2))
    return (x - mean.reshape(shape)) * (var.reshape(shape) + eps).rsqrt()


def _update(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    momentum: float,
    count: int,
) -> None:
    """Move running statistics, in place, towards the mean of the examples'."""
    axes = (0, *range(2, mean.ndim))
    if mean.shape[0] == 0:
        return
    with no_grad():
        if running_mean is not None:
            new = mean.detach().mean(axes) * momentum
            running_mean.copy_(running_mean * (1.0 - momentum) + new)
        if running_var is not None:
            new = variance.detach().mean(axes) * (momentum * count / (count - 1))
            running_var.copy_(running_var * (1.0 - momentum) + new)


def _check_running(x: Tensor, *vectors: Tensor | None) -> None:
    for name, vector in zip(("running_mean", "running_var"), vectors, strict=True):
        if vector is not None and vector.shape != (x.shape[1],):
            raise ShapeError(
                f"instance_norm: {name} {vector.spec} does not fit the {x.shape[1]} channels "
                f"(axis 1) of input {x.spec}"
            )


def _pure(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
) -> Tensor:
    """Return `instance_norm` without its change of the running statistics."""
    mean = None if running_mean is None else running_mean.clone()
    var = None if running_var is None else running_var.clone()
    return instance_norm(input, mean, var, weight, bias, use_input_stats, 0.1, eps)


# The samples' check must not see the running statistics change.
COMPOSITES["instance_norm"] = Composite(_pure, _samples)
