"""Restricted Boltzmann machine: visible and hidden units, connected only with each other.

Takes: visible vectors. Gives: energies, probabilities and samples of either side, features.
The one idea: with no connections within a side, all units of a side are independent given the
other one, so a whole side is sampled at once by a matrix product and a sigmoid.

Smolensky, "Harmony theory" (1986); Hinton, "Training products of experts by minimizing contrastive
divergence" (2002); Hinton, "A practical guide to training restricted Boltzmann machines" (2010).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from chainrule.core.dtype import DTypeLike, as_dtype
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError, unknown_word
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor, as_tensor, tensor
from chainrule.models.states import log_sum_exp
from chainrule.nn import arguments, init
from chainrule.nn.module import Module
from chainrule.nn.parameter import Parameter
from chainrule.ops.contraction import linear, matmul
from chainrule.ops.creation import zeros
from chainrule.ops.generator import Generator
from chainrule.ops.loops import scan
from chainrule.ops.random import bernoulli, rand, randint, randn
from chainrule.ops.transcendental import sigmoid, softplus

Visible = Literal["bernoulli", "gaussian"]
_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


class RBM(Module):
    """A restricted Boltzmann machine with binary hidden units.

    A pair of states has the energy, for Bernoulli and for Gaussian visible units,

    - E(v, h) = -bᵀv - cᵀh - hᵀW v
    - E(v, h) = Σᵢ (vᵢ - bᵢ)² / (2 σᵢ²) - cᵀh - hᵀW (v / σ)

    and the probability exp(-E(v, h)) / Z. Hence p(hⱼ = 1 | v) = sigmoid(c + W v / σ)ⱼ, and given h
    visible units are Bernoulli with sigmoid(b + Wᵀh)ᵢ, or normal with mean b + σ Wᵀh and
    deviation σ. Bernoulli units also take intensities from 0 to 1, read as probabilities.

    It helps where labels are few and examples many, and to fill in what is missing; data that has
    sharp pixel intensities is modelled better by other means. Train it with
    `ContrastiveDivergence`.

    Args:
        n_visible: V, number of visible units.
        n_hidden: H, number of hidden units.
        visible: ``bernoulli`` (0 or 1) or ``gaussian`` (any number; standardise the data).
        sigma: Deviation of Gaussian visible units: a number, or one for each.
        learn_sigma: Whether σ is trained, as its logarithm.
        init_std: Deviation of the first weights, N(0, init_std²); biases are 0.
        dtype: Type of the parameters (default float32).

    Attributes:
        weight: W, [H, V].
        visible_bias: b, [V].
        hidden_bias: c, [H].
        log_sigma: log σ, [V], a parameter if it is learned; None for Bernoulli units.

    Raises:
        ArgumentError: A size is not a positive integer, σ is not positive, or is given to
            Bernoulli units.

    Example:
        >>> import chainrule
        >>> from chainrule.models import RBM
        >>> rbm = RBM(6, 4)
        >>> v = chainrule.zeros((2, 6))
        >>> rbm(v).shape, rbm.free_energy(v).shape, rbm.gibbs(v).shape
        ((2, 4), (2,), (2, 6))
    """

    log_sigma: Tensor | None

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        *,
        visible: Visible = "bernoulli",
        sigma: Any = 1.0,
        learn_sigma: bool = False,
        init_std: float = 0.01,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.n_visible = arguments.integer("RBM", "n_visible", n_visible)
        self.n_hidden = arguments.integer("RBM", "n_hidden", n_hidden)
        if visible not in ("bernoulli", "gaussian"):
            raise unknown_word("visible units of an RBM", str(visible), ("bernoulli", "gaussian"))
        self.visible = visible
        self.init_std = arguments.number("RBM", "init_std", init_std, low=0.0, high=1e6)
        wanted = as_dtype(dtype or "float32")
        if not wanted.is_floating:
            raise DTypeError(f"RBM: dtype is {wanted.name}, expected a floating type")
        self.weight = Parameter(zeros((self.n_hidden, self.n_visible), dtype=wanted))
        self.visible_bias = Parameter(zeros((self.n_visible,), dtype=wanted))
        self.hidden_bias = Parameter(zeros((self.n_hidden,), dtype=wanted))
        learned = arguments.flag("RBM", "learn_sigma", learn_sigma)
        start = self._log_of(sigma, learned, wanted)
        if learned:
            self.log_sigma = Parameter(start)
        else:
            self.register_buffer("log_sigma", start)
        self.reset_parameters()

    def _log_of(self, sigma: Any, learned: bool, dtype: Any) -> Tensor | None:
        """Return the first log σ; None for Bernoulli units."""
        values = np.asarray(sigma.numpy() if isinstance(sigma, Tensor) else sigma, np.float64)
        if self.visible == "bernoulli":
            if learned or values.ndim or values != 1.0:
                raise ArgumentError(
                    "RBM: sigma is for Gaussian visible units, Bernoulli units have none",
                    hint='RBM(..., visible="gaussian", sigma=...)',
                )
            return None
        if values.shape not in ((), (self.n_visible,)):
            raise ShapeError(
                f"RBM: sigma has shape {values.shape}, expected one number or ({self.n_visible},)"
            )
        if not ((values > 0) & np.isfinite(values)).all():
            raise ArgumentError(
                f"RBM: sigma is {arguments.show(sigma)}, expected finite numbers above 0",
                hint="a unit that never varies has none: leave it out",
            )
        return tensor(np.log(np.broadcast_to(values, (self.n_visible,))), dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw the weights anew from N(0, init_std²) and set the biases to 0."""
        with no_grad():
            init.normal_(self.weight, std=self.init_std)
            self.visible_bias.fill_(0.0)
            self.hidden_bias.fill_(0.0)

    def start_from(self, data: Tensor) -> None:
        """Set the visible biases so that each unit's mean is the data's (Hinton 2010, ch. 8).

        For Bernoulli units b = log(p / (1 - p)), with p kept 1 / (N + 1) away from 0 and 1.

        Args:
            data: [N, V], training data.
        """
        self._check(data)
        with no_grad():
            mean = call("mean", data, 0)
            if self.visible == "bernoulli":
                edge = 1 / (len(data) + 1)
                mean = call("clip", mean, edge, 1 - edge)
                mean = call("log", mean) - call("log", 1 - mean)
            self.visible_bias.copy_(mean)

    # --- energies --------------------------------------------------------------------------

    @property
    def sigma(self) -> Tensor | None:
        """σ of Gaussian visible units, [V]; None for Bernoulli units."""
        return None if self.log_sigma is None else call("exp", self.log_sigma)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """Return E(v, h) [N] of visible states [N, V] and hidden states [N, H]."""
        self._check(v)
        if h.ndim < 1 or h.shape[-1] != self.n_hidden:
            raise ShapeError(f"RBM.energy: h is {h.spec}, expected [..., {self.n_hidden}]")
        joint: Tensor = (h * linear(self._scaled(v), self.weight, self.hidden_bias)).sum(-1)
        return self._visible_energy(v) - joint

    def free_energy(self, v: Tensor, known: Tensor | None = None) -> Tensor:
        """Return F(v) = -log Σₕ exp(-E(v, h)), with which p(v) = exp(-F(v)) / Z.

        F(v) = (the visible part of E) - Σⱼ softplus(c + W v / σ)ⱼ

        Args:
            v: [N, V].
            known: [N, V], 1 where an entry is known; the others belong to no energy at all: each
                example has a machine of the units that it knows (Salakhutdinov et al. 2007).

        Returns:
            [N].
        """
        return self._visible_energy(v, known) - softplus(self.hidden_logits(v, known)).sum(-1)

    def _visible_energy(self, v: Tensor, known: Tensor | None = None) -> Tensor:
        if self.log_sigma is None:
            return -matmul(v if known is None else v * known, self.visible_bias)
        parts = ((v - self.visible_bias) / call("exp", self.log_sigma)).square() / 2
        result: Tensor = (parts if known is None else parts * known).sum(-1)
        return result

    # --- one side given the other ------------------------------------------------------------

    def hidden_logits(self, v: Tensor, known: Tensor | None = None) -> Tensor:
        """Return c + W v / σ [N, H], the logits of p(hⱼ = 1 | v)."""
        self._check(v)
        if known is not None:
            v = v * known
        return linear(self._scaled(v), self.weight, self.hidden_bias)

    def hidden_probabilities(self, v: Tensor, known: Tensor | None = None) -> Tensor:
        """Return p(hⱼ = 1 | v) [N, H]: the features of the visible vectors [N, V]."""
        return sigmoid(self.hidden_logits(v, known))

    def forward(self, v: Tensor) -> Tensor:
        """Return the features p(hⱼ = 1 | v) [N, H] of visible vectors [N, V]."""
        return self.hidden_probabilities(v)

    def sample_hidden(
        self, v: Tensor, known: Tensor | None = None, *, generator: Generator | None = None
    ) -> Tensor:
        """Return hidden states [N, H] drawn from p(h | v)."""
        return bernoulli(self.hidden_probabilities(v, known), generator=generator)

    def visible_means(self, h: Tensor) -> Tensor:
        """Return E[v | h] [N, V]: sigmoid(b + Wᵀh), or b + σ Wᵀh for Gaussian units."""
        if h.ndim < 1 or h.shape[-1] != self.n_hidden:
            raise ShapeError(f"RBM: hidden states are {h.spec}, expected [..., {self.n_hidden}]")
        field = matmul(h, self.weight)
        if self.log_sigma is None:
            return sigmoid(field + self.visible_bias)
        return field * call("exp", self.log_sigma) + self.visible_bias

    def visible_from(self, means: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return visible states drawn around the means that `visible_means` gives."""
        if self.log_sigma is None:
            return bernoulli(means, generator=generator)
        noise = randn(means.shape, dtype=means.dtype, generator=generator)
        return means.detach() + noise * call("exp", self.log_sigma.detach())

    def sample_visible(self, h: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return visible states [N, V] drawn from p(v | h)."""
        return self.visible_from(self.visible_means(h), generator=generator)

    def gibbs(self, v: Tensor, steps: int = 1, *, generator: Generator | None = None) -> Tensor:
        """Return visible states after so many rounds of h ~ p(h | v), v ~ p(v | h).

        Args:
            v: [N, V].
            steps: Rounds. For very many of them see `draw_visible`, which compiles one.
            generator: Source of random numbers (default: the one that `manual_seed` seeds).
        """
        for _ in range(arguments.integer("RBM.gibbs", "steps", steps, least=0)):
            v = self.sample_visible(self.sample_hidden(v, generator=generator), generator=generator)
        return v

    def reconstruct(self, v: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the visible means [N, V] given the mean hidden states given v; no sampling."""
        return self.visible_means(self.hidden_probabilities(v, known))

    def reconstruction_error(self, v: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the mean squared difference of v and its reconstruction, for each example [N].

        Of the known entries, if ``known`` says which they are; 0 where there are none.
        """
        squares = (v - self.reconstruct(v, known)).square()
        if known is None:
            result: Tensor = squares.mean(-1)
        else:
            result = (squares * known).sum(-1) / call("maximum", known.sum(-1), 1)
        return result

    # --- likelihoods -------------------------------------------------------------------------

    def pseudo_likelihood(
        self, v: Tensor, *, exact: bool = False, generator: Generator | None = None
    ) -> Tensor:
        """Return an estimate of Σᵢ log p(vᵢ | all other units), the pseudo-likelihood (logarithm).

        As scikit-learn's ``BernoulliRBM.score_samples``: one unit i of each example is drawn, and
        V log sigmoid(F(v with vᵢ flipped) - F(v)) is an unbiased estimate of the sum. Unlike the
        likelihood it needs no Z.

        Args:
            v: [N, V], Bernoulli.
            exact: Whether all units are flipped, one after the other, instead of one by chance.
            generator: Source of random numbers (default: the one that `manual_seed` seeds).

        Returns:
            [N].

        Raises:
            ArgumentError: Visible units are Gaussian, which cannot be flipped.
        """
        if self.log_sigma is not None:
            raise ArgumentError(
                "RBM.pseudo_likelihood: Gaussian visible units cannot be flipped",
                hint="compare models by annealed_log_partition and log_likelihood",
            )
        self._check(v)
        if exact:
            return self._every_flip(v)
        count = v.shape[:-1]
        unit = randint(0, self.n_visible, (*count, 1), generator=generator)
        chosen = unit == call("arange", self.n_visible)
        flipped = call("where", chosen, 1 - v, v)
        return -self.n_visible * softplus(self.free_energy(v) - self.free_energy(flipped))

    def _every_flip(self, v: Tensor) -> Tensor:
        logits = self.hidden_logits(v)
        before = softplus(logits).sum(-1)

        def flip(total: Tensor, unit: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, None]:
            weights, bias, value = unit  # [H], [], [N]
            change = 1 - 2 * value
            after = softplus(logits + change.unsqueeze(-1) * weights).sum(-1)
            return total - softplus(after - before + change * bias), None

        by_unit = call("moveaxis", v, -1, 0)
        start = call("zeros_like", before)
        total, _ = scan(flip, start, (self.weight.mT, self.visible_bias, by_unit))
        result: Tensor = total
        return result

    def log_partition(self) -> Tensor:
        """Return log Z exactly, by a sum over all states of the smaller (binary) side.

        Raises:
            ArgumentError: Both sides have more than 20 units; see `annealed_log_partition`.
        """
        dtype = self.weight.dtype
        if self.log_sigma is None and self.n_visible < self.n_hidden:
            name = "RBM.log_partition"
            return log_sum_exp(name, self.n_visible, dtype, lambda v: -self.free_energy(v))
        return log_sum_exp("RBM.log_partition", self.n_hidden, dtype, self._summed_over_visible)

    def _summed_over_visible(self, h: Tensor) -> Tensor:
        """Return log Σᵥ exp(-E(v, h)), an integral for Gaussian units."""
        field = matmul(h, self.weight)
        if self.log_sigma is None:
            each = softplus(field + self.visible_bias)
        else:
            shifted = field * self.visible_bias / call("exp", self.log_sigma)
            each = shifted + field.square() / 2 + self.log_sigma + _LOG_ROOT_TWO_PI
        return each.sum(-1) + matmul(h, self.hidden_bias)

    def log_likelihood(self, v: Tensor, log_partition: Tensor | float | None = None) -> Tensor:
        """Return log p(v) = -F(v) - log Z [N].

        Args:
            v: [N, V].
            log_partition: log Z, if it is known or estimated (default: exact).
        """
        return -self.free_energy(v) - (
            self.log_partition() if log_partition is None else log_partition
        )

    # --- what is missing -----------------------------------------------------------------------

    def predict_missing(self, v: Tensor, known: Tensor) -> Tensor:
        """Return v with missing entries predicted from the known ones, as a recommender does.

        One mean-field step (Salakhutdinov, Mnih & Hinton 2007): the hidden probabilities given
        the known entries alone, then the visible means given them.

        Args:
            v: [N, V]; what stands in missing entries does not matter, if it is finite.
            known: [N, V], 1 (or True) where the entry is known.
        """
        known = self._mask(v, known)
        means = self.visible_means(self.hidden_probabilities(v, known))
        result: Tensor = call("where", known > 0.5, v, means)
        return result

    def impute(
        self,
        v: Tensor,
        known: Tensor,
        steps: int = 100,
        burn_in: int = 20,
        *,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return v with missing entries at their mean given the known ones, by Gibbs sampling.

        The chain runs over hidden and missing units while known ones stay as they are; the
        conditional means E[v | h] of the rounds after ``burn_in`` are averaged.

        Args:
            v: [N, V].
            known: [N, V], 1 (or True) where the entry is known.
            steps: Rounds that are averaged.
            burn_in: Rounds before them.
            generator: Source of random numbers (default: the one that `manual_seed` seeds).
        """
        steps = arguments.integer("RBM.impute", "steps", steps)
        burn_in = arguments.integer("RBM.impute", "burn_in", burn_in, least=0)
        given = self._mask(v, known) > 0.5
        with no_grad():
            state = call("where", given, v, self.predict_missing(v, known))
            total = call("zeros_like", v)
            for number in range(burn_in + steps):
                means = self.visible_means(self.sample_hidden(state, generator=generator))
                drawn = self.visible_from(means, generator=generator)
                state = call("where", given, v, drawn)
                if number >= burn_in:
                    total = total + means
            result: Tensor = call("where", given, v, total / steps)
        return result

    # --- inside ----------------------------------------------------------------------------------

    def _mask(self, v: Tensor, known: Tensor) -> Tensor:
        self._check(v)
        known = as_tensor(known)
        if known.shape != v.shape:
            raise ShapeError(
                f"RBM: known is {known.spec}, v is {v.spec}, expected the same shape",
                hint="known has 1 where the entry of v is known",
            )
        return known.to(v.dtype)

    def _scaled(self, v: Tensor) -> Tensor:
        return v if self.log_sigma is None else v / call("exp", self.log_sigma)

    def _check(self, v: Tensor) -> None:
        if v.ndim < 1 or v.shape[-1] != self.n_visible:
            raise ShapeError(
                f"RBM: visible states are {v.spec}, expected [..., {self.n_visible}]",
                hint="images are flattened first: x.flatten(1)",
            )
        if not v.dtype.is_floating:
            raise DTypeError(
                f"RBM: visible states are {v.spec}, expected floating-point numbers",
                hint="x.float(); intensities of 0 to 255 are divided by 255",
            )

    def random_visible(self, count: int, *, generator: Generator | None = None) -> Tensor:
        """Return visible states [count, V] from independent fair coins, or N(b, σ²)."""
        count = arguments.integer("RBM", "count", count)
        dtype, shape = self.weight.dtype, (count, self.n_visible)
        if self.log_sigma is None:
            return (rand(shape, dtype=dtype, generator=generator) < 0.5).to(dtype)
        means = call("broadcast_to", self.visible_bias.detach(), shape)
        return self.visible_from(means, generator=generator)

    def scope_title(self) -> str:
        """Return ``RBM 784 - 256``."""
        return f"RBM {self.n_visible} - {self.n_hidden}"

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"n_visible={self.n_visible}, n_hidden={self.n_hidden}, visible={self.visible!r}"
