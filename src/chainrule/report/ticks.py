"""Ticks: an axis with round numbers on it.

Takes: the smallest and largest value. Gives: an `Axis` with limits, ticks and their labels.
The one idea: steps are 1, 2 or 5 times a power of ten (Heckbert, "Nice numbers for graph
labels", Graphics Gems, 1990), and limits are ticks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Beyond these a chart cannot say anything, and differences or squares of values overflow.
LARGEST = 1e150
SMALLEST = 1e-150


@dataclass(frozen=True)
class Axis:
    """A scale from ``low`` to ``high``.

    Args:
        low, high: Limits in the unit of the values.
        ticks: Values with a label, ascending, within the limits.
        labels: One a tick.
        log: Whether distances are proportional to logarithms.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Return where ``value`` lies: 0 at ``low``, 1 at ``high``."""
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (math.log10(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)


def is_drawable(value: object) -> bool:
    """Return whether ``value`` is a number that a chart can show."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # The comparison is False for NaN, and exact for integers too large for a float.
    return -LARGEST < value < LARGEST


def nice_number(span: float, *, nearest: bool) -> float:
    """Return 1, 2, 5 or 10 times a power of ten: nearest to ``span``, or not below it.

    Source: Heckbert (1990), function ``nicenum``.
    """
    exponent = math.floor(math.log10(span))
    fraction = span / 10.0**exponent
    limits = (1.5, 3.0, 7.0) if nearest else (1.0, 2.0, 5.0)
    for limit, nice in zip(limits, (1.0, 2.0, 5.0), strict=True):
        if (fraction < limit) if nearest else (fraction <= limit):
            return nice * 10.0**exponent
    return 10.0 * 10.0**exponent


def linear_axis(
    low: float, high: float, *, count: int = 5, whole: bool = False, loose: bool = True
) -> Axis:
    """Return an axis over [low, high] with about ``count`` ticks.

    Args:
        low, high: Smallest and largest value; finite.
        count: Wished number of ticks.
        whole: Ticks only at whole numbers (epochs).
        loose: Widen the limits to the next ticks; otherwise they stay as given.

    Example:
        >>> linear_axis(0.02, 0.87).labels
        ('0.0', '0.2', '0.4', '0.6', '0.8', '1.0')
    """
    low, high = _widened(low, high)
    step = nice_number((high - low) / max(count - 1, 1), nearest=True)
    step = max(step, 1.0) if whole else step
    first, last = low / step, high / step
    # A limit that is a tick but for rounding must not gain another step.
    start, stop = math.floor(first + 1e-9), math.ceil(last - 1e-9)
    if not loose:
        start, stop = math.ceil(first - 1e-9), math.floor(last + 1e-9)
    ticks = tuple(i * step for i in range(start, stop + 1))
    labels = tuple(_label(tick, step) for tick in ticks)
    return Axis(ticks[0], ticks[-1], ticks, labels) if loose else Axis(low, high, ticks, labels)


def log_axis(low: float, high: float) -> Axis:
    """Return a logarithmic axis over [low, high]; both positive.

    Example:
        >>> log_axis(0.03, 8).labels
        ('0.02', '0.05', '0.1', '0.2', '0.5', '1', '2', '5', '10')
    """
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    decades = math.log10(high / low) if low > 0 else 0.0
    factors = (1, 2, 5) if decades <= 3 else (1,)
    ticks = [f * 10.0**e for e in range(first, last + 1) for f in factors]
    start = max(i for i, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    stop = min(i for i, tick in enumerate(ticks) if tick >= high * (1 - 1e-9) and i > start)
    ticks = ticks[start : stop + 1]
    stride = math.ceil((len(ticks) - 1) / 8)
    shown = tuple(ticks[::stride])
    return Axis(ticks[0], ticks[-1], shown, tuple(_label(t, t) for t in shown), log=True)


def _widened(low: float, high: float) -> tuple[float, float]:
    """Give equal or nearly equal limits a span that ticks can divide."""
    largest = max(abs(low), abs(high))
    if high - low > max(largest * 1e-9, SMALLEST):
        return low, high
    margin = largest * 0.1 if largest > SMALLEST else 1.0
    return low - margin, high + margin


def _label(tick: float, step: float) -> str:
    """Return a tick with just the digits that its step needs."""
    if tick == 0:
        tick = 0.0  # not -0
    exponent = math.floor(math.log10(step) + 1e-9)
    size = max(abs(tick), step)
    if size >= 1e6 or size < 1e-4 or (exponent < -6):
        digits = max(math.floor(math.log10(size) + 1e-9) - exponent, 0) if tick else 0
        mantissa, _, power = f"{tick:.{digits}e}".partition("e")
        return f"{mantissa}e{int(power)}" if tick else "0"
    return f"{tick:,.{max(-exponent, 0)}f}"
