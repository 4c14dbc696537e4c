"""Line search: a step length that is long enough and goes down far enough.

Takes: the loss along a direction. Gives: a point that fulfils the strong Wolfe conditions.
The one idea: first walk until a minimum is bracketed, then close in on it by cubics through two
values and two slopes (Nocedal & Wright 2006, algorithms 3.5 and 3.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from chainrule.graph.tensor import Tensor

# Wolfe's conditions: part of the slope's promise that must be kept, part of the slope that may
# be left.
SUFFICIENT, FLAT = 1e-4, 0.9


@dataclass(frozen=True)
class Point:
    """A place along a direction.

    Attributes:
        t: How far along.
        loss: The loss there.
        grad: Its gradient, over all parameters.
        slope: The gradient along the direction.
    """

    t: float
    loss: float
    grad: Tensor
    slope: float


def strong_wolfe(
    at: Callable[[float], Point],
    t: float,
    begin: Point,
    length: float,
    *,
    tolerance_change: float,
    most: int,
) -> tuple[Point, int]:
    """Return a point that fulfils the strong Wolfe conditions, or the best one found.

    loss(t) <= loss(0) + 1e-4 t slope(0) and |slope(t)| <= 0.9 |slope(0)|.

    Args:
        at: Evaluates the loss at a distance.
        t: The first distance tried.
        begin: The point at distance 0.
        length: Largest element of the direction.
        tolerance_change: A bracket in which nothing moves by more is not divided.
        most: How many more evaluations than one are allowed.

    Returns:
        The point, and how many evaluations it took.
    """
    low, high, used, found = _bracket(at, t, begin, most)
    if found:
        return high, used
    if high.loss < low.loss:
        low, high = high, low
    stuck = False
    while used <= most and abs(high.t - low.t) * length >= tolerance_change:
        t, stuck = _inside(low, high, stuck=stuck)
        point = at(t)
        used += 1
        if _too_high(point, begin) or point.loss >= low.loss:
            high = point
            if high.loss < low.loss:
                low, high = high, low
            continue
        done = _is_flat(point, begin)
        if not done and point.slope * (high.t - low.t) >= 0:
            high = low
        low = point
        if done:
            break
    return low, used


def _bracket(
    at: Callable[[float], Point], t: float, begin: Point, most: int
) -> tuple[Point, Point, int, bool]:
    """Return two points with a minimum between, evaluations, whether the second will do."""
    before, point = begin, at(t)
    for tried in range(most):
        if _too_high(point, begin) or (tried > 1 and point.loss >= before.loss):
            return before, point, tried + 1, False
        if _is_flat(point, begin):
            return before, point, tried + 1, True
        if point.slope >= 0:
            return before, point, tried + 1, False
        reach = point.t + 0.01 * (point.t - before.t), 10 * point.t
        before, point = point, at(_cubic(before, point, reach))
    return begin, point, most + 1, False


def _too_high(point: Point, begin: Point) -> bool:
    # A loss that is NaN or infinite is too high as well: the step must be shorter.
    return not point.loss <= begin.loss + SUFFICIENT * point.t * begin.slope


def _is_flat(point: Point, begin: Point) -> bool:
    return abs(point.slope) <= -FLAT * begin.slope


def _inside(low: Point, high: Point, *, stuck: bool) -> tuple[float, bool]:
    """Return a place in a bracket, not too near to its ends twice in a row, and whether it is."""
    least, largest = min(low.t, high.t), max(low.t, high.t)
    t = _cubic(low, high, (least, largest))
    margin = 0.1 * (largest - least)
    if min(largest - t, t - least) >= margin:
        return t, False
    if not stuck and least < t < largest:
        return t, True
    return (largest - margin if largest - t < t - least else least + margin), False


def _cubic(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Return the minimum of the cubic through two points with slopes, within bounds."""
    if a.t > b.t:
        a, b = b, a
    middle = (bounds[0] + bounds[1]) / 2
    bend = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = bend * bend - a.slope * b.slope
    if not 0 <= square < math.inf:
        return middle
    root = math.sqrt(square)
    width = b.slope - a.slope + 2 * root
    if width == 0:
        return middle
    t = b.t - (b.t - a.t) * ((b.slope + root - bend) / width)
    return min(max(t, bounds[0]), bounds[1])
