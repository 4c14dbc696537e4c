"""Exploration: what each remedy does to the gap between training and test.

Takes: few digits, a fifth of them with wrong labels. Gives: accuracy and loss for each remedy.
The one idea: a network with more parameters than examples learns the mistakes by heart, unless
something holds it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chainrule import nn, optim
from chainrule.data import open_source, prepare
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.training import measure, training_step
from chainrule.graph.tensor import Tensor, tensor
from chainrule.nn import functional as F
from chainrule.ops.creation import arange
from chainrule.ops.generator import manual_seed
from chainrule.ops.logic import where
from chainrule.ops.random import randperm
from chainrule.report.marks import Bars, Curve2D, Rule
from chainrule.report.panels import Panel, axis_of, draw_panels, named_axis
from chainrule.report.ticks import linear_axis

NAMES = ("nothing", "L1", "L2", "dropout", "batch norm", "label smoothing")
EXTRA: dict[str, Callable[[], nn.Module]] = {
    "dropout": lambda: nn.Dropout(0.7),
    "batch norm": lambda: nn.BatchNorm1d(256),
}
PENALTY: dict[str, Callable[[Tensor], Tensor | float]] = {
    **dict.fromkeys(NAMES, lambda weight: 0.0),
    "L1": lambda weight: 0.002 * abs(weight).sum(),
    "L2": lambda weight: 0.01 * (weight * weight).sum(),
}
SMOOTHING = {"label smoothing": 0.2}
EARLY = "early stopping"

# By remedy and epoch: accuracy and loss on the training, the validation and the test part.
Curves = dict[str, list[list[tuple[float, float]]]]


def experiment(*, seed: int = 0, examples: int = 200, epochs: int = 40) -> Curves:
    """Return how a network learns few digits, a fifth of which have wrong labels."""
    task = prepare(open_source("digits"), seed=0)
    x, y = tensor(task.train.inputs[:examples]), tensor(task.train.targets[:examples])
    y = where(arange(examples) % 5 == 0, (y + 1) % 10, y)
    others = [(tensor(part.inputs), tensor(part.targets)) for part in (task.valid, task.test)]

    def learn(name: str) -> list[list[tuple[float, float]]]:
        manual_seed(seed)
        extra = EXTRA.get(name, nn.Identity)()
        hidden, last = nn.Linear(64, 256), nn.Linear(256, 10)
        net = nn.Sequential(nn.Flatten(), hidden, extra, nn.ReLU(), last)

        def loss(scores: Tensor, y: Tensor) -> Tensor:
            value = F.cross_entropy(scores, y, label_smoothing=SMOOTHING.get(name, 0.0))
            return value + PENALTY[name](hidden.weight) + PENALTY[name](last.weight)

        step = training_step(net, optim.Adam(net.parameters(), lr=0.003), loss)
        history = []
        for _ in range(epochs):
            for rows in randperm(examples).split(20):
                step(x[rows], y[rows])
            history.append([measure(net, *part) for part in ((x, y), *others)])
        return history

    return {name: learn(name) for name in NAMES}


def best_epoch(history: list[list[tuple[float, float]]]) -> int:
    """Return the epoch, from 0, with the smallest loss on the validation part."""
    return min(range(len(history)), key=lambda epoch: history[epoch][1][1])


def outcomes(curves: Curves) -> dict[str, list[tuple[float, float]]]:
    """Return the last row of each remedy, and that of the best epoch without any."""
    found = {name: history[-1] for name, history in curves.items()}
    plain = curves["nothing"]
    return {**found, EARLY: plain[best_epoch(plain)]}


def _figures(curves: Curves) -> list[Figure]:
    found = outcomes(curves)
    names = list(found)
    at = [-float(i) for i in range(len(names))]
    train, test = ([found[name][part][0] for name in names] for part in (0, 2))
    marks = (
        Bars([y + 0.2 for y in at], train, [f"{v:.0%}" for v in train], "plain"),
        Bars([y - 0.2 for y in at], test, [f"{v:.0%}" for v in test], "c0"),
    )
    x_axis = replace(linear_axis(0, 1, count=6), high=1.12)
    accuracy = draw_panels(
        [Panel("", marks, x_axis, named_axis(names), "accuracy", rules="x")],
        label="Accuracy in training and in the test, by remedy",
        description="Two bars for each remedy: accuracy on the training part with its wrong "
        "labels, and on the test part.",
        height=46.0 * len(names),
        legend=(("fill plain", "training (a fifth of the labels wrong)"), ("fill c0", "test")),
    )
    return [
        Figure(Words("Learned by heart, and understood", "외운 것과 이해한 것"), accuracy),
        Figure(Words("Loss by epoch", "에폭에 따른 손실"), _losses(curves)),
    ]


def _losses(curves: Curves) -> str:
    values = [[part[1] for part in row] for history in curves.values() for row in history]
    y_axis = axis_of(*values, zero=True)
    panels = []
    for name, history in curves.items():
        epochs = list(range(1, len(history) + 1))
        marks = (
            Rule(best_epoch(history) + 1.0),
            Curve2D(epochs, [row[0][1] for row in history], "plain"),
            Curve2D(epochs, [row[2][1] for row in history], "c0 dashed"),
        )
        x_axis = linear_axis(1, len(history), whole=True, loose=False)
        panels.append(Panel(name, marks, x_axis, y_axis, "epoch"))
    return draw_panels(
        panels,
        label="Loss by epoch, for each remedy",
        description="Training loss solid, test loss dashed; a vertical line where the validation "
        "loss is smallest, which is where early stopping stops.",
        columns=3,
        height=140,
        legend=(("plain", "training"), ("c0 dashed", "test")),
    )


def _tables(curves: Curves) -> list[Table]:
    rows = [
        (name, train[0], test[0], train[0] - test[0], train[1], test[1], test[1] - train[1])
        for name, (train, _, test) in outcomes(curves).items()
    ]
    head = ("remedy", "train accuracy", "test accuracy", "gap", "train loss", "test loss", "gap")
    return [Table(Words("What is learned, and the gap", "학습 결과와 격차"), head, rows)]


EXPLORATION = Exploration(
    name="overfitting",
    title=Words("Overfitting, and what helps against it", "과적합과 그 처방"),
    see=(
        Words(
            "With nothing done, the network learns all training labels, the wrong ones too: 100 % "
            "there, far less in the test. Its test loss falls for a few epochs and then rises.",
            "아무것도 하지 않으면 잘못된 레이블까지 모두 외워 훈련 정확도는 100 %가 되지만 테스트 "
            "정확도는 훨씬 낮습니다. 테스트 손실은 몇 에폭 동안 줄다가 다시 늘어납니다.",
        ),
        Words(
            "L1, L2 and dropout keep it from learning the wrong labels: less in training, more in "
            "the test. Early stopping takes the network of the best moment, at no cost.",
            "L1, L2, 드롭아웃은 잘못된 레이블을 외우지 못하게 막습니다. 훈련 점수는 낮아지지만 "
            "테스트 점수는 높아집니다. 조기 종료는 가장 좋았던 순간의 신경망을 그대로 씁니다.",
        ),
        Words(
            "Batch norm is made for faster training; against so many wrong labels it helps little. "
            "Label smoothing still learns them, but without certainty: the gap of the losses "
            "shrinks, that of the accuracies hardly does.",
            "배치 정규화는 학습을 빠르게 하려는 것이어서 이렇게 많은 잘못된 레이블에는 큰 도움이 "
            "되지 않습니다. 레이블 스무딩은 잘못된 레이블도 배우지만 확신하지는 않으므로, "
            "정확도보다 손실의 격차를 줄입니다.",
        ),
    ),
    source="Srivastava et al., “Dropout”, 2014; Ioffe & Szegedy, 2015; Szegedy et al., 2016; "
    "Prechelt, “Early stopping – but when?”, 1998; the data: digits of scikit-learn",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"examples": 100, "epochs": 20},
    constants=("NAMES", "EXTRA", "PENALTY", "SMOOTHING"),
)
