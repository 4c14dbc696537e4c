"""Exploration: why classifiers use cross-entropy and not squared error.

Takes: the score of an example whose answer is 1. Gives: both losses and their slopes.
The one idea: where the network is wrong and sure of it, the squared error of a sigmoid is flat.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.graph.autodiff import vjp
from chainrule.nn import functional as F
from chainrule.ops.creation import ones_like
from chainrule.ops.ranges import linspace
from chainrule.ops.transcendental import sigmoid
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, draw_panels
from chainrule.report.ticks import linear_axis

Curves = dict[str, tuple[NDArray[Any], ...]]
STYLES = {"cross-entropy": "c0", "squared error": "c1 dashed"}


def experiment(*, points: int = 201) -> Curves:
    """Return scores, loss and slope of two losses, where the right answer is 1."""
    score = linspace(-8.0, 8.0, points, dtype="float64")
    losses = {
        "cross-entropy": lambda s: F.binary_cross_entropy_with_logits(
            s, ones_like(s), reduction="none"
        ),
        "squared error": lambda s: (sigmoid(s) - 1) ** 2,
    }
    curves: Curves = {}
    for name, loss in losses.items():
        value, pull = vjp(loss, score)
        (slope,) = pull(ones_like(score))
        curves[name] = (score.numpy(), value.detach().numpy(), slope.numpy())
    return curves


def _figures(curves: Curves) -> list[Figure]:
    panels = []
    for place, title, limits in ((1, "Loss", (0.0, 8.0)), (2, "Slope", (-1.0, 0.0))):
        marks = [Curve2D(kept[0], kept[place], STYLES[name]) for name, kept in curves.items()]
        x_axis = linear_axis(-8, 8, loose=False)
        panels.append(Panel(title, marks, x_axis, linear_axis(*limits), "score", rules="xy"))
    drawing = draw_panels(
        panels,
        label="Cross-entropy and squared error of a sigmoid, with their slopes",
        description="On the left, where the answer is wrong, the slope of cross-entropy is -1 and "
        "that of the squared error nearly 0.",
        columns=2,
        height=230,
        legend=tuple((style, name) for name, style in STYLES.items()),
    )
    return [Figure(Words("Losses and slopes; right is 1", "손실과 기울기 (정답은 1)"), drawing)]


def _tables(curves: Curves) -> list[Table]:
    rows = []
    for name, (scores, _, slope) in curves.items():
        at = [int(np.argmin(abs(scores - s))) for s in (-8, -4, 0, 4, 8)]
        rows.append((name, *(float(slope[i]) for i in at)))
    caption = Words("Slope at scores from -8 to 8", "점수에 따른 기울기")
    return [Table(caption, ("loss", "-8", "-4", "0", "4", "8"), rows)]


EXPLORATION = Exploration(
    name="loss-gradients",
    title=Words("Cross-entropy or squared error", "교차 엔트로피와 제곱 오차"),
    see=(
        Words(
            "The right answer is 1. On the left the network is wrong and sure of it: cross-entropy "
            "pulls with full strength, its slope is p - 1. The squared error is multiplied by the "
            "sigmoid's own slope and all but vanishes, so the worst mistakes are learned last.",
            "정답은 1입니다. 왼쪽은 틀렸는데도 확신하는 곳입니다. 교차 엔트로피의 기울기는 p - "
            "1이라 힘껏 당기지만, 제곱 오차에는 시그모이드의 기울기가 곱해져 거의 사라집니다. "
            "그래서 가장 크게 틀린 것을 가장 늦게 배웁니다.",
        ),
        Words(
            "On the right, where the answer is right, both are flat, as they should be.",
            "맞게 답한 오른쪽에서는 둘 다 평평하며, 그래야 마땅합니다.",
        ),
    ),
    source="Solla, Levin & Fleisher, 1988; Golik, Doetsch & Ney, 2013",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"points": 41},
)
