"""Exploration: activation functions and their derivatives.

Takes: the functions that `nn.functional` has. Gives: a curve and its slope for each.
The one idea: the derivative is what backpropagation multiplies by, so it is drawn beside the
function.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.graph.autodiff import vjp
from chainrule.nn import functional as F
from chainrule.ops.creation import ones_like
from chainrule.ops.ranges import linspace
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, draw_panels
from chainrule.report.ticks import linear_axis

NAMES = (
    *("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish"),
    *("softplus", "softsign", "logsigmoid", "hardsigmoid", "hardtanh", "hardswish", "relu6"),
    *("tanhshrink", "softshrink", "hardshrink", "squareplus", "bent_identity", "gaussian"),
)

Curves = dict[str, tuple[NDArray[Any], ...]]


def experiment(*, points: int = 321) -> Curves:
    """Return x, f(x) and f'(x) of every activation function."""
    curves: Curves = {}
    for name in NAMES:
        if hasattr(F, name):
            x = linspace(-8.0, 8.0, points, dtype="float64")
            y, pull = vjp(getattr(F, name), x)
            (slope,) = pull(ones_like(x))
            curves[name] = (x.numpy(), y.detach().numpy(), slope.numpy())
    return curves


def _figures(curves: Curves) -> list[Figure]:
    x_axis, y_axis = linear_axis(-8, 8, count=5, loose=False), linear_axis(-2, 3, count=6)
    panels = [
        Panel(name, (Curve2D(x, f), Curve2D(x, slope, "c1 dashed")), x_axis, y_axis, rules="xy")
        for name, (x, f, slope) in curves.items()
    ]
    drawing = draw_panels(
        panels,
        label="Activation functions and their derivatives",
        description="One small chart for each function, from -8 to 8; the function is a solid "
        "line, its derivative a dashed one.",
        columns=5,
        height=118,
        legend=(("c0", "f(x)"), ("c1 dashed", "derivative f'(x)")),
    )
    caption = Words("Functions and their derivatives", "활성화 함수와 그 도함수")
    return [Figure(caption, drawing)]


def _tables(curves: Curves) -> list[Table]:
    rows = []
    for name, (x, f, slope) in curves.items():
        middle = len(x) // 2
        steepest, left = float(slope.max()), float(slope[0])
        rows.append(
            (name, float(f[middle]), float(slope[middle]), steepest, left, float(slope[-1]))
        )
    head = ("function", "f(0)", "f'(0)", "largest f'", "f'(-8)", "f'(8)")
    caption = Words("Slopes: what a gradient is multiplied by", "기울기: 역전파에서 곱해지는 값")
    return [Table(caption, head, rows)]


EXPLORATION = Exploration(
    name="activations",
    title=Words("Activation functions and their slopes", "활성화 함수와 기울기"),
    see=(
        Words(
            "The slope of the sigmoid is never above 0.25 and close to 0 beyond ±5: a gradient "
            "that passes through many such layers vanishes. tanh reaches 1, but in the middle "
            "alone.",
            "시그모이드의 기울기는 0.25를 넘지 못하고 ±5 밖에서는 거의 0입니다. 이런 층을 여러 번 "
            "지나면 기울기가 사라집니다. tanh의 기울기는 1에 이르지만 원점 근처에서만 그렇습니다.",
        ),
        Words(
            "ReLU keeps slope 1 for every positive input, and 0 for every negative one: units that "
            "are always negative die. Leaky ReLU, ELU and their family leave a slope there.",
            "ReLU는 양수에서 기울기가 항상 1이지만 음수에서는 0이어서, 늘 음수만 받는 뉴런은 "
            "죽습니다. Leaky ReLU와 ELU 계열은 음수 쪽에도 기울기를 남겨 둡니다.",
        ),
    ),
    source="Dubey, Singh & Chaudhuri, “Activation functions in deep learning: a comprehensive "
    "survey and benchmark”, 2022",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"points": 65},
    constants=("NAMES",),
)
