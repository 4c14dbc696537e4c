"""Exploration: what a temperature does to softmax.

Takes: scores of five classes. Gives: their probabilities at several temperatures.
The one idea: dividing scores by a temperature changes how sure the answer is, not which it is.
"""

from __future__ import annotations

from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.graph.tensor import tensor
from chainrule.ops.softmax import softmax
from chainrule.report.marks import Bars
from chainrule.report.panels import Panel, draw_panels, named_axis
from chainrule.report.ticks import linear_axis

SCORES = {"cat": 3.0, "dog": 2.0, "fox": 1.0, "cow": 0.0, "hen": -1.0}
TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 5.0, 20.0)


def experiment() -> dict[float, list[float]]:
    """Return the probabilities of the classes at every temperature."""
    scores = tensor(list(SCORES.values()))
    return {heat: softmax(scores / heat, 0).tolist() for heat in TEMPERATURES}


def _figures(shares: dict[float, list[float]]) -> list[Figure]:
    names = [f"{name} ({score:g})" for name, score in SCORES.items()]
    at = [-float(i) for i in range(len(names))]
    panels = []
    for heat, values in shares.items():
        bars = Bars(at, values, [f"{v:.1%}" for v in values], thickness=0.66)
        x_axis = linear_axis(0, 1.3, count=4, loose=False)
        panels.append(Panel(f"temperature {heat:g}", (bars,), x_axis, named_axis(names), rules="x"))
    drawing = draw_panels(
        panels,
        label="Softmax at six temperatures",
        description="Bars for five classes with scores 3 to -1. At a low temperature the first "
        "class has nearly everything, at a high one all are alike.",
        columns=3,
        height=130,
    )
    return [Figure(Words("Probabilities by temperature", "온도에 따른 확률"), drawing)]


def _tables(shares: dict[float, list[float]]) -> list[Table]:
    rows = [(f"{heat:g}", *values) for heat, values in shares.items()]
    caption = Words("Probability of each class", "클래스별 확률")
    return [Table(caption, ("temperature", *SCORES), rows)]


EXPLORATION = Exploration(
    name="softmax-temperature",
    title=Words("Softmax and its temperature", "소프트맥스와 온도"),
    see=(
        Words(
            "Below 1 the largest score takes nearly all; above 1 the probabilities draw together, "
            "in the end to one fifth each. The order never changes.",
            "온도가 1보다 낮으면 가장 큰 점수가 거의 모든 확률을 가져가고, 높으면 확률이 서로 "
            "가까워져 결국 모두 5분의 1이 됩니다. 순서는 바뀌지 않습니다.",
        ),
        Words(
            "What counts is the difference of scores: adding the same number to all of them "
            "changes nothing, multiplying them is the same as lowering the temperature.",
            "중요한 것은 점수의 차이입니다. 모두에 같은 수를 더하면 아무것도 달라지지 않고, 같은 "
            "수를 곱하면 온도를 낮춘 것과 같습니다.",
        ),
    ),
    source="Bridle, 1990; Hinton, Vinyals & Dean, “Distilling the knowledge in a neural network”, "
    "2015",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    constants=("SCORES", "TEMPERATURES"),
)
