"""Exploration: learning rates that are too small, fast and too large.

Takes: rates. Gives: the path of gradient descent for each.
The one idea: on a parabola of curvature c, a step multiplies the distance by 1 - lr c.
"""

from __future__ import annotations

from collections.abc import Sequence

from chainrule import optim
from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.surfaces import SURFACES, Path, at, contours, height_note, walk
from chainrule.graph.tensor import tensor
from chainrule.report.marks import Curve2D
from chainrule.report.panels import Panel, draw_panels
from chainrule.report.ticks import linear_axis, log_axis

RATES = {"too small": 0.02, "careful": 0.4, "fastest": 0.95, "too large": 1.05}
STYLES = ("c3 dotted", "c2 dashed", "c0", "c1")
SURFACE = SURFACES["ravine"]

Paths = dict[str, list[Sequence[float]]]


def experiment(*, steps: int = 40) -> Paths:
    """Return the places that gradient descent visits on f = x²/20 + y² with every rate."""
    paths: Paths = {}
    for name, rate in RATES.items():
        point = tensor([-7.0, 2.0], dtype="float64", requires_grad=True)
        optimizer = optim.SGD([point], lr=rate)
        paths[name] = [point.tolist()]
        for _ in range(steps):
            optimizer.zero_grad()
            (point[0] ** 2 / 20 + point[1] ** 2).backward()
            optimizer.step()
            paths[name].append(point.tolist())
    return paths


def _figures(paths: Paths) -> list[Figure]:
    backdrop = contours(SURFACE.height, SURFACE.x_limits, SURFACE.y_limits)
    panels = [
        walk(
            f"{name}: {RATES[name]}",
            _within(path),
            backdrop,
            lowest=SURFACE.lowest,
            note=height_note(at(SURFACE.height, path[-1])),
        )
        for name, path in paths.items()
    ]
    description = "Contour lines with the path of gradient descent, from the ring to the dot."
    walks = draw_panels(
        panels, label="Paths by learning rate", description=description, columns=2, height=190
    )
    return [
        Figure(Words("Four rates on f = x²/20 + y²", "f = x²/20 + y²에서 네 가지 학습률"), walks),
        Figure(Words("Height by step", "걸음에 따른 높이"), _heights(paths)),
    ]


def _within(path: Path) -> Path:
    """Return a path up to its first step far outside of the picture."""
    far = 2 * SURFACE.y_limits[1]
    return path[: next((k + 1 for k, (_, y) in enumerate(path) if abs(y) > far), len(path))]


def _heights(paths: Paths) -> str:
    marks = []
    for (name, path), style in zip(paths.items(), STYLES, strict=True):
        heights = [at(SURFACE.height, place) for place in path]
        marks.append(Curve2D(range(len(path)), heights, style, f"{name} ({RATES[name]})"))
    steps = len(next(iter(paths.values()))) - 1
    x_axis = linear_axis(0, steps, count=8, whole=True, loose=False)
    panel = Panel("", marks, x_axis, log_axis(1e-3, 1e2), "step", "f")
    return draw_panels(
        [panel], label="Height by step", description="Logarithmic; one line a rate.", height=260
    )


def _tables(paths: Paths) -> list[Table]:
    rows = [
        (name, RATES[name], *(at(SURFACE.height, path[k]) for k in (0, 10, -1)))
        for name, path in paths.items()
    ]
    head = ("rate is", "rate", "f at the start", "after 10 steps", "at the end")
    return [Table(Words("Height by rate", "학습률에 따른 높이"), head, rows)]


EXPLORATION = Exploration(
    name="learning-rate",
    title=Words("Learning rates: too small, fast, too large", "학습률: 너무 작을 때와 클 때"),
    see=(
        Words(
            "Too small: every step is right, and the walk does not arrive. A careful rate settles "
            "across the ravine at once and creeps along its bottom. The fastest rate lies just "
            "below the limit: it leaps from wall to wall, yet every leap ends lower.",
            "너무 작으면 걸음마다 방향은 맞지만 도착하지 못합니다. 조심스러운 학습률은 곧바로 "
            "골짜기 바닥에 내려앉은 뒤 천천히 나아갑니다. 가장 빠른 학습률은 한계 바로 아래에 "
            "있습니다. 벽에서 벽으로 뛰지만 뛸 때마다 더 낮은 곳에 닿습니다.",
        ),
        Words(
            "Too large: across the ravine the curvature is 2, so from a rate of 1 on each step "
            "lands higher on the other side than it began. The loss grows without bound.",
            "너무 크면 발산합니다. 골짜기를 가로지르는 방향의 곡률이 2이므로 학습률이 1을 넘으면 "
            "걸음마다 반대편의 더 높은 곳에 떨어지고, 손실은 끝없이 커집니다.",
        ),
    ),
    source="Goodfellow, Bengio & Courville, “Deep Learning”, 2016, ch. 4.3 and 8.2",
    experiment=experiment,
    figures=_figures,
    tables=_tables,
    short={"steps": 12},
    constants=("RATES",),
)
