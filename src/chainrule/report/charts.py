"""Charts: learning curves, predictions against truth, a histogram of residuals.

Takes: numbers. Gives: SVG as text, coloured by the style sheet's classes (light and dark).
The one idea: a chart is a frame with two axes, and marks placed through those axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chainrule.report.history import Curve
from chainrule.report.svg import coordinate, drawing, element, line, text
from chainrule.report.ticks import SMALLEST, Axis, is_drawable, linear_axis, log_axis
from chainrule.report.words import fit, format_number, text_width

FONT = 12.0  # pixels; equals `.drawing` in drawing.css
MAX_POINTS = 500  # of a drawn line: about one a pixel
MAX_DOTS = 30  # a line with more points than this shows no dots
LARGEST_EPOCH = 1e9  # beyond it one epoch more or less is lost in rounding
MAX_SCATTER = 2000  # points of a scatter plot
LABEL_GAP = 15.0  # pixels between the baselines of two labels
TOP = 44.0  # pixels above the curves: a line for the legend, one for the best epoch
BOTTOM = 42.0  # pixels below a frame: tick labels, title
BOLD = 1.1  # bold text is wider by this factor
STYLES = {"train": "c0", "validation": "c1", "test": "c2", "lr": "c3"}


@dataclass(frozen=True)
class Frame:
    """The rectangle in which marks are drawn, and its axes."""

    left: float
    top: float
    width: float
    height: float
    x_axis: Axis
    y_axis: Axis

    @property
    def right(self) -> float:
        """Right edge in pixels."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge in pixels."""
        return self.top + self.height

    def x(self, value: float) -> float:
        """Return the pixel of a value on the x axis."""
        return self.left + self.width * self.x_axis.place(value)

    def y(self, value: float) -> float:
        """Return the pixel of a value on the y axis."""
        return self.bottom - self.height * self.y_axis.place(value)


def line_chart(
    curves: Sequence[Curve],
    *,
    label: str,
    best: float | None = None,
    log: bool = False,
    width: float = 440.0,
    height: float = 270.0,
) -> str:
    """Return curves over epochs, with a legend and each curve's last value beside its end.

    Args:
        curves: One a split.
        label: What is drawn, for those who cannot see it.
        best: Epoch to mark.
        log: Draw the y axis logarithmically; values that are not positive are left out.
        width, height: Size in pixels.
    """
    curves = [_positive(curve) if log else curve for curve in curves]
    values = [v for curve in curves for v in curve.y if v is not None]
    places = [x for curve in curves for x in curve.x]
    if not values:
        return empty_chart("no finite value to draw", label=label, width=width, height=height)
    y_axis = log_axis(min(values), max(values)) if log else linear_axis(min(values), max(values))
    left = max(text_width(word, FONT) for word in y_axis.labels) + 14
    ends = _end_labels(curves)
    right = max((text_width(words, FONT) * BOLD for _, _, words in ends), default=0.0) + 10
    top = TOP if len(curves) > 1 or best is not None else 16.0
    frame = Frame(left, top, width - left - right, height - top - BOTTOM, _epochs(places), y_axis)
    parts = [*grid(frame, x_title="epoch"), *_legend(curves, left)]
    if best is not None and frame.x_axis.low <= best <= frame.x_axis.high:
        parts += _best_mark(frame, best)
    parts += [_curve_marks(frame, curve, _style(curve, i)) for i, curve in enumerate(curves)]
    parts += _end_marks(frame, ends)
    return drawing(width, height, label, parts, style="curves")


def scatter_chart(
    true: Sequence[float],
    predicted: Sequence[float],
    *,
    label: str,
    unit: str = "",
    size: float = 440.0,
) -> str:
    """Return predictions against true values, both axes alike, with the line of no error.

    Pairs with a value that is not finite are left out; of many pairs every n-th is drawn.
    """
    pairs = [(float(t), float(p)) for t, p in zip(true, predicted, strict=True) if _both(t, p)]
    if not pairs:
        return empty_chart("no finite value to draw", label=label, width=size, height=size)
    pairs = pairs[:: math.ceil(len(pairs) / MAX_SCATTER)]
    low, high = min(map(min, pairs)), max(map(max, pairs))
    axis = linear_axis(low, high)
    left = max(text_width(word, FONT) for word in axis.labels) + 34
    side = size - left - _overhang(axis)
    frame = Frame(left, 14, side, side, axis, axis)
    suffix = f" ({unit})" if unit else ""
    x_title, y_title = f"true value{suffix}", f"predicted{suffix}"
    dots = [_dot(frame.x(t), frame.y(p), 2.6) for t, p in pairs]
    parts = [
        *grid(frame, x_title=x_title, y_title=y_title),
        line(frame.left, frame.bottom, frame.right, frame.top, "diagonal"),
        element("g", {"class": "dots"}, *dots),
        _diagonal_label(frame),
    ]
    return drawing(size, frame.bottom + BOTTOM, label, parts, style="scatter")


def histogram_chart(
    values: Sequence[float],
    *,
    label: str,
    x_title: str,
    width: float = 440.0,
    height: float = 300.0,
) -> str:
    """Return a histogram with a line at zero; values that are not finite are left out.

    The bins' width is that of Freedman and Diaconis (1981), made a round number.
    """
    numbers = sorted(float(v) for v in values if is_drawable(v))
    if not numbers:
        return empty_chart("no finite value to draw", label=label, width=width, height=height)
    # Zero belongs on the axis: the question is on which side of it the errors lie.
    x_axis = linear_axis(min(numbers[0], 0.0), max(numbers[-1], 0.0), count=6)
    bins = _bin_count(numbers, x_axis)
    counts = [0] * bins
    for number in numbers:
        counts[min(int(x_axis.place(number) * bins), bins - 1)] += 1
    y_axis = linear_axis(0, max(counts), count=5, whole=True)
    left = max(text_width(word, FONT) for word in y_axis.labels) + 34
    frame = Frame(left, 14, width - left - _overhang(x_axis), height - 14 - BOTTOM, x_axis, y_axis)
    step = frame.width / bins
    bars = []
    for i, count in enumerate(counts):
        top = frame.y(count)
        box = {"x": frame.left + i * step + 0.5, "y": top, "width": max(step - 1, 0.5)}
        if count:
            bars.append(element("rect", {**box, "height": frame.bottom - top}))
    parts = [
        *grid(frame, x_title=x_title, y_title="examples"),
        element("g", {"class": "bars"}, *bars),
        line(frame.x(0), frame.top, frame.x(0), frame.bottom, "zero"),
    ]
    return drawing(width, height, label, parts, style="histogram")


def empty_chart(words: str, *, label: str, width: float, height: float) -> str:
    """Return a drawing that says why there is nothing to draw."""
    message = text(width / 2, height / 2, words, "muted", anchor="middle")
    return drawing(width, height, label, [message], style="nothing")


def grid(frame: Frame, *, x_title: str, y_title: str = "") -> Iterator[str]:
    """Yield a frame's grid lines, ticks, tick labels and titles."""
    for tick, words in zip(frame.y_axis.ticks, frame.y_axis.labels, strict=True):
        y = frame.y(tick)
        yield line(frame.left, y, frame.right, y, "rule")
        yield text(frame.left - 8, y + 4, words, "tick", anchor="end")
    yield line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    free = -math.inf
    for tick, words in zip(frame.x_axis.ticks, frame.x_axis.labels, strict=True):
        x, half = frame.x(tick), text_width(words, FONT) / 2
        yield line(x, frame.bottom, x, frame.bottom + 4, "axis")
        if x - half > free:
            yield text(x, frame.bottom + 18, words, "tick", anchor="middle")
            free = x + half + 4
    middle = frame.left + frame.width / 2
    short = fit(x_title, frame.width, FONT)
    yield text(middle, frame.bottom + 36, short, "muted", anchor="middle", tip=x_title)
    if y_title:
        y = frame.top + frame.height / 2
        words = text(0, 0, fit(y_title, frame.height, FONT), "muted", anchor="middle", tip=y_title)
        turned = f"translate({coordinate(12)} {coordinate(y)}) rotate(-90)"
        yield element("g", {"transform": turned}, words)


def _overhang(axis: Axis) -> float:
    """Return how far the last tick's label stands out to the right of the frame."""
    return max(text_width(axis.labels[-1], FONT) / 2 + 2, 14.0)


def _positive(curve: Curve) -> Curve:
    y = tuple(v if v is not None and v > SMALLEST else None for v in curve.y)
    return Curve(curve.name, curve.x, y)


def _both(a: object, b: object) -> bool:
    return is_drawable(a) and is_drawable(b)


def _epochs(places: Sequence[float]) -> Axis:
    low, high = min(places), max(places)
    if low == high and abs(low) < LARGEST_EPOCH:
        return Axis(low - 1, low + 1, (low,), (format_number(low),))
    if low == high:
        return linear_axis(low, high)
    # An axis that ends at the last epoch wastes no room; half an epoch shows one tick at least.
    low, high = (low, high) if high - low > 1 else (math.floor(low), math.ceil(high))
    axis = linear_axis(low, high, count=7, whole=True, loose=False)
    if low == 1 and 1.0 not in axis.ticks and axis.ticks and axis.ticks[0] > 1.5:
        return Axis(axis.low, axis.high, (1.0, *axis.ticks), ("1", *axis.labels))
    return axis


def _style(curve: Curve, index: int) -> str:
    return STYLES.get(curve.name, f"c{(index + 2) % 4}")


def _legend(curves: Sequence[Curve], left: float) -> Iterator[str]:
    if len(curves) < 2:
        return
    x = left
    for index, curve in enumerate(curves):
        name = fit(curve.name, 90, FONT)
        yield line(x, 14, x + 18, 14, f"curve {_style(curve, index)}")
        yield text(x + 24, 18, name, "legend", tip=curve.name)
        x += 24 + text_width(name, FONT) + 20


def _best_mark(frame: Frame, best: float) -> Iterator[str]:
    x = frame.x(best)
    words = f"best: epoch {format_number(best)}"
    half = text_width(words, FONT) / 2
    yield line(x, frame.top - 4, x, frame.bottom, "best")
    if x + half > frame.right:
        yield text(frame.right, frame.top - 8, words, "best-label", anchor="end")
    else:
        yield text(max(x, frame.left + half), frame.top - 8, words, "best-label", anchor="middle")


def _curve_marks(frame: Frame, curve: Curve, style: str) -> str:
    """Return a curve: its line, dots where they help, its numbers for the pointer's label."""
    points = _thinned([(x, y) for x, y in zip(curve.x, curve.y, strict=True)])
    runs = _runs(points)
    drawn = [point for run in runs for point in run]
    path = "".join("M" + "L".join(_pixel(frame, x, y) for x, y in run) for run in runs)
    dots = drawn if len(drawn) <= MAX_DOTS else [run[0] for run in runs if len(run) == 1]
    attributes: dict[str, str | float] = {
        "d": path or "M0 0",
        "class": f"curve {style}",
        "data-name": curve.name,
        "data-x": " ".join(f"{x:.4g}" if x % 1 else f"{x:.0f}" for x, _ in drawn),
        "data-y": " ".join(format_number(y).replace(",", "") for _, y in drawn),
    }
    circles = "".join(_dot(frame.x(x), frame.y(y), 3) for x, y in dots)
    group = element("g", {"class": f"points {style}"}, circles) if circles else ""
    return (element("path", attributes) if drawn else "") + group


def _pixel(frame: Frame, x: float, y: float) -> str:
    return f"{coordinate(frame.x(x))} {coordinate(frame.y(y))}"


def _dot(x: float, y: float, radius: float) -> str:
    return element("circle", {"cx": x, "cy": y, "r": radius})


def _thinned(points: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Keep the smallest and largest value of each pixel column, and both ends."""
    if len(points) <= MAX_POINTS:
        return points
    size = math.ceil(len(points) / (MAX_POINTS // 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        known = [
            i for i in range(start, min(start + size, len(points))) if points[i][1] is not None
        ]
        if not known:
            kept.add(start)
            continue
        kept.add(min(known, key=lambda i: points[i][1] or 0.0))
        kept.add(max(known, key=lambda i: points[i][1] or 0.0))
    return [points[i] for i in sorted(kept)]


def _runs(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """Split at missing values: a line must not bridge what is not known."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]


def _end_labels(curves: Sequence[Curve]) -> list[tuple[str, float, str]]:
    """Return (style, last value, its text) of each curve that has any value."""
    ends = []
    for index, curve in enumerate(curves):
        known = [v for v in curve.y if v is not None]
        if known:
            ends.append((_style(curve, index), known[-1], format_number(known[-1])))
    return ends


def _end_marks(frame: Frame, ends: Sequence[tuple[str, float, str]]) -> Iterator[str]:
    ordered = sorted(ends, key=lambda end: frame.y(end[1]))
    places = _apart([frame.y(value) for _, value, _ in ordered], frame.top, frame.bottom)
    for (style, _, words), y in zip(ordered, places, strict=True):
        yield text(frame.right + 7, y + 4, words, f"end {style}")


def _apart(places: Sequence[float], top: float, bottom: float) -> list[float]:
    """Move labels apart, in order from top to bottom, and keep them beside the frame."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + LABEL_GAP if moved else top))
    limit = bottom
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - LABEL_GAP
    return moved


def _diagonal_label(frame: Frame) -> str:
    words = text(0, 0, "no error", "muted small", anchor="end")
    where = f"translate({coordinate(frame.right - 12)} {coordinate(frame.top + 28)}) rotate(-45)"
    return element("g", {"transform": where}, words)


def _bin_count(numbers: Sequence[float], axis: Axis) -> int:
    """Return how many equal bins divide the axis; a whole number of them between two ticks."""
    n = len(numbers)
    spread = numbers[(3 * n) // 4] - numbers[n // 4]  # numbers are sorted: interquartile range
    span = axis.high - axis.low
    wished = span / (2 * spread / n ** (1 / 3)) if spread > span * 1e-6 else 20.0
    intervals = len(axis.ticks) - 1
    per_tick = min((1, 2, 4, 5, 10), key=lambda k: abs(k * intervals - min(max(wished, 8), 40)))
    return per_tick * intervals
