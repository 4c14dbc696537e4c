"""Contents: what a report says, as plain data.

Takes: facts gathered by whoever ran the training. Gives: records that the report room draws.
The one idea: nothing here knows about HTML, so a report can be made from any source of facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError

NodeKind = Literal["input", "layer", "op", "output"]
Origin = Literal["given", "chosen", "default"]
Fact = tuple[str, str | int | float]

NODE_KINDS = ("input", "layer", "op", "output")
ORIGINS = ("given", "chosen", "default")


@dataclass(frozen=True)
class Mistake:
    """One example that the network got wrong.

    Args:
        true: Its class, or its true value.
        predicted: What the network said.
        confidence: Probability that the network gave its answer (0 to 1), where there is one.
        name: File name or row number.
        image: uint8 [H, W] (grey) or [H, W, 3] (red, green, blue).
        values: The row of a table: column name to value.
    """

    true: str
    predicted: str
    confidence: float | None = None
    name: str = ""
    image: NDArray[np.uint8] | None = None
    values: dict[str, str] | None = None

    def __post_init__(self) -> None:
        image = self.image
        if image is None:
            return
        right_shape = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if image.dtype != np.uint8 or not right_shape or image.size == 0:
            raise ArgumentError(
                f"Mistake: image is {image.dtype}{list(image.shape)}, expected uint8 [H, W] "
                "or [H, W, 3] with at least one pixel",
                hint="for an image [C, H, W]: image.transpose(1, 2, 0)",
            )


@dataclass(frozen=True)
class DiagramNode:
    """One box in the drawing of a network.

    Args:
        id: Unique in its diagram.
        label: What it is: ``Conv2d``.
        detail: How it is set: ``1 -> 32, 3x3``.
        kind: Decides how the box looks.
        parameters: Number of trained numbers in it.
        shape: Shape of its result: ``[N, 32, 28, 28]``.
    """

    id: str
    label: str
    detail: str = ""
    kind: NodeKind = "layer"
    parameters: int = 0
    shape: str = ""

    def __post_init__(self) -> None:
        if self.kind not in NODE_KINDS:
            raise ArgumentError(
                f"DiagramNode: kind {self.kind!r} is not known",
                hint=f"known: {', '.join(NODE_KINDS)}",
            )


@dataclass(frozen=True)
class Diagram:
    """A network as a graph: boxes, and arrows from (id, id).

    Raises:
        ArgumentError: Two nodes have the same id, or an edge names a node that is not there.
    """

    nodes: tuple[DiagramNode, ...]
    edges: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        known: set[str] = set()
        for node in self.nodes:
            if node.id in known:
                raise ArgumentError(f"Diagram: two nodes have the id {node.id!r}")
            known.add(node.id)
        for edge in self.edges:
            for end in edge:
                if end not in known:
                    raise ArgumentError(f"Diagram: the edge {edge} names no node {end!r}")


@dataclass(frozen=True)
class ReportContents:
    """Everything that a report shows.

    Args:
        title: Headline: ``digits, ConvNet``.
        kind: Which results are drawn.
        summary: Headline facts in order of importance: ``("test accuracy", "98.1 %")``.
        history: Rows of metrics.jsonl, oldest first. Rows may come in mid-epoch; every number
            beside ``epoch``, ``step``, ``seconds`` and ``examples`` is drawn.
        best_epoch: Epoch of the model that was kept.
        evaluation: evaluation.json. Classification reads ``confusion`` (rows are true classes)
            and ``per_class``; regression reads ``true``, ``predicted``, ``target``, ``unit``.
        mistakes: Examples that the network got wrong, worst first.
        diagram: The network's graph.
        data: Facts about the data, split sizes among them.
        notes: Defaults that were chosen and things that were inferred, one sentence each.
        settings: (name, value, origin) of every setting.
        versions: Library or system to its version.
        timing: Name to seconds (a number) or to text.
    """

    title: str
    kind: Literal["classification", "regression"]
    summary: list[Fact] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()
    diagram: Diagram | None = None
    data: list[Fact] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    settings: list[tuple[str, object, Origin]] = field(default_factory=list)
    versions: Mapping[str, str] = field(default_factory=dict)
    timing: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("classification", "regression"):
            raise ArgumentError(
                f"ReportContents: kind {self.kind!r} is not known",
                hint="known: classification, regression",
            )
