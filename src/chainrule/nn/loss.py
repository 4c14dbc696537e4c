"""Losses of numbers: how wrong an output is, as one number that training makes smaller.

Takes: the model's output and the target. Gives: a 0-d tensor, or one number an example.
The one idea: a loss is minus the logarithm of the probability of the target, under some
distribution of errors: normal, Laplace, Poisson.
"""

from __future__ import annotations

from typing import Any, Literal

from chainrule.core.errors import unknown_word
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.nn import arguments
from chainrule.nn import functional as F
from chainrule.nn.module import Module

__all__ = [
    "GaussianNLLLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
]

Reduction = Literal["none", "mean", "sum"]


class Loss(Module):
    """Base class of losses.

    Args:
        reduction: ``mean`` or ``sum`` over the batch; ``none``: no reduction.

    Raises:
        ArgumentError: The reduction is unknown.
    """

    reductions: tuple[str, ...] = ("none", "mean", "sum")

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in self.reductions:
            name = f"{type(self).__name__} reduction"
            raise unknown_word(name, str(reduction), self.reductions)
        self.reduction = reduction

    def _weights(self, name: str, value: Any) -> Tensor | None:
        tensor = None if value is None else as_tensor(value)
        self.register_buffer(name, tensor)
        return tensor

    def _number(self, name: str, value: Any, *, low: float | None = None) -> float:
        if low is None:
            return arguments.number(type(self).__name__, name, value)
        return arguments.number(type(self).__name__, name, value, low=low)

    def _positive(self, name: str, value: Any) -> float:
        return arguments.positive(type(self).__name__, name, value)

    def _flag(self, name: str, value: Any) -> bool:
        return arguments.flag(type(self).__name__, name, value)


class MSELoss(Loss):
    """The squared error (y - t)²; see `mse_loss`.

    Args:
        reduction: ``mean``, ``sum`` or ``none``.
        half: Halve it: 1 / (2 N) sum((y - t)²), as textbooks do.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> nn.MSELoss(half=True)(chainrule.tensor([3.0]), chainrule.tensor([1.0])).item()
        2.0
    """

    def __init__(self, *, reduction: Reduction = "mean", half: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.halved = self._flag("half", half)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predictions for targets of the same shape."""
        return F.mse_loss(input, target, reduction=self.reduction, half=self.halved)


class L1Loss(Loss):
    """The absolute error |y - t|; see `l1_loss`.

    Args:
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predictions for targets of the same shape."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """d² / (2 beta) for small errors d, |d| - beta / 2 beyond beta; see `smooth_l1_loss`.

    Args:
        reduction: ``mean``, ``sum`` or ``none``.
        beta: Where the parabola turns into a line; 0 or more.

    Raises:
        ArgumentError: ``beta`` is negative.
    """

    def __init__(self, *, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.beta = self._number("beta", beta, low=0.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predictions for targets of the same shape."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """d² / 2 for small errors d, delta (|d| - delta / 2) beyond delta; see `huber_loss`.

    Args:
        reduction: ``mean``, ``sum`` or ``none``.
        delta: Where the parabola turns into a line; above 0.

    Raises:
        ArgumentError: ``delta`` is not positive.
    """

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = self._positive("delta", delta)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of predictions for targets of the same shape."""
        return F.huber_loss(input, target, self.reduction, self.delta)


class GaussianNLLLoss(Loss):
    """-ln of a normal density whose mean and variance are predicted; see `gaussian_nll_loss`.

    Args:
        full: Add the constant ln(2 π) / 2.
        eps: Variances are raised to this; above 0.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ArgumentError: ``eps`` is not positive.
    """

    def __init__(
        self, *, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.full = self._flag("full", full)
        self.eps = self._positive("eps", eps)

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """Return the loss of means and variances for targets."""
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(Loss):
    """-ln of the Poisson probability of counts; see `poisson_nll_loss`.

    Args:
        log_input: Whether the input holds logarithms of expected counts.
        full: Add Stirling's approximation of ln(target!).
        eps: Keeps the logarithm of 0 finite, where the input holds no logarithms.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        *,
        eps: float = 1e-8,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.log_input = self._flag("log_input", log_input)
        self.full = self._flag("full", full)
        self.eps = self._number("eps", eps, low=0.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of expected counts for counts of the same shape."""
        return F.poisson_nll_loss(
            input, target, self.log_input, self.full, self.eps, self.reduction
        )


class KLDivLoss(Loss):
    """The Kullback-Leibler divergence of log-probabilities from targets; see `kl_div`.

    Args:
        reduction: ``batchmean`` (the mathematical value), ``mean``, ``sum`` or ``none``.
        log_target: Whether the targets are logarithms too.
    """

    reductions = ("batchmean", "mean", "none", "sum")

    def __init__(
        self,
        *,
        reduction: Literal["batchmean", "mean", "none", "sum"] = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(reduction=reduction)
        self.log_target = self._flag("log_target", log_target)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of log-probabilities for probabilities of the same shape."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
