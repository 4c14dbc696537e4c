"""Exploration: AND, OR and XOR, learned by a perceptron, stacked linear layers and an MLP.

Takes: the four corners of a square. Gives: what each network says everywhere on it.
The one idea: without something bent between its layers, a network draws one straight line.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from chainrule import nn, optim
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import tensor
from chainrule.nn import functional as F
from chainrule.ops.generator import manual_seed
from chainrule.report.marks import Mark, Note, Points, Region
from chainrule.report.panels import Panel, draw_panels
from chainrule.report.ticks import linear_axis

CORNERS = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
GATES = {"AND": (0, 0, 0, 1), "OR": (0, 1, 1, 1), "XOR": (0, 1, 1, 0)}
SIDE = np.linspace(-0.5, 1.5, 81)
PLANE = [(x, y) for y in SIDE for x in SIDE]
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "perceptron": lambda: nn.Linear(2, 1),
    "three linear layers": lambda: nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 1)),
    "MLP": lambda: nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)),
}

# What was said at the corners (above 0: one), and everywhere.
Answers = dict[tuple[str, str], tuple[NDArray[np.float32], NDArray[np.float32]]]


def experiment(*, seed: int = 1, steps: int = 200) -> Answers:
    """Return what three networks say about three gates, at the corners and on the plane."""
    said: Answers = {}
    corners, plane = tensor(CORNERS), tensor(PLANE, dtype="float32")
    for gate, truth in GATES.items():
        target = tensor(truth, dtype="float32").reshape(4, 1)
        for name, make in NETWORKS.items():
            manual_seed(seed)
            net = make()
            rule = optim.SGD if name == "perceptron" else optim.Adam
            optimizer = rule(net.parameters(), lr=0.1)
            for _ in range(steps):
                out = net(corners)
                # Rosenblatt's rule moves the weights by x times what was wrong.
                wrong = ((out > 0).float() - target) * out
                loss = F.binary_cross_entropy_with_logits(out, target)
                (wrong.sum() if name == "perceptron" else loss).backward()
                optimizer.step()
                optimizer.zero_grad()
            with no_grad():
                said[gate, name] = (net(corners).numpy(), net(plane).numpy())
    return said


def _figures(said: Answers) -> list[Figure]:
    panels = [_panel(gate, name, *said[gate, name]) for name in NETWORKS for gate in GATES]
    drawing = draw_panels(
        panels,
        label="What three networks say about AND, OR and XOR",
        description="Squares are true, circles false; the network says true in the shaded part. "
        "The perceptron and the linear layers fail at XOR, the MLP does not.",
        columns=3,
        height=170,
        legend=(
            ("fill c1", "should be 1 (square)"),
            ("ring c0", "should be 0 (ring)"),
            ("region above", "where the network says 1"),
        ),
    )
    return [Figure(Words("Decision regions", "결정 영역"), drawing)]


def _panel(gate: str, name: str, corners: NDArray[np.float32], plane: NDArray[np.float32]) -> Panel:
    # On XOR linear layers end with all weights zero but for rounding: "undecided", not noise.
    height = np.round(plane, 3).reshape(len(SIDE), len(SIDE))
    marks: list[Mark] = [Region(SIDE.tolist(), SIDE.tolist(), height.tolist())]
    for one, style, shape in ((0, "c0", "ring"), (1, "c1", "square")):
        at = [corner for corner, truth in zip(CORNERS, GATES[gate], strict=True) if truth == one]
        x, y = zip(*at, strict=True)
        marks.append(Points(x, y, style, shape, 5.5))
    note = f"{_right(gate, corners)} of 4 right"
    if not height.any():
        note += ": undecided everywhere"
    marks.append(Note(note, "left", at_bottom=True))
    axis = linear_axis(-0.5, 1.5, count=5, loose=False)
    return Panel(f"{gate}, {name}", marks, axis, axis, rules="")


def _right(gate: str, corners: NDArray[np.float32]) -> int:
    return int(((np.round(corners[:, 0], 3) > 0) == np.array(GATES[gate], dtype=bool)).sum())


def _tables(said: Answers) -> list[Table]:
    rows = [(name, *(_right(gate, said[gate, name][0]) for gate in GATES)) for name in NETWORKS]
    caption = Words("Corners answered rightly, of four", "네 꼭짓점 가운데 맞힌 수")
    return [Table(caption, ("network", *GATES), rows)]


EXPLORATION = Exploration(
    name="perceptron",
    title=Words("AND, OR and XOR: perceptron and MLP", "AND, OR, XOR: 퍼셉트론과 다층 퍼셉트론"),
    see=(
        Words(
            "A perceptron cuts the plane with one straight line. That is enough for AND and OR; "
            "for XOR there is no such line, so at least one corner is always wrong.",
            "퍼셉트론은 직선 하나로 평면을 나눕니다. AND와 OR에는 그것으로 충분하지만 XOR에는 그런 "
            "직선이 없어서 꼭짓점 하나는 반드시 틀립니다.",
        ),
        Words(
            "Three linear layers on top of each other are still one linear layer: the border "
            "stays straight. One bent function between the layers (here tanh) bends it, and XOR "
            "is solved.",
            "선형 층을 세 개 쌓아도 결국 선형 층 하나와 같아서 경계는 여전히 직선입니다. 층 사이에 "
            "비선형 함수(여기서는 tanh)를 하나 넣으면 경계가 휘고 XOR이 풀립니다.",
        ),
    ),
    source="Rosenblatt, “The perceptron”, 1958; Minsky & Papert, “Perceptrons”, 1969; Rumelhart, "
    "Hinton & Williams, 1986",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"steps": 50},
    constants=("CORNERS", "GATES", "SIDE", "PLANE", "NETWORKS"),
)
