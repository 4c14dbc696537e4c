"""Panels: marks stand where their numbers say, contours lie on the surface, files stand alone."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import checked_svg

from chainrule.report.assets import asset
from chainrule.report.charts import Frame
from chainrule.report.contours import contour_lines
from chainrule.report.marks import Bars, Contours, Curve2D, Histogram, Points, Region
from chainrule.report.panels import Panel, axis_of, draw_panels, named_axis
from chainrule.report.standalone import standalone, to_png
from chainrule.report.ticks import linear_axis, log_axis

UNIT = Frame(0.0, 0.0, 100.0, 100.0, linear_axis(0, 10), linear_axis(0, 10))
NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


def path_points(svg: str) -> list[tuple[float, float]]:
    """Return the corners of the first path."""
    found = re.search(r' d="([^"]*)"', svg)
    assert found
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", found[1])]


def test_curve_runs_through_its_points() -> None:
    points = path_points(Curve2D([0, 5, 10], [0, 10, 2], "c0").draw(UNIT))
    assert points == [(0, 100), (50, 0), (100, 80)]


@given(ys=NUMBERS)
@settings(max_examples=50, deadline=None)
def test_left_out_points_lie_on_the_line_that_is_drawn(ys: list[float]) -> None:
    axis = axis_of(ys)
    frame = Frame(0.0, 0.0, 200.0, 100.0, linear_axis(0, len(ys)), axis)
    x, y = zip(*path_points(Curve2D(range(len(ys)), ys).draw(frame)), strict=True)
    want = [frame.y(value) for value in ys]
    got = np.interp([frame.x(i) for i in range(len(ys))], x, y)
    # Steep lines hide up to a tenth of a pixel beside them, which is more than that along y.
    slope = max(abs(b - a) for a, b in itertools.pairwise(want)) / frame.x(1) + 1
    np.testing.assert_allclose(got, want, atol=0.25 * slope + 0.2)


def test_curve_is_interrupted_where_there_is_no_number() -> None:
    svg = Curve2D(range(5), [1, 2, math.nan, math.inf, 4]).draw(UNIT)
    assert svg.count("M") == 2
    log = Frame(0.0, 0.0, 100.0, 100.0, linear_axis(0, 3), log_axis(0.1, 10))
    assert path_points(Curve2D([0, 1, 2], [1, 0, 10]).draw(log)) == [(0, 50), (66.7, 0)]


def test_diverging_curve_has_bounded_coordinates() -> None:
    checked_svg(Curve2D([0, 1, 2], [1, 1e30, -1e300]).draw(UNIT))


def test_contours_of_a_cone_are_circles() -> None:
    x = np.linspace(-2, 2, 41)
    z = np.hypot(*np.meshgrid(x, x))
    (line,) = contour_lines(x.tolist(), x.tolist(), z.tolist(), 1.3)
    np.testing.assert_allclose(np.hypot(*np.transpose(line)), 1.3, atol=2e-3)
    assert line[0] == line[-1]


def test_contours_keep_two_hills_apart_or_together() -> None:
    """At a saddle the middle of the cell decides."""
    z = [[1.0, 0.0], [0.0, 1.0]]
    assert len(contour_lines([0, 1], [0, 1], z, 0.6)) == 2
    low = contour_lines([0, 1], [0, 1], z, 0.4)
    assert len(low) == 2
    assert sorted(low) != sorted(contour_lines([0, 1], [0, 1], z, 0.6))


def test_open_contours_end_at_the_border() -> None:
    x = [0.0, 1.0, 2.0, 3.0]
    z = [[a + b for a in x] for b in x]
    (line,) = contour_lines(x, x, z, 2.5)
    assert {line[0], line[-1]} == {(0.0, 2.5), (2.5, 0.0)}
    np.testing.assert_allclose([a + b for a, b in line], 2.5)


def test_region_covers_the_positive_half() -> None:
    x = np.linspace(0, 10, 21)
    z = np.tile(x - 5.1, (21, 1))
    svg = Region(x.tolist(), x.tolist(), z.tolist()).draw(UNIT)
    lefts = [float(v) for v in re.findall(r"M([\d.]+) ", svg.split('class="border"')[0])]
    assert lefts[:21] == [52.5] * 21
    assert "51 " in svg.split("/>")[1]


def test_histogram_bars_are_as_high_as_their_counts() -> None:
    svg = Histogram([0, 5, 10], [4, 0]).draw(UNIT)
    assert ' d="M0 100V60H50V100Z"' in svg


def test_bars_say_their_values() -> None:
    svg = Bars([0.0], [math.nan], ["not finite"]).draw(UNIT)
    assert "not finite" in svg
    assert "<rect" not in svg
    assert 'width="50"' in Bars([5.0], [5.0], ["5"]).draw(UNIT)


@pytest.mark.parametrize("shape", ["dot", "ring", "square", "cross"])
def test_points_of_every_shape_are_drawn(shape: str) -> None:
    svg = Points([1, math.nan, 3], [1, 2, 3], "c1", shape).draw(UNIT)
    checked_svg(svg)
    assert "c1" in svg


def test_shared_backdrop_is_drawn_once() -> None:
    x = np.linspace(0, 1, 9)
    surface = Contours(x.tolist(), x.tolist(), np.add.outer(x, x).tolist(), [0.5, 1.0])
    axis = linear_axis(0, 1)
    panels = [Panel(f"p{i}", (), axis, axis, backdrop=(surface,)) for i in range(3)]
    svg = draw_panels(panels, label="three", columns=3)
    root = checked_svg(svg)
    assert len(root.findall(".//defs/g")) == 1
    assert len(root.findall(".//use")) == 3


def test_names_beside_lines_do_not_overlap() -> None:
    marks = [Curve2D([0, 1], [0, v], "c0", f"line {v}") for v in (5.0, 5.01, 5.02, 9.9)]
    panel = Panel("", marks, linear_axis(0, 1), linear_axis(0, 10))
    root = ElementTree.fromstring(draw_panels([panel], label="names"))
    places = sorted(float(t.get("y", 0)) for t in root.iter("text") if "end" in t.get("class", ""))
    assert len(places) == 4
    assert min(b - a for a, b in itertools.pairwise(places)) >= 13.9


def test_named_axis_has_the_first_name_on_top() -> None:
    axis = named_axis(["a", "b"])
    assert axis.place(axis.ticks[0]) > axis.place(axis.ticks[1])


def test_every_class_of_a_mark_has_a_rule() -> None:
    style = asset("drawing.css")
    for colour in ("c0", "c1", "c2", "c3", "plain"):
        for kind in ("curve", "fill", "specks"):
            assert f".{kind}.{colour} " in style, (kind, colour)


def test_texts_are_escaped_and_files_stand_alone() -> None:
    axis = linear_axis(0, 1)
    drawing = draw_panels([Panel("<b>&", (), axis, axis)], label='"quoted"')
    svg = standalone([("a < b", drawing), ("", drawing)], title="한글 & <x>")
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{space}title") == "한글 & <x>"
    assert "prefers-color-scheme: dark" in svg
    assert "url(" not in svg
    inner = root.findall(f"{space}svg")
    first, second = (float(part.get("y", 0)) for part in inner)
    assert second >= first + float(inner[0].get("height", 0))
    assert float(root.get("height", 0)) >= second + float(inner[1].get("height", 0))


def test_png_is_twice_the_size_of_the_drawing() -> None:
    pytest.importorskip("resvg_py", reason="the extra 'pictures' is not installed")
    axis = linear_axis(0, 1)
    svg = standalone([("", draw_panels([Panel("", (), axis, axis)], label="x"))], title="x")
    raw = to_png(svg)
    width, height = (int.from_bytes(raw[i : i + 4], "big") for i in (16, 20))
    assert width == 2000
    assert height == pytest.approx(2 * float(ElementTree.fromstring(svg).get("height", 0)), abs=2)


def test_file_names_its_font_after_all_other_rules() -> None:
    """`.drawing` inherits its font on a page; in a file there is nothing to inherit."""
    axis = linear_axis(0, 1)
    svg = standalone([("", draw_panels([Panel("", (), axis, axis)], label="x"))], title="x")
    rules = re.findall(r"^\.drawing \{[^}]*font-family: ([^;]+);", svg, re.MULTILINE)
    assert rules[0] == "inherit"
    assert rules[-1].endswith("sans-serif")
