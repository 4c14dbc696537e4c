"""Regularizers: what a training does against learning its data by heart, beside the loss.

Takes: a model in training. Gives: terms of the loss, noise, bounds; all inside the compiled step.
The one idea: a step has four places where such a thing can act: before forward, in the loss, on
the gradients, on the new weights. Each regularizer fills in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chainrule.core.errors import ArgumentError, StateError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import after, number
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.nn.penalties import elastic_penalty, l1_penalty, l2_penalty, max_norm_, weights_of

__all__ = [
    *("L1", "L2", "Elastic", "GradientNoise", "MaxNorm", "Regularizer", "WeightNoise"),
]


class Regularizer:
    """Base class: every method may be left as it is.

    Example:
        >>> class Smallness(Regularizer):
        ...     def penalty(self, model):
        ...         return 0.01 * sum((p**2).sum() for p in model.parameters())
    """

    def penalty(self, model: Module) -> Tensor | None:
        """Return a term that is added to the loss before the backward pass, or None.

        The loss that is shown and logged is without it, to be compared with that of validation.
        """
        return None

    def perturb(self, model: Module) -> None:
        """Change weights before the forward pass."""

    def restore(self, model: Module) -> None:
        """Undo what `perturb` did, after the backward pass."""

    def gradients(self, params: list[Tensor]) -> None:
        """Change gradients, after clipping, before the optimizer's step."""

    def project(self, model: Module) -> None:
        """Change weights after the optimizer's step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class L1(Regularizer):
    """Adds strength Σ|w| to the loss; see `chainrule.nn.utils.l1_penalty`.

    Args:
        strength: At least 0.
    """

    def __init__(self, strength: float) -> None:
        self.strength = arguments.number("L1", "strength", strength, low=0.0)

    def penalty(self, model: Module) -> Tensor:
        """Return the term."""
        return l1_penalty(model, self.strength)


class L2(Regularizer):
    """Adds ½ strength Σw² to the loss; see `chainrule.nn.utils.l2_penalty`.

    Args:
        strength: At least 0.
    """

    def __init__(self, strength: float) -> None:
        self.strength = arguments.number("L2", "strength", strength, low=0.0)

    def penalty(self, model: Module) -> Tensor:
        """Return the term."""
        return l2_penalty(model, self.strength)


class Elastic(Regularizer):
    """Adds l1 Σ|w| + ½ l2 Σw² to the loss; see `chainrule.nn.utils.elastic_penalty`.

    Args:
        l1: Strength of the first term.
        l2: Strength of the second.
    """

    def __init__(self, l1: float, l2: float) -> None:
        self.l1 = arguments.number("Elastic", "l1", l1, low=0.0)
        self.l2 = arguments.number("Elastic", "l2", l2, low=0.0)

    def penalty(self, model: Module) -> Tensor:
        """Return the term."""
        return elastic_penalty(model, self.l1, self.l2)


class MaxNorm(Regularizer):
    """Holds each unit's incoming weights within a norm; see `chainrule.nn.utils.max_norm_`.

    Args:
        max_norm: The largest norm: 3 or 4 (Srivastava et al. 2014).
    """

    def __init__(self, max_norm: float = 3.0) -> None:
        if not arguments.number("MaxNorm", "max_norm", max_norm, low=0.0):
            raise ArgumentError("MaxNorm: max_norm is 0, expected a positive number")
        self.max_norm = float(max_norm)

    def project(self, model: Module) -> None:
        """Scale the weights down."""
        max_norm_(model, self.max_norm)


class WeightNoise(Regularizer):
    """Adds normal noise to the weights in each forward and backward pass (Murray & Edwards 1994).

    The gradient is that of the noisy weights; it changes the clean ones. So the training prefers
    places whose neighbourhood is good as well.

    Args:
        std: Standard deviation of the noise.
    """

    def __init__(self, std: float = 0.01) -> None:
        self.std = arguments.number("WeightNoise", "std", std, low=0.0)
        self._clean: list[tuple[Tensor, Tensor]] = []

    def perturb(self, model: Module) -> None:
        """Add noise."""
        with no_grad():
            self._clean = [(weight, weight.detach()) for weight in weights_of(model)]
            for weight, clean in self._clean:
                weight.copy_(clean + call("randn_like", clean) * self.std)

    def restore(self, model: Module) -> None:
        """Take it off again."""
        with no_grad():
            for weight, clean in self._clean:
                weight.copy_(clean)
        self._clean = []


class GradientNoise(Regularizer):
    """Adds normal noise that fades to the gradients (Neelakantan et al. 2015).

    Its variance at step t, from 0, is eta / (1 + t)^gamma. It helps very deep networks off bad
    beginnings.

    Args:
        eta: Variance at the first step: 0.01, 0.3 or 1 in the paper.
        gamma: How fast it fades.
    """

    def __init__(self, eta: float = 0.01, gamma: float = 0.55) -> None:
        self.eta = arguments.number("GradientNoise", "eta", eta, low=0.0)
        self.gamma = arguments.number("GradientNoise", "gamma", gamma, low=0.0)
        self.step = 0

    def gradients(self, params: list[Tensor]) -> None:
        """Add noise."""
        for param in params:
            grad = param.grad
            if grad is None:
                continue
            size = number(self.std, grad.dtype, "gradient noise", id(self))
            noisy = grad + call("randn_like", grad) * size
            noisy.origin = grad.origin
            param.grad = noisy
        after(self._count)

    def std(self) -> float:
        """Return the standard deviation at the next step."""
        return float((self.eta / (1.0 + self.step) ** self.gamma) ** 0.5)

    def _count(self) -> None:
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps."""
        return {"step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a number of steps.

        Raises:
            StateError: It is none.
        """
        if not isinstance(state.get("step"), int):
            raise StateError("GradientNoise.load_state_dict: step is missing")
        self.step = state["step"]


def checked(regularizers: Iterable[Any]) -> list[Regularizer]:
    """Return regularizers as a list.

    Raises:
        ArgumentError: One is something else.
    """
    if isinstance(regularizers, Regularizer):
        return [regularizers]
    found = list(regularizers)
    for item in found:
        if not isinstance(item, Regularizer):
            raise ArgumentError(
                f"Trainer: regularizers has {item!r}, expected regularizers",
                hint="regularizers=[train.L2(1e-4), train.MaxNorm(3.0)]",
            )
    return found
