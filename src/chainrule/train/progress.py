"""Progress: what a training shows while it runs.

Takes: the loop's counters. Gives: on a terminal a bar (with the library tqdm), elsewhere plain
lines: one an epoch, and one about every ten seconds within a long epoch.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

__all__ = ["Progress", "duration"]

# Seconds between two plain lines within an epoch, and between two changes of the bar's figures.
LINE_EVERY = 10.0
BAR_EVERY = 0.2

BAR_FORMAT = (
    "{desc} {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}"
)


class Progress:
    """Shows how a training goes, on standard error.

    Args:
        enabled: Whether anything is shown.
        stream: Where; by default what `sys.stderr` is at that moment.
        clock: Seconds, increasing.
    """

    def __init__(
        self,
        enabled: bool,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.enabled = enabled
        self._stream = stream
        self._clock = clock
        self._bar: Any = None
        self._title = ""
        self._epoch = self._epochs = 0
        self._batches: int | None = None
        self._done = 0
        self._examples = 0
        self._began = self._fit_began = clock()
        self._shown = self._began
        self._fit_from = 0.0

    @property
    def stream(self) -> TextIO:
        """Where texts go."""
        return self._stream if self._stream is not None else sys.stderr

    def begin_fit(self, epochs_done: float, epochs: int) -> None:
        """Take note of where the training begins, for the estimate of the time left."""
        self._fit_began = self._clock()
        self._fit_from = epochs_done
        self._epochs = epochs

    def begin_epoch(self, epoch: int, batches: int | None, done: int) -> None:
        """Begin an epoch.

        Args:
            epoch: Its number, from 1.
            batches: How many batches it has, if that is known.
            done: How many of them were done before the training was resumed.
        """
        self._epoch, self._batches, self._done = epoch, batches, done
        self._examples = 0
        self._began = self._shown = self._clock()
        self._title = f"epoch {epoch}/{self._epochs}"
        if self.enabled:
            self._bar = self._new_bar(batches, done)

    def batch(self, examples: int, figures: Callable[[], Mapping[str, Any]]) -> None:
        """Count a batch; ``figures`` is called only when something is shown."""
        self._done += 1
        self._examples += examples
        if not self.enabled:
            return
        now = self._clock()
        due = now - self._shown >= (LINE_EVERY if self._bar is None else BAR_EVERY)
        if self._bar is not None:
            if due:
                text = [*_texts(figures()), self._rate(now)]
                self._bar.set_postfix_str(", ".join(text), refresh=False)
            self._bar.update(1)
        elif due:
            of = "" if self._batches is None else f"/{self._batches}"
            place = f"{self._title}, batch {self._done}{of}"
            self._line([place, *_texts(figures()), self._rate(now), self._left(now)])
        if due:
            self._shown = now

    def end_epoch(self, rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> None:
        """Show the results of an epoch in one line.

        Args:
            rows: As they are logged, one a split.
            names: Which of their figures are shown.
        """
        now = self._clock()
        self._close_bar()
        if not self.enabled:
            return
        texts, rate = [self._title], ""
        for row in rows:
            rate = rate or _rate(row["examples"], row["seconds"])
            prefix = "" if row["split"] == "train" else f"{row['split']} "
            texts += _texts({name: row[name] for name in names if name in row}, prefix)
        self._done = self._batches = 1
        seconds = f"{now - self._began:.1f} s"
        self._line([*texts, rate, seconds, self._left(now)])

    def note(self, text: str) -> None:
        """Show a line, if anything is shown."""
        if self.enabled:
            self.say(text)

    def say(self, text: str) -> None:
        """Show a line, whatever else is shown."""
        self._close_bar()
        print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was found."""
        self._close_bar()

    def _new_bar(self, batches: int | None, done: int) -> Any:
        if not self.stream.isatty():
            return None
        try:
            tqdm = importlib.import_module("tqdm")
        except ImportError:
            return None
        return tqdm.tqdm(
            total=batches,
            initial=done,
            desc=self._title,
            file=self.stream,
            leave=False,
            dynamic_ncols=True,
            bar_format=BAR_FORMAT if batches else None,
        )

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _rate(self, now: float) -> str:
        return _rate(self._examples, now - self._began)

    def _left(self, now: float) -> str:
        """Estimate from what has been done since the start how long the rest of it takes."""
        part = self._done / self._batches if self._batches else 0.0
        at = self._epoch - 1 + part
        done, rest = at - self._fit_from, self._epochs - at
        if done <= 0 or rest <= 1e-9:
            return ""
        return f"{duration((now - self._fit_began) / done * rest)} left"

    def _line(self, parts: list[str]) -> None:
        print("  ".join(part for part in parts if part), file=self.stream, flush=True)


def _rate(examples: int, seconds: float) -> str:
    return f"{examples / seconds:,.0f} examples/s" if seconds > 0 else ""


def duration(seconds: float) -> str:
    """Return ``1:02:03`` or ``2:03``.

    Example:
        >>> duration(3723), duration(5.2)
        ('1:02:03', '0:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _texts(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    return [
        f"{prefix}{name} {'not finite' if value is None else format(value, '.4g')}"
        for name, value in values.items()
        if isinstance(value, int | float | None)
    ]
