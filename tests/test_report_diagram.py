"""The drawing of a network: boxes apart, edges downward, plain networks straight."""

from __future__ import annotations

import itertools
import re
import time
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import checked_svg

from chainrule.core.errors import ArgumentError
from chainrule.report import Diagram, DiagramNode, ReportContents, draw_diagram, render
from chainrule.report import layout as layout_module
from chainrule.report.contents import NodeKind


def dag(count: int, pairs: list[tuple[int, int]]) -> Diagram:
    kinds: tuple[NodeKind, ...] = ("layer", "op", "input", "output")
    nodes = tuple(
        DiagramNode(str(i), f"Layer {i}", "3×3" if i % 3 else "", kinds[i % 4], i % 5, "[N, 8]")
        for i in range(count)
    )
    edges = tuple((str(min(p)), str(max(p))) for p in pairs if p[0] != p[1])
    return Diagram(nodes, edges)


def boxes(root: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    found = [r.attrib for r in root.iter("rect") if r.attrib.get("class") == "box"]
    return [(float(a["x"]), float(a["y"]), float(a["width"]), float(a["height"])) for a in found]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    sideways = a[0] < b[0] + b[2] and b[0] < a[0] + a[2]
    return sideways and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def flow_points(path: str) -> list[tuple[float, float]]:
    """Return points along a line that `draw_diagram` wrote: ends, and twenty on each curve."""
    points: list[tuple[float, float]] = []
    for letter, rest in re.findall(r"([MVC])([^MVC]*)", path):
        n = [float(number) for number in re.findall(r"-?[\d.]+", rest)]
        if letter == "V":
            points.append((points[-1][0], n[0]))
        elif letter == "M":
            points.append((n[0], n[1]))
        else:
            x, y = points[-1]
            for t in np.linspace(0.05, 1, 20):
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
                at = [sum(w * p for w, p in zip(weights, side, strict=True))
                      for side in ((x, n[0], n[2], n[4]), (y, n[1], n[3], n[5]))]  # fmt: skip
                points.append((float(at[0]), float(at[1])))
    return points


def check_drawing(diagram: Diagram) -> ElementTree.Element:
    root = checked_svg(draw_diagram(diagram))
    found = boxes(root)
    assert len(found) == len(diagram.nodes)
    assert not [pair for pair in itertools.combinations(found, 2) if overlap(*pair)]
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for x, y, w, h in found:
        assert x >= 0
        assert y >= 0
        assert x + w <= width + 0.2
        assert y + h <= height + 0.2
    for path in root.iter("path"):
        if path.attrib["class"] == "flow":
            downs = [y for _, y in flow_points(path.attrib["d"])]
            assert downs == sorted(downs), "an edge goes up"
    return root


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_boxes_never_overlap_and_edges_go_down(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 25))
    node = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(node, node), max_size=50))
    check_drawing(dag(count, pairs))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_edges_never_cross_a_box(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 16))
    node = st.integers(0, count - 1)
    pairs = data.draw(st.lists(st.tuples(node, node), min_size=1, max_size=30))
    root = check_drawing(dag(count, pairs))
    found = boxes(root)
    for path in root.iter("path"):
        if path.attrib["class"] == "flow":
            points = flow_points(path.attrib["d"])
            for (x1, y1), (x2, y2) in itertools.pairwise(points):
                piece = (min(x1, x2), y1 + 0.3, abs(x1 - x2), max(y2 - y1 - 0.6, 0))
                assert not [box for box in found if overlap(box, piece)]


def test_chain_is_one_straight_strip() -> None:
    root = check_drawing(samples.convnet())
    found = boxes(root)
    assert len({x for x, _, _, _ in found}) == 1
    assert found[0][2] < 330
    paths = [p.attrib["d"] for p in root.iter("path") if p.attrib["class"] == "flow"]
    assert len(paths) == len(found) - 1
    assert not [d for d in paths if "C" in d]


def test_residual_network_keeps_its_main_path_straight() -> None:
    diagram = samples.resnet(6)
    found = boxes(check_drawing(diagram))
    main = [box[0] for box, node in zip(found, diagram.nodes, strict=True) if "down" not in node.id]
    assert max(main) - min(main) < 1


def test_diamond_is_symmetric() -> None:
    found = boxes(check_drawing(samples.diamond()))
    middle = [x + w / 2 for x, _, w, _ in found]
    assert middle[0] == pytest.approx(middle[4], abs=0.5)
    assert middle[1] + middle[3] == pytest.approx(2 * middle[2], abs=0.5)


def test_cycles_are_drawn_upward_and_dashed() -> None:
    root = checked_svg(draw_diagram(samples.recurrent()))
    assert len([p for p in root.iter("path") if p.attrib["class"] == "flow back"]) == 2


def test_two_hundred_nodes_are_drawn_in_time() -> None:
    rng = np.random.default_rng(0)
    pairs = [(int(rng.integers(max(0, i - 8), i)), i) for i in range(1, 200) for _ in range(2)]
    start = time.perf_counter()
    drawing = draw_diagram(dag(200, pairs))
    assert time.perf_counter() - start < 5
    assert len(drawing) < 500_000


@pytest.mark.parametrize("diagram", [samples.dense(200), dag(500, [])], ids=["edges", "nodes"])
def test_diagram_too_large_to_read_becomes_a_note(diagram: Diagram) -> None:
    with pytest.raises(ArgumentError, match="draw_diagram: "):
        draw_diagram(diagram)
    page = render(ReportContents(title="big", kind="classification", diagram=diagram))
    assert "There is no drawing" in page


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24))
def test_crossings_agree_with_counting_all_pairs(pairs: list[tuple[int, int]]) -> None:
    below: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for a, b in set(pairs):
        below.setdefault((a, 0), []).append((b, 1))
    layers = [[(i, 0) for i in range(8)], [(i, 1) for i in range(8)]]
    expected = sum(
        (a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(set(pairs), 2)
    )
    assert layout_module.count_crossings(layers, below) == expected


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(-500, 500), st.floats(0.5, 50)), min_size=1, max_size=20))
def test_places_agree_with_scipy_isotonic_regression(points: list[tuple[float, float]]) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="the extra 'test' is not installed")
    wishes, weights = [p[0] for p in points], [p[1] for p in points]
    layer = [(i, 0) for i in range(len(points))]
    size = dict.fromkeys(layer, 100.0)
    offset = np.arange(len(points)) * 120.0
    ours = layout_module._spread(wishes, weights, layer, size, 20.0)
    theirs = optimize.isotonic_regression(np.array(wishes) - offset, weights=weights).x + offset
    np.testing.assert_allclose([ours[lane] for lane in layer], theirs, atol=1e-6)
