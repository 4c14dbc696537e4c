"""Surfaces: functions of two numbers to walk down on, and pictures of the walks.

Takes: paths. Gives: panels of contour lines with a path on them.
The one idea: with two parameters, all of what an optimizer does can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops.trigonometric import cos
from chainrule.report.marks import Contours, Curve2D, Mark, Note, Points
from chainrule.report.panels import Panel
from chainrule.report.ticks import linear_axis
from chainrule.report.words import format_number

GRID = (97, 61)  # columns and rows at which a surface is measured
LEVELS = 9

Path = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Surface:
    """A function of two numbers, and the part of the plane that is drawn."""

    height: Callable[[Tensor, Tensor], Tensor]
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    start: tuple[float, float]
    lowest: Path


def ravine(x: Tensor, y: Tensor) -> Tensor:
    """Return x²/20 + y²: steep across, flat along."""
    return x**2 / 20 + y**2


def saddle(x: Tensor, y: Tensor) -> Tensor:
    """Return x²/20 - y²/4 + y⁴/32: level at (0, 0), with lower ground at y = ±2."""
    return x**2 / 20 - y**2 / 4 + y**4 / 32


def hollows(x: Tensor, y: Tensor) -> Tensor:
    """Return x²/20 + y²/4 + 1 - cos 2x: a bowl with hollows in its side."""
    return x**2 / 20 + y**2 / 4 + 0.5 * (1 - cos(2 * x))


SURFACES = {
    "ravine": Surface(ravine, (-8, 3), (-3, 3), (-7.0, 2.0), ((0.0, 0.0),)),
    "saddle": Surface(saddle, (-8, 3), (-3, 3), (-7.0, 0.01), ((0.0, 2.0), (0.0, -2.0))),
    "several minima": Surface(hollows, (-8, 3), (-3, 3), (-7.0, 2.0), ((0.0, 0.0),)),
}


def contours(
    height: Callable[[Tensor, Tensor], Tensor],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> Contours:
    """Return contour lines, closer together where the surface is low."""
    x, y = np.linspace(*x_limits, GRID[0]), np.linspace(*y_limits, GRID[1])
    columns, rows = np.meshgrid(x, y)
    z = height(tensor(columns), tensor(rows)).numpy()
    low, high = float(z.min()), float(z.max())
    shares = (np.arange(1, LEVELS + 1) / (LEVELS + 1)) ** 1.8
    levels = low + (high - low) * shares
    return Contours(x.tolist(), y.tolist(), z.tolist(), levels.tolist())


def walk(
    title: str,
    path: Path,
    backdrop: Contours,
    *,
    lowest: Path = (),
    note: str = "",
) -> Panel:
    """Return a panel with a path on contour lines: from the ring to the dot."""
    x, y = zip(*path, strict=True)
    marks: list[Mark] = [Curve2D(x, y, "c1 path", ends=True)]
    if len(path) <= 80:
        marks.insert(0, Points(x, y, "c1", size=1.7))
    if lowest:
        a, b = zip(*lowest, strict=True)
        marks.append(Points(a, b, "ink", "cross", 4.5))
    if note:
        marks.append(Note(note, "left", at_bottom=True))
    x_axis = linear_axis(backdrop.x[0], backdrop.x[-1], count=5, loose=False)
    y_axis = linear_axis(backdrop.y[0], backdrop.y[-1], count=5, loose=False)
    return Panel(title, marks, x_axis, y_axis, backdrop=(backdrop,), rules="")


def at(height: Callable[[Tensor, Tensor], Tensor], place: Sequence[float]) -> float:
    """Return the height at a place."""
    x, y = place
    if not (math.isfinite(x) and math.isfinite(y)):
        return math.inf
    return float(height(tensor(x, dtype="float64"), tensor(y, dtype="float64")).item())


def height_note(value: float) -> str:
    """Return a height as a short note."""
    return f"f = {format_number(float(f'{value:.2g}'))}"
