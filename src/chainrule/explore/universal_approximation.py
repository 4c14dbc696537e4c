"""Exploration: a sum of ReLUs approximates a curve, the better the more of them.

Takes: a curve. Gives: the best fit found with 1, 2, 4, ... hidden units.
The one idea: each ReLU bends the line once, at the place that its bias decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from chainrule import nn, optim
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.nn import functional as F
from chainrule.ops.generator import manual_seed
from chainrule.ops.ranges import linspace
from chainrule.ops.trigonometric import sin
from chainrule.report.marks import Curve2D, Note
from chainrule.report.panels import Panel, axis_of, draw_panels
from chainrule.report.ticks import linear_axis
from chainrule.report.words import format_number
from chainrule.runtime.compile import compile

# x, the curve, and the fit for each number of units.
Fits = tuple[NDArray[np.float32], NDArray[np.float32], dict[int, NDArray[np.float32]]]


def experiment(*, seed: int = 1, most: int = 64, steps: int = 8000, points: int = 200) -> Fits:
    """Return x, a curve, and what networks of 1, 2, 4, ... ReLUs make of it."""
    x = linspace(-1.0, 1.0, points).reshape(-1, 1)
    y = sin(6 * x) * 0.6 + x**2

    def fit(units: int) -> NDArray[np.float32]:
        manual_seed(seed)
        hidden = nn.Linear(1, units)
        nn.init.ones_(hidden.weight)  # at first, bends lie evenly spread
        hidden.bias = nn.Parameter(-linspace(-1.0, 1.0, units + 1)[:-1])
        net = nn.Sequential(hidden, nn.ReLU(), nn.Linear(units, 1))
        optimizer = optim.Adam(net.parameters(), lr=0.01)

        @compile
        def step() -> None:
            optimizer.zero_grad()
            F.mse_loss(net(x), y).backward()
            optimizer.step()

        for _ in range(steps):
            step()
        fit: NDArray[np.float32] = net(x).detach().numpy()[:, 0]
        return fit

    return x.numpy()[:, 0], y.numpy()[:, 0], {2**k: fit(2**k) for k in range(most.bit_length())}


def errors(fits: Fits) -> dict[int, float]:
    """Return the root mean squared error by number of units."""
    _, y, found = fits
    return {units: float(np.sqrt(np.mean((fit - y) ** 2))) for units, fit in found.items()}


def _figures(fits: Fits) -> list[Figure]:
    x, y, found = fits
    error = errors(fits)
    x_axis, y_axis = linear_axis(-1, 1, count=5), linear_axis(-1, 1.5, count=6)
    panels = [
        Panel(
            "1 ReLU" if units == 1 else f"{units} ReLUs",
            (
                Curve2D(x.tolist(), y.tolist(), "plain"),
                Curve2D(x.tolist(), fit.tolist(), "c1"),
                Note(f"error {format_number(float(f'{error[units]:.2g}'))}", at_bottom=True),
            ),
            x_axis,
            y_axis,
        )
        for units, fit in found.items()
    ]
    curves = draw_panels(
        panels,
        label="Sums of ReLUs approximating a curve",
        description="The curve in grey, the sum of ReLUs in colour; more units follow it closer.",
        columns=4,
        height=150,
        legend=(("plain", "curve"), ("c1", "network")),
    )
    last = Panel(
        "",
        (Curve2D([float(u) for u in error], list(error.values()), "c0", dots=True),),
        axis_of([0.9, 1.1 * max(error)], log=True, loose=False),
        axis_of([1.2 * value for value in error.values()], list(error.values()), log=True),
        "ReLUs",
        "error",
    )
    falling = draw_panels(
        [last], label="Error by number of ReLUs", description="Both axes logarithmic.", height=240
    )
    return [
        Figure(Words("One bend for each ReLU", "ReLU 하나에 꺾임 하나"), curves),
        Figure(Words("Error by number of units", "뉴런 수에 따른 오차"), falling),
    ]


def _tables(fits: Fits) -> list[Table]:
    rows = [(str(units), error) for units, error in errors(fits).items()]
    caption = Words("Root mean squared error", "평균 제곱근 오차")
    return [Table(caption, ("ReLUs", "error"), rows)]


EXPLORATION = Exploration(
    name="universal-approximation",
    title=Words("ReLUs approximate a curve", "ReLU로 곡선 근사하기"),
    see=(
        Words(
            "A network with one hidden layer of ReLUs is a line with bends, one for each unit. Two "
            "can only hint at the curve, four follow it, and with 16 the eye sees hardly a "
            "difference.",
            "ReLU 은닉층 하나짜리 신경망은 뉴런마다 한 번씩 꺾이는 꺾은선입니다. 두 개로는 곡선을 "
            "흉내만 내지만 네 개면 벌써 따라가고, 16개쯤 되면 눈으로 구별하기 어렵습니다.",
        ),
        Words(
            "The error falls as units are added. The theorem says that enough units can come as "
            "close as one likes; it does not say that training finds them, and the last points of "
            "the line, where it becomes flat, show that limit.",
            "뉴런이 늘수록 오차는 줄어듭니다. 보편 근사 정리는 뉴런이 충분하면 얼마든지 가까워질 "
            "수 있다고 말할 뿐, 학습이 그 답을 찾는다고 보장하지는 않습니다. 선이 평평해지는 "
            "마지막 점들이 그 한계를 보여 줍니다.",
        ),
    ),
    source="Cybenko, 1989; Hornik, Stinchcombe & White, 1989; Hornik, 1991",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"most": 16, "steps": 3000, "points": 100},
)
