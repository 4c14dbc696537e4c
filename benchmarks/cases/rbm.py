"""W10: a restricted Boltzmann machine 784-256, one step of CD-1 on a batch of 100.

Takes: a peer. Gives: its steps.
The one idea: chainrule differentiates the difference of free energies; PyTorch does the textbooks'
updates by hand, without recording, which is the fastest way to write it there (``torch-autograd``
is the other one). The figure of a step is the mean squared error of the reconstruction; draws
differ, so they agree only statistically.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.counts import Array
from benchmarks.peers import Runner

VISIBLE, HIDDEN, BATCH, RATE = 784, 256, 100, 0.05
PEERS = ("chainrule", "eager", "torch", "torch-autograd", "torch-compile", "sklearn")
TARGET = 3.0  # times PyTorch eager


class Steps:
    """A function of one batch, again and again."""

    def __init__(self, function: Callable[[Any], Any], batch: Any) -> None:
        self.function, self.batch = function, batch

    def step(self) -> Any:
        """Do one step."""
        return self.function(self.batch)

    def loss(self, result: Any) -> float:
        """Return the reconstruction error of a step."""
        return float(result if isinstance(result, float) else result.item())


def build(peer: str) -> Runner:
    """Return a machine that is ready to be trained."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((HIDDEN, VISIBLE)) * 0.01).astype(np.float32)
    # Three kinds of pictures, so that there is something to learn.
    kinds = rng.random((3, VISIBLE)) < 0.3
    batch = (kinds[rng.integers(0, 3, BATCH)] ^ (rng.random((BATCH, VISIBLE)) < 0.02)).astype(
        np.float32
    )
    if peer in ("chainrule", "eager"):
        return _own(weight, batch, compiled=peer == "chainrule")
    if peer == "sklearn":
        return _scikit(weight, batch)
    return _torch(weight, batch, peer)


def _own(weight: Array, batch: Array, *, compiled: bool) -> Runner:
    import chainrule
    from chainrule import optim
    from chainrule.models import RBM

    rbm = RBM(VISIBLE, HIDDEN)
    rbm.load_state_dict({**rbm.state_dict(), "weight": chainrule.tensor(weight)})
    optimizer = optim.SGD(rbm.parameters(), lr=RATE)

    def step(v: Any) -> Any:
        with chainrule.no_grad():
            means = rbm.visible_means(rbm.sample_hidden(v))
            sample = rbm.visible_from(means)
        (rbm.free_energy(v) - rbm.free_energy(sample)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()  # here, so that no gradient is kept
        return (v - means).square().mean()

    return Steps(chainrule.compile(step) if compiled else step, chainrule.tensor(batch))


def _torch(weight: Array, batch: Array, peer: str) -> Runner:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    w, b, c = torch.tensor(weight), torch.zeros(VISIBLE), torch.zeros(HIDDEN)
    rate = RATE / BATCH

    def by_hand(v: Any) -> Any:
        on = torch.sigmoid(torch.addmm(c, v, w.t()))
        h = torch.bernoulli(on)
        means = torch.sigmoid(torch.addmm(b, h, w))
        sample = torch.bernoulli(means)
        on_sample = torch.sigmoid(torch.addmm(c, sample, w.t()))
        w.addmm_(on.t(), v, alpha=rate).addmm_(on_sample.t(), sample, alpha=-rate)
        b.add_((v - sample).sum(0), alpha=rate)
        c.add_((on - on_sample).sum(0), alpha=rate)
        return (v - means).square().mean()

    if peer == "torch-autograd":
        return Steps(_torch_autograd(torch, w, b, c), torch.tensor(batch))
    function = torch.no_grad()(by_hand)
    if peer == "torch-compile":
        function = torch.compile(function)
    return Steps(function, torch.tensor(batch))


def _torch_autograd(torch: Any, w: Any, b: Any, c: Any) -> Callable[[Any], Any]:
    parameters = [x.requires_grad_() for x in (w, b, c)]
    optimizer = torch.optim.SGD(parameters, lr=RATE)
    functional = torch.nn.functional

    def free_energy(v: Any) -> Any:
        return -(v @ b) - functional.softplus(functional.linear(v, w, c)).sum(-1)

    def step(v: Any) -> Any:
        with torch.no_grad():
            on = torch.sigmoid(functional.linear(v, w, c))
            means = torch.sigmoid(torch.bernoulli(on) @ w + b)
            sample = torch.bernoulli(means)
        (free_energy(v) - free_energy(sample)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        return (v - means).square().mean()

    return step


def _scikit(weight: Array, batch: Array) -> Runner:
    """Return scikit-learn's, which does persistent CD: a product less than CD-1."""
    from sklearn.neural_network import BernoulliRBM

    rbm = BernoulliRBM(HIDDEN, learning_rate=RATE, batch_size=BATCH, random_state=0)
    rbm.partial_fit(batch)
    rbm.components_[:] = weight

    def step(v: Any) -> Any:
        rbm.partial_fit(v)
        on = rbm.transform(v)
        field = on @ rbm.components_ + rbm.intercept_visible_
        return float(((v - 1 / (1 + np.exp(-field))) ** 2).mean())

    return Steps(step, batch)
