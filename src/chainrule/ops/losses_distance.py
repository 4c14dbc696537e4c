"""Losses of distances: examples that belong together near, others far.

Takes: vectors of examples, and which of them belong together. Gives: a 0-d tensor.
The one idea: what is learned is a space, not classes, so examples of classes never seen can be
compared too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.core.shape import broadcast_shapes, normalize_axis
from chainrule.graph.conversion import call
from chainrule.graph.foreign import expect_tensor
from chainrule.graph.op import composite
from chainrule.graph.sample import In, Sample, sample
from chainrule.graph.tensor import Tensor
from chainrule.ops.elementwise import common_floating
from chainrule.ops.loss_parts import matched, plus_or_minus, reduced

__all__ = [
    "contrastive_loss",
    "cosine_embedding_loss",
    "cosine_similarity",
    "nt_xent_loss",
    "pairwise_distance",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

# PyTorch's: added to the squared lengths in `cosine_embedding_loss`.
_TINY_SQUARE = 1e-12
_SIGNS = In(kind="int", values=(1, -1, 1))


def _root(square: Tensor) -> Tensor:
    """Return the square root, with derivative 0 at 0."""
    zero = square == 0
    return call("where", zero, 0.0, call("where", zero, 1.0, square).sqrt())


def _similarity_samples() -> Iterable[Sample]:
    return (
        sample((3, 4), (3, 4)),
        sample((3, 4), (1, 4), dim=-1),
        sample((2, 3, 2), (2, 3, 2), dim=1),
        sample((4,), (4,), dim=0, eps=1e-6),
        sample((1, 2, 3), (2, 1, 3), dim=-2, name="broadcast"),
    )


@composite(_similarity_samples)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors: x1 . x2 / (|x1| |x2|), from -1 to 1.

    Args:
        x1: Vectors along ``dim``.
        x2: Vectors that broadcast with them.
        dim: The axis of the vectors.
        eps: Lengths are raised to this, so a zero vector is similar to none (0).

    Returns:
        The broadcast shape without ``dim``.

    Raises:
        ShapeError: The shapes do not broadcast, or there is no such axis.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[1.0, 0.0], [3.0, 0.0]])
        >>> F.cosine_similarity(x, chainrule.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
        [1.0, 0.0]
    """
    expect_tensor("cosine_similarity", "x1", x1)
    expect_tensor("cosine_similarity", "x2", x2)
    first, second = common_floating(x1, x2)
    shape = broadcast_shapes("cosine_similarity", first.shape, second.shape) or (1,)
    axis = normalize_axis("cosine_similarity", dim, len(shape))
    # Broadcast along the axis itself makes longer vectors, so it comes before the lengths.
    first, second = first.expand(shape), second.expand(shape)
    return (_unit(first, axis, eps) * _unit(second, axis, eps)).sum(axis)


def _unit(x: Tensor, axis: int, eps: float) -> Tensor:
    """Return vectors divided by their lengths, which are at least eps."""
    length = _root((x * x).sum(axis, keepdims=True))
    return x / call("clip", length, eps, None)


def _distance_samples() -> Iterable[Sample]:
    far = In((3, 4), 2.5, 4.0, distinct=True)
    return (
        sample((3, 4), (3, 4)),
        sample(far, (3, 4), p=1.0, keepdim=True),
        sample(far, (3, 4), p=3.0),
        sample(far, (4,), eps=0.1, name="one against many"),
    )


@composite(_distance_samples)
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the distance of vectors: the p-norm of x1 - x2 + eps along the last axis.

    Args:
        x1: Vectors [..., D].
        x2: Vectors that broadcast with them.
        p: Which norm; see `vector_norm`.
        eps: Added to each difference, so that equal vectors have a gradient.
        keepdim: Keep the last axis, with size 1.

    Returns:
        The broadcast shape without its last axis.

    Raises:
        ShapeError: The shapes do not broadcast.
    """
    expect_tensor("pairwise_distance", "x1", x1)
    expect_tensor("pairwise_distance", "x2", x2)
    first, second = common_floating(x1, x2)
    gap = first - second + eps
    if p == 2.0:
        return _root((gap * gap).sum(-1, keepdims=keepdim))
    return call("vector_norm", gap, p, -1, keepdims=keepdim)


def _pair_samples() -> Iterable[Sample]:
    near = In((3, 4), 0.5, 2.0)
    return (
        sample(near, near, _SIGNS),
        sample(near, near, _SIGNS, margin=0.2, reduction="sum"),
        sample(near, near, _SIGNS, margin=-0.5, reduction="none"),
        sample(In((4,), 0.5, 2.0), In((4,), 0.5, 2.0), In(kind="int", values=-1), name="one pair"),
    )


@composite(_pair_samples)
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """Return 1 - cos for target 1, and max(0, cos - margin) for target -1.

    Args:
        input1: Vectors [N, D], or [D].
        input2: Vectors of the same shape.
        target: 1 for alike, -1 for different: [N], or 0-d.
        margin: From which cosine down different is different enough, -1 to 1.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes do not fit.
        ArgumentError: A target is neither 1 nor -1.
    """
    op = "cosine_embedding_loss"
    first, second = matched(op, input1=input1, input2=input2)
    _expect_vectors(op, "input1", first)
    t = plus_or_minus(op, target, first.shape[:-1], first.dtype)
    lengths = ((first * first).sum(-1) + _TINY_SQUARE) * ((second * second).sum(-1) + _TINY_SQUARE)
    cosine = (first * second).sum(-1) / lengths.sqrt()
    losses = call("where", t == 1, 1.0 - cosine, call("clip", cosine - margin, 0.0, None))
    return reduced(op, losses, reduction)


def _contrastive_samples() -> Iterable[Sample]:
    first, second = In((3, 4), 0.5, 0.9), In((3, 4), 0.0, 0.3)
    return (
        sample(first, second, _SIGNS, margin=3.0),
        sample(first, second, _SIGNS, margin=3.0, reduction="sum"),
        sample(first, second, _SIGNS, margin=0.1, reduction="none", name="far enough"),
    )


@composite(_contrastive_samples)
def contrastive_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean"
) -> Tensor:
    """Return d² / 2 for target 1, and max(0, margin - d)² / 2 for target -1, with d = |x1 - x2|.

    The loss of siamese networks: pairs alike are pulled together, others pushed apart up to the
    margin. (The paper's Y is 0 for alike and 1 for different: target = 1 - 2 Y.)

    Args:
        input1: Vectors [N, D], or [D].
        input2: Vectors of the same shape.
        target: 1 for alike, -1 for different: [N], or 0-d.
        margin: How far apart is far enough, above 0.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes do not fit.
        ArgumentError: A target is neither 1 nor -1, or the margin is not positive.

    Source: Hadsell, Chopra & LeCun 2006, "Dimensionality reduction by learning an invariant
    mapping".

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> a, b = chainrule.tensor([[0.0], [0.0]]), chainrule.tensor([[2.0], [0.5]])
        >>> F.contrastive_loss(a, b, chainrule.tensor([1, -1]), reduction="none").tolist()
        [2.0, 0.125]
    """
    op = "contrastive_loss"
    first, second = matched(op, input1=input1, input2=input2)
    _expect_vectors(op, "input1", first)
    if not margin > 0:
        raise ArgumentError(f"{op}: margin={margin}, expected a number above 0")
    t = plus_or_minus(op, target, first.shape[:-1], first.dtype)
    square = (first - second).square().sum(-1)
    short = call("clip", margin - _root(square), 0.0, None)
    return reduced(op, call("where", t == 1, square, short.square()) * 0.5, reduction)


def _triplet_samples() -> Iterable[Sample]:
    anchor, near, far = In((3, 4), 0.0, 0.5), In((3, 4), 1.0, 1.5), In((3, 4), 1.7, 2.5)
    return (
        sample(anchor, near, far, margin=3.0),
        sample(anchor, near, far, margin=3.0, p=1.0, swap=True, reduction="sum"),
        sample(anchor, near, far, margin=0.01, eps=0.1, reduction="none"),
    )


@composite(_triplet_samples)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, d(anchor, positive) - d(anchor, negative) + margin).

    Only differences of distances count. Most triplets soon cost nothing: choose hard ones.

    Args:
        anchor: Vectors [..., D].
        positive: Vectors of the anchors' kind, of the same shape.
        negative: Vectors of another kind, of the same shape.
        margin: How much farther the negative one should be, above 0.
        p: Which norm; see `pairwise_distance`.
        eps: Added to each difference.
        swap: Take the distance of positive and negative where that is smaller.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: The margin is not positive.

    Source: Schroff, Kalenichenko & Philbin 2015, "FaceNet"; Balntas et al. 2016 (swap).
    """

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    op = "triplet_margin_loss"
    return _triplet(op, (anchor, positive, negative), distance, margin, swap, reduction)


@composite(
    lambda: (
        sample(In((3, 4), 0.0, 0.5), In((3, 4), 1.0, 1.5), In((3, 4), 1.7, 2.5), margin=3.0),
        sample((3, 4), (3, 4), (3, 4), margin=9.0, swap=False, reduction="none"),
    )
)
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return `triplet_margin_loss` for a distance of one's own.

    Args:
        anchor: Examples.
        positive: Examples of the anchors' kind, of the same shape.
        negative: Examples of another kind, of the same shape.
        distance_function: Returns the distances of two tensors; None: `pairwise_distance`.
        margin: How much farther the negative one should be, above 0.
        swap: Take the distance of positive and negative where that is smaller.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``.

    Raises:
        ShapeError: The shapes differ.
        ArgumentError: The margin is not positive.
    """
    op = "triplet_margin_with_distance_loss"
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(op, (anchor, positive, negative), distance, margin, swap, reduction)


def _triplet(
    op: str,
    triplets: tuple[Tensor, Tensor, Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    if not margin > 0:
        raise ArgumentError(f"{op}: margin={margin}, expected a number above 0")
    anchor, positive, negative = triplets
    a, near, far = matched(op, anchor=anchor, positive=positive, negative=negative)
    wrong = distance(a, far)
    if swap:
        wrong = call("minimum", wrong, distance(near, far))
    losses = call("clip", distance(a, near) - wrong + margin, 0.0, None)
    return reduced(op, losses, reduction)


@composite(
    lambda: (
        sample((3, 4), (3, 4)),
        sample((2, 3), (2, 3), temperature=0.1, reduction="sum"),
        sample((2, 3), (2, 3), temperature=1.0, reduction="none"),
    )
)
def nt_xent_loss(
    input1: Tensor, input2: Tensor, temperature: float = 0.5, *, reduction: str = "mean"
) -> Tensor:
    """Return the normalised, temperature-scaled cross-entropy of two views of each example.

    For each of the 2 N vectors: -ln of the share that its other view has in the sum of
    e^(cosine / temperature) over all vectors but itself. More examples in a batch are more
    vectors to tell apart, which helps.

    Args:
        input1: First views [N, D].
        input2: Second views of the same examples, in the same order.
        temperature: Small: the nearest wrong vectors count most; above 0.
        reduction: ``"mean"`` or ``"sum"`` over the 2 N vectors, or ``"none"``.

    Returns:
        A 0-d tensor, or [2 N]: the first views, then the second.

    Raises:
        ShapeError: The shapes differ, or are not [N, D].
        ArgumentError: The temperature is not positive.

    Source: Chen, Kornblith, Norouzi & Hinton 2020, "A simple framework for contrastive learning of
    visual representations" (SimCLR), eq. 1.

    Example:
        >>> import chainrule
        >>> import chainrule.nn.functional as F
        >>> x = chainrule.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(F.nt_xent_loss(x, x, temperature=1.0).item(), 4)  # ln(1 + 2 / e)
        0.5514
    """
    op = "nt_xent_loss"
    first, second = matched(op, input1=input1, input2=input2)
    if first.ndim != 2:
        raise ShapeError(f"{op}: input1 {first.spec}, expected vectors of examples [N, D]")
    if not temperature > 0:
        raise ArgumentError(f"{op}: temperature={temperature}, expected a number above 0")
    count = first.shape[0]
    vectors = _unit(call("concat", (first, second)), 1, 1e-8)  # [2N, D]
    alike = (vectors @ vectors.mT) / temperature  # [2N, 2N]
    places = call("arange", 2 * count)
    itself = places.unsqueeze(1) == places
    others = call("where", itself, -math.inf, alike)
    # The other view of vector i is i + N, and back.
    partner = places.unsqueeze(1) == (places + count) % max(2 * count, 1)
    right = call("where", partner, alike, 0.0).sum(1)
    return reduced(op, call("logsumexp", others, 1) - right, reduction)


def _expect_vectors(op: str, name: str, x: Tensor) -> None:
    if x.ndim not in (1, 2):
        raise ShapeError(f"{op}: {name} {x.spec}, expected vectors [N, D] or [D]")
