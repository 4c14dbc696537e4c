"""Derivatives of loops and branches while tracing.

Takes: the frame of a body, and gradients of the results. Gives: gradients of what it depends on.
The one idea: the derivative of a loop is a loop that runs backwards over what the rounds have
kept; what they have to keep is found out while the derivative of one round is recorded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from chainrule.compiler.bodies import Tensors, deriving, ended, record_results
from chainrule.compiler.frames import Frame
from chainrule.compiler.program import Region, Value
from chainrule.core.errors import GradientError
from chainrule.core.shape import Spec
from chainrule.graph.autodiff import run
from chainrule.graph.bundle import record_several
from chainrule.graph.node import Node, mode
from chainrule.graph.op import FUNCTIONS
from chainrule.graph.tensor import Tensor

if TYPE_CHECKING:
    from chainrule.compiler.trace import Recorder

Parts = dict[int, Tensor]


def _dependencies(
    outs: Sequence[Node | None], ends: dict[Node, int], start: int
) -> tuple[list[int], list[Node]]:
    """Return what nodes depend on, as bits, and the nodes from outside, oldest first.

    Args:
        outs: The nodes.
        ends: Nodes of what the body gets, with their bits.
        start: Nodes with smaller numbers are from outside; their bit is 1.
    """
    seen = {node for node in outs if node is not None}
    stack = list(seen)
    while stack:
        node = stack.pop()
        for parent in () if node in ends or node.number < start else node.inputs:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    bits: dict[Node, int] = {}
    for node in sorted(seen, key=lambda node: node.number):
        bits[node] = ends.get(node, int(node.number < start))
        if node not in ends and node.number >= start:
            for parent in node.inputs:
                bits[node] |= 0 if parent is None else bits[parent]
    outside = [node for node in bits if node.number < start]
    return [0 if node is None else bits[node] for node in outs], outside


@dataclass(slots=True, eq=False)
class _Loop(ABC):
    """A loop whose results may be differentiated.

    Attributes:
        recorder: What records.
        frame: The body.
        region: The loop.
        start: Nodes with smaller numbers are from outside.
        ends: The nodes of what the body gets: carry, then slices.
        outs: The nodes of what the body returns: carry, then results.
        outside: The nodes from outside that it depends on.
        targets: Numbers of the ends that have a node outside.
        active: Numbers of the ends that depend on nodes outside.
    """

    recorder: Recorder
    frame: Frame
    region: Region
    start: int
    ends: list[Node | None]
    outs: list[Node | None]
    outside: list[Node] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    active: set[int] = field(default_factory=set)
    name: ClassVar[str]

    def record(self, given: list[Node | None], results: Tensors) -> None:
        """Give nodes to the results that depend on nodes outside.

        Args:
            given: The nodes of what the loop begins with: carry, then stacked slices.
            results: The last carry, then stacked results.
        """
        bits = {node: 2 << n for n, node in enumerate(self.ends) if node is not None}
        found, self.outside = _dependencies(self.outs, bits, self.start)
        # Whatever depends on nodes outside: what has come in with one, and what came of that.
        moving = 1
        for n, node in enumerate(given):
            moving |= bits.get(self.ends[n], 0) if node is not None else 0  # type: ignore[arg-type]
        before = 0
        while moving != before:
            before = moving
            for n in range(self.region.carry):
                if found[n] & moving:
                    moving |= bits.get(self.ends[n], 0)  # type: ignore[arg-type]
        self.active = {n for n in range(len(self.ends)) if moving >> n & 2}
        parents = []
        for n in sorted(self.active):
            node = given[n]
            if node is not None:
                self.targets.append(n)
                parents.append(node)
        parents.extend(self.outside)
        chosen = {n: results[n] for n, deps in enumerate(found) if deps & moving}
        if chosen and parents:
            record_several(self.name, parents, chosen, self.pull)

    @abstractmethod
    def pull(self, parts: Parts) -> Sequence[Tensor | None]:
        """Return the gradients of what the loop begins with and reads, from those of results."""


class WhileGradient(_Loop):
    """A loop with an unknown number of rounds, which has no derivative."""

    name = "while_loop"

    def pull(self, parts: Parts) -> Sequence[Tensor | None]:
        """Refuse."""
        raise GradientError(
            "while_loop: it has no gradient in a compiled function, where the number of rounds, "
            "and so the memory for what they compute, is not known",
            hint="use chainrule.scan with a fixed number of rounds, or run it eagerly",
        )


class ScanGradient(_Loop):
    """A loop over slices."""

    name = "scan"

    def pull(self, parts: Parts) -> Sequence[Tensor | None]:
        """Record the loop that runs backwards."""
        _expect_first_derivative("scan")
        recorder, count = self.recorder, self.region.carry
        given = {n: recorder.value_of(part) for n, part in parts.items()}
        carried = [n for n in sorted(self.active) if n < count]
        with deriving(recorder, "the body of a scan", self.frame) as frame:
            incoming = [self._cotangent(frame, n) for n in carried]
            seeds: dict[Node, Tensor] = {}
            for n, cotangent in zip(carried, incoming, strict=True):
                _seed(seeds, self.outs[n], cotangent)
            for n, value in given.items():
                if n >= count:
                    inner = recorder.frames.slice(value, frame)
                    _seed(seeds, self.outs[n], Tensor(inner, inner.spec))
            wanted = {self.ends[n] for n in self.active}.union(self.outside)
            found = _run(seeds, wanted)
            back = [self._or_zeros(found, n) for n in carried]
            sums = [node for node in self.outside if node in found]
            totals = [_input(recorder, frame, node.spec) for node in sums]
            back += [total + found[node] for total, node in zip(totals, sums, strict=True)]
            xs = [n for n in self.targets if n >= count and self.ends[n] in found]
            back += [self._or_zeros(found, n) for n in xs]
            frame.program.outputs = [recorder.value_of(tensor) for tensor in back]
        first = [tensor._array for tensor in (*incoming, *totals)]
        init = [
            given[n] if n in given else _zeros_value(recorder, self.outs_spec(n)) for n in carried
        ]
        init += [_zeros_value(recorder, node.spec) for node in sums]
        old = self.region
        region = Region("scan", [], len(init), len(frame.slices), old.length, not old.reverse)
        inputs = ended([frame], region, init, first)
        results = record_results(recorder, region, inputs, [frame], "scan")
        by_end = dict(zip((*carried, *xs), _without(results, len(carried), len(sums)), strict=True))
        by_node = dict(zip(sums, results[len(carried) :], strict=False))
        return [
            *(by_end.get(n) for n in self.targets),
            *(by_node.get(node) for node in self.outside),
        ]

    def outs_spec(self, n: int) -> Spec:
        """Return shape and dtype of a part of the carry."""
        return self.region.bodies[0].outputs[n].spec

    def _cotangent(self, frame: Frame, n: int) -> Tensor:
        return _input(self.recorder, frame, self.outs_spec(n))

    def _or_zeros(self, found: dict[Node, Tensor], n: int) -> Tensor:
        end = self.ends[n]
        assert end is not None
        return found[end] if end in found else _zeros(end.spec)


@dataclass(slots=True, eq=False)
class CondGradient:
    """A branch whose results may be differentiated.

    Attributes:
        recorder: What records.
        bodies: The two branches.
        decides: The condition.
        start: Nodes with smaller numbers are from outside.
        outs: The nodes of what each branch returns.
        outside: The nodes from outside that they depend on.
    """

    recorder: Recorder
    bodies: list[Frame]
    decides: Value
    start: int
    outs: list[list[Node | None]]
    outside: list[Node] = field(default_factory=list)

    def record(self, results: Tensors) -> None:
        """Give nodes to the results that depend on nodes outside."""
        chosen: Parts = {}
        outside: dict[Node, None] = {}
        for outs in self.outs:
            found, nodes = _dependencies(outs, {}, self.start)
            outside.update(dict.fromkeys(nodes))
            chosen.update({n: results[n] for n, deps in enumerate(found) if deps})
        self.outside = sorted(outside, key=lambda node: node.number)
        if chosen:
            record_several("cond", self.outside, chosen, self.pull)

    def pull(self, parts: Parts) -> Sequence[Tensor | None]:
        """Record the branch between the derivatives."""
        _expect_first_derivative("cond")
        recorder = self.recorder
        given = {n: recorder.value_of(part) for n, part in parts.items()}
        decides = recorder.frames.resolve(self.decides)
        frames = []
        for forward, outs in zip(self.bodies, self.outs, strict=True):
            with deriving(recorder, "a branch of a cond", forward) as frame:
                seeds: dict[Node, Tensor] = {}
                for n, value in given.items():
                    inner = recorder.frames.capture(value, frame)
                    _seed(seeds, outs[n], Tensor(inner, inner.spec))
                found = _run(seeds, set(self.outside))
                back = [found[n] if n in found else _zeros(n.spec) for n in self.outside]
                frame.program.outputs = [recorder.value_of(tensor) for tensor in back]
            frames.append(frame)
        region = Region("cond", [])
        inputs = ended(frames, region, [decides], [], [])
        return record_results(recorder, region, inputs, frames, "cond")


def _run(seeds: dict[Node, Tensor], targets: Iterable[Node | None]) -> dict[Node, Tensor]:
    wanted = {node for node in targets if node is not None}
    if not seeds:
        return {}
    # Cut: what a body gets may itself depend on what it reads from outside.
    return run(seeds, wanted, create_graph=False, retain_graph=True, cut=True)


def _seed(seeds: dict[Node, Tensor], node: Node | None, cotangent: Tensor) -> None:
    if node is not None:
        seeds[node] = seeds[node] + cotangent if node in seeds else cotangent


def _input(recorder: Recorder, frame: Frame, spec: Spec) -> Tensor:
    return Tensor(recorder.frames.own(frame, Value(spec)), spec)


def _zeros(spec: Spec) -> Tensor:
    made: Tensor = FUNCTIONS["full"](spec.shape, 0.0, dtype=spec.dtype)
    return made


def _zeros_value(recorder: Recorder, spec: Spec) -> Value:
    return recorder.value_of(_zeros(spec))


def _without(results: Tensors, start: int, count: int) -> Tensors:
    return results[:start] + results[start + count :]


def _expect_first_derivative(name: str) -> None:
    if mode.recording:
        raise GradientError(
            f"{name}: its second derivative does not exist in a compiled function",
            hint="take second derivatives eagerly, where they exist for every order",
        )
