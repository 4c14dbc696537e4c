"""Exploration: gradients of all examples, of a few, and of a single one.

Takes: digits, and a regression with two parameters on them. Gives: the path of each descent.
The one idea: for the price of one exact step, many rough ones can be made.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from chainrule import optim
from chainrule.data import open_source, prepare
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.surfaces import contours, walk
from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops.generator import manual_seed
from chainrule.ops.random import randperm
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, axis_of, draw_panels
from chainrule.report.ticks import linear_axis

STYLES = ("c0", "c2 dashed", "c1")

Descent = tuple[NDArray[np.float64], NDArray[np.float64], dict[str, list[tuple[float, float]]]]


def experiment(*, seed: int = 0, examples: int = 256, epochs: int = 10, lr: float = 0.1) -> Descent:
    """Return x and y, and the places (w, b) visited while fitting y = w x + b in three ways."""
    images = prepare(open_source("digits"), seed=0).train.inputs[:examples, 0]
    x = images[:, :4].mean(axis=(1, 2), dtype="float64")  # ink of the upper half
    y = images[:, 4:].mean(axis=(1, 2), dtype="float64")  # ink of the lower half
    sizes = {"all examples": examples, "32 at a time": 32, "one at a time": 1}
    paths: dict[str, list[tuple[float, float]]] = {}
    for name, size in sizes.items():
        manual_seed(seed)
        line = tensor([-1.0, -0.5], dtype="float64", requires_grad=True)
        optimizer = optim.SGD([line], lr=lr)
        paths[name] = [(-1.0, -0.5)]
        for _ in range(epochs):
            for rows in randperm(examples).split(size):
                at, goal = tensor(x[rows.numpy()]), tensor(y[rows.numpy()])
                loss = ((line[0] * at + line[1] - goal) ** 2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                paths[name].append((line[0].item(), line[1].item()))
    return x, y, paths


def _figures(descent: Descent) -> list[Figure]:
    x, y, paths = descent
    backdrop = contours(lambda w, b: _loss(x, y, w, b), (-1.2, 0.5), (-0.6, 0.35))
    weight, bias = np.polyfit(x, y, 1)
    panels = [
        _titled(walk(f"{name}: {len(path) - 1:,} steps", path, backdrop, lowest=[(weight, bias)]))
        for name, path in paths.items()
    ]
    walks = draw_panels(
        panels,
        label="Paths of three descents on the same loss",
        description="Contour lines of the loss over weight and bias. With all examples the path is "
        "smooth and short, with one example at a time long and jittery.",
        columns=3,
        height=230,
    )
    return [
        Figure(Words("The way each of them takes", "세 방법이 걷는 길"), walks),
        Figure(
            Words("Loss for the same number of examples", "본 예제 수에 따른 손실"),
            _losses(descent),
        ),
    ]


def _titled(panel: Panel) -> Panel:
    return replace(panel, x_title="weight", y_title="bias")


def _losses(descent: Descent) -> str:
    x, y, paths = descent
    steps = max(len(path) - 1 for path in paths.values())  # one example a step
    marks = []
    for (name, path), style in zip(paths.items(), STYLES, strict=True):
        seen = np.linspace(0, steps, len(path)).tolist()
        # Every ninth step of the longest path is as much as a line of its length can show.
        stride = max(len(path) // 250, 1)
        losses = [_mean_loss(x, y, place) for place in path[::stride]]
        marks.append(Curve2D(seen[::stride], losses, style, name))
    panel = Panel(
        "",
        marks,
        linear_axis(0, steps, count=8, loose=False),
        axis_of(*(mark.y for mark in marks), log=True),
        "examples seen",
        "loss on all examples",
    )
    return draw_panels(
        [panel],
        label="Loss by examples seen",
        description="Logarithmic; one line each.",
        height=260,
    )


def _loss(x: NDArray[np.float64], y: NDArray[np.float64], weight: Tensor, bias: Tensor) -> Tensor:
    """Return the mean squared error for every weight and bias: a parabola in both."""
    xx, xy, yy = float((x * x).mean()), float((x * y).mean()), float((y * y).mean())
    mx, my = float(x.mean()), float(y.mean())
    cross = weight * bias * (2 * mx) - weight * (2 * xy) - bias * (2 * my)
    return weight**2 * xx + bias**2 + cross + yy


def _mean_loss(x: NDArray[np.float64], y: NDArray[np.float64], place: tuple[float, float]) -> float:
    return float(((place[0] * x + place[1] - y) ** 2).mean())


def _tables(descent: Descent) -> list[Table]:
    x, y, paths = descent
    best = _mean_loss(x, y, tuple(np.polyfit(x, y, 1)))
    rows = [
        (name, len(path) - 1, _mean_loss(x, y, path[_after(path, 4)]), _mean_loss(x, y, path[-1]))
        for name, path in paths.items()
    ]
    rows.append(("exact solution", 0, best, best))
    head = ("gradient of", "steps", "loss after a quarter", "loss at the end")
    return [Table(Words("Loss on all examples", "전체 예제에 대한 손실"), head, rows)]


def _after(path: list[tuple[float, float]], share: int) -> int:
    return (len(path) - 1) // share


EXPLORATION = Exploration(
    name="gd-vs-sgd",
    title=Words("Gradient descent, mini-batches, single examples", "GD와 SGD"),
    see=(
        Words(
            "All three have seen the same examples equally often. The exact gradient makes few, "
            "smooth steps and is still on its way; one example at a time has made thousands, "
            "jitters, and was near the minimum long before.",
            "세 방법은 같은 예제를 같은 횟수만큼 보았습니다. 전체로 구한 정확한 기울기는 매끄럽게 "
            "몇 걸음만 내디뎌 아직 가는 중이고, 하나씩 볼 때는 수천 걸음을 헤매면서도 훨씬 먼저 "
            "최솟값 근처에 도착합니다.",
        ),
        Words(
            "One example at a time never comes to rest: each example pulls towards its own line. "
            "Mini-batches have most of the speed and little of the jitter.",
            "하나씩 볼 때는 예제마다 자기 쪽으로 당기므로 끝까지 멈추지 않고 흔들립니다. "
            "미니배치는 속도를 대부분 얻으면서 흔들림은 적습니다.",
        ),
    ),
    source="Robbins & Monro, 1951; Bottou, Curtis & Nocedal, “Optimization methods for large-scale "
    "machine learning”, 2018; the data: digits of scikit-learn",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"examples": 64, "epochs": 4},
)
