"""Trainer: the loop that fits a model to data.

Takes: a model, a loss, an optimizer, data. Gives: a trained model, and in a run folder its
figures, checkpoints and best weights.
The one idea: the loop is `Trainer.fit` -> `_run_epoch` -> `_train` -> `train_step`, to be read from
top to bottom. What a training needs to go on lies in other objects, which the keeper saves and
restores, so that stopping and resuming changes no bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from chainrule.core.dtype import Array
from chainrule.core.errors import ArgumentError, ChainruleError
from chainrule.graph.explain import hide_own_frames
from chainrule.graph.tensor import Tensor
from chainrule.graph.traced import is_traced, require
from chainrule.nn.module import Module
from chainrule.nn.utils.clipping import clip_grad_norm_
from chainrule.ops.generator import manual_seed
from chainrule.optim.lr_scheduler import LRScheduler
from chainrule.optim.optimizer import Optimizer
from chainrule.train import evaluation
from chainrule.train.averaging import Averaging
from chainrule.train.batches import NOTHING, Batch, batches, length_of, no_batches, set_epoch
from chainrule.train.checks import (
    DivergenceError,
    check_depends,
    check_parts,
    check_received_gradients,
    finite_loss,
    step_result,
)
from chainrule.train.compiled import WhereItCan
from chainrule.train.events import Event, EventList, Span
from chainrule.train.extras import Extras
from chainrule.train.history import History
from chainrule.train.interruption import Interruption, Stopped
from chainrule.train.keeper import Keeper
from chainrule.train.log import Row
from chainrule.train.measures import Loss, Measures, checked_loss
from chainrule.train.metrics import Metrics
from chainrule.train.monitor import Mode, Monitor
from chainrule.train.pace import Every, Pace
from chainrule.train.progress import Progress
from chainrule.train.regularizers import Regularizer
from chainrule.train.saved import Parts, loader_state, random_state, set_random_state
from chainrule.train.step import Step, train_step

__all__ = ["Stopped", "Trainer"]

Loader = Iterable[Any]
Handler = Callable[[Event["Trainer"]], object]


class Trainer:
    """Fits a model to data.

    Args:
        model: What is trained.
        loss: Function (output, target) -> scalar tensor: ``nn.CrossEntropyLoss()``.
        optimizer: Holds the model's parameters: ``optim.Adam(model.parameters(), lr=1e-3)``.
        metrics: Names (``accuracy``, ``f1``, ``mae``, ``rmse``, ``r2``, ``top5``) or metric
            objects, as a list or by name.
        watch: Other losses by name, measured but not trained on.
        schedule: Changes the learning rate: ``optim.lr_scheduler.CosineAnnealingLR(...)``.
        schedule_every: Whether the schedule counts epochs or steps (batches). A
            ``ReduceLROnPlateau`` is given the figure that is monitored.
        clip_norm: Largest norm of all gradients together; longer ones are scaled down.
        regularizers: Penalties, noise, bounds: ``[train.L2(1e-4), train.MaxNorm(3.0)]``.
        average: Averages the weights: ``train.ema(model)``; validation, `evaluate`, `predict` and
            the best weights are then those of the average.
        step: What is done with a batch; see `train_step`.
        monitor: The figure by which the best epoch is chosen: ``loss``, ``accuracy``, ... of the
            validation part if there is one; ``train.loss`` and ``valid.loss`` say which.
        mode: Whether smaller or larger is better; ``auto`` asks the metric.
        patience: Stop after so many epochs without improvement (early stopping); None: never.
        min_delta: What counts as an improvement must be larger than this.
        out: Run folder for log, checkpoints and best weights; None: nothing is written.
        checkpoint_seconds: Between checkpoints in mid-epoch; None: only at the end of epochs.
        progress: Whether to show how it goes, on standard error.
        seed: Seeds the default generator when a training begins; None leaves it as it is.
        compile: Whether steps, validation and evaluation run as native code. What cannot be
            compiled, a ``step`` of your own, and steps with handlers of ``backward`` or ``update``
            in them run eagerly.

    Attributes:
        events: All handlers; ``print(trainer.events)`` shows them in order.
        interrupted: Whether Ctrl-C or `stop` ended the last `fit`.

    Raises:
        ArgumentError: A part is missing, of the wrong kind, or does not belong to the others.

    Example:
        >>> import chainrule
        >>> from chainrule import nn, optim
        >>> x = chainrule.tensor([[0.0], [1.0], [2.0], [3.0]])
        >>> model = nn.Linear(1, 1)
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Trainer(model, nn.MSELoss(), optimizer, metrics=["r2"], progress=False)
        >>> history = trainer.fit([(x, 2 * x + 1)], epochs=300)
        >>> round(trainer.evaluate([(x, 2 * x + 1)])["r2"], 3)
        1.0
    """

    def __init__(
        self,
        model: Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        metrics: Metrics = (),
        watch: Mapping[str, Loss] | None = None,
        schedule: LRScheduler | None = None,
        schedule_every: Every = "epoch",
        clip_norm: float | None = None,
        regularizers: Iterable[Regularizer] = (),
        average: Averaging | None = None,
        step: Step = train_step,
        monitor: str = "loss",
        mode: Mode = "auto",
        patience: int | None = None,
        min_delta: float = 0.0,
        out: Path | str | None = None,
        checkpoint_seconds: float | None = 30.0,
        progress: bool = True,
        seed: int | None = None,
        compile: bool = True,
    ) -> None:
        check_parts(model, optimizer)
        if clip_norm is not None and not clip_norm > 0:
            raise ArgumentError(f"Trainer: clip_norm is {clip_norm}, expected a positive number")
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.events: EventList[Trainer] = EventList()
        self.interrupted = False
        self._pace = Pace(schedule, schedule_every)
        self._extras = Extras(model, regularizers, average)
        self._step = step
        self._compile = compile
        self._fast_step = WhereItCan(partial(step, self), self._say_eager)
        self._seed = seed
        self._measures = Measures(loss, metrics, watch)
        self._monitor = Monitor(monitor, mode=mode, patience=patience, min_delta=min_delta)
        self._keeper = Keeper(
            None if out is None else Path(out),
            Parts(model, loss, optimizer, schedule, step is not train_step, self._extras),
            self._measures,
            self._monitor,
            checkpoint_seconds,
        )
        self._progress = Progress(progress)
        self._interruption = Interruption()
        self._batch = NOTHING
        self._gradients_checked = False

    # --- where it stands ----------------------------------------------------------------------

    @property
    def epochs_done(self) -> int:
        """Number of epochs completed."""
        return self._keeper.counters.epoch

    @property
    def steps_done(self) -> int:
        """Number of updates of the parameters."""
        return self._keeper.counters.step

    @property
    def rate(self) -> float:
        """The learning rate of the first group of parameters."""
        return self._keeper.parts.rate

    @property
    def history(self) -> History:
        """What has been recorded so far."""
        return self._keeper.history(interrupted=self.interrupted)

    # --- what users call ----------------------------------------------------------------------

    def on(
        self,
        name: str,
        function: Handler,
        *,
        every: int = 1,
        once: int | None = None,
        filter: Callable[[Event[Trainer]], bool] | None = None,
        priority: int = 0,
    ) -> None:
        """Call a function at an event of the training.

        Args:
            name: ``fit``, ``epoch``, ``batch``, ``backward``, ``update``, ``validation``,
                ``validation_batch`` or ``checkpoint``, with ``_begin`` or ``_end``.
            function: Called with an `Event`.
            every: Only each ``every``-th time: ``every=100`` at steps 100, 200, ...
            once: Only this time: ``once=1`` at the first.
            filter: Only where ``filter(event)`` is true.
            priority: Higher ones are called first.

        Raises:
            ArgumentError: There is no such event, or a number is below 1.
        """
        self.events.add(name, function, every=every, once=once, filter=filter, priority=priority)

    def fit(
        self,
        train: Loader,
        valid: Loader | None = None,
        *,
        epochs: int,
        restore_best: bool = False,
        resume: bool = False,
    ) -> History:
        """Train until a number of epochs is reached, or patience has run out.

        Ctrl-C ends it after the running step: the state is saved, `interrupted` is True, and what
        to type to go on is shown. A second Ctrl-C stops at once.

        Args:
            train: Yields batches (inputs, targets): a `DataLoader`, a list of batches.
            valid: The same, for measuring only.
            epochs: The number of epochs in all; those done before (by an earlier call, or in a
                resumed run) count.
            restore_best: Whether to give the model its best weights at the end.
            resume: Whether to go on with what the run folder holds, bit for bit as if it had
                never stopped. An empty folder begins a new training.

        Returns:
            What was recorded.

        Raises:
            DataError: The run folder holds another training, or is damaged.
            DivergenceError: The loss or a weight is not finite any more.
            StateError: A loader yields nothing.
        """
        fresh = self._begin(train, valid, epochs, resume=resume)
        counters, monitor = self._keeper.counters, self._monitor
        try:
            with Interruption() as self._interruption, self._span("fit", 1):
                try:
                    if fresh:
                        # A training killed in its first seconds can be resumed as well.
                        self._save()
                    while counters.epoch < epochs and not monitor.exhausted:
                        self._run_epoch(train, valid)
                        counters.epoch += 1
                        counters.begin_epoch()
                        self._save()
                except Stopped:
                    self._pause()
        except BaseException as error:
            # An epoch that an error broke off is begun anew if fit is called again.
            counters.begin_epoch()
            if isinstance(error, ChainruleError):
                hide_own_frames(error)
            raise
        finally:
            self._progress.close()
        if not self.interrupted:
            self._finish(restore_best=restore_best)
        return self.history

    def resume(self, run: Path | str | None = None) -> None:
        """Bring everything to where the last checkpoint left it; `fit` then goes on from there.

        Args:
            run: The run folder; by default the trainer's own.

        Raises:
            DataError: There is no checkpoint, it is damaged, or is of other parts.
        """
        if run is not None:
            self._keeper.out = Path(run)
        self._keeper.load()

    def stop(self) -> None:
        """Ask a running `fit` to end after this step, as Ctrl-C does; for handlers."""
        self._interruption.requested = True

    def evaluate(self, loader: Loader) -> dict[str, Any]:
        """Return loss, watched losses and metrics over a loader; see `chainrule.train.evaluate`."""
        sums = self._measures.state_dict()
        try:
            model = self._extras.measured
            return evaluation.measure(model, loader, self._measures, compile=self._compile)
        finally:
            self._measures.load_state_dict(sums, "trainer")

    def predict(self, loader: Loader | Tensor | Array) -> Array:
        """Return the model's outputs for all examples; see `chainrule.train.predict`."""
        return evaluation.predict(self._extras.measured, loader, compile=self._compile)

    # --- what steps call ----------------------------------------------------------------------

    def forward(self, inputs: Any) -> Any:
        """Return the model's output; a tuple of inputs becomes several arguments."""
        return self._extras.forward(inputs)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss, after checking that it can be learned from.

        Raises:
            DivergenceError: It is not finite.
            GradientError: It does not depend on the parameters.
        """
        check_depends(checked_loss(loss, "loss"))
        if is_traced(loss):
            # Where it fails, the step is repeated eagerly, which says all there is to say.
            require(loss.isfinite().all(), DivergenceError("the loss is not finite"))
            self._extras.backward(loss)
        else:
            with self._span("backward", self.steps_done + 1, loss=self._finite(loss)):
                self._extras.backward(loss)
        if not self._gradients_checked:
            check_received_gradients(self.model)
            self._gradients_checked = True

    def update(self) -> None:
        """Clip the gradients, if so wished, and change the parameters."""
        with self._span("update", self.steps_done + 1):
            if self.clip_norm is not None:
                groups = self.optimizer.param_groups
                clip_grad_norm_([p for group in groups for p in group["params"]], self.clip_norm)
            self._extras.update(self.optimizer)

    def _run_step(self, batch: Batch) -> tuple[Any, Any]:
        """Do a step, natively unless somebody wants to look into it."""
        inside = ("backward_begin", "backward_end", "update_begin", "update_end")
        if self._compile and self._step is train_step and not any(map(self.events.of, inside)):
            return step_result(self._fast_step(batch.inputs, batch.targets))
        return step_result(self._step(self, batch.inputs, batch.targets))

    def _say_eager(self, reason: str) -> None:
        self._progress.note(reason)

    # --- the loop -----------------------------------------------------------------------------

    def _begin(self, train: Loader, valid: Loader | None, epochs: int, *, resume: bool) -> bool:
        """Check what fit was given, open the run folder; return whether a training begins."""
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
            raise ArgumentError(f"fit: epochs is {epochs!r}, expected a whole number")
        check_parts(self.model, self.optimizer)
        self._monitor.check(self._measures.names, valid is not None)
        self.interrupted = False
        keeper = self._keeper
        fresh = False
        if not keeper.opened:
            fresh = not keeper.open(resume=resume)
            if fresh and self._seed is not None:
                manual_seed(self._seed)
        loaders = {"train": train} if valid is None else {"train": train, "valid": valid}
        keeper.attach(loaders)
        counters = keeper.counters
        if counters.step and not fresh:
            self._progress.note(f"going on after epoch {counters.epoch}, step {counters.step}")
        self._progress.begin_fit(counters.epoch, epochs)
        return fresh

    def _run_epoch(self, train: Loader, valid: Loader | None) -> None:
        """Train for an epoch (or what is left of it), validate, log."""
        counters = self._keeper.counters
        with self._span("epoch", counters.epoch + 1) as event:
            self._progress.begin_epoch(counters.epoch + 1, length_of(train), counters.batch)
            self._extras.begin_epoch(counters.epoch)
            if counters.train_row is None:
                self._train(train)
            rows = [counters.train_row or {}]
            if valid is not None:
                rows.append(self._validate(valid))
            event.results = {row["split"]: row for row in rows}
            self._keeper.append(rows)
            self._pace.after_epoch(self._keeper.observe(rows))
            self._progress.end_epoch(rows, self._measures.names)

    def _train(self, loader: Any) -> None:
        """Run through the training data; leave the epoch's row in the counters."""
        counters, measures = self._keeper.counters, self._measures
        skipped = counters.batch if loader_state(loader) is None else 0
        if not counters.batch:
            measures.reset()
        set_epoch(loader, counters.epoch)
        self.model.train()
        now = time.perf_counter()
        with closing(batches(loader, "train")) as source:
            for batch in source:
                if skipped:
                    # Only a loader without a state comes here: it begins at the front again.
                    skipped -= 1
                    continue
                self._batch = batch
                with self._span("batch", counters.step + 1) as event:
                    event.output, loss = self._run_step(batch)
                    event.loss = counters.last_loss = self._finite(loss)
                    counters.step += 1
                    counters.batch += 1
                    self._pace.after_step()
                    measures.update(event.output, batch, event.loss)
                    event.step = counters.step
                before, now = now, time.perf_counter()
                counters.seconds += now - before
                self._progress.batch(batch.examples, measures.compute)
                self._between_steps()
        self._batch = NOTHING
        if not counters.batch:
            raise no_batches(loader, "train", counters.epoch + 1)
        self._keeper.check_weights()
        self._extras.end_epoch()
        counters.train_row = self._keeper.row("train", measures.compute(), counters.seconds)

    def _validate(self, loader: Any) -> Row:
        """Run through the validation data; return its row."""
        self._between_steps()
        counters, measures = self._keeper.counters, self._measures
        before, model = (random_state(), loader_state(loader)), self._extras.measured
        set_epoch(loader, counters.epoch)
        measures.reset()
        began = time.perf_counter()
        try:
            with (
                self._span("validation", counters.epoch + 1) as event,
                evaluation.evaluating(model),
                closing(batches(loader, "valid")) as source,
            ):
                for number, batch in enumerate(source, 1):
                    self._batch = batch
                    with self._span("validation_batch", number) as inner:
                        inner.batch = number
                        inner.output = evaluation.run_model(
                            model, batch.inputs, compile=self._compile
                        )
                        measures.update(inner.output, batch)
                    self._interruption.check()
                if not measures.examples:
                    raise no_batches(loader, "valid", counters.epoch + 1)
                self._batch = NOTHING
                event.results = measures.compute()
        except Stopped:
            # The validation will begin anew, with the random numbers and the data it began with.
            set_random_state(before[0], "validation")
            if before[1] is not None:
                loader.load_state_dict(before[1])
            raise
        return self._keeper.row("valid", event.results, time.perf_counter() - began)

    def _between_steps(self) -> None:
        self._interruption.check()
        if self._keeper.due():
            self._save()

    def _save(self) -> None:
        with self._span("checkpoint", self.steps_done or 1):
            self._keeper.save()

    def _pause(self) -> None:
        self.interrupted = True
        self._save()
        self._keeper.hold()
        counters = self._keeper.counters
        place = f"epoch {counters.epoch + 1}, after step {counters.step}"
        self._progress.say(f"stopped in {place}; {self._keeper.how_to_go_on()}")

    def _finish(self, *, restore_best: bool) -> None:
        monitor = self._monitor
        if monitor.exhausted:
            self._progress.note(
                f"stopped early: {monitor.name} has not improved for {monitor.waited} epochs; "
                f"the best was {monitor.best:.4g} in epoch {monitor.best_epoch}"
            )
        if restore_best:
            self._keeper.restore_best()

    def _finite(self, loss: Any) -> float:
        keeper = self._keeper
        return finite_loss(loss, keeper.counters, self._batch, rate=self.rate, kept=keeper.kept())

    def _span(self, part: str, number: int, *, loss: float | None = None) -> Span[Trainer]:
        counters = self._keeper.counters
        event = Event(
            part,
            self,
            number,
            counters.epoch + 1,
            counters.step,
            counters.batch + 1,
            self._batch.inputs,
            self._batch.targets,
            loss=loss,
        )
        return Span(self.events, part, event)
