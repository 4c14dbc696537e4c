"""References for one step of recurrent networks: PyTorch's cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import torch
except ImportError:  # every test that uses a reference is skipped then
    torch = None

Tensor = Any


def _joined_lstm(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> Tensor:
    return torch.cat(torch.lstm_cell(x, (h, c), *weights), -1)


def _one_or_many(cell: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a cell that also takes one example without a batch axis."""

    def reference(x: Tensor, *rest: Tensor) -> Tensor:
        if x.ndim == 2:
            return cell(x, *rest)
        states = 2 if cell is _joined_lstm else 1
        state = [h[None] for h in rest[:states]]
        return cell(x[None], *state, *rest[states:])[0]

    return reference


REFERENCES: dict[str, Callable[..., Tensor]] = {
    "rnn_tanh_cell": _one_or_many(lambda *given: torch.rnn_tanh_cell(*given)),
    "rnn_relu_cell": _one_or_many(lambda *given: torch.rnn_relu_cell(*given)),
    "gru_cell": _one_or_many(lambda *given: torch.gru_cell(*given)),
    "lstm_cell": _one_or_many(_joined_lstm),
}
