"""Dropout: leaving elements out at random while training.

Takes: a tensor and a probability. Gives: the tensor with elements set to 0, the rest scaled up.
The one idea: dividing by the share that is kept leaves the expected value unchanged, so nothing
has to be done when predicting (Srivastava et al. 2014).
"""

from __future__ import annotations

from chainrule.core.errors import ArgumentError
from chainrule.graph.conversion import call
from chainrule.graph.op import public
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import floating
from chainrule.ops.generator import Generator
from chainrule.ops.random import rand

__all__ = ["dropout"]


@public
def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Return the input with each element set to 0 with probability p, else divided by 1 - p.

    Args:
        input: Any shape.
        p: Probability of leaving an element out, 0 to 1.
        training: False: return the input as it is.
        generator: Source of random numbers; None: the default one.

    Returns:
        The same shape; all zeros for p = 1.

    Raises:
        ArgumentError: p is not a probability.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.ones((2, 2))
        >>> F.dropout(x, 0.5, training=False).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"dropout: p={p}, expected a probability from 0 to 1")
    x = floating(input)
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    kept = rand(x.shape, generator=generator) >= p
    scale = call("where", kept, 1.0 / (1.0 - p), 0.0)
    return x * (scale if scale.dtype is x.dtype else scale.to(x.dtype))
