"""Losses of distances and rankings: what belongs together near, the rest far.

Takes: vectors or scores of examples, and which of them belong together. Gives: a 0-d tensor.
The one idea: only comparisons are learned, so new classes need no new outputs.
"""

from __future__ import annotations

from collections.abc import Callable

from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.loss import Loss, Reduction
from chainrule.nn.module import Module

__all__ = [
    "ContrastiveLoss",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "NTXentLoss",
    "PairwiseDistance",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class CosineSimilarity(Module):
    """The cosine of the angle between vectors; see `cosine_similarity`.

    Args:
        dim: The axis of the vectors.
        eps: Lengths are raised to this.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = arguments.integer("CosineSimilarity", "dim", dim, least=-64)
        self.eps = arguments.number("CosineSimilarity", "eps", eps, low=0.0)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the similarities."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The distance of vectors along the last axis; see `pairwise_distance`.

    Args:
        p: Which norm; 0 or more.
        eps: Added to each difference.
        keepdim: Keep the last axis, with size 1.

    Raises:
        ArgumentError: ``p`` is negative.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = arguments.number("PairwiseDistance", "p", p, low=0.0)
        self.eps = arguments.number("PairwiseDistance", "eps", eps)
        self.keepdim = arguments.flag("PairwiseDistance", "keepdim", keepdim)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Return the distances."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class HingeEmbeddingLoss(Loss):
    """The distance of pairs alike, the missing distance of others; see `hinge_embedding_loss`.

    Args:
        margin: How far apart is far enough.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(self, margin: float = 1.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = self._number("margin", margin)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of distances for targets 1 and -1 of the same shape."""
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(Loss):
    """How far two scores are from their order; see `margin_ranking_loss`.

    Args:
        margin: By how much one should lead.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(self, margin: float = 0.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = self._number("margin", margin)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Return the loss of two scores for targets 1 (first larger) and -1."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Loss):
    """1 - cos of pairs alike, max(0, cos - margin) of others; see `cosine_embedding_loss`.

    Args:
        margin: From which cosine down different is different enough, -1 to 1.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ArgumentError: The margin is not from -1 to 1.
    """

    def __init__(self, margin: float = 0.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        name = "CosineEmbeddingLoss"
        self.margin = arguments.number(name, "margin", margin, low=-1.0, high=1.0)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Return the loss of vectors [N, D] for targets 1 and -1 [N]."""
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class ContrastiveLoss(Loss):
    """d² / 2 of pairs alike, max(0, margin - d)² / 2 of others; see `contrastive_loss`.

    Args:
        margin: How far apart is far enough, above 0.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ArgumentError: The margin is not positive.
    """

    def __init__(self, margin: float = 1.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.margin = self._positive("margin", margin)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Return the loss of vectors [N, D] for targets 1 and -1 [N]."""
        return F.contrastive_loss(input1, input2, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin); see `triplet_margin_loss`.

    Args:
        margin: How much farther the negative one should be, above 0.
        p: Which norm.
        eps: Added to each difference.
        swap: Take the distance of positive and negative where that is smaller.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ArgumentError: The margin is not positive, or ``p`` is negative.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.margin = self._positive("margin", margin)
        self.p = self._number("p", p, low=0.0)
        self.eps = self._number("eps", eps)
        self.swap = self._flag("swap", swap)

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of three tensors of vectors [N, D]."""
        settings = self.margin, self.p, self.eps, self.swap
        return F.triplet_margin_loss(
            anchor, positive, negative, *settings, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(Loss):
    """`TripletMarginLoss` for a distance of one's own.

    Args:
        distance_function: Returns the distances of two tensors; None: `pairwise_distance`.
        margin: How much farther the negative one should be, above 0.
        swap: Take the distance of positive and negative where that is smaller.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ArgumentError: The margin is not positive.
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.distance_function = distance_function
        self.margin = self._positive("margin", margin)
        self.swap = self._flag("swap", swap)

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of three tensors of examples."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class NTXentLoss(Loss):
    """The loss of SimCLR: each view should be nearest to its other view; see `nt_xent_loss`.

    Args:
        temperature: Small: the nearest wrong vectors count most; above 0.
        reduction: ``mean``, ``sum`` or ``none`` over the 2 N vectors.

    Raises:
        ArgumentError: The temperature is not positive.
    """

    def __init__(self, temperature: float = 0.5, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.temperature = self._positive("temperature", temperature)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """Return the loss of two views of the same examples, [N, D] each."""
        return F.nt_xent_loss(input1, input2, self.temperature, reduction=self.reduction)
