"""History: what a training recorded, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["History"]


@dataclass
class History:
    """The rows of a training and how it ended.

    Attributes:
        rows: One an epoch and split, as in metrics.jsonl: ``{"epoch": 1, "step": 600, "split":
            "train", "loss": 0.3, ..., "lr": 0.001, "seconds": 1.2, "examples": 60000}``.
        monitor: What decides which epoch is the best: ``valid.loss``.
        best_epoch: The best epoch, from 1; None if none was completed.
        best: The value of ``monitor`` in it.
        ended: ``epochs``: all were run; ``patience``: stopped early; ``interrupted``: Ctrl-C.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    monitor: str = ""
    best_epoch: int | None = None
    best: float | None = None
    ended: Literal["epochs", "patience", "interrupted"] = "epochs"

    def curve(self, split: str, name: str) -> list[float | None]:
        """Return one figure over the epochs.

        Example:
            >>> rows = [{"split": "train", "loss": 0.5}, {"split": "train", "loss": 0.25}]
            >>> History(rows).curve("train", "loss")
            [0.5, 0.25]
        """
        return [row[name] for row in self.rows if row["split"] == split and name in row]
