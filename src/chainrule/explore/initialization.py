"""Exploration: what the scale of first weights does to the outputs of each layer.

Takes: random inputs and a network that was not trained. Gives: the outputs of its layers.
The one idea: signals must neither saturate nor die out on their way through the layers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.graph.tensor import Tensor
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.ops.creation import zeros
from chainrule.ops.generator import manual_seed
from chainrule.ops.random import randn
from chainrule.report.marks import Histogram, Note
from chainrule.report.panels import Panel, draw_panels
from chainrule.report.ticks import linear_axis
from chainrule.report.words import format_number

FUNCTIONS = {"sigmoid": F.sigmoid, "tanh": F.tanh, "ReLU": F.relu}
SCHEMES: dict[str, Callable[[Tensor], Tensor]] = {
    "σ = 1": lambda weight: init.normal_(weight, std=1.0),
    "σ = 0.01": lambda weight: init.normal_(weight, std=0.01),
    "Xavier": init.xavier_normal_,
    "He": init.kaiming_normal_,
}
LIMITS = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "ReLU": (0.0, 2.0)}
BINS = 30

Outputs = dict[tuple[str, str], list[NDArray[np.float32]]]


def experiment(*, seed: int = 0, samples: int = 1000, width: int = 100, layers: int = 5) -> Outputs:
    """Return the outputs of every layer, for each activation function and first weights."""
    outputs: Outputs = {}
    for function_name, function in FUNCTIONS.items():
        for scheme_name, scheme in SCHEMES.items():
            manual_seed(seed)
            x = randn(samples, width)
            outputs[function_name, scheme_name] = []
            for _ in range(layers):
                weight = scheme(zeros(width, width))
                x = function(F.linear(x, weight))
                outputs[function_name, scheme_name].append(x.numpy())
    return outputs


def _figures(outputs: Outputs) -> list[Figure]:
    figures = []
    for function in FUNCTIONS:
        panels = [
            _panel(f"{scheme}, layer {number}", values, LIMITS[function])
            for scheme in SCHEMES
            for number, values in enumerate(outputs[function, scheme], 1)
        ]
        drawing = draw_panels(
            panels,
            label=f"Outputs of the layers of a {function} network",
            description="Histograms: one row for each way to choose the first weights, one column "
            "for each layer. Values beyond the axis are counted in its last bar; bars above 0.2 "
            "are cut off. The table has the standard deviations.",
            columns=len(outputs[function, "He"]),
            height=84,
        )
        caption = Words(f"{function}: outputs layer by layer", f"{function}: 층별 출력 분포")
        figures.append(Figure(caption, drawing))
    return figures


def _panel(title: str, values: NDArray[np.float32], limits: tuple[float, float]) -> Panel:
    counts, edges = np.histogram(np.clip(values, *limits), bins=BINS, range=limits)
    share = counts / values.size
    marks = (Histogram(edges.tolist(), share.tolist()), Note(f"std {_short(float(values.std()))}"))
    x_axis = linear_axis(*limits, count=3)
    # Above a fifth of all values in one bin, bars would only say "more": they are cut off.
    return Panel(title, marks, x_axis, linear_axis(0, 0.2, count=3), rules="")


def _short(value: float) -> str:
    return format_number(float(f"{value:.2g}"))


def _tables(outputs: Outputs) -> list[Table]:
    layers = len(next(iter(outputs.values())))
    head = ("activation", "first weights", *(f"layer {k + 1}" for k in range(layers)))
    rows = [
        (function, scheme, *(float(values.std()) for values in kept))
        for (function, scheme), kept in outputs.items()
    ]
    caption = Words("Standard deviation of the outputs", "출력의 표준편차")
    return [Table(caption, head, rows)]


EXPLORATION = Exploration(
    name="initialization",
    title=Words("First weights and what they do to each layer", "가중치 초깃값과 층별 출력"),
    see=(
        Words(
            "σ = 1: sigmoid and tanh saturate, nearly all outputs lie at the ends, where the slope "
            "is 0; with ReLU the outputs grow sevenfold from layer to layer.",
            "σ = 1: 시그모이드와 tanh는 포화되어 출력이 양 끝으로 몰리고, 그곳의 기울기는 0입니다. "
            "ReLU에서는 층을 지날 때마다 출력이 일곱 배쯤 커집니다.",
        ),
        Words(
            "σ = 0.01: all units of a layer say nearly the same (0.5 for the sigmoid, 0 for the "
            "others), so many units are worth no more than one.",
            "σ = 0.01: 한 층의 모든 뉴런이 거의 같은 값(시그모이드는 0.5, 나머지는 0)을 냅니다. "
            "뉴런이 여러 개여도 하나만 있는 것과 다르지 않습니다.",
        ),
        Words(
            "Xavier keeps most of the spread of sigmoid and tanh; with ReLU, which cuts half "
            "away, outputs shrink with Xavier, and He's factor √2 makes up for it.",
            "Xavier 초깃값은 시그모이드와 tanh에서 출력의 퍼짐을 지켜 줍니다. 음수를 잘라 내는 "
            "ReLU에서는 Xavier로도 출력이 점점 줄어들고, He 초깃값의 √2배가 이를 메워 줍니다.",
        ),
    ),
    source="Glorot & Bengio, 2010; He, Zhang, Ren & Sun, 2015; the figures of Saito, “Deep "
    "Learning from Scratch”, ch. 6.2",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"samples": 200},
    constants=("FUNCTIONS", "SCHEMES"),
)
