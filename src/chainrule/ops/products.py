"""Functions between linear ones: the largest of several, the product of two.

Takes: features [..., D]. Gives: features [..., K].
The one idea: linear maps become more than linear by a maximum over them, or by a second input.
"""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.core.shape import expect, normalize_axis
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor, common
from chainrule.ops.contraction import matmul

__all__ = ["bilinear", "maxout"]


def _maxout_samples() -> Iterable[Sample]:
    return (
        sample(In((2, 6), distinct=True), num_pieces=3),
        sample(In((2, 4, 3), distinct=True), num_pieces=2, dim=1, name="channels"),
        sample((0, 4), num_pieces=2, name="no examples"),
    )


@composite(_maxout_samples)
def maxout(input: Tensor, num_pieces: int, dim: int = -1) -> Tensor:
    """Return the largest of each k neighbouring features: h_i = max_j z_{ik+j}.

    With linear maps before it a unit learns its own convex, piecewise linear activation; it has
    no flat part and so never dies, for k times the weights. Made for use with dropout.

    Args:
        input: Any tensor with D features along ``dim``.
        num_pieces: k, how many pieces a unit has.
        dim: The axis of features: -1 after linear layers, 1 after convolutions.

    Returns:
        The input's shape with D / k features.

    Raises:
        ArgumentError: ``num_pieces`` is below 1.
        ShapeError: D is no multiple of k.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> F.maxout(chainrule.tensor([[1.0, 5.0, -2.0, -3.0]]), 2).tolist()
        [[5.0, -2.0]]

    Source: Goodfellow et al. 2013, "Maxout networks".
    """
    expect_tensor("maxout", "input", input)
    if not isinstance(num_pieces, int) or num_pieces < 1:
        raise ArgumentError(f"maxout: num_pieces={num_pieces!r}, expected an integer from 1 on")
    axis = normalize_axis("maxout", dim, input.ndim)
    shape = input.shape
    expect(
        shape[axis] % num_pieces == 0,
        "maxout: the {} features along axis {} of input {} are no multiple of {} pieces",
        *(shape[axis], axis, input.spec, num_pieces),
    )
    units = shape[axis] // num_pieces
    split = input.reshape(*shape[:axis], units, num_pieces, *shape[axis + 1 :])
    return call("amax", split, axis + 1)


def _bilinear_samples() -> Iterable[Sample]:
    return (
        sample((2, 3), (2, 2), (4, 3, 2), (4,)),
        sample((2, 1, 2), (2, 1, 3), (2, 2, 3), name="no bias"),
        sample((0, 2), (0, 3), (2, 2, 3), (2,), name="no examples"),
    )


@composite(_bilinear_samples)
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return y_k = x₁ᵀ W_k x₂ + b_k: how well two inputs go together, in K ways.

    Args:
        input1: [..., D1].
        input2: [..., D2], the other axes equal.
        weight: [K, D1, D2].
        bias: [K], or None.

    Returns:
        [..., K].

    Raises:
        ShapeError: The shapes do not belong together.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> one, two = chainrule.tensor([[1.0, 2.0]]), chainrule.tensor([[3.0]])
        >>> F.bilinear(one, two, chainrule.tensor([[[10.0], [1.0]]])).tolist()
        [[36.0]]
    """
    expect_tensor("bilinear", "input1", input1)
    expect_tensor("bilinear", "input2", input2)
    outputs = weight.shape[0] if weight.ndim else 0
    expect(
        weight.ndim == 3
        and min(input1.ndim, input2.ndim) >= 1
        and input1.shape[:-1] == input2.shape[:-1]
        and (input1.shape[-1], input2.shape[-1]) == weight.shape[1:],
        "bilinear: input1 {} [..., D1], input2 {} [..., D2] and weight {} [K, D1, D2] do not "
        "belong together",
        *(input1.spec, input2.spec, weight.spec),
    )
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"bilinear: bias {bias.spec} must have one element for each of {outputs}")
    first, second, w = common(input1, input2, weight)
    columns = w.permute(1, 0, 2).reshape(w.shape[1], -1)  # [D1, K D2]
    rows = matmul(first, columns).reshape(*first.shape[:-1], outputs, w.shape[2])
    result = (rows * second.unsqueeze(-2)).sum(-1)
    return result if bias is None else result + bias
