"""Exploration: gradient descent without and with momentum.

Takes: strengths of the momentum. Gives: a path for each, at the same learning rate.
The one idea: what all gradients agree on adds up; what they disagree on cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule import optim
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.surfaces import SURFACES, at, contours, height_note, walk
from chainrule.graph.tensor import tensor
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, draw_panels
from chainrule.report.ticks import linear_axis, log_axis

FORMS: dict[str, dict[str, Any]] = {
    "without": {"momentum": 0.0},
    "momentum 0.5": {"momentum": 0.5},
    "momentum 0.9": {"momentum": 0.9},
    "Nesterov 0.9": {"momentum": 0.9, "nesterov": True},
}
STYLES = ("c1", "c3 dotted", "c0", "c2 dashed")
SURFACE = SURFACES["ravine"]

Paths = dict[str, list[Sequence[float]]]


def experiment(*, steps: int = 80, lr: float = 0.1) -> Paths:
    """Return the places visited on f = x²/20 + y² without and with momentum."""
    paths: Paths = {}
    for name, form in FORMS.items():
        point = tensor([-7.0, 2.0], dtype="float64", requires_grad=True)
        optimizer = optim.SGD([point], lr=lr, **form)
        paths[name] = [point.tolist()]
        for _ in range(steps):
            optimizer.zero_grad()
            (point[0] ** 2 / 20 + point[1] ** 2).backward()
            optimizer.step()
            paths[name].append(point.tolist())
    return paths


def _figures(paths: Paths) -> list[Figure]:
    backdrop = contours(SURFACE.height, SURFACE.x_limits, SURFACE.y_limits)
    panels = [
        walk(
            name,
            path,
            backdrop,
            lowest=SURFACE.lowest,
            note=height_note(at(SURFACE.height, path[-1])),
        )
        for name, path in paths.items()
    ]
    description = "Contour lines with a path on them, from the ring to the dot."
    walks = draw_panels(
        panels, label="Paths with momentum", description=description, columns=2, height=190
    )
    marks = [
        Curve2D(range(len(path)), [at(SURFACE.height, place) for place in path], style, name)
        for (name, path), style in zip(paths.items(), STYLES, strict=True)
    ]
    x_axis = linear_axis(0, len(paths["without"]) - 1, count=8, whole=True, loose=False)
    heights = draw_panels(
        [Panel("", marks, x_axis, log_axis(1e-5, 1e1), "step", "f")],
        label="Height by step",
        description="Logarithmic; one line for each strength of the momentum.",
        height=260,
    )
    return [
        Figure(Words("The same rate, four kinds of inertia", "같은 학습률, 네 가지 관성"), walks),
        Figure(Words("Height by step", "걸음에 따른 높이"), heights),
    ]


def _tables(paths: Paths) -> list[Table]:
    steps = len(paths["without"]) - 1
    rows = [
        (name, at(SURFACE.height, path[steps // 2]), at(SURFACE.height, path[-1]))
        for name, path in paths.items()
    ]
    head = ("form", f"f after {steps // 2} steps", f"after {steps}")
    return [Table(Words("Height by form", "방식에 따른 높이"), head, rows)]


EXPLORATION = Exploration(
    name="momentum",
    title=Words("With and without momentum", "모멘텀이 있을 때와 없을 때"),
    see=(
        Words(
            "Without momentum the walk creeps along the flat bottom of the ravine: each step is as "
            "small as the slope there. With momentum steps add up and it arrives, after swinging "
            "past and back like a ball.",
            "모멘텀이 없으면 평평한 골짜기 바닥을 기어가듯 움직입니다. 그곳의 기울기만큼만 "
            "나아가기 때문입니다. 모멘텀이 있으면 걸음이 쌓여 빨라지고, 공처럼 목표를 지나쳤다가 "
            "돌아오며 도착합니다.",
        ),
        Words(
            "Nesterov's form measures the slope where the momentum is about to carry it, so it "
            "brakes in time: the same inertia, less swinging.",
            "네스테로프 방식은 관성이 데려갈 자리에서 기울기를 재므로 제때 속도를 줄입니다. 관성은 "
            "같지만 덜 흔들립니다.",
        ),
    ),
    source="Polyak, 1964; Nesterov, 1983; Sutskever, Martens, Dahl & Hinton, 2013",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"steps": 40},
    constants=("FORMS",),
)
