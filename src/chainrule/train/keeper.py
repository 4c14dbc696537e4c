"""Keeper: what a training writes, and how it comes back from it.

Takes: the parts of a training, and a run folder or none. Gives: log, checkpoints and best weights
in the folder; and from a folder, the training as it was.
The one idea: the log is written first, then the best weights, then the checkpoint that knows the
log's length: after a crash in between, the older checkpoint cuts the log and does it all again.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from chainrule.core.errors import ArgumentError, DataError
from chainrule.core.files import write_atomic
from chainrule.train.checkpoint import BestModel, Checkpoints
from chainrule.train.checks import check_weights
from chainrule.train.history import History
from chainrule.train.log import Row, RunLog, figures
from chainrule.train.measures import Measures
from chainrule.train.monitor import Monitor
from chainrule.train.saved import (
    KEYS,
    Counters,
    Parts,
    counters_from_state,
    counters_to_state,
    loader_state,
)

__all__ = ["Keeper"]

# A checkpoint in mid-epoch may take this part of the time at most, however large the model is.
MOST_TIME = 0.1


class Keeper:
    """Writes and reads the state of one training.

    Args:
        out: The run folder; None: nothing is written.
        parts: Model, loss, optimizer, schedule.
        measures: Whose sums are saved.
        monitor: Which epoch was the best.
        seconds: Between two checkpoints in mid-epoch; None: only at the end of epochs.

    Attributes:
        counters: Where the training stands.
        rows: What has been logged.
        opened: Whether the folder belongs to this training.
    """

    def __init__(
        self,
        out: Path | None,
        parts: Parts,
        measures: Measures,
        monitor: Monitor,
        seconds: float | None,
    ) -> None:
        if seconds is not None and not seconds >= 0:
            raise ArgumentError(f"Trainer: checkpoint_seconds is {seconds}, expected at least 0")
        self.out = out
        self.parts = parts
        self.measures = measures
        self.monitor = monitor
        self.counters = Counters()
        self.rows: list[Row] = []
        self.opened = False
        self._seconds = seconds
        self._best: BestModel | None = None
        self._left: Mapping[str, Any] = {}  # where loaders stood when the training stopped
        self._saved_at = time.monotonic()
        self._cost = 0.0

    @property
    def checkpoints(self) -> Checkpoints | None:
        """The folder of checkpoints; None without a run folder."""
        return self._checkpoints

    @property
    def out(self) -> Path | None:
        """The run folder."""
        return self._out

    @out.setter
    def out(self, out: Path | None) -> None:
        self._out = out
        self._checkpoints = None if out is None else Checkpoints(out)
        self._log = None if out is None else RunLog(out / "metrics.jsonl")

    def open(self, *, resume: bool) -> bool:
        """Make the run folder, or go on in it; return whether the training goes on.

        Raises:
            DataError: A training is there already and ``resume`` is False, or it is damaged.
        """
        if self._out is None or self._checkpoints is None or self._log is None:
            if resume:
                raise _no_folder()
            self.opened = True
            return False
        if self._checkpoints.exist():
            if resume:
                self.load()
                return True
            raise self._taken(self._out)
        if not resume and self._log.path.exists() and self._log.path.stat().st_size:
            raise self._taken(self._out)
        try:
            self._out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self._out}: cannot be made: {error.strerror or error}") from error
        write_atomic(self._log.path, b"")
        self.opened = True
        return False

    def load(self) -> None:
        """Bring every part to where the last checkpoint of the run folder left it.

        Raises:
            DataError: There is none, it is damaged, or is of other parts.
        """
        if self._checkpoints is None or self._log is None:
            raise _no_folder()
        state = self._checkpoints.load()
        where = str(self._checkpoints.folder / "last.json")
        if set(state) - {"extras"} != set(KEYS):
            raise DataError(f"{where}: holds {sorted(state)}, expected {sorted(KEYS)}")
        counters = counters_from_state(state["counters"], where)
        self.monitor.load_state_dict(state["monitor"], where)
        self.measures.load_state_dict(state["measures"], where)
        self.parts.put_back(state, where)
        self.rows = self._log.cut(counters.log_bytes)
        self.counters = counters
        self._left = state["loaders"]
        self.opened = True

    def attach(self, loaders: Mapping[str, Any]) -> None:
        """Take over the loaders; those of a training that goes on are put where they stood.

        Raises:
            DataError: A loader's data or settings are not those of the saved one.
        """
        self.parts.loaders = dict(loaders)
        for name, state in self._left.items():
            loader = loaders.get(name)
            if state is None or loader is None:
                continue
            try:
                loader.load_state_dict(state)
            except DataError as error:
                raise error.add_context(f"in the checkpoint, for the {name} loader") from None
        self._left = {}

    def hold(self) -> None:
        """Remember where the loaders stand, for another call of fit in this process."""
        self._left = {name: loader_state(loader) for name, loader in self.parts.loaders.items()}

    def due(self) -> bool:
        """Return whether it is time for a checkpoint in mid-epoch."""
        if self._seconds is None or self._checkpoints is None:
            return False
        wait = max(self._seconds, self._cost / MOST_TIME) if self._seconds else 0.0
        return time.monotonic() - self._saved_at >= wait

    def save(self) -> None:
        """Write a checkpoint, if there is a run folder.

        Raises:
            DivergenceError: A weight is not finite; the last checkpoint stays.
            DataError: It cannot be written.
        """
        self.check_weights()
        if self._checkpoints is None:
            return
        began = time.monotonic()
        state = {
            **self.parts.gather(),
            "counters": counters_to_state(self.counters),
            "measures": self.measures.state_dict(),
            "monitor": self.monitor.state_dict(),
        }
        self._checkpoints.save(state, self.counters.step)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - began

    def check_weights(self) -> None:
        """Raise unless all weights are finite.

        Raises:
            DivergenceError: One is not.
        """
        check_weights(self.parts.model, self.counters, rate=self.parts.rate, kept=self.kept())

    def row(self, split: str, values: Mapping[str, Any], seconds: float) -> Row:
        """Return the row for the log of one pass through the data."""
        return {
            "epoch": self.counters.epoch + 1,
            "step": self.counters.step,
            "split": split,
            **figures(values),
            "lr": self.parts.rate,
            "seconds": round(seconds, 6),
            "examples": self.measures.examples,
        }

    def append(self, rows: list[Row]) -> None:
        """Log rows."""
        self.rows += rows
        if self._log is not None:
            self.counters.log_bytes = self._log.append(rows)

    def observe(self, rows: list[Row]) -> float | None:
        """Find out whether the epoch of these rows was the best, and keep its weights if so.

        Returns:
            The figure that is monitored.
        """
        watched = self.monitor
        split, figure = watched.split_and_figure(len(rows) > 1)
        value = {row["split"]: row for row in rows}[split].get(figure)
        higher = self.measures.higher_is_better(figure)
        row = rows[0]
        if not watched.observe(value, epoch=row["epoch"], step=row["step"], higher=higher):
            return value
        best = BestModel(
            self.parts.extras.measured.state_dict(),
            epoch=watched.best_epoch or 0,
            step=watched.best_step,
            monitor=f"{split}.{figure}",
            value=watched.best,
        )
        if self._checkpoints is not None:
            self._checkpoints.save_best(best)
        else:
            self._best = best
        return value

    def history(self, *, interrupted: bool) -> History:
        """Return what has been recorded."""
        watched = self.monitor
        ended: Literal["epochs", "patience", "interrupted"] = "epochs"
        if interrupted or watched.exhausted:
            ended = "interrupted" if interrupted else "patience"
        name = ".".join(watched.split_and_figure("valid" in self.parts.loaders))
        best = None if watched.best_epoch is None else watched.best
        return History(list(self.rows), name, watched.best_epoch, best, ended)

    def restore_best(self) -> None:
        """Give the model the best weights, if an epoch has been completed."""
        if self.monitor.best_epoch is None:
            return
        best = self._best
        if best is None and self._checkpoints is not None:
            best = self._checkpoints.load_best()
        if best is not None:
            self.parts.model.load_state_dict(best.weights)

    def kept(self) -> str:
        """Return which checkpoint is left, for errors; nothing without a run folder."""
        if self._checkpoints is None or not self._checkpoints.exist():
            return ""
        return f"the last good checkpoint is in {self._checkpoints.folder}"

    def how_to_go_on(self) -> str:
        """Return what to type to continue a training that was stopped."""
        if self._out is None:
            return "nothing was saved, for there is no run folder; in this process fit(...) goes on"
        if (self._out / "config.json").exists():
            out = shlex.quote(str(self._out))
            return f"saved; go on with: chainrule train --out {out} --resume"
        return f"saved in {self._out}; go on with: Trainer(..., out=...).fit(..., resume=True)"

    def _taken(self, out: Path) -> DataError:
        return DataError(
            f"{out}: a training is there already",
            hint="fit(..., resume=True) goes on with it; for a new one choose another folder",
        )


def _no_folder() -> ArgumentError:
    return ArgumentError(
        "resume: this trainer has no run folder", hint='Trainer(..., out=Path("runs/a"))'
    )
