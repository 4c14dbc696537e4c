"""Nodes: the computation graph itself.

Takes: each application of an op to tensors. Gives: a node that knows its inputs and what its
derivative needs.
The one idea: tensors are handles that may be rebound; nodes never change, so a graph recorded
before an in-place update stays true.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import ref

from chainrule.core.dtype import Array
from chainrule.core.shape import Spec

if TYPE_CHECKING:
    from chainrule.graph.op import Op
    from chainrule.graph.tensor import Tensor
    from chainrule.graph.tracing import Tracer

_numbers = itertools.count()

Hook = Callable[["Tensor"], "Tensor | None"]


class Node:
    """One operation of the graph, or a leaf that gradients arrive at.

    Attributes:
        op: The operation; None for a leaf.
        inputs: The nodes that made its inputs; None for an input without gradient.
        attrs: The operation's attributes.
        specs: Shape and dtype of each input.
        spec: Shape and dtype of the output.
        saved: Elements of the inputs that the derivative reads (None where it does not).
        saved_output: Elements of the output, if the derivative reads them.
        number: Position in the order of creation: inputs always have smaller numbers.
        owner: The tensor whose `.grad` receives the gradient, for leaves and retained ones.
        hooks: Functions called with the gradient on its way.
        freed: Whether a backward pass has released what was saved.
    """

    __slots__ = (
        *("__weakref__", "attrs", "freed", "hooks", "inputs", "number", "op", "owner"),
        *("saved", "saved_output", "spec", "specs"),
    )

    def __init__(
        self,
        op: Op | None,
        inputs: tuple[Node | None, ...],
        attrs: dict[str, Any],
        specs: tuple[Spec, ...],
        spec: Spec,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.attrs = attrs
        self.specs = specs
        self.spec = spec
        self.saved: tuple[Array | None, ...] = ()
        self.saved_output: Array | None = None
        self.number = next(_numbers)
        self.owner: ref[Tensor] | None = None
        self.hooks: dict[int, Hook] | None = None
        self.freed = False

    def __repr__(self) -> str:
        return f"Node({self.op.name if self.op else 'leaf'} {self.spec})"


def leaf(spec: Spec) -> Node:
    """Return a node that gradients end at."""
    return Node(None, (), {}, (), spec)


def next_number() -> int:
    """Return a number larger than that of every node made so far."""
    return next(_numbers)


class _Mode(threading.local):
    def __init__(self) -> None:
        self.recording = True
        # What records operations instead of computing them (see `graph.tracing`).
        self.tracer: Tracer | None = None


mode = _Mode()


def is_grad_enabled() -> bool:
    """Return whether operations are being recorded for differentiation in this thread."""
    return mode.recording


class set_grad_enabled:  # noqa: N801 - PyTorch's name
    """Switch the recording of operations on or off for a block, or for good if called bare.

    Args:
        enabled: Whether operations are recorded.
    """

    def __init__(self, enabled: bool) -> None:
        self.previous = mode.recording
        self.enabled = enabled
        mode.recording = enabled

    def __enter__(self) -> None:
        mode.recording = self.enabled

    def __exit__(self, *_: object) -> None:
        mode.recording = self.previous


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside the block (or decorated function): no gradients, less memory."""
    previous = mode.recording
    mode.recording = False
    try:
        yield
    finally:
        mode.recording = previous


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record operations inside the block even within `no_grad`."""
    previous = mode.recording
    mode.recording = True
    try:
        yield
    finally:
        mode.recording = previous
