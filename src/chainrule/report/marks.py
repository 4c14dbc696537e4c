"""Marks: what is drawn inside of a panel.

Takes: numbers. Gives: SVG placed through a frame's axes.
The one idea: a mark is a small record that knows how to draw itself; the panel around it neither
knows nor cares what it is. What lies outside of the frame is cut off by the panel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from chainrule.report.charts import Frame
from chainrule.report.contours import Outlines, contour_lines
from chainrule.report.svg import coordinate, element, line, text

FAR = 50.0  # frames: a point further out is drawn there, since coordinates need not grow on
UNSEEN = 0.12  # pixels: a line may be off by so much
SHADES = 6  # of contour lines, .level0 to .level5 in drawing.css

Pixel = tuple[float, float]
Numbers = Sequence[float] | NDArray[Any]


class Mark(Protocol):
    """Anything that draws itself through the axes of a frame."""

    def draw(self, frame: Frame) -> str:
        """Return its SVG."""
        ...


@dataclass(frozen=True)
class Curve2D:
    """A line through points; NaN and infinity interrupt it.

    Args:
        x, y: Places of the points.
        style: CSS classes: a colour ``c0`` to ``c3``, also ``dashed``, ``dotted``, ``thin``.
        name: Written beside its end, where the panel has room for it.
        ends: Mark the first point with a ring and the last with a dot.
        dots: Mark every point.
    """

    x: Numbers
    y: Numbers
    style: str = "c0"
    name: str = ""
    ends: bool = False
    dots: bool = False

    def draw(self, frame: Frame) -> str:
        """Return its SVG."""
        runs = [_simplified(run) for run in _runs(frame, self.x, self.y)]
        path = "".join(
            "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in r) for r in runs
        )
        parts = [element("path", {"d": path, "class": f"curve {self.style}"})] if path else []
        places = [place for run in _runs(frame, self.x, self.y) for place in run]
        colour = self.style.split()[0]
        if self.dots:
            parts.append(_specks(places, 2.2, colour))
        if self.ends and places:
            (x, y), (u, v) = places[0], places[-1]
            parts.append(element("circle", {"cx": x, "cy": y, "r": 4, "class": f"ring {colour}"}))
            parts.append(element("circle", {"cx": u, "cy": v, "r": 4, "class": f"fill {colour}"}))
        return "".join(parts)


@dataclass(frozen=True)
class Points:
    """Points as ``dot``, ``ring``, ``square`` or ``cross``."""

    x: Numbers
    y: Numbers
    style: str = "c0"
    shape: str = "dot"
    size: float = 3.0

    def draw(self, frame: Frame) -> str:
        """Return its SVG."""
        places = [place for run in _runs(frame, self.x, self.y) for place in run]
        if self.shape == "dot":
            return _specks(places, self.size, self.style)
        kind = "ring" if self.shape in ("ring", "cross") else "fill"
        marks = (self._one(x, y) for x, y in places)
        return element("g", {"class": f"{kind} {self.style}"}, *marks)

    def _one(self, x: float, y: float) -> str:
        r = self.size
        if self.shape == "square":
            return element("rect", {"x": x - r, "y": y - r, "width": 2 * r, "height": 2 * r})
        if self.shape == "cross":
            a, b, c, d = (coordinate(v) for v in (x - r, y - r, x + r, y + r))
            return element("path", {"d": f"M{a} {b}L{c} {d}M{a} {d}L{c} {b}"})
        return element("circle", {"cx": x, "cy": y, "r": r})


@dataclass(frozen=True)
class Histogram:
    """Bars that stand on zero over intervals: one more edge than heights."""

    edges: Sequence[float]
    heights: Sequence[float]
    style: str = "c0"

    def draw(self, frame: Frame) -> str:
        """Return its SVG: one path, since hundreds of bars are drawn."""
        path, bottom = "", coordinate(frame.bottom)
        for low, high, height in zip(self.edges, self.edges[1:], self.heights, strict=False):
            if height > 0:
                left, right = coordinate(frame.x(low)), coordinate(frame.x(high))
                path += f"M{left} {bottom}V{coordinate(frame.y(height))}H{right}V{bottom}Z"
        return element("path", {"d": path, "class": f"fill {self.style}"}) if path else ""


@dataclass(frozen=True)
class Bars:
    """Horizontal bars from zero, the value written behind each.

    Args:
        places: Where each stands on the y axis.
        values: Their lengths on the x axis.
        texts: What is written behind each.
        style: CSS classes.
        thickness: In units of the y axis.
    """

    places: Sequence[float]
    values: Sequence[float]
    texts: Sequence[str]
    style: str = "c0"
    thickness: float = 0.36

    def draw(self, frame: Frame) -> str:
        """Return its SVG."""
        parts, zero = [], frame.x(max(frame.x_axis.low, 0.0))
        for place, value, words in zip(self.places, self.values, self.texts, strict=True):
            if not math.isfinite(value):
                parts.append(text(zero + 4, frame.y(place) + 4, words, "muted small"))
                continue
            a, b = frame.y(place - self.thickness / 2), frame.y(place + self.thickness / 2)
            end = frame.x(min(value, frame.x_axis.high))
            box: dict[str, str | float] = {"x": min(zero, end), "y": min(a, b)}
            box |= {"width": max(abs(end - zero), 0.5), "height": abs(a - b)}
            parts.append(element("rect", {**box, "class": f"fill {self.style}"}))
            parts.append(text(max(end, zero) + 5, (a + b) / 2 + 4, words, "small"))
        return "".join(parts)


@dataclass(frozen=True)
class Contours:
    """Lines of equal height of a surface; the lower, the stronger.

    Args:
        x, y: Places of columns and rows of ``z``.
        z: Rows of heights.
        levels: Heights of the lines, ascending.
    """

    x: Sequence[float]
    y: Sequence[float]
    z: Sequence[Sequence[float]]
    levels: Sequence[float]

    def draw(self, frame: Frame) -> str:
        """Return its SVG."""
        parts = []
        for i, level in enumerate(self.levels):
            shade = SHADES - 1 - i * SHADES // len(self.levels)
            path = _outline(frame, contour_lines(self.x, self.y, self.z, level))
            if path:
                parts.append(element("path", {"d": path, "class": f"contour level{shade}"}))
        return "".join(parts)


@dataclass(frozen=True)
class Region:
    """The part of the plane in which a function is positive, with its border drawn."""

    x: Sequence[float]
    y: Sequence[float]
    z: Sequence[Sequence[float]]
    style: str = "above"

    def draw(self, frame: Frame) -> str:
        """Return its SVG."""
        cells, height = "", frame.height / (len(self.y) - 1)
        for row, place in zip(self.z, self.y, strict=True):
            top = coordinate(frame.y(place) - height / 2)
            start: int | None = None
            for i, value in enumerate([*row, -1.0]):
                if value > 0 and start is None:
                    start = i
                elif value <= 0 and start is not None:
                    half = (self.x[1] - self.x[0]) / 2
                    left = coordinate(frame.x(self.x[start] - half))
                    right = coordinate(frame.x(self.x[i - 1] + half))
                    cells += f"M{left} {top}H{right}v{coordinate(height + 0.3)}H{left}Z"
                    start = None
        border = _outline(frame, contour_lines(self.x, self.y, self.z, 0.0))
        parts = [element("path", {"d": cells, "class": f"region {self.style}"})] if cells else []
        if border:
            parts.append(element("path", {"d": border, "class": "border"}))
        return "".join(parts)


@dataclass(frozen=True)
class Rule:
    """A dashed line across the panel at one place of an axis (``x`` or ``y``)."""

    place: float
    axis: str = "x"

    def draw(self, frame: Frame) -> str:
        """Return its SVG."""
        if self.axis == "x":
            x = frame.x(self.place)
            return line(x, frame.top, x, frame.bottom, "mark")
        y = frame.y(self.place)
        return line(frame.left, y, frame.right, y, "mark")


@dataclass(frozen=True)
class Note:
    """Words at a corner of the panel: ``left`` or ``right``, at the top or at the bottom."""

    words: str
    side: str = "right"
    at_bottom: bool = False

    def draw(self, frame: Frame) -> str:
        """Return its SVG."""
        y = frame.bottom - 8 if self.at_bottom else frame.top + 15
        if self.side == "right":
            return text(frame.right - 6, y, self.words, "small halo", anchor="end")
        return text(frame.left + 6, y, self.words, "small halo")


def _specks(places: Sequence[Pixel], radius: float, colour: str) -> str:
    """Return dots as one path of very short strokes with round ends: a third of the bytes."""
    path = "".join(f"M{coordinate(x)} {coordinate(y)}h.1" for x, y in places)
    return element("path", {"d": path, "class": f"specks {colour}", "stroke-width": 2 * radius})


def _outline(frame: Frame, lines: Outlines) -> str:
    """Return polylines as one path."""
    path = ""
    for points in lines:
        pixels = _simplified([(frame.x(x), frame.y(y)) for x, y in points])
        path += "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in pixels)
    return path


def _simplified(points: list[Pixel]) -> list[Pixel]:
    """Leave out points that lie on the line of their neighbours but for a fraction of a pixel.

    Source: Douglas & Peucker, "Algorithms for the reduction of the number of points", 1973.
    """
    kept, stack = {0, len(points) - 1}, [(0, len(points) - 1)]
    while stack:
        first, last = stack.pop()
        (x, y), (u, v) = points[first], points[last]
        length = math.hypot(u - x, v - y)
        worst, place = UNSEEN, 0
        for i in range(first + 1, last):
            a, b = points[i]
            # A closed line begins where it ends: the distance is then that to a point.
            off = abs((u - x) * (y - b) - (x - a) * (v - y)) / length if length else math.inf
            off = min(off, math.hypot(a - x, b - y)) if not length else off
            if off > worst:
                worst, place = off, i
        if place:
            kept.add(place)
            stack += [(first, place), (place, last)]
    return [points[i] for i in sorted(kept)]


def _runs(frame: Frame, xs: Numbers, ys: Numbers) -> list[list[Pixel]]:
    """Return pixels, split where a value is not finite or has no place on a logarithmic axis."""
    runs: list[list[Pixel]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        pixel = _pixel(frame, float(x), float(y))
        if pixel is None:
            runs.append([])
        else:
            runs[-1].append(pixel)
    return [run for run in runs if run]


def _pixel(frame: Frame, x: float, y: float) -> Pixel | None:
    if not (math.isfinite(x) and math.isfinite(y)):
        return None
    if (frame.x_axis.log and x <= 0) or (frame.y_axis.log and y <= 0):
        return None
    along, up = (min(max(a.place(v), -FAR), FAR) for a, v in ((frame.x_axis, x), (frame.y_axis, y)))
    return frame.left + frame.width * along, frame.bottom - frame.height * up
