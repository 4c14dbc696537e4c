"""Exploration: equal first weights make all units of a layer the same, for good.

Takes: three ways to begin. Gives: how many different units there are after training.
The one idea: units with equal weights get equal gradients, so nothing ever tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chainrule import nn, optim
from chainrule.data import open_source, prepare
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.training import measure, training_step
from chainrule.graph.tensor import Tensor, tensor
from chainrule.nn import init
from chainrule.ops.generator import manual_seed
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, axis_of, draw_panels
from chainrule.report.ticks import linear_axis

BEGINNINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "all zero": init.zeros_,
    "all 0.1": lambda weight: init.constant_(weight, 0.1),
    "at random (Xavier)": init.xavier_normal_,
}
STYLES = ("c3 dotted", "c1 dashed", "c0")

# weights of the hidden units, losses, accuracy
Outcome = tuple[NDArray[np.float32], list[float], float]


def experiment(*, seed: int = 0, steps: int = 200, width: int = 16) -> dict[str, Outcome]:
    """Return the hidden weights, the losses and the accuracy for each way to begin."""
    train = prepare(open_source("digits"), seed=0).train
    x, y = tensor(train.inputs).flatten(1), tensor(train.targets)

    def learn(begin: Callable[[Tensor], Tensor]) -> Outcome:
        manual_seed(seed)
        hidden, last = nn.Linear(64, width, bias=False), nn.Linear(width, 10)
        begin(hidden.weight)
        begin(last.weight)
        net = nn.Sequential(hidden, nn.Tanh(), last)
        optimizer = optim.SGD(net.parameters(), lr=0.2)
        step = training_step(net, optimizer)
        losses = [step(x, y).item() for _ in range(steps)]
        return hidden.weight.detach().numpy(), losses, measure(net, x, y)[0]

    return {name: learn(begin) for name, begin in BEGINNINGS.items()}


def different_units(weights: NDArray[np.float32]) -> int:
    """Return how many rows differ by more than rounding."""
    return len(np.unique(np.round(weights, 4), axis=0))


def _figures(outcomes: dict[str, Outcome]) -> list[Figure]:
    steps = len(next(iter(outcomes.values()))[1])
    marks = [
        Curve2D(list(range(1, steps + 1)), losses, style, name)
        for (name, (_, losses, _)), style in zip(outcomes.items(), STYLES, strict=True)
    ]
    panel = Panel(
        "",
        marks,
        linear_axis(0, steps, count=9, loose=False),
        axis_of(*(losses for _, losses, _ in outcomes.values()), zero=True),
        "step",
        "training loss",
    )
    drawing = draw_panels(
        [panel],
        label="Training loss by first weights",
        description="With equal first weights the loss stays high; at random it falls to nearly 0.",
        height=260,
    )
    return [Figure(Words("Training loss", "훈련 손실"), drawing)]


def _tables(outcomes: dict[str, Outcome]) -> list[Table]:
    rows = [
        (name, len(weights), different_units(weights), losses[-1], accuracy)
        for name, (weights, losses, accuracy) in outcomes.items()
    ]
    head = ("first weights", "hidden units", "different ones", "loss", "training accuracy")
    return [Table(Words("After training", "학습을 마친 뒤"), head, rows)]


EXPLORATION = Exploration(
    name="symmetry",
    title=Words("Why first weights must differ", "초기 가중치가 서로 달라야 하는 까닭"),
    see=(
        Words(
            "All zero: no gradient reaches the hidden layer, only the last biases learn. All 0.1: "
            "the layer learns, but its sixteen units stay copies of one, and the network is as "
            "weak as with a single hidden unit.",
            "모두 0이면 은닉층에 기울기가 전혀 전해지지 않아 마지막 편향만 학습됩니다. 모두 "
            "0.1이면 학습은 되지만 뉴런 열여섯 개가 끝까지 똑같아서, 은닉 뉴런이 하나뿐인 "
            "신경망과 다를 바 없습니다.",
        ),
        Words(
            "Random first weights break the symmetry: sixteen different units, and the loss falls.",
            "무작위로 시작하면 대칭이 깨져 열여섯 뉴런이 저마다 다른 것을 배우고 손실이 "
            "줄어듭니다.",
        ),
    ),
    source="Rumelhart, Hinton & Williams, 1986; the data: digits of scikit-learn",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"steps": 60},
    constants=("BEGINNINGS",),
)
