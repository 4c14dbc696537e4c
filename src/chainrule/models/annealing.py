"""Annealed importance sampling: an estimate of an RBM's log Z, where it cannot be summed.

Takes: an RBM. Gives: log Z with its uncertainty, so that likelihoods can be compared.
The one idea: walk from a model without connections, whose Z is known, to the RBM in small steps;
the ratios of probabilities along the way multiply to an unbiased estimate of the ratio of the Z.

Neal, "Annealed importance sampling" (2001); Salakhutdinov & Murray, "On the quantitative analysis
of deep belief networks" (2008).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import ShapeError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor, tensor
from chainrule.models.rbm import RBM
from chainrule.nn import arguments
from chainrule.ops.contraction import linear, matmul
from chainrule.ops.generator import Generator
from chainrule.ops.random import bernoulli
from chainrule.ops.transcendental import sigmoid, softplus
from chainrule.runtime.compile import Compiled


class Annealed(NamedTuple):
    """An estimate of log Z.

    Attributes:
        log_partition: log of the mean weight, plus log Z of the base.
        low: The same for the mean less three standard errors (-inf if that is not positive).
        high: For the mean plus three standard errors.
        log_weights: Of each run, [runs].
    """

    log_partition: float
    low: float
    high: float
    log_weights: NDArray[np.float64]


def annealed_log_partition(
    rbm: RBM,
    *,
    steps: int = 1000,
    runs: int = 100,
    base_bias: Tensor | None = None,
    generator: Generator | None = None,
) -> Annealed:
    """Estimate log Z of an RBM by annealed importance sampling.

    The models in between have Fᵦ(v) = (1 - β) (visible part with the base's biases)
    + β (visible part) - Σⱼ softplus(β (c + W v / σ)ⱼ), β = 0 … 1 in equal steps.

    Args:
        rbm: The model.
        steps: How many values of β; more of them, and more ``runs``, make the estimate better.
            It tends to be too small if they are too few.
        runs: Independent walks.
        base_bias: Visible biases [V] of the base (default: those of the RBM); the data's base
            rates, as `RBM.start_from` sets them, are the paper's choice.
        generator: Source of random numbers (default: the one that `manual_seed` seeds).

    Returns:
        The estimate, with bounds of three standard errors.

    Raises:
        ShapeError: ``base_bias`` is not [V].

    Example:
        >>> import chainrule
        >>> from chainrule.models import RBM, annealed_log_partition
        >>> rbm = RBM(8, 4, init_std=0.5)
        >>> found = annealed_log_partition(rbm, steps=100, generator=chainrule.Generator(0))
        >>> abs(found.log_partition - rbm.log_partition().item()) < 0.3
        True
    """
    steps = arguments.integer("annealed_log_partition", "steps", steps)
    runs = arguments.integer("annealed_log_partition", "runs", runs, least=2)
    base = rbm.visible_bias.detach() if base_bias is None else base_bias.detach()
    if base.shape != (rbm.n_visible,):
        raise ShapeError(
            f"annealed_log_partition: base_bias is {base.spec}, expected [{rbm.n_visible}]"
        )
    betas = np.linspace(0, 1, steps + 1)
    walk = _Walk(rbm, base, generator)
    advance = Compiled(walk.advance)
    log_weights = np.zeros(runs)
    with no_grad():
        v = walk.start(runs)
        dtype = v.dtype
        for before, after in itertools.pairwise(betas):
            change, v = advance(v, tensor(before, dtype=dtype), tensor(after, dtype=dtype))
            log_weights += change.numpy()
        return _summary(log_weights, walk.log_base())


class _Walk:
    """The models between base and RBM."""

    def __init__(self, rbm: RBM, base: Tensor, generator: Generator | None) -> None:
        self.rbm, self.base, self.generator = rbm, base, generator

    def start(self, runs: int) -> Tensor:
        """Return samples of the base [runs, V]."""
        means = call("broadcast_to", self.base, (runs, self.rbm.n_visible))
        if self.rbm.log_sigma is None:
            means = sigmoid(means)
        return self.rbm.visible_from(means, generator=self.generator)

    def log_base(self) -> float:
        """Return log Z of the base, whose hidden units are fair coins."""
        if self.rbm.log_sigma is None:
            visible = softplus(self.base).sum()
        else:
            visible = (self.rbm.log_sigma + 0.5 * math.log(2 * math.pi)).sum()
        return float(visible.item()) + self.rbm.n_hidden * math.log(2)

    def advance(self, v: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Return the change of log weights, and states after a round at the new β."""
        rbm = self.rbm
        logits = rbm.hidden_logits(v)
        hidden = softplus(after * logits) - softplus(before * logits)
        change = hidden.sum(-1) - (after - before) * self._difference(v)
        h = bernoulli(sigmoid(after * logits), generator=self.generator)
        field = after * matmul(h, rbm.weight)
        biases = (1 - after) * self.base + after * rbm.visible_bias
        if rbm.log_sigma is None:
            means = sigmoid(field + biases)
        else:
            means = field * call("exp", rbm.log_sigma) + biases
        return change, rbm.visible_from(means, generator=self.generator)

    def _difference(self, v: Tensor) -> Tensor:
        """Return the visible part of the RBM's energy less that of the base."""
        rbm = self.rbm
        if rbm.log_sigma is None:
            return linear(v, (self.base - rbm.visible_bias).unsqueeze(0)).squeeze(-1)
        squares = (v - rbm.visible_bias).square() - (v - self.base).square()
        result: Tensor = (squares / (2 * call("exp", 2 * rbm.log_sigma))).sum(-1)
        return result


def _summary(log_weights: NDArray[np.float64], log_base: float) -> Annealed:
    highest = log_weights.max()
    weights = np.exp(log_weights - highest)
    mean = weights.mean()
    error = 3 * weights.std(ddof=1) / math.sqrt(len(weights))
    low = math.log(mean - error) if mean > error else -math.inf
    shift = log_base + float(highest)
    return Annealed(
        math.log(mean) + shift, low + shift, math.log(mean + error) + shift, log_weights
    )
