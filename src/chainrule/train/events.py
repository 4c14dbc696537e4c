"""Events: named moments of a training, and the user's functions that run there.

Takes: handlers with a rate, a filter and a priority. Gives: a `span` that brackets a part of the
loop: its ``_begin`` handlers run before, its ``_end`` handlers after, whatever happens between.
The one idea: which occurrence an event is, is read from the trainer's counters, not counted here;
so ``every=100`` fires at the same steps in a training that was stopped and resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, TypeVar

from chainrule.core.errors import ArgumentError, unknown_word

__all__ = ["PARTS", "Event", "EventList", "Handler", "Span"]

TrainerT = TypeVar("TrainerT")

# Parts of a training, each with the part that it lies in: `print(trainer.events)` shows the tree.
PARTS = {
    "fit": "",
    "epoch": "fit",
    "batch": "epoch",
    "backward": "batch",
    "update": "batch",
    "validation": "epoch",
    "validation_batch": "validation",
    "checkpoint": "fit",
}
NAMES = tuple(f"{part}_{edge}" for part in PARTS for edge in ("begin", "end"))


@dataclass
class Event(Generic[TrainerT]):
    """What a handler is told. One object serves both ends of a part.

    Attributes:
        name: ``batch_end``.
        trainer: The trainer.
        number: Which occurrence it is, from 1: the step for what happens in a batch, the epoch
            for epochs and validations.
        epoch: The running epoch, from 1.
        step: Updates of the parameters done, from the beginning of the training.
        batch: Number of the running batch in its epoch, from 1.
        inputs: Of the running batch.
        targets: Of the running batch.
        output: What the model gave, at ``batch_end`` and ``validation_batch_end``.
        loss: The loss as a number, at ``backward_begin`` and later in a batch.
        results: Means and metrics, at ``validation_end`` and ``epoch_end``.
        error: The exception that ended this part, at its ``_end``; else None.
    """

    name: str
    trainer: TrainerT
    number: int
    epoch: int
    step: int
    batch: int = 0
    inputs: Any = None
    targets: Any = None
    output: Any = None
    loss: float | None = None
    results: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None


@dataclass(frozen=True)
class Handler(Generic[TrainerT]):
    """A function and when it runs.

    Attributes:
        function: Called with the `Event`.
        every: Only at each ``every``-th occurrence.
        once: Only at this occurrence.
        filter: Only where ``filter(event)`` is true.
        priority: Higher ones run first; equal ones in the order they were added.
    """

    function: Callable[[Event[TrainerT]], object]
    every: int = 1
    once: int | None = None
    filter: Callable[[Event[TrainerT]], bool] | None = None
    priority: int = 0

    def wants(self, event: Event[TrainerT]) -> bool:
        """Return whether the function is to run now."""
        if event.number % self.every or self.once not in (None, event.number):
            return False
        return self.filter is None or self.filter(event)

    def __str__(self) -> str:
        parts = [f"priority {self.priority}"]
        if self.every != 1:
            parts.append(f"every {self.every}")
        if self.once is not None:
            parts.append(f"once, at {self.once}")
        if self.filter is not None:
            parts.append(f"if {_name(self.filter)}")
        return f"{_name(self.function)} ({', '.join(parts)})"


class EventList(Generic[TrainerT]):
    """All handlers of a trainer, in the order in which they run.

    Example:
        >>> events = EventList()
        >>> print_rate = lambda event: print(event.trainer.lr)
        >>> events.add("epoch_end", print_rate, every=10)
        >>> print(events)
        fit
          epoch
            batch
              backward
              update
            validation
              validation_batch
            epoch_end: <lambda> (priority 0, every 10)
          checkpoint
    """

    def __init__(self) -> None:
        self._handlers: dict[str, list[Handler[TrainerT]]] = {}

    def add(
        self,
        name: str,
        function: Callable[[Event[TrainerT]], object],
        *,
        every: int = 1,
        once: int | None = None,
        filter: Callable[[Event[TrainerT]], bool] | None = None,
        priority: int = 0,
    ) -> None:
        """Let a function run at an event; see `Handler`.

        Raises:
            ArgumentError: There is no such event, or ``every`` or ``once`` is below 1.
        """
        if name not in NAMES:
            raise unknown_word("event", name, NAMES)
        if not callable(function):
            raise ArgumentError(f"on({name!r}): {function!r} is no function")
        for word, value in (("every", every), ("once", once)):
            if value is not None and value < 1:
                raise ArgumentError(f"on({name!r}): {word} is {value}, expected at least 1")
        handlers = self._handlers.setdefault(name, [])
        handlers.append(Handler(function, every, once, filter, priority))
        handlers.sort(key=lambda handler: -handler.priority)  # stable: equal ones keep their order

    def remove(self, name: str, function: Callable[[Event[TrainerT]], object]) -> None:
        """Take a function off an event.

        Raises:
            ArgumentError: It is not there.
        """
        before = self._handlers.get(name, [])
        after = [handler for handler in before if handler.function is not function]
        if len(after) == len(before):
            raise ArgumentError(f"events: {_name(function)} is no handler of {name!r}")
        self._handlers[name] = after

    def of(self, name: str) -> tuple[Handler[TrainerT], ...]:
        """Return the handlers of an event, in the order in which they run."""
        return tuple(self._handlers.get(name, ()))

    def __str__(self) -> str:
        return "\n".join(self._lines("", ""))

    def _lines(self, within: str, indent: str) -> Iterator[str]:
        for part, parent in PARTS.items():
            if parent == within:
                yield indent + part
                inner = indent + "  "
                yield from (f"{inner}{part}_begin: {h}" for h in self.of(f"{part}_begin"))
                yield from self._lines(part, inner)
                yield from (f"{inner}{part}_end: {h}" for h in self.of(f"{part}_end"))


class Span(Generic[TrainerT]):
    """Brackets a part of the loop: a context manager.

    Once the first ``_begin`` handler has been called, all ``_end`` handlers are, even if a
    ``_begin`` handler, the part itself or another ``_end`` handler raises. The first exception is
    the one that goes on; exceptions of ``_end`` handlers after it are noted on it.
    """

    def __init__(self, events: EventList[TrainerT], part: str, event: Event[TrainerT]) -> None:
        self._events = events
        self._part = part
        self.event = event

    def __enter__(self) -> Event[TrainerT]:
        self.event.name = f"{self._part}_begin"
        try:
            for handler in self._events.of(self.event.name):
                if handler.wants(self.event):
                    handler.function(self.event)
        except BaseException as error:
            self._end(error)
            raise
        return self.event

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failed = self._end(error)
        if error is None and failed is not None:
            raise failed

    def _end(self, error: BaseException | None) -> BaseException | None:
        event = self.event
        event.name = f"{self._part}_end"
        event.error = error
        for handler in self._events.of(event.name):
            try:
                if handler.wants(event):
                    handler.function(event)
            except BaseException as failure:
                if error is None:
                    error = event.error = failure
                else:
                    where = f"{event.name} handler {_name(handler.function)}"
                    error.add_note(f"then {where} raised {type(failure).__name__}: {failure}")
        return error


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)
