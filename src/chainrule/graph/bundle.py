"""Bundles: gradients of a computation with several results.

Takes: nodes that a computation depends on, and its results. Gives: results that are
differentiated together.
The one idea: each result's node hands its gradient on, with its number, to one node for all of
them, and that one gets them in a single sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from chainrule.core.dtype import Array, float32
from chainrule.core.errors import StateError
from chainrule.core.shape import Spec
from chainrule.graph.node import Node, mode
from chainrule.graph.op import Op
from chainrule.graph.sample import Sample
from chainrule.graph.tensor import Tensor

# What the node for all results has in the place of a result's shape.
_NOTHING = Spec((), float32)

Pull = Callable[[dict[int, Tensor]], Sequence[Tensor | None]]


class Bundle(Tensor):
    """Gradients of some of the results of a computation, by their numbers."""

    __slots__ = ("parts",)

    def __init__(self, parts: dict[int, Tensor]) -> None:
        super().__init__(None, _NOTHING)
        self.parts = parts

    def __add__(self, other: Any) -> Bundle:
        merged = dict(self.parts)
        for number, gradient in other.parts.items():
            merged[number] = merged[number] + gradient if number in merged else gradient
        return Bundle(merged)


class Several(Op):
    """A computation with several results. Not in the registry: it exists per call.

    Args:
        name: For people.
        pull: Returns for each node that it depends on the gradient, from those of the results.
    """

    name = "several"

    def __init__(self, name: str, pull: Pull) -> None:
        self.name = name  # type: ignore[misc]  # each has its own
        self.pull = pull

    def infer(self, *inputs: Spec) -> Spec:
        return _NOTHING

    def eval(self, *inputs: Array) -> Array:
        raise StateError(f"{self.name}: evaluated by calling the function")

    def samples(self) -> Iterable[Sample]:
        return ()

    def vjp(self, grad: Tensor, output: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of what the computation depends on."""
        assert isinstance(grad, Bundle)
        return tuple(self.pull(grad.parts))


class _Part(Op):
    """One result of a computation with several; it hands its gradient on under its number."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name  # type: ignore[misc]  # each has its own
        self.number = number

    def infer(self, *inputs: Spec) -> Spec:
        raise StateError(f"{self.name}: the shape is known only by running the function")

    def eval(self, *inputs: Array) -> Array:
        raise StateError(f"{self.name}: evaluated by calling the function")

    def samples(self) -> Iterable[Sample]:
        return ()

    def vjp(self, grad: Tensor, output: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the gradient as a part of the bundle."""
        return (Bundle({self.number: grad}),)


def record_several(
    name: str, parents: Sequence[Node], results: dict[int, Tensor], pull: Pull
) -> None:
    """Record that results were computed together.

    Args:
        name: Of the computation.
        parents: The nodes that it depends on.
        results: Results that have gradients, by their numbers.
        pull: Takes gradients of some of the results, by number; returns one for each parent.
    """
    specs = tuple(node.spec for node in parents)
    joint = Node(Several(name, pull), tuple(parents), {}, specs, _NOTHING)
    joint.saved = (None,) * len(specs)
    for number, result in results.items():
        result.node = Node(_Part(name, number), (joint,), {}, (_NOTHING,), result.spec)
        result.node.saved = (None,)
        if mode.tracer is not None:
            mode.tracer.recorded(joint, result)
            mode.tracer.recorded(result.node, result)
