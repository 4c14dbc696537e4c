"""Averages of weights: SWA and EMA, and the rate that goes with SWA.

Takes: a model that is being trained. Gives: a second one, whose weights are means of its weights.
The one idea: near the end SGD wanders round a flat minimum; the mean of the places it visits lies
deeper inside (Izmailov et al. 2018; Polyak & Juditsky 1992).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from chainrule.core.errors import ArgumentError, StateError
from chainrule.graph.conversion import call
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced
from chainrule.nn.module import Module
from chainrule.nn.normalization import BatchNorm
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedule import ClosedFormLR
from chainrule.optim.settings import check_count, check_word

AverageOne = Callable[[Tensor, Tensor, Tensor], Tensor]
AverageAll = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]


def get_ema_avg_fn(decay: float = 0.999) -> AverageOne:
    """Return the rule of the exponential moving average: decay average + (1 - decay) new.

    Args:
        decay: Part of the average that is kept, from 0 to 1.

    Raises:
        ArgumentError: It is out of range.
    """
    _check_decay(decay)

    def average(averaged: Tensor, current: Tensor, number: Tensor) -> Tensor:
        return decay * averaged + (1 - decay) * current

    return average


def get_swa_avg_fn() -> AverageOne:
    """Return the rule of the equal mean: average + (new - average) / (number + 1)."""

    def average(averaged: Tensor, current: Tensor, number: Tensor) -> Tensor:
        return averaged + (current - averaged) / (number + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> AverageAll:
    """Return the rule of the exponential moving average, for all tensors at once, in place.

    Args:
        decay: Part of the average that is kept, from 0 to 1.

    Raises:
        ArgumentError: It is out of range.
    """
    _check_decay(decay)

    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], number: Tensor) -> None:
        for mean, new in zip(averaged, current, strict=True):
            mean.copy_((mean + (new - mean) * (1 - decay)).to(mean.dtype))

    return average


def get_swa_multi_avg_fn() -> AverageAll:
    """Return the rule of the equal mean, for all tensors at once, in place."""
    one = get_swa_avg_fn()

    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], number: Tensor) -> None:
        for mean, new in zip(averaged, current, strict=True):
            mean.copy_(one(mean, new, number).to(mean.dtype))

    return average


class AveragedModel(Module):
    """A copy of a model whose weights are averages of the weights it has had.

    `update_parameters` works inside ``chainrule.compile``, fused into the step.

    Args:
        model: The model that is being trained; it is copied.
        device: None or ``cpu``.
        avg_fn: Function (average, new, number so far) -> average, for each tensor; by default the
            equal mean (SWA).
        multi_avg_fn: The same for lists of tensors, in place.
        use_buffers: Whether buffers (running statistics) are averaged as well, rather than taken
            from the model.

    Attributes:
        module: The copy.
        n_averaged: How many weights have been averaged.

    Raises:
        ArgumentError: Both functions are given.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> model = nn.Linear(1, 1, bias=False)
        >>> averaged = AveragedModel(model)
        >>> for value in (1.0, 2.0, 6.0):
        ...     with chainrule.no_grad():
        ...         _ = model.weight.fill_(value)
        ...     averaged.update_parameters(model)
        >>> averaged.module.weight.item(), averaged.n_averaged.item()
        (3.0, 3)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: str | None = None,
        avg_fn: AverageOne | None = None,
        multi_avg_fn: AverageAll | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(model, Module):
            raise ArgumentError(f"AveragedModel: got {type(model).__name__}, expected an nn.Module")
        if device not in (None, "cpu"):
            raise ArgumentError(f"AveragedModel: device is {device!r}, expected None or 'cpu'")
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel: got both avg_fn and multi_avg_fn, expected one")
        self.module = copy.deepcopy(model)
        self.register_buffer("n_averaged", call("zeros", (), dtype="int64"))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the present weights of the model into the average; the first ones are copied.

        Raises:
            StateError: It is not the model that was copied.
        """
        averaged, current = self._tensors(self.module), self._tensors(model)
        if [t.spec for t in averaged] != [t.spec for t in current]:
            raise StateError(
                "AveragedModel.update_parameters: the model's parameters are not those of the copy",
                hint="pass the model that AveragedModel was made from",
            )
        number = self.n_averaged
        with no_grad():
            traced = is_traced(number)
            if traced or number.item():
                self._average(averaged, current, number)
            if traced:
                first = number == 0
                for mean, new in zip(averaged, current, strict=True):
                    mean.copy_(call("where", first, new, mean))
            elif not number.item():
                _copy(averaged, current)
            if not self.use_buffers:
                _copy(list(self.module.buffers()), list(model.buffers()))
            number.add_(1)

    def _average(self, averaged: list[Tensor], current: list[Tensor], number: Tensor) -> None:
        if self.multi_avg_fn is not None:
            self.multi_avg_fn(averaged, current, number)
            return
        one = self.avg_fn or get_swa_avg_fn()
        for mean, new in zip(averaged, current, strict=True):
            mean.copy_(one(mean, new, number).to(mean.dtype))

    def _tensors(self, model: Module) -> list[Tensor]:
        tensors: list[Tensor] = list(model.parameters())
        return tensors + list(model.buffers()) if self.use_buffers else tensors


def update_bn(loader: Iterable[Any], model: Module, device: str | None = None) -> None:
    """Compute the running statistics of all batch norms anew, from one pass through the data.

    Averaged weights have other activations than those which the statistics were gathered from.

    Args:
        loader: Yields inputs, or tuples that begin with them.
        model: The model; its mode is afterwards what it was before.
        device: None or ``cpu``.
    """
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    training = model.training
    model.train()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the equal mean over batches
        with no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, list | tuple) else batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)


class SWALR(ClosedFormLR):
    """Let the rate go from where it is to a constant one, at which weights are averaged.

    It may be made at the beginning of a training and stepped only from some epoch on, in the place
    of another schedule.

    Args:
        optimizer: The optimizer whose rates change.
        swa_lr: The last rate, or one for each group.
        anneal_epochs: Steps until it is reached.
        anneal_strategy: ``cos`` or ``linear``.
        last_epoch: How many steps lie behind; -1 for a new training.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        last_epoch: int = -1,
    ) -> None:
        super(ClosedFormLR, self).__init__(optimizer)
        check_count(self.name, "anneal_epochs", anneal_epochs, least=0)
        check_word("anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.swa_lrs = self.for_groups("swa_lr", swa_lr)
        self.anneal_epochs, self.anneal_strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def part(self, epoch: float) -> float:
        """Return how much of the way is behind after a number of steps."""
        if self.anneal_epochs == 0:
            return 1.0
        part = max(0.0, min(1.0, epoch / self.anneal_epochs))
        return part if self.anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def lr_at(self, epoch: float, base_lr: float, group: int) -> float:
        """Return the mean of base_lr and swa_lr, weighted by the way."""
        part = self.part(epoch)
        return self.swa_lrs[group] * part + base_lr * (1 - part)

    def next_lr(self, epoch: float, lr: float, base_lr: float, group: int) -> float:
        """Return the next rate on the way from a rate that lies on it."""
        before, last = self.part(epoch - 1), self.swa_lrs[group]
        start = last if before == 1 else (lr - before * last) / (1 - before)
        return self.lr_at(epoch, start, group)


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source.detach())


def _check_decay(decay: Any) -> None:
    if not isinstance(decay, int | float) or not 0 <= decay <= 1:
        raise ArgumentError(f"EMA: decay is {decay!r}, expected from 0 to 1", hint="decay=0.999")
