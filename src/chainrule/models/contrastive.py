"""Contrastive divergence: the gradient of an RBM's likelihood from short or persistent chains.

Takes: an RBM and examples. Gives: a number for each, whose gradient is the learning rule.
The one idea: -∂ log p(v) / ∂θ = ∂F(v)/∂θ - E[∂F(v')/∂θ] with v' from the model; put samples v'
of a Markov chain in the place of the expectation, and backpropagation does the rest, so every
optimizer, the trainer and the compiler work as for any other loss.

Hinton 2002 (CD); Tieleman 2008 (PCD); Lee, Ekanadham & Ng 2008 (sparsity).
"""

from __future__ import annotations

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.data.dataset import TensorDataset
from chainrule.data.loader import DataLoader
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.models.rbm import RBM
from chainrule.nn import arguments
from chainrule.nn.module import Module
from chainrule.ops.creation import zeros
from chainrule.ops.generator import Generator
from chainrule.ops.random import bernoulli
from chainrule.optim.optimizer import Optimizer
from chainrule.runtime.compile import Compiled
from chainrule.train.history import History
from chainrule.train.trainer import Trainer


class ContrastiveDivergence(Module):
    """The training objective of an RBM: F(v) - F(v'), where v' is a sample of the model.

    With Bernoulli units its gradient for W is the textbooks' ⟨p(h|v') v'ᵀ⟩ - ⟨p(h|v) vᵀ⟩. In
    training, v' comes from ``k`` rounds of Gibbs sampling that begin at the data (CD-k), or
    continue chains of their own (persistent CD; ``chains`` of them). Its value says little, since
    it is no loss that falls: watch the pseudo-likelihood and the reconstruction error, which
    is what it gives in use (``eval()``).

    PCD follows the likelihood more closely and needs a small learning rate, for the chains must
    keep up with the weights; CD-1 is quicker to good features.

    Args:
        rbm: The model.
        k: Rounds of Gibbs sampling.
        chains: Number of persistent chains; 0 begins at the data.
        sample_visible: Whether v' is sampled; else the last round takes the visible means.
        weight_decay: λ of the penalty λ/2 Σ W² (biases have none).
        sparsity_target: ρ, the share of examples for which a hidden unit should be on.
        sparsity_cost: λ of the penalty λ Σⱼ (ρ - mean p(hⱼ | v))².
        generator: Source of random numbers (default: the one that `manual_seed` seeds).

    Attributes:
        chains: Hidden states of the persistent chains, [chains, H], saved with the state; or None.

    Raises:
        ArgumentError: A number is out of range.

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> from chainrule.models import RBM, ContrastiveDivergence
        >>> rbm = RBM(6, 4)
        >>> objective = ContrastiveDivergence(rbm, k=1)
        >>> optimizer = optim.SGD(rbm.parameters(), lr=0.1)
        >>> @chainrule.compile
        ... def step(v):
        ...     optimizer.zero_grad()
        ...     objective(v).mean().backward()
        ...     optimizer.step()
        >>> step(chainrule.ones((10, 6)))
    """

    chains: Tensor | None

    def __init__(
        self,
        rbm: RBM,
        *,
        k: int = 1,
        chains: int = 0,
        sample_visible: bool = True,
        weight_decay: float = 0.0,
        sparsity_target: float | None = None,
        sparsity_cost: float = 0.0,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        name = "ContrastiveDivergence"
        if not isinstance(rbm, RBM):
            raise ArgumentError(f"{name}: rbm is a {type(rbm).__name__}, expected an RBM")
        self.rbm = rbm
        self.k = arguments.integer(name, "k", k)
        self.sample_visible = arguments.flag(name, "sample_visible", sample_visible)
        self.weight_decay = arguments.number(name, "weight_decay", weight_decay, low=0.0)
        if sparsity_target is None and sparsity_cost:
            raise ArgumentError(
                f"{name}: sparsity_cost is {sparsity_cost} but there is no sparsity_target",
                hint="sparsity_target=0.05",
            )
        if sparsity_target is not None:
            sparsity_target = arguments.number(
                name, "sparsity_target", sparsity_target, low=0.0, high=1.0
            )
        self.sparsity_target = sparsity_target
        self.sparsity_cost = arguments.number(name, "sparsity_cost", sparsity_cost, low=0.0)
        self.generator = generator
        count = arguments.integer(name, "chains", chains, least=0)
        shape = (count, rbm.n_hidden)
        self.register_buffer("chains", zeros(shape, dtype=rbm.weight.dtype) if count else None)

    def forward(self, v: Tensor, known: Tensor | None = None) -> Tensor:
        """Return F(v) - F(v') [N], with penalties; in use the reconstruction error [N].

        Args:
            v: [N, V].
            known: [N, V], 1 where an entry is known (see `RBM.free_energy`); not for PCD.
        """
        if not self.training:
            return self.rbm.reconstruction_error(v, known)
        if self.chains is None:
            sample = self._from_data(v, known)
            result = self.rbm.free_energy(v, known) - self.rbm.free_energy(sample, known)
        else:
            if known is not None:
                raise ArgumentError(
                    "ContrastiveDivergence: chains of their own do not know which entries of an "
                    "example are known",
                    hint="chains=0",
                )
            result = self.rbm.free_energy(v) - self.rbm.free_energy(self._continued()).mean()
        return self._with_penalties(result, v, known)

    def _from_data(self, v: Tensor, known: Tensor | None) -> Tensor:
        """Return visible states after k rounds that begin at the data."""
        with no_grad():
            for number in range(self.k):
                h = self.rbm.sample_hidden(v, known, generator=self.generator)
                v = self._visible(h, last=number == self.k - 1)
        return v

    def _continued(self) -> Tensor:
        """Return visible states after k rounds from where the chains stood, and keep these."""
        assert self.chains is not None
        rbm, h = self.rbm, self.chains
        with no_grad():
            for number in range(self.k):
                v = self._visible(h, last=number == self.k - 1)
                h = bernoulli(rbm.hidden_probabilities(v), generator=self.generator)
            self.chains.copy_(h)
        return v

    def _visible(self, h: Tensor, *, last: bool) -> Tensor:
        means = self.rbm.visible_means(h)
        if last and not self.sample_visible:
            return means
        return self.rbm.visible_from(means, generator=self.generator)

    def _with_penalties(self, result: Tensor, v: Tensor, known: Tensor | None) -> Tensor:
        if self.weight_decay:
            result = result + self.weight_decay / 2 * self.rbm.weight.square().sum()
        if self.sparsity_cost and self.sparsity_target is not None:
            share = self.rbm.hidden_probabilities(v, known).mean(0)
            penalty = (share - self.sparsity_target).square().sum()
            result = result + self.sparsity_cost * penalty
        return result

    def extra_repr(self) -> str:
        """Return the arguments."""
        count = 0 if self.chains is None else len(self.chains)
        return f"k={self.k}, chains={count}"


def mean_of(output: Tensor, target: object) -> Tensor:
    """Return the mean of what an objective gives for each example; the loss of a `Trainer`."""
    result: Tensor = output.mean()
    return result


def fit_energy_model(
    objective: Module,
    data: Array | Tensor,
    optimizer: Optimizer,
    *,
    epochs: int,
    batch_size: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Train an energy-based model with the ordinary `Trainer`: compiled, and safe to Ctrl-C.

    Args:
        objective: `ContrastiveDivergence`, or `BoltzmannLearning`.
        data: [N, V], what the visible units should see.
        optimizer: Holds the model's parameters.
        epochs: Times that all examples are seen.
        batch_size: Examples in a step; a last smaller batch is left out.
        seed: Of the order of the examples.
        progress: Whether to show how it goes, on standard error.

    Returns:
        The trainer's record.

    Raises:
        ShapeError: The data is not [N, V].

    Example:
        >>> import chainrule
        >>> from chainrule import optim
        >>> from chainrule.models import RBM, ContrastiveDivergence, fit_energy_model
        >>> rbm = RBM(4, 2)
        >>> optimizer = optim.SGD(rbm.parameters(), lr=0.1)
        >>> data = chainrule.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
        >>> history = fit_energy_model(
        ...     ContrastiveDivergence(rbm), data, optimizer, epochs=2, batch_size=2, progress=False
        ... )
        >>> len(history.curve("train", "loss"))
        2
    """
    values = data.numpy() if isinstance(data, Tensor) else np.asarray(data)
    if values.ndim != 2 or not len(values):
        raise ShapeError(
            f"fit_energy_model: data has shape {values.shape}, expected [N, V]",
            hint="images are flattened first: x.reshape(len(x), -1)",
        )
    size = min(arguments.integer("fit_energy_model", "batch_size", batch_size), len(values))
    dataset = TensorDataset(values, np.zeros(len(values), np.float32))
    loader = DataLoader(dataset, size, shuffle=True, seed=seed, drop_last=True)
    return Trainer(objective, mean_of, optimizer, progress=progress).fit(loader, epochs=epochs)


def draw_visible(
    rbm: RBM,
    count: int,
    steps: int = 1000,
    *,
    start: Tensor | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Return visible means [count, V] after a long run of Gibbs sampling, by compiled rounds.

    The means E[v | h] of the last round are less grainy pictures than the samples themselves.

    Args:
        rbm: The model.
        count: Number of chains.
        steps: Rounds.
        start: Visible states [count, V] to begin at (default: noise).
        generator: Source of random numbers (default: the one that `manual_seed` seeds).

    Raises:
        ShapeError: ``start`` is not [count, V].
    """
    arguments.integer("draw_visible", "steps", steps)
    if start is not None and start.shape != (count, rbm.n_visible):
        raise ShapeError(
            f"draw_visible: start is {start.spec}, expected [{count}, {rbm.n_visible}]"
        )

    def round_of(v: Tensor) -> tuple[Tensor, Tensor]:
        means = rbm.visible_means(rbm.sample_hidden(v, generator=generator))
        return rbm.visible_from(means, generator=generator), means

    compiled = Compiled(round_of)
    with no_grad():
        v = rbm.random_visible(count, generator=generator) if start is None else start
        for _ in range(steps):
            v, means = compiled(v)
    result: Tensor = means
    return result
