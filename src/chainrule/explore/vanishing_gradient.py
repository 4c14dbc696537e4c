"""Exploration: how large the gradient is at each depth.

Takes: deep networks that were not trained. Gives: the gradient's norm at every layer.
The one idea: a gradient is a product of slopes, one factor a layer.
"""

from __future__ import annotations

from typing import Any

from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.graph.autodiff import grad
from chainrule.nn import functional as F
from chainrule.nn import init
from chainrule.ops.creation import zeros
from chainrule.ops.generator import manual_seed
from chainrule.ops.random import randint, randn
from chainrule.ops.statistics import norm
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, axis_of, draw_panels
from chainrule.report.ticks import linear_axis

# Name: activation, first weights, and what helps.
NETWORKS: dict[str, tuple[Any, Any, str]] = {
    "ReLU": (F.relu, init.kaiming_normal_, ""),
    "tanh": (F.tanh, init.xavier_normal_, ""),
    "sigmoid": (F.sigmoid, init.xavier_normal_, ""),
    "sigmoid, batch norm": (F.sigmoid, init.xavier_normal_, "batch norm"),
    "sigmoid, residual": (F.sigmoid, init.xavier_normal_, "residual"),
}
STYLES = ("c0", "c2", "c1", "c1 dashed", "c1 dotted")

Norms = dict[str, list[float]]


def experiment(*, seed: int = 0, depth: int = 20, width: int = 100, samples: int = 256) -> Norms:
    """Return the norm of the loss's gradient with respect to each layer's weights."""
    norms = {}
    for name, (function, scheme, help_) in NETWORKS.items():
        manual_seed(seed)
        h = randn(samples, width)
        weights = [scheme(zeros(width, width)).requires_grad_() for _ in range(depth)]
        for weight in weights:
            z = F.linear(h, weight)
            if help_ == "batch norm":
                z = F.batch_norm(z, None, None, training=True)
            h = h + function(z) if help_ == "residual" else function(z)
        loss = F.cross_entropy(h[:, :10], randint(0, 10, (samples,)))
        found = grad(loss, weights)
        norms[name] = [norm(slope).item() for slope in found if slope is not None]
    return norms


def _figures(norms: Norms) -> list[Figure]:
    depth = len(norms["ReLU"])
    layers = list(range(1, depth + 1))
    marks = [
        Curve2D(layers, values, style, name, dots=True)
        for (name, values), style in zip(norms.items(), STYLES, strict=True)
    ]
    panel = Panel(
        "Norm of the gradient of each layer's weights, before any training",
        marks,
        linear_axis(0.5, depth + 0.5, count=10, whole=True, loose=False),
        axis_of(*norms.values(), log=True),
        "layer (the last one is next to the loss)",
        "gradient norm",
    )
    drawing = draw_panels(
        [panel],
        label="Gradient norm by layer",
        description="Logarithmic. From the last layer back to the first, the line of the sigmoid "
        "falls by many powers of ten; ReLU's and those with help stay level.",
        height=330,
    )
    return [Figure(Words("The gradient on its way back", "역전파되는 기울기의 크기"), drawing)]


def _tables(norms: Norms) -> list[Table]:
    head = ("network", "first layer", "middle layer", "last layer", "first : last")
    rows = [
        (name, v[0], v[len(v) // 2], v[-1], v[0] / v[-1] if v[-1] else 0.0)
        for name, v in norms.items()
    ]
    return [Table(Words("Norm of the gradient", "기울기의 노름"), head, rows)]


EXPLORATION = Exploration(
    name="vanishing-gradient",
    title=Words("The vanishing gradient, by depth", "깊이에 따른 기울기 소실"),
    see=(
        Words(
            "Read from right to left, as the gradient travels. Each sigmoid layer multiplies it by "
            "slopes of at most 0.25, so that almost nothing reaches the first layers.",
            "기울기가 흐르는 방향대로 오른쪽에서 왼쪽으로 읽으세요. 시그모이드 층은 지날 때마다 "
            "0.25 이하의 기울기를 곱하므로 앞쪽 층에는 거의 아무것도 도달하지 못합니다.",
        ),
        Words(
            "ReLU's slope is 1 where a unit is on, so its line is nearly level; tanh falls slowly. "
            "Batch norm keeps the sigmoid in its steep middle, a residual connection lets the "
            "gradient pass by: both rescue the same sigmoid.",
            "ReLU는 켜진 뉴런의 기울기가 1이라 선이 거의 평평하고, tanh는 천천히 줄어듭니다. 배치 "
            "정규화는 시그모이드를 가파른 가운데에 머물게 하고, 잔차 연결은 기울기가 지나갈 길을 "
            "열어 줍니다. 둘 다 같은 시그모이드를 살려 냅니다.",
        ),
    ),
    source="Hochreiter, 1991; Bengio, Simard & Frasconi, 1994; Glorot & Bengio, 2010; Ioffe & "
    "Szegedy, 2015; He et al., 2016",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"depth": 12, "samples": 64},
    constants=("NETWORKS",),
)
