"""Monitor: which epoch was the best, and when it is no use to go on.

Takes: the results of each epoch. Gives: whether this one is the best so far, and whether to stop.
Early stopping: Prechelt 1998, "Early stopping - but when?".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

from chainrule.core.errors import ArgumentError, DataError, unknown_word
from chainrule.data.state import State

__all__ = ["Mode", "Monitor"]

Mode = Literal["auto", "min", "max"]


class Monitor:
    """Watches one figure over the epochs.

    Args:
        name: ``loss``, ``accuracy``, ...: of the validation part if there is one, else of the
            training part; ``train.loss`` and ``valid.loss`` say which.
        mode: Whether smaller or larger is better; ``auto`` asks the metric.
        patience: After so many epochs without improvement the training stops; None: never.
        min_delta: What counts as an improvement must be larger than this.

    Raises:
        ArgumentError: A setting is out of range.

    Attributes:
        best: The best value so far.
        best_epoch: The epoch (from 1) that it belongs to; None before there is one.
        best_step: Updates of the parameters until then.
        waited: Epochs since then.
    """

    def __init__(
        self, name: str = "loss", *, mode: Mode = "auto", patience: int | None, min_delta: float
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise unknown_word("mode", str(mode), ("auto", "min", "max"))
        if patience is not None and patience < 1:
            raise ArgumentError(
                f"Trainer: patience is {patience}, expected at least 1",
                hint="patience=None never stops early",
            )
        if not 0 <= min_delta < math.inf:
            raise ArgumentError(f"Trainer: min_delta is {min_delta}, expected at least 0")
        self.name = name
        self.mode = mode
        self.patience = patience
        self.min_delta = min_delta
        self.best = math.nan
        self.best_epoch: int | None = None
        self.best_step = 0
        self.waited = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def split_and_figure(self, has_valid: bool) -> tuple[str, str]:
        """Return what is watched as split and name: ``("valid", "loss")``."""
        split, dot, figure = self.name.partition(".")
        if dot and split in ("train", "valid"):
            return split, figure
        return ("valid" if has_valid else "train"), self.name

    def check(self, known: Iterable[str], has_valid: bool) -> None:
        """Raise unless the figure will be there.

        Raises:
            ArgumentError: No loss or metric has this name, or there is no validation part.
        """
        split, figure = self.split_and_figure(has_valid)
        if split == "valid" and not has_valid:
            raise ArgumentError(
                f"Trainer: monitor is {self.name!r}, but fit got no validation data",
                hint=f'fit(train, valid, ...), or monitor="train.{figure}"',
            )
        if figure not in known:
            raise unknown_word("monitor", self.name, known)

    def observe(self, value: float | None, *, epoch: int, step: int, higher: bool) -> bool:
        """Take in an epoch's value; return whether it is the best so far.

        Args:
            value: The figure; what is not finite is never the best.
            epoch: From 1.
            step: Updates of the parameters so far.
            higher: Whether larger is better, if the mode is ``auto``.
        """
        if value is not None and math.isfinite(value) and self._improves(value, higher):
            self.best, self.best_epoch, self.best_step, self.waited = value, epoch, step, 0
            return True
        self.waited += 1
        return False

    def _improves(self, value: float, higher: bool) -> bool:
        if self.best_epoch is None:
            return True
        higher = higher if self.mode == "auto" else self.mode == "max"
        gain = value - self.best if higher else self.best - value
        return gain > self.min_delta

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and how long ago it was."""
        return {
            "name": self.name,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_step": self.best_step,
            "waited": self.waited,
        }

    def load_state_dict(self, state: object, where: str) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            DataError: It is damaged, or of another figure.
        """
        checked = State(state, where, ("name", "best", "best_epoch", "best_step", "waited"))
        if checked.text("name") != self.name:
            raise DataError(
                f"{where}: the training watched {checked.text('name')!r}, now it is {self.name!r}",
                hint=f'Trainer(..., monitor="{checked.text("name")}")',
            )
        found = checked.raw("best_epoch") is not None
        self.best = checked.number("best") if found else math.nan
        self.best_epoch = checked.integer("best_epoch", low=1) if found else None
        self.best_step = checked.integer("best_step", low=0)
        self.waited = checked.integer("waited", low=0)
