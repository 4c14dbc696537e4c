"""Losses of classes and labels: one of several, or yes and no for each.

Takes: the model's scores and the true classes. Gives: a 0-d tensor, or one number an example.
The one idea: losses take scores as they leave the last layer; softmax and sigmoid belong to the
loss, where they are exact at any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from chainrule.core.errors import ArgumentError
from chainrule.graph.tensor import Tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.loss import Loss, Reduction

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "HingeLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "SigmoidFocalLoss",
    "SoftMarginLoss",
]


class CrossEntropyLoss(Loss):
    """Cross-entropy of classes, from logits: the numbers before a softmax; see `cross_entropy`.

    Args:
        weight: [K], how much each class counts.
        ignore_index: A target that is left out.
        reduction: ``mean`` (over what counts), ``sum`` or ``none``.
        label_smoothing: Part of the probability that is spread evenly over all classes
            (Szegedy et al. 2016), from 0 to 1.

    Raises:
        ArgumentError: A setting is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> loss = nn.CrossEntropyLoss()
        >>> round(loss(chainrule.zeros((2, 4)), chainrule.tensor([0, 3])).item(), 4)
        1.3863
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction=reduction)
        self.weight = self._weights("weight", weight)
        self.ignore_index = ignore_index
        name = type(self).__name__
        self.label_smoothing = arguments.number(
            name, "label_smoothing", label_smoothing, low=0.0, high=1.0
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits [N, K, ...] for class indices [N, ...] or probabilities."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Loss):
    """Cross-entropy of classes, from log-probabilities, as `LogSoftmax` gives them.

    Args:
        weight: [K], how much each class counts.
        ignore_index: A target that is left out.
        reduction: ``mean`` (over what counts), ``sum`` or ``none``.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.weight = self._weights("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of log-probabilities [N, K, ...] for class indices [N, ...]."""
        return F.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class FocalLoss(Loss):
    """Cross-entropy in which easy examples count little; see `focal_loss` (Lin et al. 2017).

    Args:
        weight: [K], how much each class counts (the paper's alpha).
        gamma: How strongly easy examples are left out; 0 or more.
        ignore_index: A target that is left out.
        reduction: ``mean`` (over what counts), ``sum`` or ``none``.

    Raises:
        ArgumentError: ``gamma`` is negative.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        gamma: float = 2.0,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.weight = self._weights("weight", weight)
        self.gamma = self._number("gamma", gamma, low=0.0)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits [N, K, ...] for class indices [N, ...]."""
        return F.focal_loss(
            input,
            target,
            self.weight,
            gamma=self.gamma,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class BCELoss(Loss):
    """Cross-entropy of yes or no, from probabilities; see `binary_cross_entropy`.

    `BCEWithLogitsLoss` is the exact form; leave the sigmoid out of the model then.

    Args:
        weight: How much each element counts; broadcast to the input.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.weight = self._weights("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of probabilities for targets from 0 to 1 of the same shape."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(Loss):
    """Cross-entropy of yes or no, from logits: the numbers before a sigmoid.

    Args:
        weight: How much each element counts; broadcast to the input.
        reduction: ``mean``, ``sum`` or ``none``.
        pos_weight: How much a yes counts against a no; broadcast to the input.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: Reduction = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction=reduction)
        self.weight = self._weights("weight", weight)
        self.pos_weight = self._weights("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits for targets from 0 to 1 of the same shape."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class SigmoidFocalLoss(Loss):
    """`BCEWithLogitsLoss` in which easy examples count little; see `sigmoid_focal_loss`.

    Args:
        alpha: Weight of "yes" against 1 - alpha of "no"; negative: neither is weighted.
        gamma: How strongly easy examples are left out; 0 or more.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ArgumentError: ``alpha`` is above 1, or ``gamma`` negative.
    """

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2.0, *, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.alpha = arguments.number("SigmoidFocalLoss", "alpha", alpha, high=1.0)
        self.gamma = self._number("gamma", gamma, low=0.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits for targets from 0 to 1 of the same shape."""
        return F.sigmoid_focal_loss(input, target, self.alpha, self.gamma, self.reduction)


class DiceLoss(Loss):
    """1 - the Dice coefficient of predicted and true regions; see `dice_loss`.

    Args:
        smooth: Keeps the loss of two empty regions at 0; 0 or more.
        reduction: ``mean``, ``sum`` or ``none`` over the examples.

    Raises:
        ArgumentError: ``smooth`` is negative.
    """

    def __init__(self, smooth: float = 1.0, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.smooth = self._number("smooth", smooth, low=0.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of probabilities [N, ...] for regions of the same shape."""
        return F.dice_loss(input, target, self.smooth, reduction=self.reduction)


class HingeLoss(Loss):
    """max(0, margin - t y) for targets 1 and -1, or its square; see `hinge_loss`.

    Args:
        margin: From where on an example costs nothing.
        squared: Whether each loss is squared.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self, *, margin: float = 1.0, squared: bool = False, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.margin = self._number("margin", margin)
        self.squared = self._flag("squared", squared)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of scores for targets 1 and -1 of the same shape."""
        return F.hinge_loss(
            input, target, margin=self.margin, squared=self.squared, reduction=self.reduction
        )


class SoftMarginLoss(Loss):
    """ln(1 + e^(-t y)) for targets 1 and -1; see `soft_margin_loss`.

    Args:
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of scores for targets 1 and -1 of the same shape."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(Loss):
    """Cross-entropy of yes or no for each of several labels; see `multilabel_soft_margin_loss`.

    Args:
        weight: [K], how much each label counts.
        reduction: ``mean``, ``sum`` or ``none`` over the examples.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, *, reduction: Reduction = "mean") -> None:
        super().__init__(reduction=reduction)
        self.weight = self._weights("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits [N, K] for targets from 0 to 1 of the same shape."""
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiMarginLoss(Loss):
    """The hinge loss of classes; see `multi_margin_loss`.

    Args:
        p: 1, or 2 for the squared hinge.
        margin: By how much the right class should lead.
        weight: [K], how much each class counts.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ArgumentError: ``p`` is another number.
    """

    weight: Tensor | None

    def __init__(
        self,
        p: Literal[1, 2] = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        *,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        if p not in (1, 2):
            raise ArgumentError(f"MultiMarginLoss: p is {p!r}, expected 1 or 2")
        self.p = p
        self.margin = self._number("margin", margin)
        self.weight = self._weights("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of scores [N, K] for class indices [N]."""
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(Loss):
    """The hinge loss of label sets; see `multilabel_margin_loss`.

    Args:
        reduction: ``mean``, ``sum`` or ``none`` over the examples.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of scores [N, K] for labels [N, K], which end with -1."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class CTCLoss(Loss):
    """The loss of labels without known alignment; see `ctc_loss` (Graves et al. 2006).

    Args:
        blank: The class that stands for no label.
        reduction: ``mean`` (each loss divided by its number of labels), ``sum`` or ``none``.
        zero_infinity: Whether sequences too short for their labels count 0.

    Raises:
        ArgumentError: ``blank`` is negative.
    """

    def __init__(
        self, blank: int = 0, reduction: Reduction = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction=reduction)
        self.blank = arguments.integer("CTCLoss", "blank", blank, least=0)
        self.zero_infinity = self._flag("zero_infinity", zero_infinity)

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | Sequence[int],
        target_lengths: Tensor | Sequence[int],
    ) -> Tensor:
        """Return the loss of log-probabilities [T, N, K] for labels [N, S]."""
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )
