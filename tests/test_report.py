"""The report: well-formed, self-contained, safe against users' texts, readable in both modes."""

from __future__ import annotations

import base64
import html.parser
import io
import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_samples as samples
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import checked_svg

from chainrule.core.errors import ArgumentError, DataError, MissingExtraError
from chainrule.report import Diagram, DiagramNode, Mistake, ReportContents
from chainrule.report.assets import page_style
from chainrule.report.charts import histogram_chart, line_chart, scatter_chart
from chainrule.report.confusion import confusion_matrix, most_confused
from chainrule.report.history import key_values, metrics_of
from chainrule.report.html import render, write_report
from chainrule.report.pictures import png_uri
from chainrule.report.ticks import linear_axis, log_axis
from chainrule.report.words import clean, fit, one_line, text_width

pytest.importorskip("jinja2", reason="the extra 'full' is not installed")
pytest.importorskip("PIL", reason="the extra 'full' is not installed")

VOID = {"meta", "img", "input", "br", "hr", "link"}
CSS = page_style()


class Page(html.parser.HTMLParser):
    """A strict reading of a page: every element closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.texts.append(data)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: render(make()) for name, make in samples.SAMPLES.items()}


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_page_is_well_formed(name: str, pages: dict[str, str]) -> None:
    page = Page(pages[name])
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for key in ("href", "for"):
            if key in attributes:
                assert (attributes[key] or "").removeprefix("#") in ids


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_page_loads_nothing_from_outside(name: str, pages: dict[str, str]) -> None:
    page = Page(pages[name])
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for key, value in attributes.items():
            assert key not in ("srcset", "action", "formaction", "ping", "background")
            if key == "src":
                assert (value or "").startswith("data:image/png;base64,")
            if key in ("href", "xlink:href"):
                assert (value or "").startswith("#")
    assert "url(" not in pages[name]
    assert "@import" not in pages[name]
    assert "://" not in pages[name]


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_page_holds_no_handlers_and_one_script(name: str, pages: dict[str, str]) -> None:
    page = Page(pages[name])
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert not [key for _, attributes in page.elements for key in attributes if key[:2] == "on"]
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_every_drawing_is_xml(name: str, pages: dict[str, str]) -> None:
    drawings = re.findall(r"<svg.*?</svg>", pages[name], flags=re.DOTALL)
    for drawing in drawings:
        checked_svg(drawing)


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_same_contents_give_the_same_bytes(name: str, pages: dict[str, str]) -> None:
    assert render(samples.SAMPLES[name]()) == pages[name]
    assert len(pages[name].encode()) < 1_000_000


def test_hostile_texts_are_shown_not_run(pages: dict[str, str]) -> None:
    page = Page(pages["hostile"])
    everything = "\n".join(page.texts)
    for text in ("<script>alert(1)</script>", "\"quoted\" & 'single' </svg>", "한국어 클래스"):
        assert text in everything
    assert "{{ 7 * 7 }} ${x} %s" in everything
    assert "(empty)" in everything
    tags = {tag for tag, _ in page.elements}
    assert tags <= {tag for tag, _ in Page(pages["digits"]).elements}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_stays_text(text: str) -> None:
    contents = ReportContents(
        title=text,
        kind="classification",
        summary=[(text, text)],
        history=[{"epoch": 1, "split": text, text: 0.5}],
        evaluation={
            "confusion": [[1, 2], [3, 4]],
            "per_class": [{"name": text}, {"name": "b"}],
            "metrics": {text: text},
        },
        mistakes=(Mistake(text, text, 0.1, text, values={text: text}),),
        diagram=Diagram((DiagramNode("a", text, text, "layer", 1, text),), ()),
        data=[(text, text)],
        notes=(text,),
        settings=[(text, text, "given")],
        versions={text: text},
        timing={text: text},
    )
    result = render(contents)
    result.encode("utf-8")
    plain = Page(render(ReportContents(title="x", kind="classification")))
    page = Page(result)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert {tag for tag, _ in plain.elements} <= {tag for tag, _ in page.elements}
    for drawing in re.findall(r"<svg.*?</svg>", result, flags=re.DOTALL):
        checked_svg(drawing)


# --- charts


VALUES = st.one_of(
    st.none(), st.floats(), st.integers(-(10**400), 10**400), st.floats(0, 2), st.just(1e-320)
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"loss": VALUES, "split": st.sampled_from(["train", "valid"])},
        optional={
            "epoch": st.one_of(st.integers(-1, 30), VALUES),
            "step": st.one_of(st.integers(0, 500), VALUES),
            "accuracy": VALUES,
            "lr": VALUES,
        },
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.one_of(st.none(), st.integers(-5, 40)))
def test_curves_of_any_history_are_drawn(rows: list[dict[str, Any]], best: int | None) -> None:
    contents = ReportContents(title="", kind="regression", history=rows, best_epoch=best)
    for metric in metrics_of(rows):
        for log in (False, True):
            checked_svg(line_chart(metric.curves, label="loss", best=best, log=log))
    Page(render(contents))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), max_size=30))
def test_scatter_and_histogram_of_any_numbers_are_drawn(pairs: list[tuple[Any, Any]]) -> None:
    true, predicted = [t for t, _ in pairs], [p for _, p in pairs]
    checked_svg(scatter_chart(true, predicted, label="x", unit="<m>"))
    checked_svg(histogram_chart(true, label="x", x_title="error & more"))


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_linear_ticks_are_round_and_enclose_the_values(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    axis = linear_axis(low, high)
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low <= low + slack
    assert axis.high >= high - slack
    assert 2 <= len(axis.ticks) <= 12
    assert len(set(axis.labels)) == len(axis.labels)
    step = (axis.high - axis.low) / (len(axis.ticks) - 1)
    mantissa = float(f"{step:.6e}".split("e")[0])
    assert min(abs(mantissa - nice) for nice in (1, 2, 5, 10)) < 1e-3


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-140, 1e140), st.floats(1, 1e9))
def test_log_ticks_enclose_the_values(low: float, ratio: float) -> None:
    high = min(low * ratio, 1e149)
    axis = log_axis(low, high)
    assert axis.low <= low * 1.001
    assert axis.high >= high * 0.999
    assert 2 <= len(axis.ticks) <= 11
    assert all(0 <= axis.place(tick) <= 1.0000001 for tick in axis.ticks)


def test_line_breaks_at_values_that_are_not_finite() -> None:
    values = [1.0, 0.5, math.nan, 0.4, 0.3]
    rows = [{"epoch": i + 1, "split": "train", "loss": v} for i, v in enumerate(values)]
    (metric,) = metrics_of(rows)
    root = checked_svg(line_chart(metric.curves, label="loss"))
    path = next(p for p in root.iter("path"))
    assert path.attrib["d"].count("M") == 2
    assert path.attrib["data-x"] == "1 2 4 5"


def test_curve_of_many_steps_keeps_its_extremes_and_stays_small() -> None:
    rows = [
        {"epoch": 1 + i // 1000, "step": i + 1, "split": "train", "loss": math.sin(i / 50)}
        for i in range(50_000)
    ]
    rows[31_234]["loss"] = 9.75
    (metric,) = metrics_of(rows)
    drawing = line_chart(metric.curves, label="loss")
    assert "9.75" in drawing
    assert len(drawing) < 30_000


def test_best_epoch_is_marked() -> None:
    (metric,) = metrics_of([{"epoch": e, "split": "valid", "loss": 1 / e} for e in (1, 2, 3)])
    assert "best: epoch 2" in line_chart(metric.curves, label="loss", best=2)
    assert "best: epoch" not in line_chart(metric.curves, label="loss", best=99)


def test_rows_in_mid_epoch_stand_between_epochs() -> None:
    steps = [(1, 50), (1, 100), (2, 150), (2, 200), (3, 220)]
    rows = [{"epoch": e, "step": s, "split": "train", "loss": 1.0} for e, s in steps]
    (metric,) = metrics_of(rows)
    assert metric.curves[0].x == (0.5, 1.0, 1.5, 2.0, 2.2)


def test_rows_repeated_by_a_resumed_run_count_once() -> None:
    rows = [{"epoch": 1, "step": 10, "split": "train", "loss": v} for v in (3.0, 2.0)]
    (metric,) = metrics_of(rows)
    assert (metric.curves[0].x, metric.curves[0].y) == ((1.0,), (2.0,))


def test_numbers_beside_the_curves_are_those_of_the_best_and_last_epoch() -> None:
    rows = [
        {"epoch": e, "step": 10 * e, "split": s, "loss": v}
        for e, (t, v2) in enumerate([(0.9, 0.8), (0.5, 0.4), (0.3, 0.6)], 1)
        for s, v in (("train", t), ("valid", v2))
    ]
    found = {(row.metric, row.split): (row.best, row.last) for row in key_values(rows, 2)}
    assert found == {("loss", "train"): ("0.5", "0.3"), ("loss", "validation"): ("0.4", "0.6")}


# --- confusion matrix


@pytest.mark.parametrize("classes", [1, 2, 7, 20, 21, 60, 100, 130])
def test_confusion_matrix_of_any_size_is_drawn(classes: int) -> None:
    counts = samples.confusion(classes, 20 * classes, np.random.default_rng(0), error=0.3)
    names = [f"class {i}" for i in range(classes)]
    drawing = confusion_matrix(counts, names)
    root = checked_svg(drawing)
    assert len(drawing) < 400_000
    rows = [t for t in root.iter("text") if t.attrib.get("class") == "row"]
    assert len(rows) == min(classes, 100)
    numbers = [t.text for t in root.iter("text") if "number" in t.attrib.get("class", "")]
    assert len(numbers) == (classes**2 if classes <= 20 else 0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_confusion_matrix_of_any_counts_is_drawn(data: st.DataObject) -> None:
    k = data.draw(st.integers(1, 24))
    row = st.lists(st.integers(0, 10**7), min_size=k, max_size=k)
    counts = data.draw(st.lists(row, min_size=k, max_size=k))
    names = data.draw(st.lists(st.text(max_size=30), min_size=k, max_size=k))
    checked_svg(confusion_matrix(counts, names))


def test_most_confused_pairs_come_first() -> None:
    pairs = most_confused([[90, 10, 0], [1, 95, 4], [0, 0, 7]], ["a", "b", "c"])
    assert [(p.true, p.predicted, p.count) for p in pairs] == [
        ("a", "b", 10),
        ("b", "c", 4),
        ("b", "a", 1),
    ]
    assert pairs[0].share == pytest.approx(0.1)


@pytest.mark.parametrize("counts", [[[1, 2]], [[1, 2], [3]], [["x"]], [1, 2]])
def test_confusion_that_is_not_square_is_an_error(counts: Any) -> None:
    with pytest.raises(ArgumentError, match="confusion: "):
        confusion_matrix(counts, ["a", "b"])


# --- colours


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", block))


def themes() -> dict[str, dict[str, str]]:
    light = CSS[CSS.index(":root {") : CSS.index("@media")]
    blocks = re.findall(r":root(?:\[|:not)[^{]*\{([^}]*)\}", CSS)
    assert len(blocks) == 2
    assert blocks[0].split() == blocks[1].split()
    return {"light": variables(light), "dark": variables(blocks[0])}


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_has_enough_contrast(mode: str) -> None:
    colours = themes()[mode]
    texts = ("ink", "muted", "accent", "train", "valid", "test", "other")
    pairs = [(text, ground) for text in texts for ground in ("paper", "card")]
    pairs += [("ink", "tint"), ("muted", "tint"), ("accent", "tint"), ("paper", "ink")]
    pairs += [(f"on-{'strong' if i >= 5 else 'weak'}", f"{k}{i}")
              for k in ("right", "wrong") for i in range(8)]  # fmt: skip
    for text, ground in pairs:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_shades_run_from_the_card_to_the_far_end(mode: str) -> None:
    colours = themes()[mode]
    for kind in ("right", "wrong"):
        steps = [contrast(colours[f"{kind}{i}"], colours["card"]) for i in range(8)]
        assert steps == sorted(steps)


def test_both_modes_define_the_same_colours() -> None:
    assert themes()["light"].keys() == themes()["dark"].keys()
    used = set(re.findall(r"var\(--([\w-]+)\)", CSS)) - {"shadow"}
    assert used <= themes()["light"].keys()


# --- files, words, errors


def test_picture_comes_back_as_it_was() -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for shape in ((9, 7), (9, 7, 3)):
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)[::-1]
        uri = png_uri(pixels)
        raw = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(raw))), pixels)


def test_large_picture_is_shrunk() -> None:
    assert len(png_uri(np.zeros((3000, 2000, 3), dtype=np.uint8))) < 10_000


@pytest.mark.parametrize(
    "image", [np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8)), np.zeros((0, 8), np.uint8)]
)
def test_picture_of_another_kind_is_an_error(image: np.ndarray) -> None:
    with pytest.raises(ArgumentError, match=r"Mistake: image is .* expected uint8 \[H, W\]"):
        Mistake("a", "b", image=image)


def test_diagram_with_unknown_or_repeated_ids_is_an_error() -> None:
    node = DiagramNode("a", "Linear")
    with pytest.raises(ArgumentError, match="names no node 'b'"):
        Diagram((node,), (("a", "b"),))
    with pytest.raises(ArgumentError, match="two nodes have the id 'a'"):
        Diagram((node, node), ())


@pytest.mark.parametrize(("library", "named"), [("jinja2", "jinja2"), ("PIL", "pillow")])
def test_missing_library_is_named(
    library: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=f"needs the library '{named}'"):
        render(samples.digits())


def test_report_is_written_whole(tmp_path: Path) -> None:
    contents = samples.one_epoch()
    write_report(tmp_path / "report.html", contents)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(contents)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_report_into_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        write_report(tmp_path / "no" / "report.html", samples.empty())


@settings(max_examples=200, deadline=None)
@given(st.text(), st.floats(0, 300), st.floats(6, 20))
def test_fitted_text_is_not_wider_than_asked(text: str, width: float, size: float) -> None:
    short = fit(text, width, size)
    assert short == one_line(text) or text_width(short, size) <= max(width, size)
    assert "\n" not in short


def test_cleaned_text_is_valid_xml_for_every_character() -> None:
    text = clean("".join(map(chr, range(0x10000))))
    ElementTree.fromstring(f"<a>{text.replace('&', '').replace('<', '')}</a>")
    text.encode("utf-8")


def test_settings_show_value_and_origin(pages: dict[str, str]) -> None:
    for text in ("weight_decay", "0.9, 0.999", "chosen from the data", "none", "yes", "0.001"):
        assert text in pages["digits"]


def test_long_names_keep_their_beginning_and_end(pages: dict[str, str]) -> None:
    long = samples.NASTY[4].strip()
    shown = [text for text in Page(pages["hostile"]).texts if text.startswith(long[:40])]
    assert f"{long[:53]}…{long[-26:]}" in shown


def test_times_are_written_for_people(pages: dict[str, str]) -> None:
    assert "2 h 3 min" in pages["hundred"]
    assert "12.7 s" in pages["digits"]


def test_results_without_evaluation_say_how_to_get_one(pages: dict[str, str]) -> None:
    assert "chainrule evaluate RUN" in pages["empty"]
    assert "No metrics were written yet" in pages["empty"]
