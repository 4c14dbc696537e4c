"""Confusion matrix: which class was taken for which.

Takes: counts [K, K], rows the true classes, columns the predicted ones, and class names.
Gives: a heat map as SVG, and the pairs most often confused.
The one idea: right answers and mistakes have their own colour, and mistakes the finer scale,
so that one per cent of a class is still seen beside ninety-nine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ArgumentError
from chainrule.report.svg import coordinate, drawing, element, text
from chainrule.report.words import fit, one_line, text_width

LEVELS = 8  # shades of each colour in style.css: .right0 to .right7, .wrong0 to .wrong7
STRONG = 5  # shades from this one on need the other ink
MAX_NUMBERED = 20  # more classes than this are drawn without numbers
MAX_CLASSES = 100  # more classes than this are cut to those with the most mistakes
MAX_LABEL = 150.0  # pixels


@dataclass(frozen=True)
class Confused:
    """A pair of classes and how often the first was taken for the second."""

    true: str
    predicted: str
    count: int
    share: float


def checked_counts(counts: ArrayLike, names: Sequence[str]) -> NDArray[np.int64]:
    """Return counts as an array.

    Raises:
        ArgumentError: They are not a square of numbers, or names do not match it.
    """
    try:
        matrix = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError("confusion: rows differ in length or hold no numbers") from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(names) != len(matrix):
        raise ArgumentError(
            f"confusion: counts {list(matrix.shape)} for {len(names)} classes, expected a "
            "square with one row and one column a class"
        )
    return np.clip(np.nan_to_num(matrix), 0, 2**53).astype(np.int64)


def most_confused(counts: ArrayLike, names: Sequence[str], limit: int = 10) -> list[Confused]:
    """Return the pairs most often confused, the most frequent first."""
    matrix = checked_counts(counts, names)
    totals = matrix.sum(axis=1)
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    pairs = [divmod(int(i), len(matrix)) for i in order]
    return [
        Confused(names[t], names[p], int(wrong[t, p]), float(wrong[t, p] / totals[t]))
        for t, p in pairs
        if wrong[t, p]
    ]


def worst_classes(counts: ArrayLike, names: Sequence[str]) -> list[int]:
    """Return the indices of the classes that are drawn: all, or the hundred most confused."""
    matrix = checked_counts(counts, names)
    if len(matrix) <= MAX_CLASSES:
        return list(range(len(matrix)))
    wrong = matrix - np.diag(np.diag(matrix))
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
    return sorted(int(i) for i in np.argsort(-mistakes, kind="stable")[:MAX_CLASSES])


def confusion_matrix(counts: ArrayLike, names: Sequence[str]) -> str:
    """Return a heat map of counts; each row coloured by its shares.

    Args:
        counts: [K, K]; counts[t, p] examples of class t were taken for class p.
        names: One a class.

    Raises:
        ArgumentError: Counts are not square, or names do not match them.
    """
    matrix = checked_counts(counts, names)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    chosen = worst_classes(counts, names)
    matrix, shares = matrix[np.ix_(chosen, chosen)], shares[np.ix_(chosen, chosen)]
    names = [one_line(names[i]) for i in chosen]
    if not names:
        return drawing(200, 40, "confusion matrix", [text(0, 24, "no classes", "muted")])
    k = len(names)
    cell, font = _sizes(matrix, k)
    label_width = min(max(text_width(name, font) for name in names), MAX_LABEL) + 10
    turned = label_width - 10 > cell - 4
    left, top = label_width + 22, (label_width if turned else font + 10) + 24
    size = cell * k
    parts = [
        element("rect", {"x": left, "y": top, "width": size, "height": size, "class": "field"}),
        *(_numbered(matrix, shares, names, (left, top, cell))
          if k <= MAX_NUMBERED else _coloured(matrix, shares, (left, top, cell))),
        *_labels(names, (left, top, cell), font, turned),
        text(left + size / 2, 14, "predicted class", "muted", anchor="middle"),
        element(
            "g",
            {"transform": f"translate(14 {coordinate(top + size / 2)}) rotate(-90)"},
            text(0, 0, "true class", "muted", anchor="middle"),
        ),
        *_scale(left, top + size + 22),
    ]  # fmt: skip
    width, height = max(left + size, left + 360) + 2, top + size + 48
    return drawing(
        width, height, f"Confusion matrix of {k} classes", parts, style="confusion", least=0.7
    )


def short_count(count: int) -> str:
    """Return a count in at most four characters.

    Example:
        >>> [short_count(n) for n in (7, 9999, 12345, 4_200_000)]
        ['7', '9999', '12k', '4.2M']
    """
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= (10**4 if unit == "k" else size):
            scaled = count / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return str(count)


def _sizes(matrix: NDArray[np.int64], k: int) -> tuple[float, float]:
    """Return the side of a cell and the size of the labels' font, in pixels."""
    if k <= MAX_NUMBERED:
        digits = max(len(short_count(int(n))) for n in matrix.flat)
        return max(min(400 / k, 60.0), 26.0, 8.0 * digits + 4), 12.0
    cell = min(max(820 / k, 9.0), 24.0)
    return cell, min(cell, 11.0)


def _level(share: float, right: bool) -> int:
    """Return the shade of a share (0 to 1)."""
    if right:
        return min(int(share * LEVELS), LEVELS - 1)
    return min(int(math.sqrt(share) * LEVELS), LEVELS - 1)


def _numbered(
    matrix: NDArray[np.int64],
    shares: NDArray[np.float64],
    names: Sequence[str],
    place: tuple[float, float, float],
) -> list[str]:
    left, top, cell = place
    parts = []
    for t, p in np.ndindex(*matrix.shape):
        count, share = int(matrix[t, p]), float(shares[t, p])
        x, y = left + p * cell, top + t * cell
        level = _level(share, t == p)
        tip = f"{names[t]} taken for {names[p]}: {count:,} ({share:.1%} of {names[t]})"
        shade = f"{'right' if t == p else 'wrong'}{level}" if count else "none"
        box = {"x": x + 0.5, "y": y + 0.5, "width": cell - 1, "height": cell - 1, "class": shade}
        ink = "number" if not count else "number strong" if level >= STRONG else "number weak"
        where = (x + cell / 2, y + cell / 2 + 4)
        words = text(*where, short_count(count) if count else "·", ink, anchor="middle")
        parts.append(element("g", {"data-tip": tip}, element("rect", box), words))
    return parts


def _coloured(
    matrix: NDArray[np.int64], shares: NDArray[np.float64], place: tuple[float, float, float]
) -> list[str]:
    """Return one path a shade: ten thousand separate boxes would make a megabyte."""
    left, top, cell = place
    paths: dict[str, list[str]] = {}
    side = coordinate(cell - (0.6 if cell > 6 else 0))
    for t, p in zip(*np.nonzero(matrix), strict=True):
        shade = f"{'right' if t == p else 'wrong'}{_level(float(shares[t, p]), bool(t == p))}"
        corner = f"M{coordinate(left + p * cell)} {coordinate(top + t * cell)}"
        paths.setdefault(shade, []).append(f"{corner}h{side}v{side}h-{side}z")
    cells = ";".join(f"{t},{p},{matrix[t, p]}" for t, p in zip(*np.nonzero(matrix), strict=True))
    shapes = [element("path", {"class": s, "d": "".join(paths[s])}) for s in sorted(paths)]
    spot = " ".join(coordinate(v) for v in (left, top)) + f" {cell:.4f}"
    return [element("g", {"class": "cells", "data-cells": cells, "data-place": spot}, *shapes)]


def _labels(
    names: Sequence[str], place: tuple[float, float, float], font: float, turned: bool
) -> list[str]:
    left, top, cell = place
    parts = []
    for i, name in enumerate(names):
        middle = (i + 0.5) * cell
        short = fit(name, MAX_LABEL, font)
        parts.append(
            text(left - 7, top + middle + font * 0.35, short, "row", anchor="end", tip=name)
        )
        if turned:
            where = f"translate({coordinate(left + middle + font * 0.35)} {coordinate(top - 7)})"
            words = text(0, 0, short, tip=name)
            parts.append(element("g", {"transform": f"{where} rotate(-90)"}, words))
        else:
            parts.append(text(left + middle, top - 8, short, anchor="middle", tip=name))
    return [element("g", {"class": "names", "font-size": font}, *parts)]


def _scale(left: float, y: float) -> list[str]:
    """Return the key: shades of right answers and of mistakes."""
    parts = []
    for x, kind, words in ((left, "right", "right"), (left + 175, "wrong", "mistaken")):
        for level in range(LEVELS):
            box = {"x": x + level * 14, "y": y, "width": 13, "height": 10}
            parts.append(element("rect", {**box, "class": f"{kind}{level}"}))
        parts.append(text(x + LEVELS * 14 + 6, y + 9, words, "muted"))
    return [element("g", {"class": "key"}, *parts)]
