"""Averaging: a second model whose weights are means of those of the training.

Takes: a model. Gives: what `Trainer(average=...)` updates, evaluates and saves.
The one idea: the mean of the last weights is better than the last ones; it costs one addition for
each weight and step.
"""

from __future__ import annotations

from typing import Literal

from chainrule.core.errors import ArgumentError, unknown_word
from chainrule.graph.traced import guard
from chainrule.nn.module import Module
from chainrule.optim.settings import check_count
from chainrule.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

__all__ = ["Averaging", "ema", "swa"]


class Averaging:
    """When the weights of a training enter an average.

    Args:
        model: The average.
        every: Whether weights enter after each ``step`` or each ``epoch``.
        start: After so many epochs.

    Raises:
        ArgumentError: A setting is out of range.
    """

    def __init__(
        self, model: AveragedModel, *, every: Literal["step", "epoch"] = "step", start: int = 0
    ) -> None:
        if not isinstance(model, AveragedModel):
            raise ArgumentError(
                f"Averaging: got {type(model).__name__}, expected an AveragedModel",
                hint="average=train.ema(model), or train.Averaging(AveragedModel(model))",
            )
        if every not in ("step", "epoch"):
            raise unknown_word("every", str(every), ("step", "epoch"))
        check_count("Averaging", "start", start, least=0)
        self.model = model
        self.every = every
        self.start = start
        self.epoch = 0

    def begin_epoch(self, epochs_done: int) -> None:
        """Note how many epochs lie behind."""
        self.epoch = epochs_done

    def after_step(self, model: Module) -> None:
        """Let weights enter after a step, if they are to."""
        if self.every == "step":
            guard(self._started, "the start of averaging")
            if self._started():
                self.model.update_parameters(model)

    def after_epoch(self, model: Module) -> None:
        """Let weights enter after an epoch, if they are to."""
        if self.every == "epoch" and self._started():
            self.model.update_parameters(model)

    def of(self, model: Module) -> Module:
        """Return the average, or the model itself while nothing has been averaged."""
        return self.model.module if self.model.n_averaged.item() else model

    def _started(self) -> bool:
        return self.epoch >= self.start


def ema(model: Module, decay: float = 0.999, *, start: int = 0) -> Averaging:
    """Return the exponential moving average of weights and running statistics, step by step.

    Args:
        model: The model that is trained.
        decay: Part of the average that is kept at each step; the mean is over about
            1 / (1 - decay) steps, which should be a small part of the training.
        start: After so many epochs.

    Example:
        >>> import chainrule
        >>> from chainrule import nn, optim
        >>> from chainrule.train import Trainer, ema
        >>> x = chainrule.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> model = nn.Linear(1, 1)
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Trainer(
        ...     model, nn.MSELoss(), optimizer, average=ema(model, 0.9), progress=False
        ... )
        >>> history = trainer.fit([(x, 2 * x + 1)], epochs=300)
        >>> round(trainer.predict(x)[3].item(), 2)  # by the average
        7.0
    """
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    return Averaging(averaged, start=start)


def swa(model: Module, start: int) -> Averaging:
    """Return the equal mean of the weights at the ends of epochs (Izmailov et al. 2018).

    Running statistics are averaged too; `optim.swa_utils.update_bn` computes them anew.

    Args:
        model: The model that is trained.
        start: After so many epochs: three quarters of them.
    """
    return Averaging(AveragedModel(model, use_buffers=True), every="epoch", start=start)
