"""Deep belief network: restricted Boltzmann machines on top of each other.

Takes: examples without labels, then some with labels. Gives: features, samples, a classifier.
The one idea: each machine learns the features of the one below (greedy, layer by layer), and the
stack is a good place from which backpropagation begins.

Hinton, Osindero & Teh, "A fast learning algorithm for deep belief nets" (2006); Hinton &
Salakhutdinov, "Reducing the dimensionality of data with neural networks" (2006).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.core.dtype import Array, DTypeLike
from chainrule.core.errors import ArgumentError
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor, from_numpy
from chainrule.models.contrastive import ContrastiveDivergence, draw_visible, fit_energy_model
from chainrule.models.rbm import RBM, Visible
from chainrule.nn import arguments
from chainrule.ops.generator import Generator
from chainrule.ops.random import bernoulli
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.sgd import SGD
from chainrule.train.evaluation import predict
from chainrule.train.history import History


class DBN(nn.Module):
    """A deep belief network.

    Args:
        sizes: Number of units of each layer, the visible one first: ``(784, 500, 500, 2000)``.
        visible: Kind of the visible units; see `RBM`. Layers above are Bernoulli.
        sigma: Deviation of Gaussian visible units.
        init_std: Deviation of the first weights.
        dtype: Type of the parameters (default float32).

    Attributes:
        rbms: The machines, from bottom to top.

    Raises:
        ArgumentError: There are less than two sizes, or one is not a positive integer.

    Example:
        >>> import chainrule
        >>> from chainrule.models import DBN
        >>> dbn = DBN((12, 8, 4))
        >>> dbn(chainrule.zeros((2, 12))).shape
        (2, 4)
        >>> dbn.to_mlp(10)(chainrule.zeros((2, 12))).shape
        (2, 10)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        visible: Visible = "bernoulli",
        sigma: Any = 1.0,
        init_std: float = 0.01,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__()
        if isinstance(sizes, str) or not hasattr(sizes, "__len__") or len(sizes) < 2:
            raise ArgumentError(
                f"DBN: sizes are {arguments.show(sizes)}, expected at least two layers",
                hint="DBN((784, 500, 500, 2000))",
            )
        self.sizes = tuple(arguments.integer("DBN", "a size", size) for size in sizes)
        first = RBM(*self.sizes[:2], visible=visible, sigma=sigma, init_std=init_std, dtype=dtype)
        above = [
            RBM(below, size, init_std=init_std, dtype=dtype)
            for below, size in zip(self.sizes[1:], self.sizes[2:], strict=False)
        ]
        self.rbms = nn.ModuleList([first, *above])

    @property
    def machines(self) -> list[RBM]:
        """The machines, from bottom to top."""
        return [rbm for rbm in self.rbms if isinstance(rbm, RBM)]

    def forward(self, v: Tensor) -> Tensor:
        """Return the features of the top layer [N, sizes[-1]]: means, layer by layer."""
        for rbm in self.machines:
            v = rbm(v)
        return v

    def pretrain(
        self,
        data: Array | Tensor,
        *,
        epochs: int | Sequence[int] = 10,
        batch_size: int = 100,
        optimizer: Callable[[RBM], Optimizer] | None = None,
        k: int = 1,
        chains: int = 0,
        weight_decay: float = 2e-4,
        seed: int = 0,
        progress: bool = True,
    ) -> list[History]:
        """Train the machines one after the other, each on the features of those below.

        Args:
            data: [N, sizes[0]]; from 0 to 1 for Bernoulli visible units.
            epochs: Of each machine: one number, or one for each.
            batch_size: Examples in a step.
            optimizer: Makes the optimizer of a machine (default: SGD with rate 0.1, for Gaussian
                visible units 0.001, and momentum 0.5).
            k: Rounds of Gibbs sampling; see `ContrastiveDivergence`.
            chains: Persistent chains; 0 for plain contrastive divergence.
            weight_decay: Of the weights.
            seed: Of the order of the examples.
            progress: Whether to show how it goes, on standard error.

        Returns:
            The record of each machine's training.

        Raises:
            ArgumentError: The numbers of epochs are not as many as the machines.
        """
        counts = self._counts(epochs)
        make = _default_optimizer if optimizer is None else optimizer
        values = data.numpy() if isinstance(data, Tensor) else np.asarray(data)
        histories = []
        for number, (rbm, count) in enumerate(zip(self.machines, counts, strict=True)):
            if not number:
                rbm.start_from(from_numpy(values))
            objective = ContrastiveDivergence(rbm, k=k, chains=chains, weight_decay=weight_decay)
            optimizer_of_it = make(rbm)
            history = fit_energy_model(
                objective,
                values,
                optimizer_of_it,
                epochs=count,
                batch_size=batch_size,
                seed=seed,
                progress=progress,
            )
            histories.append(history)
            if history.ended == "interrupted":
                break  # Ctrl-C ends all of it, not only this machine
            if number + 1 < len(counts):
                values = predict(rbm, values)
        return histories

    def _counts(self, epochs: int | Sequence[int]) -> list[int]:
        counts = [epochs] * len(self.rbms) if isinstance(epochs, int) else list(epochs)
        if len(counts) != len(self.rbms):
            raise ArgumentError(
                f"DBN.pretrain: {len(counts)} numbers of epochs for {len(self.rbms)} machines"
            )
        return counts

    def generate(
        self,
        count: int,
        steps: int = 1000,
        *,
        start: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Return visible means [count, V]: Gibbs sampling in the top machine, then one way down.

        Args:
            count: Number of chains.
            steps: Rounds in the top machine.
            start: Visible states [count, V] whose features the chains begin at (default: noise).
            generator: Source of random numbers (default: the one that `manual_seed` seeds).
        """
        *below, top = self.machines
        with no_grad():
            if start is not None:
                for rbm in below:
                    start = rbm(start)
            v = draw_visible(top, count, steps, start=start, generator=generator)
            for rbm in reversed(below):
                v = rbm.visible_means(bernoulli(v, generator=generator))
        return v

    def reconstruct(self, v: Tensor) -> Tensor:
        """Return visible means [N, V] after going up to the top and down again by means."""
        h: Tensor = self(v)
        for rbm in reversed(self.machines):
            h = rbm.visible_means(h)
        return h

    def to_mlp(self, n_outputs: int, *, dropout: float = 0.0) -> nn.Sequential:
        """Return a multi-layer perceptron that begins with the weights of the machines.

        Flatten, then for each machine a linear layer and a sigmoid (then dropout), and a linear
        layer that gives ``n_outputs`` scores; train it like any other. It has weights of its own.

        Args:
            n_outputs: Number of classes.
            dropout: Probability of dropping a hidden unit in training.
        """
        layers: list[nn.Module] = [nn.Flatten()]
        for rbm in self.machines:
            layer = nn.Linear(rbm.n_visible, rbm.n_hidden, dtype=rbm.weight.dtype)
            with no_grad():
                sigma = rbm.sigma
                layer.weight.copy_(rbm.weight if sigma is None else rbm.weight / sigma)
                assert layer.bias is not None
                layer.bias.copy_(rbm.hidden_bias)
            layers += [layer, nn.Sigmoid()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(self.sizes[-1], n_outputs, dtype=self.machines[0].weight.dtype))
        return nn.Sequential(*layers)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"sizes={self.sizes}"


def _default_optimizer(rbm: RBM) -> Optimizer:
    rate = 0.1 if rbm.visible == "bernoulli" else 0.001
    return SGD(rbm.parameters(), lr=rate, momentum=0.5)
