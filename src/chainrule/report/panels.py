"""Panels: small charts in rows, one drawing.

Takes: panels, each with axes and marks. Gives: one SVG.
The one idea: many small charts alike are compared more easily than many lines in a large one
(Tufte, "The Visual Display of Quantitative Information", 1983: small multiples).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from chainrule.report.charts import FONT, Frame
from chainrule.report.marks import Curve2D, Mark, Numbers
from chainrule.report.svg import coordinate, drawing, element, line, text
from chainrule.report.ticks import Axis, is_drawable, linear_axis, log_axis
from chainrule.report.words import fit, text_width

WIDTH = 960.0  # pixels of a drawing
TITLE, TICKS, X_TITLE, Y_TITLE, GAP = 24.0, 22.0, 20.0, 20.0, 16.0
LABEL_GAP = 14.0  # pixels between the baselines of two names beside the ends of lines
NAME_FONT = 11.0
BOLD = 1.1  # bold text is wider by this factor
WIDEST = 1.3  # the same in the widest of usual fonts (DejaVu, Verdana)


@dataclass(frozen=True)
class Panel:
    """One chart.

    Args:
        title: Above it.
        marks: What is drawn, in order: later ones lie on top.
        x_axis, y_axis: Its axes.
        x_title, y_title: Beside them.
        backdrop: Marks that several panels share (the contours of a surface): drawn once.
        rules: Axes whose ticks have a line across the panel.
        bare: Whether ticks are left out.
    """

    title: str
    marks: Sequence[Mark]
    x_axis: Axis
    y_axis: Axis
    x_title: str = ""
    y_title: str = ""
    backdrop: Sequence[Mark] = ()
    rules: str = "y"
    bare: bool = False


def axis_of(
    *values: Numbers,
    log: bool = False,
    count: int = 5,
    zero: bool = False,
    loose: bool = True,
) -> Axis:
    """Return an axis over all finite values.

    Args:
        values: Numbers of which those that cannot be drawn are left out.
        log: Logarithmic; values that are not positive are left out too.
        count: Wished number of ticks.
        zero: Whether zero belongs on it.
        loose: Widen the limits to the next ticks.
    """
    known = [float(v) for some in values for v in some if is_drawable(float(v))]
    if log:
        known = [v for v in known if v > 0] or [0.1, 1.0]
        axis = log_axis(min(known), max(known))
        return axis if loose else _tightened(axis, min(known), max(known))
    known = [*known, 0.0] if zero or not known else known
    return linear_axis(min(known), max(known), count=count, loose=loose)


def _tightened(axis: Axis, low: float, high: float) -> Axis:
    shown = [pair for pair in zip(axis.ticks, axis.labels, strict=True) if low <= pair[0] <= high]
    ticks, labels = zip(*shown, strict=True) if shown else ((), ())
    return replace(axis, low=low, high=high, ticks=ticks, labels=labels)


def named_axis(names: Sequence[str]) -> Axis:
    """Return an axis of names, the first on top: at 0, -1, -2, ..."""
    places = tuple(float(-i) for i in range(len(names)))
    return Axis(0.5 - len(names), 0.5, places, tuple(names))


def draw_panels(
    panels: Sequence[Panel],
    *,
    label: str,
    description: str = "",
    columns: int = 1,
    height: float = 160.0,
    width: float = WIDTH,
    legend: Sequence[tuple[str, str]] = (),
) -> str:
    """Return panels in rows as one drawing.

    Args:
        panels: Charts, row by row.
        label: What is drawn, in a few words, for those who cannot see it.
        description: The same in a sentence or two.
        columns: Number of panels in a row.
        height: Of each panel's frame, in pixels.
        width: Of the drawing, in pixels.
        legend: (style, name) of lines that all panels share.
    """
    left = max(_left(panel) for panel in panels)
    right = max(_right(panel) for panel in panels)
    below = TICKS if any(not panel.bare for panel in panels) else 4.0
    below += X_TITLE if any(panel.x_title for panel in panels) else 0.0
    top = 28.0 if legend else 0.0
    pitch = (width + GAP) / columns
    inner = pitch - GAP - left - right
    title = TITLE if any(panel.title for panel in panels) else 8.0
    step = title + height + below + GAP
    parts = [*_legend(legend, left)]
    defs: dict[str, str] = {}
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        x, y = column * pitch + left, top + row * step + title
        frame = Frame(x, y, inner, height, panel.x_axis, panel.y_axis)
        parts.append(_panel(panel, frame, left, defs))
    rows = math.ceil(len(panels) / columns)
    total = top + rows * step - GAP
    shared = [element("defs", {}, *defs.values())] if defs else []
    return drawing(
        width, total, label, [*shared, *parts], style="panels", least=0.62, description=description
    )


def _panel(panel: Panel, frame: Frame, left: float, defs: dict[str, str]) -> str:
    """Return one panel; what it shares with others is added to ``defs``."""
    inside = Frame(0.0, 0.0, frame.width, frame.height, frame.x_axis, frame.y_axis)
    content = "".join(mark.draw(inside) for mark in panel.marks)
    if panel.backdrop:
        shared = "".join(mark.draw(inside) for mark in panel.backdrop)
        name = "s" + hashlib.sha256(shared.encode()).hexdigest()[:10]
        defs[name] = element("g", {"id": name}, shared)
        content = element("use", {"href": f"#{name}"}) + content
    box: dict[str, str | float] = {"x": frame.left, "y": frame.top}
    box |= {"width": frame.width, "height": frame.height}
    title = fit(panel.title, (frame.width + left) / BOLD, FONT) if panel.title else ""
    return "".join(
        [
            text(frame.left, frame.top - 8, title, "panel-title", tip=panel.title) if title else "",
            *_axes(panel, frame),
            # A nested drawing cuts off what lies outside of the frame.
            element("svg", box, content),
            *_names(panel, frame),
        ]
    )


def _axes(panel: Panel, frame: Frame) -> Iterator[str]:
    box: dict[str, str | float] = {"x": frame.left, "y": frame.top}
    yield element("rect", {**box, "width": frame.width, "height": frame.height, "class": "field"})
    if not panel.bare:
        yield from _ticks(panel, frame)
    yield line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    middle, size = frame.left + frame.width / 2, frame.top + frame.height / 2
    if panel.x_title:
        y = frame.bottom + (4 if panel.bare else TICKS) + 13
        words = fit(panel.x_title, frame.width + 30, FONT)
        yield text(middle, y, words, "muted", anchor="middle", tip=panel.x_title)
    if panel.y_title:
        words = text(0, 0, fit(panel.y_title, frame.height + 20, FONT), "muted", anchor="middle")
        x = frame.left - _tick_room(panel) - 8
        turned = f"translate({coordinate(x)} {coordinate(size)}) rotate(-90)"
        yield element("g", {"transform": turned}, words)


def _ticks(panel: Panel, frame: Frame) -> Iterator[str]:
    for tick, words in zip(frame.y_axis.ticks, frame.y_axis.labels, strict=True):
        y = frame.y(tick)
        if "y" in panel.rules:
            yield line(frame.left, y, frame.right, y, "rule")
        yield text(frame.left - 7, y + 4, words, "tick", anchor="end")
    free = -math.inf
    for tick, words in zip(frame.x_axis.ticks, frame.x_axis.labels, strict=True):
        x, half = frame.x(tick), text_width(words, FONT) / 2
        if "x" in panel.rules:
            yield line(x, frame.top, x, frame.bottom, "rule")
        yield line(x, frame.bottom, x, frame.bottom + 4, "axis")
        if x - half > free:
            yield text(x, frame.bottom + 17, words, "tick", anchor="middle")
            free = x + half + 6


def _names(panel: Panel, frame: Frame) -> Iterator[str]:
    """Yield the names of lines beside their ends, moved apart."""
    ends = []
    for mark in panel.marks:
        if isinstance(mark, Curve2D) and mark.name:
            y = _end(mark, frame)
            ends.append(
                (min(max(y, frame.top + 4), frame.bottom), mark.style.split()[0], mark.name)
            )
    places, free = [], -math.inf
    for y, _, _ in sorted(ends):
        free = max(y, free + LABEL_GAP)
        places.append(free)
    limit = frame.bottom
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - LABEL_GAP
    for y, (_, style, name) in zip(places, sorted(ends), strict=True):
        yield text(frame.right + 6, y + 4, name, f"end small {style}")


def _end(curve: Curve2D, frame: Frame) -> float:
    """Return the height in pixels of the last point of a line that can be drawn."""
    for value in reversed(curve.y):
        if math.isfinite(value) and (value > 0 or not frame.y_axis.log):
            place = min(max(frame.y_axis.place(value), -0.1), 1.1)
            return frame.bottom - frame.height * place
    return frame.bottom


def _legend(legend: Sequence[tuple[str, str]], left: float) -> Iterator[str]:
    x = left
    for style, name in legend:
        if style.startswith("ring"):
            yield element("circle", {"cx": x + 10, "cy": 11, "r": 5.5, "class": style})
        elif style.startswith(("fill", "region")):
            yield element("rect", {"x": x + 4, "y": 5, "width": 12, "height": 12, "class": style})
        else:
            yield line(x, 11, x + 20, 11, f"curve {style}")
        yield text(x + 27, 15, name, "legend")
        x += 27 + text_width(name, FONT) + 22


def _tick_room(panel: Panel) -> float:
    if panel.bare:
        return 4.0
    return max((text_width(words, FONT) for words in panel.y_axis.labels), default=0.0) + 9


def _left(panel: Panel) -> float:
    return _tick_room(panel) + (Y_TITLE if panel.y_title else 0.0)


def _right(panel: Panel) -> float:
    names = [m.name for m in panel.marks if isinstance(m, Curve2D) and m.name]
    longest = max((text_width(name, NAME_FONT) * WIDEST for name in names), default=0.0)
    labels = () if panel.bare else panel.x_axis.labels[-1:]
    last = max((text_width(words, FONT) / 2 for words in labels), default=0.0)
    return max(longest + 8 if names else 0.0, last, 6.0)
