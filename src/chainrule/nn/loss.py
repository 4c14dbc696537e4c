"""Losses: how wrong an output is, as one number that training makes smaller.

Takes: the model's output and the target. Gives: a 0-d tensor, or one number an example.
The one idea: a loss is minus the logarithm of the probability of the target, under some
distribution of errors: categorical, Bernoulli, normal, Laplace.
"""

from __future__ import annotations

from typing import Any, Literal

from chainrule.core.errors import unknown_word
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.module import Module

Reduction = Literal["none", "mean", "sum"]


class Loss(Module):
    """Base class of losses.

    Args:
        reduction: ``mean`` or ``sum`` over the batch; ``none``: no reduction.

    Raises:
        ArgumentError: The reduction is unknown.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        if reduction not in ("none", "mean", "sum"):
            name = f"{type(self).__name__} reduction"
            raise unknown_word(name, str(reduction), ("none", "mean", "sum"))
        self.reduction = reduction

    def _weights(self, name: str, value: Any) -> Tensor | None:
        tensor = None if value is None else as_tensor(value)
        self.register_buffer(name, tensor)
        return tensor


class CrossEntropyLoss(Loss):
    """Cross-entropy of classes, from logits: the numbers before a softmax.

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


class MSELoss(Loss):
    """The squared error (y - t)².

    Args:
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predictions for targets of the same shape."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """The absolute error |y - t|.

    Args:
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predictions for targets of the same shape."""
        return F.l1_loss(input, target, reduction=self.reduction)
