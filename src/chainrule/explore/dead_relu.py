"""Exploration: ReLUs that died, by learning rate.

Takes: a network of ReLUs, trained at several rates. Gives: the share of units that are never on.
The one idea: one step too large can move a unit where every input is negative; its gradient is
then 0 for good.
"""

from __future__ import annotations

from collections.abc import Callable

from chainrule import nn, optim
from chainrule.data import open_source, prepare
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.training import measure, training_step
from chainrule.graph.tensor import tensor
from chainrule.ops.generator import manual_seed
from chainrule.ops.random import randint
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, axis_of, draw_panels
from chainrule.report.ticks import linear_axis

RATES = (0.1, 0.3, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
UNITS = {"ReLU": nn.ReLU, "Leaky ReLU": nn.LeakyReLU}
STYLES = {"ReLU": "c1", "Leaky ReLU": "c0 dashed"}

# (share of dead units, training accuracy), by activation and rate
Shares = dict[tuple[str, float], tuple[float, float]]


def experiment(*, seed: int = 0, steps: int = 300, width: int = 100) -> Shares:
    """Return the share of hidden units that are off for all examples, and the accuracy."""
    train = prepare(open_source("digits"), seed=0).train
    x, y = tensor(train.inputs).flatten(1), tensor(train.targets)

    def learn(unit: Callable[[], nn.Module], rate: float) -> tuple[float, float]:
        manual_seed(seed)
        net = nn.Sequential(nn.Linear(64, width), unit(), nn.Linear(width, 10))
        optimizer = optim.SGD(net.parameters(), lr=rate)
        step = training_step(net, optimizer)
        for _ in range(steps):
            rows = randint(0, len(x), (64,))
            step(x[rows], y[rows])
        dead = (net[:2](x) == 0).all(0)  # for all examples nothing, hence no gradient
        return dead.float().mean().item(), measure(net, x, y)[0]

    return {(name, rate): learn(unit, rate) for name, unit in UNITS.items() for rate in RATES}


def _figures(shares: Shares) -> list[Figure]:
    panels = []
    for place, (title, y_title) in enumerate(
        (("Units that are never on", "share of units"), ("Training accuracy", "accuracy"))
    ):
        marks = [
            Curve2D(RATES, [shares[name, rate][place] for rate in RATES], style, name, dots=True)
            for name, style in STYLES.items()
        ]
        x_axis = axis_of([0.95 * RATES[0], 1.05 * RATES[-1]], log=True, loose=False)
        y_axis = linear_axis(-0.02, 1.02, loose=False)
        panels.append(Panel(title, marks, x_axis, y_axis, "learning rate", y_title))
    drawing = draw_panels(
        panels,
        label="Dead units and accuracy by learning rate",
        description="From a certain rate on the share of dead ReLUs rises steeply to nearly all of "
        "them, and the accuracy falls to chance; no Leaky ReLU dies.",
        columns=2,
        height=230,
    )
    return [Figure(Words("Dead ReLUs by learning rate", "학습률에 따른 죽은 ReLU"), drawing)]


def _tables(shares: Shares) -> list[Table]:
    rows = [
        (str(rate), *(value for name in UNITS for value in shares[name, rate])) for rate in RATES
    ]
    head = ("rate", "ReLU: dead", "accuracy", "Leaky ReLU: dead", "accuracy")
    return [Table(Words("Share of dead units", "죽은 뉴런의 비율"), head, rows)]


EXPLORATION = Exploration(
    name="dead-relu",
    title=Words("Dead ReLUs, by learning rate", "학습률과 죽은 ReLU"),
    see=(
        Words(
            "At a moderate rate nearly every unit is on for some example. From about 1 on, single "
            "steps throw units to where all inputs are negative; there the gradient is 0, so they "
            "never come back. At 2 hardly one is left, and the network guesses.",
            "학습률이 적당하면 거의 모든 뉴런이 어떤 예제에서든 켜집니다. 1쯤부터는 한 걸음이 너무 "
            "커서 뉴런이 늘 음수만 받는 곳으로 밀려나고, 그곳의 기울기는 0이라 다시는 돌아오지 "
            "못합니다. 2에서는 남은 뉴런이 거의 없어 신경망은 찍기만 합니다.",
        ),
        Words(
            "Leaky ReLU has a small slope for negative inputs too: no unit dies, and the same "
            "rates still train.",
            "Leaky ReLU는 음수에도 작은 기울기가 있어 죽는 뉴런이 없고, 같은 학습률에서도 학습이 "
            "이어집니다.",
        ),
    ),
    source="Maas, Hannun & Ng, 2013; Lu, Shin, Su & Karniadakis, “Dying ReLU and initialization”, "
    "2019; the data: digits of scikit-learn",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"steps": 60},
    constants=("RATES", "UNITS"),
)
