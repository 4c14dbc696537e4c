"""Networks that predict the next character: what their steps have in common.

Takes: a peer, a network and how it is trained. Gives: its steps.
The one idea: names are PyTorch's, so one text serves both libraries.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

from benchmarks.counts import Array


def library_of(peer: str) -> Any:
    """Return the library of a peer, set to the number of threads of the run."""
    library = importlib.import_module("torch" if peer.startswith("torch") else "chainrule")
    if library.__name__ == "torch":
        library.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    return library


class Steps:
    """Steps of a network on one batch.

    Args:
        peer: Whose.
        model: Tokens [N, T] to scores of the next ones [N, T, V].
        first: Returns first weights, from names and shapes of the parameters.
        rule: Returns the optimizer, from `optim` and the parameters.
        text: Tokens, and for each of them the next.
        largest_norm: Of the gradients; None: they are not clipped.
    """

    def __init__(
        self,
        peer: str,
        model: Any,
        first: Callable[[dict[str, tuple[int, ...]]], dict[str, Array]],
        rule: Callable[[Any, Any], Any],
        text: tuple[Array, Array],
        largest_norm: float | None = None,
    ) -> None:
        library = library_of(peer)
        nn = library.nn
        shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        model.load_state_dict({k: library.tensor(v) for k, v in first(shapes).items()})
        self.tokens, self.targets = (library.tensor(array) for array in text)
        optimizer = rule(library.optim, model.parameters())

        def forward(tokens: Any, targets: Any) -> Any:
            scores = model(tokens).flatten(0, 1)  # [N T, V]
            return nn.functional.cross_entropy(scores, targets.reshape(-1))

        make = library.compile if peer == "torch-compile" else _as_it_is
        forward, update = make(forward), make(optimizer.step)

        def step(tokens: Any, targets: Any) -> Any:
            optimizer.zero_grad()
            loss = forward(tokens, targets)
            loss.backward()
            if largest_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), largest_norm)
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
