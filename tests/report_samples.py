"""Sample contents for reports: what runs of several kinds leave behind, made up but realistic.

Takes: nothing. Gives: `ReportContents` by name in `SAMPLES`; the tests render each one.
"""

from __future__ import annotations

import itertools
import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.report.contents import (
    Diagram,
    DiagramNode,
    Mistake,
    NodeKind,
    Origin,
    ReportContents,
)

Rows = list[dict[str, Any]]
Step = tuple[str, str, NodeKind, int, str]  # label, detail, kind, parameters, shape

# Digits as 8 x 8 pictures would need scikit-learn; seven-segment strokes look enough like them.
SEGMENTS = {
    0: "abcdef",
    1: "bc",
    2: "abged",
    3: "abgcd",
    4: "fgbc",
    5: "afgcd",
    6: "afgedc",
    7: "abc",
    8: "abcdefg",
    9: "abcdfg",
}
STROKES = {
    "a": (slice(3, 5), slice(8, 20)),
    "b": (slice(4, 14), slice(18, 21)),
    "c": (slice(13, 24), slice(18, 21)),
    "d": (slice(23, 25), slice(8, 20)),
    "e": (slice(13, 24), slice(7, 10)),
    "f": (slice(4, 14), slice(7, 10)),
    "g": (slice(13, 15), slice(8, 20)),
}
NASTY = (
    "<script>alert(1)</script>",
    "\"quoted\" & 'single' </svg>",
    "한국어 클래스",
    "emoji 🦊👩‍🔬",
    "a very long class name that goes on and on " * 6,
    "",
    "x\x00\x1b[31m\ud800",
    "{{ 7 * 7 }} ${x} %s",
    "\u202eright to left",
    "日本語の長いクラス名が続いていて切られるはずのもの",
)


def digit_image(digit: int, rng: np.random.Generator) -> np.ndarray:
    """Return a noisy picture [28, 28] of a digit."""
    image = np.zeros((28, 28))
    for segment in SEGMENTS[digit]:
        image[STROKES[segment]] = rng.uniform(150, 255)
    image = np.roll(image, rng.integers(-2, 3, 2), (0, 1))
    blurred = (image + np.roll(image, 1, 0) + np.roll(image, 1, 1) + np.roll(image, -1, 1)) / 4
    return np.clip(blurred + rng.normal(0, 12, (28, 28)), 0, 255).astype(np.uint8)


def colour_image(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random picture [side, side, 3]."""
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [
        np.sin(rng.uniform(2, 9) * x + rng.uniform(2, 9) * y + c) for c in rng.uniform(0, 6, 3)
    ]
    return (127 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def history(
    epochs: int, rng: np.random.Generator, *, metric: str = "accuracy", steps: int = 45
) -> Rows:
    """Return rows of a training that begins to overfit, with a learning rate that decays."""
    rows: Rows = []
    for epoch in range(1, epochs + 1):
        lr = 1e-3 * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / max(epochs, 1)))
        for split, floor, rise in (("train", 0.012, 0.0), ("valid", 0.085, 0.0035)):
            loss = 2.1 * math.exp(-epoch / 2.2) + floor + rise * epoch + rng.normal(0, 0.004)
            row = {"epoch": epoch, "step": epoch * steps, "split": split, "loss": max(loss, 0.004)}
            score = 1 - 0.35 * loss / 0.9 if metric == "accuracy" else 0.95 - loss / 2.5
            row |= {metric: min(score, 0.9995), "lr": lr, "seconds": 0.41, "examples": 1149}
            rows.append(row)
    return rows


def confusion(
    classes: int, examples: int, rng: np.random.Generator, error: float = 0.03
) -> np.ndarray:
    """Return counts [K, K] of a good classifier that mixes up some neighbours."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    for true in range(classes):
        share = np.full(classes, error * 0.3 / classes)
        share[(true + 1 + true % 3) % classes] += error * rng.uniform(0.2, 1.5)
        share[true] += 1 - share.sum()
        counts[true] = rng.multinomial(examples // classes, share / share.sum())
    return counts


def per_class(counts: np.ndarray, names: list[str]) -> Rows:
    """Return precision, recall, F1 and support of each class."""
    rows: Rows = []
    for i, name in enumerate(names):
        hits, taken, there = counts[i, i], counts[:, i].sum(), counts[i].sum()
        precision, recall = hits / max(taken, 1), hits / max(there, 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        measures = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
        rows.append({"name": name, **measures, "support": int(there)})
    return rows


def evaluation(counts: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Return evaluation.json of a classification."""
    n, accuracy = int(counts.sum()), float(np.trace(counts) / counts.sum())
    return {
        "split": "test",
        "n": n,
        "loss": 0.0713,
        "metrics": {"accuracy": accuracy},
        "confusion": counts.tolist(),
        "per_class": per_class(counts, names),
    }


def chain(*steps: Step) -> Diagram:
    """Return a plain network from (label, detail, kind, parameters, shape)."""
    nodes = tuple(DiagramNode(f"n{i}", a, b, c, d, e) for i, (a, b, c, d, e) in enumerate(steps))
    return Diagram(nodes, tuple((f"n{i}", f"n{i + 1}") for i in range(len(nodes) - 1)))


def convnet() -> Diagram:
    """Return a plain convolutional network of about twenty layers."""
    steps: list[Step] = [("images", "", "input", 0, "[N, 1, 28, 28]")]
    channels, side, filters = 1, 28, 32
    for _ in range(4):
        shape = f"[N, {filters}, {side}, {side}]"
        weights = channels * filters * 9
        steps.append(("Conv2d", f"{channels} → {filters}, 3×3", "layer", weights, shape))
        steps.append(("BatchNorm2d", str(filters), "layer", 2 * filters, shape))
        steps.append(("ReLU", "", "op", 0, shape))
        side //= 2
        steps.append(("MaxPool2d", "2×2", "layer", 0, f"[N, {filters}, {side}, {side}]"))
        channels, filters = filters, filters * 2
    width = channels * side * side
    steps += [
        ("Flatten", "", "op", 0, f"[N, {width}]"),
        ("Linear", f"{width} → 128", "layer", width * 128 + 128, "[N, 128]"),
        ("Dropout", "p = 0.25", "layer", 0, "[N, 128]"),
        ("Linear", "128 → 10", "layer", 1290, "[N, 10]"),
        ("logits", "", "output", 0, "[N, 10]"),
    ]
    return chain(*steps)


def resnet(blocks: int = 4) -> Diagram:
    """Return a residual network; every other block has a projection in its shortcut."""
    nodes = [DiagramNode("in", "images", kind="input", shape="[N, 3, 32, 32]")]
    nodes.append(DiagramNode("stem", "Conv2d", "3 → 16, 3×3", "layer", 432, "[N, 16, 32, 32]"))
    edges = [("in", "stem")]
    last = "stem"
    for b in range(blocks):
        names = [
            f"b{b}.{part}" for part in ("conv1", "bn1", "relu1", "conv2", "bn2", "add", "relu")
        ]
        labels = ("Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "+", "ReLU")
        shape = f"[N, {16 * (b // 2 + 1)}, 32, 32]"
        for name, label in zip(names, labels, strict=True):
            trained = {"Conv2d": 2304, "BatchNorm2d": 32}.get(label, 0)
            kind: NodeKind = "layer" if trained else "op"
            detail = {"Conv2d": "16 → 16, 3×3", "BatchNorm2d": "16"}.get(label, "")
            nodes.append(DiagramNode(name, label, detail, kind, trained, shape))
        edges += [(last, names[0]), *itertools.pairwise(names)]
        if b % 2:
            nodes.append(DiagramNode(f"b{b}.down", "Conv2d", "16 → 32, 1×1", "layer", 512, shape))
            edges += [(last, f"b{b}.down"), (f"b{b}.down", names[5])]
        else:
            edges.append((last, names[5]))
        last = names[-1]
    nodes.append(DiagramNode("head", "Linear", "32 → 10", "layer", 330, "[N, 10]"))
    nodes.append(DiagramNode("out", "logits", kind="output", shape="[N, 10]"))
    return Diagram(tuple(nodes), (*edges, (last, "head"), ("head", "out")))


def diamond() -> Diagram:
    """Return a network that parts in three and meets again."""
    nodes = [DiagramNode("in", "images", kind="input", shape="[N, 64, 28, 28]")]
    edges = []
    for name, detail in (("a", "64 → 32, 1×1"), ("b", "64 → 64, 3×3"), ("c", "64 → 16, 5×5")):
        nodes.append(DiagramNode(name, "Conv2d", detail, "layer", 36_928, "[N, 32, 28, 28]"))
        edges += [("in", name), (name, "cat")]
    nodes.append(DiagramNode("cat", "concatenate", kind="op", shape="[N, 112, 28, 28]"))
    nodes.append(DiagramNode("out", "features", kind="output", shape="[N, 112, 28, 28]"))
    return Diagram(tuple(nodes), (*edges, ("cat", "out")))


def dense(count: int = 12) -> Diagram:
    """Return a network in which every layer reads all layers before it."""
    nodes = tuple(DiagramNode(f"d{i}", f"Conv2d {i}", "3×3", "layer", 900) for i in range(count))
    edges = ((f"d{i}", f"d{j}") for j in range(count) for i in range(j))
    return Diagram(nodes, tuple(edges))


def recurrent() -> Diagram:
    """Return a network with a cycle."""
    nodes = [DiagramNode("x", "tokens", kind="input", shape="[N, T]")]
    nodes.append(DiagramNode("e", "Embedding", "5000 → 64", "layer", 320_000, "[N, T, 64]"))
    nodes.append(DiagramNode("c", "LSTMCell", "64 → 128", "layer", 99_328, "[N, 128]"))
    nodes.append(DiagramNode("y", "Linear", "128 → 2", "layer", 258, "[N, 2]"))
    edges = (("x", "e"), ("e", "c"), ("c", "c"), ("c", "y"), ("y", "e"))
    return Diagram(tuple(nodes), edges)


SETTINGS: list[tuple[str, object, Origin]] = [
    ("data", "digits", "given"),
    ("epochs", 30, "given"),
    ("model", "cnn", "chosen"),
    ("batch", 32, "chosen"),
    ("lr", 0.001, "default"),
    ("optimizer", "adam", "default"),
    ("schedule", "cosine", "default"),
    ("loss", "cross-entropy", "chosen"),
    ("betas", (0.9, 0.999), "default"),
    ("weight_decay", 0.0, "default"),
    ("early_stopping", None, "default"),
    ("stratify", True, "chosen"),
    ("seed", 0, "default"),
]
VERSIONS = {"chainrule": "0.1.0", "Python": "3.12.4", "NumPy": "2.1.0", "system": "Linux x86-64"}
TIMING: dict[str, str | float] = {"training": 12.72, "evaluation": 0.083, "one epoch": 0.412}
IMAGE_NOTES = (
    "classification: the targets are class names",
    "model: cnn, because the examples are images",
    "validation: 144 examples taken from the training part, stratified by class",
)


def digits() -> ReportContents:
    """Return a classification of small images into ten classes."""
    rng = np.random.default_rng(0)
    names = [str(i) for i in range(10)]
    counts = confusion(10, 3600, rng)
    wrong = [(t, p) for t in range(10) for p in range(10) if t != p and counts[t, p]]
    mistakes = tuple(
        Mistake(str(t), str(p), float(rng.uniform(0.4, 0.999)), f"test #{100 + 7 * i}", image)
        for i, (t, p) in enumerate(wrong)
        for image in [digit_image(t, rng)]
    )
    accuracy = np.trace(counts) / counts.sum()
    return ReportContents(
        title="digits, ConvNet",
        kind="classification",
        summary=[
            ("test accuracy", f"{accuracy:.1%}"),
            ("best epoch", "14 of 30"),
            ("training time", "12.7 s"),
            ("parameters", 1_212_618),
        ],
        history=history(30, rng),
        best_epoch=14,
        evaluation=evaluation(counts, names),
        mistakes=mistakes,
        diagram=convnet(),
        data=[
            ("source", "digits (scikit-learn)"),
            ("kind", "images, 1 × 8 × 8"),
            *(("training examples", 1149), ("validation examples", 288), ("test examples", 360)),
            ("classes", 10),
        ],
        notes=IMAGE_NOTES,
        settings=SETTINGS,
        versions=VERSIONS,
        timing=TIMING,
    )


def housing() -> ReportContents:
    """Return a regression on a table."""
    rng = np.random.default_rng(1)
    true = np.clip(rng.lognormal(0.6, 0.5, 2000), 0.15, 5.0) * 100_000
    predicted = true * rng.normal(1, 0.16, 2000) + rng.normal(0, 14_000, 2000)
    worst = np.argsort(-np.abs(predicted - true))[:40]
    columns = ("longitude", "latitude", "housing_median_age", "total_rooms", "median_income")
    mistakes = tuple(
        Mistake(
            f"{true[i]:,.0f}",
            f"{predicted[i]:,.0f}",
            None,
            f"row {i + 2}",
            values={c: f"{rng.uniform(0, 90):.2f}" for c in columns} | {"ocean": "NEAR BAY"},
        )
        for i in worst
    )
    steps: list[Step] = [("table", "", "input", 0, "[N, 13]")]
    for a, b in ((13, 128), (128, 64)):
        steps.append(("Linear", f"{a} → {b}", "layer", a * b + b, f"[N, {b}]"))
        steps.append(("ReLU", "", "op", 0, f"[N, {b}]"))
    steps += [("Linear", "64 → 1", "layer", 65, "[N, 1]"), ("prediction", "", "output", 0, "[N]")]
    return ReportContents(
        title="california-housing, MLP 13-128-64-1",
        kind="regression",
        summary=[("test R²", 0.7913), ("mean absolute error", "31,400 USD"), ("best epoch", 22)],
        history=history(24, rng, metric="r2"),
        best_epoch=22,
        evaluation={
            "split": "test",
            "n": 4128,
            "loss": 0.2071,
            "metrics": {"r2": 0.7913, "mae": 31_400.2, "rmse": 52_730.8},
            "true": true.tolist(),
            "predicted": predicted.tolist(),
            "target": "median_house_value",
            "unit": "USD",
        },
        mistakes=mistakes,
        diagram=chain(*steps),
        data=[("source", "housing.csv"), ("training examples", 14_860), ("columns", 9)],
        notes=("target: column 'median_house_value' (the last one)",),
        settings=SETTINGS,
        versions=VERSIONS,
        timing={"training": 185.0},
    )


def hundred() -> ReportContents:
    """Return a classification of colour photographs into a hundred classes."""
    rng = np.random.default_rng(2)
    things = ("apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle")
    names = [f"{things[i % 9]} {i // 9 + 1}" if i >= 9 else things[i] for i in range(100)]
    counts = confusion(100, 10_000, rng, error=0.4)
    mistakes = tuple(
        Mistake(
            names[rng.integers(100)],
            names[rng.integers(100)],
            float(rng.uniform(0.2, 1)),
            f"photos/test/{names[i]}/IMG_20240317_{i:05d}.jpeg",
            colour_image(96, rng),
        )
        for i in range(24)
    )
    rows = history(60, rng)
    return ReportContents(
        title="Hundred kinds of things, ResNet",
        kind="classification",
        summary=[("test accuracy", "63.2%"), ("top-5", "87.1%"), ("parameters", 271_000)],
        history=[row | {"watch/brier": row["loss"] * 0.6} for row in rows],
        best_epoch=41,
        evaluation=evaluation(counts, names),
        mistakes=mistakes,
        diagram=resnet(),
        data=[("source", "photos/"), ("training examples", 45_000), ("classes", 100)],
        settings=SETTINGS,
        versions=VERSIONS,
        timing={"training": 7384.0},
    )


def one_epoch() -> ReportContents:
    """Return a run of a single epoch on two classes."""
    rng = np.random.default_rng(3)
    counts = np.array([[412, 31], [57, 1500]])
    return ReportContents(
        title="adult.csv",
        kind="classification",
        summary=[("test accuracy", "95.6%"), ("best epoch", 1)],
        history=history(1, rng),
        best_epoch=1,
        evaluation=evaluation(counts, [">50K", "<=50K"]),
        diagram=diamond(),
    )


def empty() -> ReportContents:
    """Return a run that stopped before anything was measured."""
    return ReportContents(title="interrupted", kind="classification")


def hostile() -> ReportContents:
    """Return contents in which every text tries to break the page, and numbers are missing."""
    rng = np.random.default_rng(4)
    names = list(NASTY)
    counts = confusion(len(names), 500, rng, error=0.5)
    rows: Rows = [row | {NASTY[0]: 1.0, NASTY[4]: 2} for row in history(6, rng)]
    rows[4]["loss"], rows[5]["loss"], rows[7]["loss"] = math.nan, None, math.inf
    mistakes = tuple(
        Mistake(n, names[i - 1], 0.5, n, digit_image(i, rng)) for i, n in enumerate(names)
    )
    nodes = tuple(DiagramNode(n + str(i), n, n, "layer", 3, n) for i, n in enumerate(names))
    edges = tuple((a.id, b.id) for a, b in itertools.pairwise(nodes))
    settings: list[tuple[str, object, Origin]] = [(n, n, "given") for n in names]
    return ReportContents(
        title=NASTY[0] + NASTY[1],
        kind="classification",
        summary=[(n, n) for n in names],
        history=rows,
        best_epoch=3,
        evaluation=evaluation(counts, names),
        mistakes=mistakes,
        diagram=Diagram(nodes, edges),
        data=[(n, n) for n in names],
        notes=NASTY,
        settings=settings,
        versions={n: n for n in names},
        timing={n: n for n in names},
    )


def hostile_table() -> ReportContents:
    """Return a regression on a table with nasty columns and damaged numbers."""
    return ReportContents(
        title="",
        kind="regression",
        history=[{"epoch": 1, "split": "valid", "loss": None}, {"split": "train"}, {}],
        best_epoch=7,
        evaluation={
            "true": [1.0, math.nan, 3.0, 1e200],
            "predicted": [1.5, 2.0, None, 1.0],
            "target": NASTY[0],
            "unit": NASTY[1],
        },
        mistakes=(Mistake("1", NASTY[0], math.nan, NASTY[4], values={n: n for n in NASTY}),),
        diagram=recurrent(),
    )


def checked_svg(text: str) -> ElementTree.Element:
    """Return a drawing's root after checking that it is XML and holds finite numbers alone."""
    root = ElementTree.fromstring(text)
    for part in root.iter():
        for name, value in part.attrib.items():
            if name in ("d", "x", "y", "cx", "cy", "r", "width", "height", "viewBox", "transform"):
                assert not re.search("nan|inf|none|e[+-]?[0-9]", value.lower()), (name, value)
    return root


SAMPLES: dict[str, Callable[[], ReportContents]] = {
    "digits": digits,
    "housing": housing,
    "hundred": hundred,
    "one_epoch": one_epoch,
    "empty": empty,
    "hostile": hostile,
    "hostile_table": hostile_table,
}


if __name__ == "__main__":
    from chainrule.report.html import write_report

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for sample, make in SAMPLES.items():
        write_report(folder / f"{sample}.html", make())
