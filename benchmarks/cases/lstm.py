"""W7: a network that reads text character by character, one step of training.

Takes: the name of a peer. Gives: its steps.
The one idea: names of layers are PyTorch's, so the network is written once for both libraries.

Two layers of LSTM with 256 units, vectors of 256 for 65 characters, sequences of 64, batches of
32, gradients clipped to norm 1, Adam.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.cases.texts import Steps, library_of
from benchmarks.counts import Array
from benchmarks.peers import Runner

LAYERS, WIDTH, STEPS, VOCABULARY, BATCH = 2, 256, 64, 65, 32
RATE, LARGEST_NORM = 2e-3, 1.0


def build(peer: str, pace: float = 1.0) -> Runner:
    """Return the network of a peer, ready to be trained at a multiple of the rate."""

    def rule(optim: Any, parameters: Any) -> Any:
        return optim.Adam(parameters, lr=pace * RATE)

    return Steps(peer, network(library_of(peer)), first_weights, rule, text(), LARGEST_NORM)


def network(library: Any) -> Any:
    """Return the network made of a library's layers."""
    nn = library.nn

    class Network(nn.Module):  # type: ignore[misc,name-defined]  # of either library
        """Characters [N, T] to scores of the next ones [N, T, K]."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH)
            self.lstm = nn.LSTM(WIDTH, WIDTH, LAYERS, batch_first=True)
            self.head = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, tokens: Any) -> Any:
            """Return the scores."""
            states, _ = self.lstm(self.embedding(tokens))
            return self.head(states)

    return Network()


def first_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """Return first weights for parameters of these names and shapes."""
    rng = np.random.default_rng(7)
    bound = 1 / math.sqrt(WIDTH)
    return {
        name: (
            rng.normal(size=shape) if "embedding" in name else rng.uniform(-bound, bound, shape)
        ).astype(np.float32)
        for name, shape in shapes.items()
    }


def text() -> tuple[Array, Array]:
    """Return characters and those that follow them, each [N, T]; some are likelier than others."""
    rng = np.random.default_rng(8)
    share = 1 / np.arange(1, VOCABULARY + 1)
    characters = rng.choice(VOCABULARY, (BATCH, STEPS + 1), p=share / share.sum())
    return characters[:, :-1].copy(), characters[:, 1:].copy()
