"""Extras: regularizers and the average of weights, which act around a step.

Takes: a model, regularizers, an average. Gives: their part of each step; their state.
The one idea: the trainer's loop names the places of a step; what happens there stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chainrule.core.errors import ArgumentError, DataError, StateError
from chainrule.graph.tensor import Tensor
from chainrule.nn.module import Module
from chainrule.optim.optimizer import Optimizer
from chainrule.train.averaging import Averaging
from chainrule.train.batches import call_model
from chainrule.train.regularizers import checked

__all__ = ["Extras"]


class Extras:
    """What acts around the steps of a training.

    Args:
        model: What is trained.
        regularizers: Act in each step.
        average: Takes the weights in; None: there is none.

    Raises:
        ArgumentError: One is something else, or the average is of another model.
    """

    def __init__(
        self, model: Module, regularizers: Iterable[Any], average: Averaging | None
    ) -> None:
        self.model = model
        self.regularizers = checked(regularizers)
        self.average = average
        if average is None:
            return
        if not isinstance(average, Averaging):
            raise ArgumentError(
                f"Trainer: average is {type(average).__name__}, expected an Averaging",
                hint="average=train.ema(model)",
            )
        specs = [[p.spec for p in part.parameters()] for part in (model, average.model.module)]
        if specs[0] != specs[1]:
            raise ArgumentError(
                "Trainer: average was made from another model", hint="average=train.ema(model)"
            )

    @property
    def measured(self) -> Module:
        """The model that is validated and kept: the average, if there is one."""
        return self.model if self.average is None else self.average.of(self.model)

    def forward(self, inputs: Any) -> Any:
        """Return the model's output, of perturbed weights if there is noise on them."""
        if not self.regularizers:
            return call_model(self.model, inputs)
        try:
            for regularizer in self.regularizers:
                regularizer.perturb(self.model)
            return call_model(self.model, inputs)
        except BaseException:
            self._restore()
            raise

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss and all penalties."""
        for regularizer in self.regularizers:
            penalty = regularizer.penalty(self.model)
            if penalty is not None:
                loss = loss + penalty
        try:
            loss.backward()
        finally:
            self._restore()

    def _restore(self) -> None:
        for regularizer in reversed(self.regularizers):
            regularizer.restore(self.model)

    def update(self, optimizer: Optimizer) -> None:
        """Do the optimizer's step, and what belongs before and after it."""
        params = [param for group in optimizer.param_groups for param in group["params"]]
        for regularizer in self.regularizers:
            regularizer.gradients(params)
        optimizer.step()
        for regularizer in self.regularizers:
            regularizer.project(self.model)
        if self.average is not None:
            self.average.after_step(self.model)

    def begin_epoch(self, epochs_done: int) -> None:
        """Note how many epochs lie behind."""
        if self.average is not None:
            self.average.begin_epoch(epochs_done)

    def end_epoch(self) -> None:
        """Act after the batches of an epoch."""
        if self.average is not None:
            self.average.after_epoch(self.model)

    # --- saving -----------------------------------------------------------------------------

    def gather(self) -> dict[str, Any]:
        """Return the state of all; nothing if there are none."""
        if not self.regularizers and self.average is None:
            return {}
        states = [[type(part).__name__, part.state_dict()] for part in self.regularizers]
        average = None if self.average is None else self.average.model.state_dict()
        return {"extras": {"regularizers": states, "average": average}}

    def put_back(self, state: Mapping[str, Any], where: str) -> None:
        """Go on from what `gather` returned.

        Raises:
            DataError: It is of others.
        """
        saved = state.get("extras", {"regularizers": [], "average": None})
        names = [name for name, _ in saved["regularizers"]]
        own = [type(part).__name__ for part in self.regularizers]
        averages = [saved["average"] is not None, self.average is not None]
        if names != own or averages[0] != averages[1]:
            raise DataError(
                f"{where}: the regularizers were {names}, now they are {own}"
                if names != own
                else f"{where}: weights were {'' if averages[0] else 'not '}averaged",
                hint="resume with the same parts, or train anew in another folder",
            )
        try:
            for part, (_, kept) in zip(self.regularizers, saved["regularizers"], strict=True):
                part.load_state_dict(kept)
            if self.average is not None:
                self.average.model.load_state_dict(saved["average"])
        except StateError as error:
            raise DataError(f"{where}: does not fit: {error.message}", hint=error.hint) from error
