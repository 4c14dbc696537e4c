"""Exploration: the paths that all optimizers take on the same surfaces.

Takes: the optimizers that `optim` has. Gives: their steps on a ravine, a saddle and hollows.
The one idea: same start, same number of steps; only the rule differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainrule import optim
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.surfaces import SURFACES, at, contours, height_note, walk
from chainrule.graph.tensor import tensor
from chainrule.report.panels import draw_panels

# Name on the picture, class of `optim`, its settings: rates suit the ravine (Saito, ch. 6.1).
RULES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("SGD", "SGD", {"lr": 0.95}),
    ("Momentum", "SGD", {"lr": 0.1, "momentum": 0.9}),
    ("Nesterov", "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("ASGD", "ASGD", {"lr": 0.95, "lambd": 0.02}),
    ("Adagrad", "Adagrad", {"lr": 1.5}),
    ("Adadelta", "Adadelta", {"lr": 10.0, "eps": 1e-3}),
    ("RMSprop", "RMSprop", {"lr": 0.2}),
    ("Rprop", "Rprop", {"lr": 0.2}),
    ("Adam", "Adam", {"lr": 0.3}),
    ("AdamW", "AdamW", {"lr": 0.3, "weight_decay": 0.1}),
    ("Adamax", "Adamax", {"lr": 0.5}),
    ("NAdam", "NAdam", {"lr": 0.3}),
    ("RAdam", "RAdam", {"lr": 1.0}),
    ("Adafactor", "Adafactor", {"lr": 0.3}),
    ("LAMB", "LAMB", {"lr": 0.1}),
    ("Lion", "Lion", {"lr": 0.12}),
)

Paths = dict[tuple[str, str], list[Sequence[float]]]


def experiment(*, steps: int = 60) -> Paths:
    """Return the places that every optimizer visits on every surface."""
    paths: Paths = {}
    for place, surface in SURFACES.items():
        for name, rule, settings in RULES:
            if hasattr(optim, rule):
                point = tensor(surface.start, dtype="float64", requires_grad=True)
                optimizer = getattr(optim, rule)([point], **settings)
                paths[place, name] = [surface.start]
                for _ in range(steps):
                    optimizer.zero_grad()
                    surface.height(point[0], point[1]).backward()
                    optimizer.step()
                    paths[place, name].append(point.tolist())
    return paths


CAPTIONS = {
    "ravine": Words("A ravine: f = x²/20 + y²", "골짜기: f = x²/20 + y²"),
    "saddle": Words("A saddle: f = x²/20 - y²/4 + y⁴/32", "안장점: f = x²/20 - y²/4 + y⁴/32"),
    "several minima": Words(
        "Several minima: f = x²/20 + y²/4 + (1 - cos 2x)/2",
        "여러 극소점: f = x²/20 + y²/4 + (1 - cos 2x)/2",
    ),
}


def _figures(paths: Paths) -> list[Figure]:
    figures = []
    for place, surface in SURFACES.items():
        backdrop = contours(surface.height, surface.x_limits, surface.y_limits)
        panels = [
            walk(
                name,
                path,
                backdrop,
                lowest=surface.lowest,
                note=height_note(at(surface.height, path[-1])),
            )
            for (where, name), path in paths.items()
            if where == place
        ]
        drawing = draw_panels(
            panels,
            label=f"Paths of optimizers: {CAPTIONS[place].en}",
            description="Contour lines with a path on them for each optimizer, from the ring to "
            "the dot; a cross is a minimum. The note is the height that was reached.",
            columns=4,
            height=128,
        )
        figures.append(Figure(CAPTIONS[place], drawing))
    return figures


def _tables(paths: Paths) -> list[Table]:
    names = list(dict.fromkeys(name for _, name in paths))
    rows = []
    for name in names:
        heights = [at(SURFACES[place].height, paths[place, name][-1]) for place in SURFACES]
        rows.append((name, *heights))
    steps = len(next(iter(paths.values()))) - 1
    caption = Words(f"Height after {steps} steps", f"{steps}걸음 뒤의 높이")
    return [Table(caption, ("optimizer", *SURFACES), rows)]


EXPLORATION = Exploration(
    name="optimizers",
    title=Words("Paths of the optimizers", "최적화 알고리즘이 걷는 길"),
    see=(
        Words(
            "Ravine: SGD jumps from side to side, since the slope across is twenty times the slope "
            "along; momentum swings out of it in curves; Adagrad, RMSprop and Adam divide each "
            "direction by its own size and turn towards the goal early.",
            "골짜기: 가로지르는 방향의 기울기가 훨씬 커서 SGD는 양쪽 벽을 오가며 지그재그로 "
            "움직입니다. 모멘텀은 공이 구르듯 곡선을 그리고, Adagrad·RMSprop·Adam은 방향마다 "
            "기울기의 크기로 나누기 때문에 일찍 목표 쪽으로 방향을 잡습니다.",
        ),
        Words(
            "Saddle: all start a hundredth beside the ridge. Those that scale each direction leave "
            "it at once; plain SGD has to wait until the tiny slope has grown.",
            "안장점: 모두 능선에서 0.01만큼 벗어난 곳에서 출발합니다. 방향마다 크기를 맞추는 "
            "방법은 곧바로 벗어나지만, 단순한 SGD는 아주 작은 기울기가 커질 때까지 기다려야 "
            "합니다.",
        ),
        Words(
            "Several minima: most stay in the first hollow that they meet, the more surely the "
            "better they brake. At this rate plain momentum alone has enough way on to roll "
            "through to the lowest. Where a path ends depends on the rate as well as on the rule.",
            "여러 극소점: 대부분 처음 만난 웅덩이에 머물고, 속도를 잘 줄이는 방법일수록 더 "
            "그렇습니다. 이 학습률에서는 단순한 모멘텀만 관성으로 웅덩이들을 지나 가장 낮은 "
            "곳까지 굴러갑니다. 길이 어디서 끝나는지는 방법뿐 아니라 학습률에도 달려 있습니다.",
        ),
    ),
    source="Saito, “Deep Learning from Scratch”, ch. 6.1 (the ravine); Ruder, “An overview of "
    "gradient descent optimization algorithms”, 2016",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"steps": 12},
    constants=("RULES",),
)
