"""Saved state: everything that decides how a training goes on, gathered and put back.

Takes: the parts of a training. Gives: one dictionary for a checkpoint; and from it, every part as
it was.
The one idea: whatever the next step reads must be in here: weights and buffers, optimizer,
schedule, random numbers, the place in the data, sums of the running epoch. What is forgotten here
is a difference after a resume.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from chainrule.core.errors import ArgumentError, DataError, StateError
from chainrule.data.state import State
from chainrule.graph.tensor import Tensor
from chainrule.nn.module import Module
from chainrule.ops.generator import default_generator
from chainrule.optim.lr_scheduler import LRScheduler
from chainrule.optim.optimizer import Optimizer
from chainrule.train.extras import Extras

__all__ = [
    *("KEYS", "Counters", "Parts", "counters_from_state", "counters_to_state", "loader_state"),
    *("random_state", "set_random_state"),
]

KEYS = (
    *("classes", "counters", "gradients", "loaders", "loss", "measures", "model", "monitor"),
    *("optimizer", "random", "schedule"),
)


@dataclass
class Counters:
    """Where a training stands.

    Attributes:
        epoch: Epochs completed.
        batch: Batches of the running epoch completed.
        step: Updates of the parameters, from the beginning of the training.
        last_loss: The last loss of a batch; None before the first one.
        seconds: Time spent on the batches of the running epoch.
        train_row: The row for the log, once all batches of the running epoch are done.
        log_bytes: Length of metrics.jsonl.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    last_loss: float | None = None
    seconds: float = 0.0
    train_row: dict[str, Any] | None = None
    log_bytes: int = 0

    def begin_epoch(self) -> None:
        """Go to the beginning of an epoch."""
        self.batch = 0
        self.seconds = 0.0
        self.train_row = None


@dataclass
class Parts:
    """The parts of a training that have a state of their own."""

    model: Module
    loss: Any
    optimizer: Optimizer
    schedule: LRScheduler | None
    keep_gradients: bool
    extras: Extras
    loaders: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The learning rate of the first group of parameters."""
        return float(self.optimizer.param_groups[0]["lr"])

    def gather(self) -> dict[str, Any]:
        """Return the state of all parts."""
        return {
            "classes": self._classes(),
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict() if isinstance(self.loss, Module) else {},
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "random": random_state(),
            "loaders": {name: loader_state(loader) for name, loader in self.loaders.items()},
            "gradients": self._gradients(),
            **self.extras.gather(),
        }

    def put_back(self, state: Mapping[str, Any], where: str) -> None:
        """Give every part but the loaders its state back.

        Raises:
            DataError: The state is of other parts.
        """
        classes = self._classes()
        for name, saved in state["classes"].items():
            if classes.get(name) != saved:
                raise DataError(
                    f"{where}: the {name} was {saved or 'none'}, now it is "
                    f"{classes.get(name) or 'none'}",
                    hint="resume with the same parts, or train anew in another folder",
                )
        try:
            self.model.load_state_dict(state["model"])
            if isinstance(self.loss, Module):
                self.loss.load_state_dict(state["loss"])
            # The schedule sets rates; what the optimizer had, perhaps changed by a handler, wins.
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (ArgumentError, StateError) as error:
            raise DataError(
                f"{where}: does not fit: {error.message}", context=error.context, hint=error.hint
            ) from error
        self.extras.put_back(state, where)
        self._put_gradients(state["gradients"])
        set_random_state(state["random"], where)

    def _classes(self) -> dict[str, str]:
        parts = {"model": self.model, "loss": self.loss, "optimizer": self.optimizer}
        names = {name: _class_name(part) for name, part in parts.items()}
        return names | {"schedule": "" if self.schedule is None else _class_name(self.schedule)}

    def _gradients(self) -> dict[str, Tensor]:
        if not self.keep_gradients:
            return {}
        named = self.model.named_parameters()
        return {name: p.grad.detach() for name, p in named if p.grad is not None}

    def _put_gradients(self, gradients: Mapping[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.grad = gradients.get(name)


def loader_state(loader: Any) -> Any:
    """Return where a loader stands, or None if it cannot say."""
    return loader.state_dict() if hasattr(loader, "state_dict") else None


def random_state() -> dict[str, Any]:
    """Return the state of our generator, and of Python's and NumPy's global ones."""
    version, words, spare = random.getstate()
    return {
        "chainrule": default_generator().get_state(),
        "python": (version, np.array(words, dtype=np.uint64), spare),
        "numpy": np.random.get_state(legacy=True),
    }


def set_random_state(state: Mapping[str, Any], where: str) -> None:
    """Put the state of all generators back.

    Raises:
        DataError: It is no such state.
    """
    try:
        default_generator().set_state(state["chainrule"])
        version, words, spare = state["python"]
        random.setstate((version, tuple(words.tolist()), spare))
        np.random.set_state(state["numpy"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: holds no state of random numbers: {error}") from error


def counters_to_state(counters: Counters) -> dict[str, Any]:
    """Return counters as they are saved."""
    return asdict(counters)


def counters_from_state(value: object, where: str) -> Counters:
    """Return counters as they were saved.

    Raises:
        DataError: They are damaged.
    """
    state = State(value, where, tuple(Counters.__dataclass_fields__))
    row, last = state.raw("train_row"), state.raw("last_loss")
    if row is not None and not isinstance(row, dict):
        state.fail("train_row", "an object")
    return Counters(
        epoch=state.integer("epoch", low=0),
        batch=state.integer("batch", low=0),
        step=state.integer("step", low=0),
        last_loss=None if last is None else state.number("last_loss"),
        seconds=state.number("seconds"),
        train_row=row,
        log_bytes=state.integer("log_bytes", low=0),
    )


def _class_name(part: Any) -> str:
    """Return the name of a part's class, or of the function that it is."""
    return str(getattr(part, "__name__", type(part).__name__))
