"""W9: a DCGAN for images of 28 x 28, one alternating step of both networks.

Takes: the name of a peer. Gives: its steps.
The one idea: names of layers are PyTorch's, so both networks are written once for both libraries.

Noise of 100 numbers, transposed convolutions to 128 x 7 x 7, 64 x 14 x 14 and 1 x 28 x 28, no
batch norm on the output; the discriminator mirrors it; batches of 64, Adam with the paper's
settings (Radford, Metz & Chintala 2016). The step is that of PyTorch's tutorial: the
discriminator learns from real and made images, then the generator from the new discriminator.
Noise is the same for all peers and all steps, so losses agree.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from benchmarks.counts import Array
from benchmarks.peers import Runner

LATENT, WIDE, NARROW, SIDE, BATCH = 100, 128, 64, 28, 64
RATE, BETAS = 2e-4, (0.5, 0.999)
SPREAD = 0.02  # of the first weights, as the paper's
SLOPE = 0.2  # of the leaky ReLU


def build(peer: str, pace: float = 1.0) -> Runner:
    """Return the networks of a peer, ready to be trained at a multiple of the rate."""
    library = importlib.import_module("torch" if peer.startswith("torch") else "chainrule")
    if library.__name__ == "torch":
        library.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return Steps(library, peer, pace)


class Steps:
    """Steps on one batch."""

    def __init__(self, library: Any, peer: str, pace: float) -> None:
        rng = np.random.default_rng(0)
        make, judge = generator(library.nn), discriminator(library.nn)
        for network in (make, judge):
            network.load_state_dict(first_weights(library, network, rng))
        rule_of_make, rule_of_judge = (
            library.optim.Adam(network.parameters(), lr=pace * RATE, betas=BETAS)
            for network in (make, judge)
        )
        loss_of = library.nn.functional.binary_cross_entropy_with_logits
        real = np.tanh(rng.normal(size=(BATCH, 1, SIDE, SIDE))).astype(np.float32)
        noise = rng.normal(size=(BATCH, LATENT, 1, 1)).astype(np.float32)
        self.inputs = library.tensor(real), library.tensor(noise)
        right, wrong = library.ones((BATCH, 1)), library.zeros((BATCH, 1))
        compiled = library.compile if peer == "torch-compile" else _as_it_is
        draw, rate = compiled(make), compiled(judge)

        def step(images: Any, latent: Any) -> Any:
            made = draw(latent)
            loss = loss_of(rate(images), right) + loss_of(rate(made.detach()), wrong)
            loss.backward()
            rule_of_judge.step()
            deceit = loss_of(rate(made), right)
            deceit.backward()
            rule_of_make.step()
            rule_of_make.zero_grad()
            rule_of_judge.zero_grad()
            return loss + deceit

        self.function = library.compile(step) if peer == "chainrule" else step

    def step(self) -> Any:
        """Do one step of both networks."""
        return self.function(*self.inputs)

    def loss(self, result: Any) -> float:
        """Return the sum of both losses."""
        return float(result.item())


def _as_it_is(network: Any) -> Any:
    return network


def generator(nn: Any) -> Any:
    """Return the network from noise [N, 100, 1, 1] to images [N, 1, 28, 28]."""
    return nn.Sequential(
        nn.ConvTranspose2d(LATENT, WIDE, 7, bias=False),
        nn.BatchNorm2d(WIDE),
        nn.ReLU(),
        nn.ConvTranspose2d(WIDE, NARROW, 4, 2, 1, bias=False),
        nn.BatchNorm2d(NARROW),
        nn.ReLU(),
        nn.ConvTranspose2d(NARROW, 1, 4, 2, 1),
        nn.Tanh(),
    )


def discriminator(nn: Any) -> Any:
    """Return the network from images to logits [N, 1]: how real they look."""
    return nn.Sequential(
        nn.Conv2d(1, NARROW, 4, 2, 1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(NARROW, WIDE, 4, 2, 1, bias=False),
        nn.BatchNorm2d(WIDE),
        nn.LeakyReLU(SLOPE),
        nn.Flatten(),
        nn.Linear(WIDE * 7 * 7, 1),
    )


def first_weights(library: Any, network: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Return the first state: normal weights, scales of 1, the rest as it is."""
    made: dict[str, Any] = {}
    for name, value in network.state_dict().items():
        shape = tuple(value.shape)
        array: Array | None = None
        if len(shape) > 1:
            array = rng.normal(0.0, SPREAD, shape).astype(np.float32)
        elif name.endswith("bias"):
            array = np.zeros(shape, np.float32)
        made[name] = value if array is None else library.tensor(array)
    return made
