"""Differences: how much each element exceeds its neighbour.

Takes: a tensor and an axis. Gives: a tensor that is shorter along it.
"""

from __future__ import annotations

from collections.abc import Iterable

from chainrule.core.errors import ArgumentError
from chainrule.core.shape import expect, normalize_axis
from chainrule.graph.conversion import call
from chainrule.graph.op import composite
from chainrule.graph.sample import Sample, sample
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.ops.movement import axis_or_dim
from chainrule.ops.slicing import cut


def _samples() -> Iterable[Sample]:
    return [
        *(sample((5,)), sample((3, 4), axis=0), sample((2, 4), n=2), sample((3,), n=0)),
        sample((2,), n=3, name="nothing left"),
    ]


@composite(_samples)
def diff(
    x: Tensor,
    n: int = 1,
    axis: int = -1,
    *,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
    dim: int | None = None,
) -> Tensor:
    """Return the differences of neighbours along an axis, x[i + 1] - x[i].

    Args:
        x: At least 1-d; of Booleans whether neighbours differ.
        n: How often differences are taken; 0 gives x as it is.
        axis: Along which axis.
        prepend: Elements put before those of x first, alike except along the axis.
        append: Elements put after them.
        dim: Another name for ``axis``.

    Returns:
        A tensor that is shorter by n along the axis.

    Raises:
        ArgumentError: n is negative.
        ShapeError: There is no such axis, or what is put before or after does not fit.

    Example:
        >>> import chainrule
        >>> chainrule.diff(chainrule.tensor([1, 4, 9, 16])).tolist()
        [3, 5, 7]
    """
    x = as_tensor(x)
    expect(x.ndim > 0, "diff: the 0-d tensor {} has no neighbours", x.spec)
    where = normalize_axis("diff", axis_or_dim("diff", axis, dim, -1), x.ndim)
    if n < 0:
        raise ArgumentError(f"diff: n is {n}, expected 0 or more")
    if n == 0:
        return x
    around = [t for t in (prepend, x, append) if t is not None]
    if len(around) > 1:
        x = call("concat", around, where)
    for _ in range(n):
        size = x.shape[where]
        later, earlier = cut(x, where, min(1, size), size), cut(x, where, 0, max(size - 1, 0))
        x = later != earlier if x.dtype.kind == "bool" else later - earlier
    return x
