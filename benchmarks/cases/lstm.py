"""W7: a network that reads text character by character, one step of training.

Takes: the name of a peer. Gives: its steps.
The one idea: names of layers are PyTorch's, so the network is written once for both libraries.

Two layers of LSTM with 256 units, vectors of 256 for 65 characters, sequences of 64, batches of
32, gradients clipped to norm 1, Adam.
"""

from __future__ import annotations

import importlib
import math
import os
from typing import Any

import numpy as np

from benchmarks.counts import Array
from benchmarks.peers import Runner

LAYERS, WIDTH, STEPS, VOCABULARY, BATCH = 2, 256, 64, 65, 32
RATE, LARGEST_NORM = 2e-3, 1.0


def build(peer: str) -> Runner:
    """Return the network of a peer, ready to be trained."""
    library = importlib.import_module("torch" if peer.startswith("torch") else "chainrule")
    if library.__name__ == "torch":
        library.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return Steps(library, peer)


class Steps:
    """Steps on one batch."""

    def __init__(self, library: Any, peer: str) -> None:
        nn = library.nn
        model = network(library)
        shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        first = first_weights(shapes)
        model.load_state_dict({name: library.tensor(array) for name, array in first.items()})
        self.tokens, self.targets = (library.tensor(array) for array in text())
        rule = library.optim.Adam(model.parameters(), lr=RATE)

        def forward(tokens: Any, targets: Any) -> Any:
            scores = model(tokens)  # [N, T, K]
            return nn.functional.cross_entropy(scores.reshape(-1, VOCABULARY), targets.reshape(-1))

        make = library.compile if peer == "torch-compile" else _as_it_is
        forward, update = make(forward), make(rule.step)

        def step(tokens: Any, targets: Any) -> Any:
            rule.zero_grad()
            loss = forward(tokens, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), LARGEST_NORM)
            update()
            return loss

        self.function = library.compile(step) if peer == "chainrule" else step

    def step(self) -> Any:
        """Do one step."""
        return self.function(self.tokens, self.targets)

    def loss(self, result: Any) -> float:
        """Return the loss of a step."""
        return float(result.item())


def _as_it_is(function: Any) -> Any:
    return function


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
