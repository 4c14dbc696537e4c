"""Exploration: what the size of a batch costs and gives.

Takes: digits, and batches of one to all examples. Gives: time, memory and accuracy.
The one idea: a larger batch makes an epoch cheaper and each step better, but there are fewer
steps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from chainrule import nn, optim
from chainrule.data import open_source, prepare
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.training import measure, training_step
from chainrule.graph.tensor import tensor
from chainrule.ops.generator import manual_seed
from chainrule.ops.random import randperm
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, axis_of, draw_panels
from chainrule.report.ticks import linear_axis


@dataclass(frozen=True)
class Outcome:
    """What one size of batches led to."""

    steps: int
    seconds: float
    memory: int
    accuracy: list[float]


def experiment(
    *, seed: int = 0, examples: int = 1024, epochs: int = 10, lr: float = 0.03
) -> dict[int, Outcome]:
    """Return seconds an epoch, bytes of a step and test accuracy, by the size of the batch."""
    task = prepare(open_source("digits"), seed=0)
    x, y = tensor(task.train.inputs[:examples]), tensor(task.train.targets[:examples])
    test = tensor(task.test.inputs), tensor(task.test.targets)

    def learn(size: int) -> Outcome:
        manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
        optimizer = optim.SGD(net.parameters(), lr=lr)
        step = training_step(net, optimizer)
        memory = step.trace(x[:size], y[:size]).lower().memory  # known before the first step
        seconds, accuracy = [], []
        for _ in range(epochs):
            batches = [(x[rows], y[rows]) for rows in randperm(examples).split(size)]
            start = time.perf_counter()
            for batch in batches:
                step(*batch)
            seconds.append(time.perf_counter() - start)
            accuracy.append(measure(net, *test)[0])
        return Outcome(len(batches), min(seconds), memory, accuracy)

    return {size: learn(size) for size in (1, 8, 64, 256, examples)}


def _figures(outcomes: dict[int, Outcome]) -> list[Figure]:
    sizes = [float(size) for size in outcomes]
    x_axis = axis_of([0.8 * sizes[0], 1.25 * sizes[-1]], log=True, loose=False)
    columns = (
        ("Time of an epoch", "milliseconds", [1000 * o.seconds for o in outcomes.values()]),
        ("Memory of a step", "kilobytes", [o.memory / 1000 for o in outcomes.values()]),
    )
    panels = [
        Panel(
            title,
            (Curve2D(sizes, values, dots=True),),
            x_axis,
            axis_of([0.9 * v for v in values], [1.1 * v for v in values], log=True),
            "batch size",
            unit,
        )
        for title, unit, values in columns
    ]
    last = [outcome.accuracy[-1] for outcome in outcomes.values()]
    marks = (Curve2D(sizes, last, dots=True),)
    y_axis = linear_axis(0, 1.02, count=6, loose=False)
    panels.append(Panel("Test accuracy", marks, x_axis, y_axis, "batch size", "accuracy"))
    costs = draw_panels(
        panels,
        label="Time, memory and accuracy by batch size",
        description="Larger batches take less time and more memory, and reach less in the same "
        "number of epochs at the same rate.",
        columns=3,
        height=200,
    )
    return [
        Figure(
            Words("What a batch size costs and gives", "배치 크기에 따라 드는 비용과 얻는 것"),
            costs,
        ),
        Figure(Words("Accuracy by epoch", "에폭에 따른 정확도"), _accuracies(outcomes)),
    ]


def _accuracies(outcomes: dict[int, Outcome]) -> str:
    epochs = list(range(1, len(next(iter(outcomes.values())).accuracy) + 1))
    styles = ("c1", "c3 dotted", "c2 dashed", "c0 dotted", "c0")
    marks = [
        Curve2D(epochs, outcome.accuracy, style, f"batches of {size:,}", dots=True)
        for (size, outcome), style in zip(outcomes.items(), styles, strict=True)
    ]
    x_axis = linear_axis(0.9, len(epochs) + 0.1, count=len(epochs), whole=True, loose=False)
    y_axis = linear_axis(0, 1, count=6)
    return draw_panels(
        [Panel("", marks, x_axis, y_axis, "epoch", "test accuracy")],
        label="Test accuracy by epoch",
        description="One line for each batch size; the smaller the batch, the steeper the line.",
        height=260,
    )


def _tables(outcomes: dict[int, Outcome]) -> list[Table]:
    rows = [
        (f"{size:,}", o.steps, 1000 * o.seconds, o.memory / 1000, o.accuracy[0], o.accuracy[-1])
        for size, o in outcomes.items()
    ]
    head = ("batch", "steps an epoch", "ms an epoch", "kB a step", "first epoch", "last epoch")
    caption = Words("Time, memory, test accuracy", "시간, 메모리, 테스트 정확도")
    return [Table(caption, head, rows)]


EXPLORATION = Exploration(
    name="batch-size",
    title=Words("Batch size: time, memory, accuracy", "배치 크기: 시간, 메모리, 정확도"),
    see=(
        Words(
            "One example at a time: the most steps, the least memory, and the longest epoch, since "
            "every step costs something by itself. All examples at once: the shortest epoch, the "
            "most memory, and a single step for it.",
            "하나씩 보면 스텝 수가 가장 많고 메모리는 가장 적지만, 스텝마다 드는 비용 때문에 한 "
            "에폭이 가장 오래 걸립니다. 한꺼번에 보면 에폭은 가장 짧고 메모리는 가장 많이 들며, "
            "한 에폭에 한 스텝밖에 나아가지 못합니다.",
        ),
        Words(
            "At the same rate and after the same number of epochs, accuracy follows the number of "
            "steps. That is why batches of some dozens are usual: nearly the time of the large, "
            "nearly the accuracy of the small. Larger ones need a larger rate.",
            "학습률과 에폭 수가 같다면 정확도는 스텝 수를 따라갑니다. 그래서 수십 개짜리 "
            "미니배치를 흔히 씁니다. 시간은 큰 배치에, 정확도는 작은 배치에 가깝기 때문입니다. "
            "배치를 키울 때는 학습률도 키워야 합니다.",
        ),
    ),
    source="Goodfellow, Bengio & Courville, 2016, ch. 8.1.3; Goyal et al., “Accurate, large "
    "minibatch SGD”, 2017; the data: digits of scikit-learn",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"examples": 512, "epochs": 3},
    constants=("Outcome",),
)
