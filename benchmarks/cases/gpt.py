"""W8: a small GPT, one step of training on text.

Takes: the name of a peer. Gives: its steps.
The one idea: names of layers are PyTorch's, so the network is written once for both libraries.

Four layers of four heads, width 128, context 128, 65 characters, batches of 16, AdamW; layers
normalise first (pre-norm), GELU, learned positions (Radford et al. 2019, "GPT-2").
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.cases.texts import Steps, library_of
from benchmarks.counts import Array
from benchmarks.peers import Runner

LAYERS, HEADS, WIDTH, CONTEXT, VOCABULARY, BATCH = 4, 4, 128, 128, 65, 16
RATE, DECAY = 1e-3, 0.1
SPREAD = 0.02  # of the first weights, as GPT-2's


def build(peer: str, pace: float = 1.0) -> Runner:
    """Return the network of a peer, ready to be trained at a multiple of the rate."""

    def rule(optim: Any, parameters: Any) -> Any:
        return optim.AdamW(parameters, lr=pace * RATE, weight_decay=DECAY)

    return Steps(peer, network(library_of(peer)), first_weights, rule, text())


def network(library: Any) -> Any:
    """Return the network made of a library's layers."""
    nn = library.nn
    attend = nn.functional.scaled_dot_product_attention

    class Attention(nn.Module):  # type: ignore[misc,name-defined]  # of either library
        """Causal self-attention."""

        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
            self.out = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            """Return what each position has found at those up to it."""
            batch, length, width = x.shape
            q, k, v = (
                part.reshape(batch, length, HEADS, width // HEADS).transpose(1, 2)
                for part in self.qkv(x).split(width, -1)
            )
            found = attend(q, k, v, is_causal=True)  # [N, H, T, D]
            return self.out(found.transpose(1, 2).reshape(batch, length, width))

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        """Attention, then two linear layers, each added to what went in."""

        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.attention = Attention()
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            """Return the input plus what was found."""
            x = x + self.attention(self.norm1(x))
            return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))

    class Gpt(nn.Module):  # type: ignore[misc,name-defined]
        """The network: tokens [N, T] to scores of the next one [N, T, V]."""

        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Embedding(VOCABULARY, WIDTH)
            self.position = nn.Parameter(library.zeros((CONTEXT, WIDTH)))
            self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

        def forward(self, tokens: Any) -> Any:
            """Return the scores."""
            return self.head(self.norm(self.blocks(self.token(tokens) + self.position)))

    return Gpt()


def first_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    """Return the first weights: normal ones, scales of 1, biases of 0."""
    rng = np.random.default_rng(0)
    made: dict[str, Array] = {}
    for name, shape in shapes.items():
        if len(shape) == 2:
            made[name] = rng.normal(0.0, SPREAD, shape).astype(np.float32)
        else:
            made[name] = np.full(shape, float("norm" in name and "weight" in name), np.float32)
    return made


def text() -> tuple[Array, Array]:
    """Return a batch of tokens, and for each of them the next."""
    rng = np.random.default_rng(1)
    made = rng.integers(0, VOCABULARY, (BATCH, CONTEXT + 1))
    return np.ascontiguousarray(made[:, :-1]), np.ascontiguousarray(made[:, 1:])
