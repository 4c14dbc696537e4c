"""Summary of a model: a table of its layers, and the graph of how data walk through them.

Takes: a model and example inputs. Gives: rows, totals, nodes and edges; printed, a table.
The one idea: run the model once and look at what was recorded. Every op leaves a numbered node,
and a layer's call is a span of numbers, so each node tells which layer made it; whatever is left
between layers (an addition that joins a skip connection) is drawn as an op of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from chainrule.core.shape import Shape
from chainrule.graph.node import Node, enable_grad, next_number
from chainrule.graph.tensor import Tensor
from chainrule.nn.containers import Sequential
from chainrule.nn.module import Module
from chainrule.ops.generator import default_generator


@dataclass(frozen=True)
class SummaryRow:
    """One call of a layer.

    Attributes:
        path: Its dotted name in the model.
        type: Its class.
        shape: Shape of what it gave; None if that is not one tensor.
        parameters: Number of parameters, counted at the first call only.
        title: Short description: ``Linear 4 -> 3``.
    """

    path: str
    type: str
    shape: Shape | None
    parameters: int
    title: str


@dataclass(frozen=True)
class GraphNode:
    """One box of the drawing.

    Attributes:
        id: Name within the drawing.
        label: What it is: a layer's class or an op's name.
        detail: How it is set: ``3 -> 16, 5x5``; of inputs and outputs the dtype.
        path: A layer's dotted name; of an op that of the module in whose `forward` it stands.
        kind: ``input``, ``layer``, ``op`` or ``output``.
        parameters: Number of parameters.
        shape: Shape of what it gives, or of the first of several results.
    """

    id: str
    label: str
    detail: str
    path: str
    kind: Literal["input", "layer", "op", "output"]
    parameters: int
    shape: Shape | None


@dataclass(frozen=True)
class Summary:
    """What `summarize` found.

    Attributes:
        title: The model's class.
        rows: One for each call of a layer, in order.
        parameters: Number of elements of all parameters.
        trainable: Of those, the number that is trained.
        bytes: Size of parameters and buffers in bytes.
        nodes: Boxes of the drawing, in the order of computation.
        edges: Pairs of ids: from where data come, to where they go.
        unused: Layers with parameters that were not called.
    """

    title: str
    rows: tuple[SummaryRow, ...]
    parameters: int
    trainable: int
    bytes: int
    nodes: tuple[GraphNode, ...]
    edges: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        head = ("layer", "type", "output", "parameters")
        body = [
            (row.path, row.title, _shape_text(row.shape), f"{row.parameters:,}")
            for row in self.rows
        ]
        widths = [max(len(line[i]) for line in [head, *body]) for i in range(4)]

        def line(cells: Iterable[str]) -> str:
            *left, right = cells
            padded = [cell.ljust(width) for cell, width in zip(left, widths, strict=False)]
            return "  ".join([*padded, right.rjust(widths[3])])

        rule = "-" * (sum(widths) + 6)
        total = f"{self.parameters:,} parameters, {_bytes_text(self.bytes)}"
        if self.trainable != self.parameters:
            total += f", {self.trainable:,} of them trained"
        unused = [f"not called: {', '.join(self.unused)}"] if self.unused else []
        return "\n".join([self.title, line(head), rule, *map(line, body), rule, total, *unused])


@dataclass
class _Call:
    """One call of a leaf module: the span of node numbers, and what went in and out."""

    path: str
    module: Module
    start: int
    end: int = 0
    inputs: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    shape: Shape | None = None
    parameters: int = 0


def summarize(model: Module, *example_inputs: Any) -> Summary:
    """Run a model once on examples and describe it.

    The model is put into the mode for use meanwhile, so running statistics and random state stay
    as they are.

    Args:
        model: The model.
        example_inputs: What it is called with; a batch of one is enough.

    Returns:
        A summary; ``print`` it for a table.

    Example:
        >>> import chainrule
        >>> from chainrule import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> print(nn.summarize(model, chainrule.zeros((1, 4))))
        Sequential
        layer  type           output  parameters
        ----------------------------------------
        0      Linear 4 -> 8  [1, 8]          40
        1      ReLU           [1, 8]           0
        2      Linear 8 -> 3  [1, 3]          27
        ----------------------------------------
        67 parameters, 268 bytes
    """
    parameters = list(model.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    calls: list[_Call] = []
    owners: list[tuple[str, int, int]] = []
    with _prepared(model), _watched(model, calls, owners):
        inputs = [_recorded(x) for x in example_inputs]
        output = model(*inputs)
    _count_parameters(calls)
    rows = tuple(
        SummaryRow(c.path, type(c.module).__name__, c.shape, c.parameters, c.module.scope_title())
        for c in calls
    )
    called = {id(c.module) for c in calls}
    unused = tuple(
        path for path, m in _leaves(model) if id(m) not in called and list(m.parameters())
    )
    nodes, edges = _Drawing(calls, owners).draw(_tensors(inputs), _tensors(output))
    return Summary(
        title=type(model).__name__,
        rows=rows,
        parameters=sum(p.numel() for p in parameters),
        trainable=trainable,
        bytes=sum(t.nbytes for t in [*parameters, *model.buffers()]),
        nodes=nodes,
        edges=edges,
        unused=unused,
    )


@contextmanager
def _prepared(model: Module) -> Iterator[None]:
    """Put the model into use and let every parameter be recorded; undo it at the end."""
    modes = [(module, module.training) for module in model.modules()]
    frozen = [p for p in model.parameters() if not p.requires_grad]
    generator = default_generator()
    state = generator.get_state()
    try:
        model.eval()
        for parameter in frozen:
            parameter.requires_grad = parameter.dtype.is_floating
        with enable_grad():
            yield
    finally:
        generator.set_state(state)
        for parameter in frozen:
            parameter.requires_grad = False
        for module, training in modes:
            module.training = training


@contextmanager
def _watched(
    model: Module, calls: list[_Call], owners: list[tuple[str, int, int]]
) -> Iterator[None]:
    """Note every call: of leaf modules in ``calls``, of others their spans in ``owners``."""
    leaves = {id(module) for _, module in _leaves(model)}
    running: list[_Call] = []
    with ExitStack() as hooks:
        for path, module in model.named_modules():

            def enter(module: Module, args: tuple[Any, ...], path: str = path) -> None:
                running.append(_Call(path, module, next_number(), inputs=_nodes(args)))

            def leave(module: Module, args: tuple[Any, ...], output: Any) -> None:
                done = running.pop()
                done.end = next_number()
                # A leaf inside of a leaf cannot be; a leaf called by hand inside another can.
                if id(module) in leaves:
                    made = _tensors(output)
                    done.outputs = _nodes(output)
                    done.shape = made[0].shape if made else None
                    calls.append(done)
                else:
                    owners.append((done.path, done.start, done.end))

            hooks.enter_context(module.register_forward_pre_hook(enter))
            hooks.enter_context(module.register_forward_hook(leave))
        yield


def _leaves(model: Module) -> list[tuple[str, Module]]:
    return [
        (path or type(model).__name__, module)
        for path, module in model.named_modules()
        # An empty Sequential does nothing; it stands for a shortcut that needs no layer.
        if not list(module.children()) and not isinstance(module, Sequential)
    ]


def _count_parameters(calls: list[_Call]) -> None:
    seen: set[int] = set()
    for made in calls:
        fresh = [p for p in made.module.parameters() if id(p) not in seen]
        seen.update(id(p) for p in fresh)
        made.parameters = sum(p.numel() for p in fresh)


def _recorded(value: Any) -> Any:
    """Return an input whose way through the model is recorded."""
    if isinstance(value, Tensor) and value.dtype.is_floating:
        return value.detach().requires_grad_()
    return value


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return []
    return [tensor for item in value for tensor in _tensors(item)]


def _nodes(value: Any) -> list[Node]:
    return [tensor.node for tensor in _tensors(value) if tensor.node is not None]


class _Drawing:
    """Turns recorded nodes into boxes and arrows."""

    def __init__(self, calls: list[_Call], owners: list[tuple[str, int, int]]) -> None:
        self.calls = sorted(calls, key=lambda c: c.start)
        self.owners = owners
        self.boxes: list[GraphNode] = []
        self.arrows: dict[tuple[str, str], None] = {}
        self.made_by: dict[Node, str] = {}  # the box that a node's data come from

    def draw(
        self, inputs: list[Tensor], outputs: list[Tensor]
    ) -> tuple[tuple[GraphNode, ...], tuple[tuple[str, str], ...]]:
        """Return boxes and arrows."""
        integers: list[str] = []
        for position, tensor in enumerate(inputs):
            name = "input" if len(inputs) == 1 else f"input {position + 1}"
            box = self._box(name, tensor.dtype.name, "input", tensor.shape)
            if tensor.node is not None:
                self.made_by[tensor.node] = box
            else:
                integers.append(box)
        ends = [t.node for t in outputs if t.node is not None]
        for event in self._events(ends):
            if isinstance(event, _Call):
                self._finish_call(event, integers)
            else:
                self._add_op(event)
        for position, tensor in enumerate(outputs):
            name = "output" if len(outputs) == 1 else f"output {position + 1}"
            box = self._box(name, tensor.dtype.name, "output", tensor.shape)
            if tensor.node is not None:
                self._arrow(tensor.node, box)
        return tuple(self.boxes), tuple(self.arrows)

    def _events(self, ends: list[Node]) -> list[Node | _Call]:
        """Return ops outside of leaves, and ends of calls of leaves, in the order of time."""
        nodes = _reached([*ends, *(node for call in self.calls for node in call.outputs)])
        spans = [(call.start, call.end) for call in self.calls]
        free = [
            node
            for node in nodes
            if node.op is not None and not any(a < node.number < b for a, b in spans)
        ]
        events: list[tuple[int, Node | _Call]] = [(node.number, node) for node in free]
        events += [(call.end, call) for call in self.calls]
        return [event for _, event in sorted(events, key=lambda pair: pair[0])]

    def _finish_call(self, call: _Call, integers: list[str]) -> None:
        kind = type(call.module).__name__
        detail = call.module.scope_title().removeprefix(kind).strip()
        box = self._box(kind, detail, "layer", call.shape, call.path, call.parameters)
        sources = [node for node in call.inputs if node in self.made_by]
        # What a layer reads is what its span's nodes read from outside of it.
        span = _reached(call.outputs, after=call.start)
        sources += [
            parent
            for node in span
            for parent in node.inputs
            if parent is not None and parent.number < call.start and parent in self.made_by
        ]
        for node in sources:
            self._arrow(node, box)
        if not sources:
            for source in integers:
                self.arrows[source, box] = None
        for node in [*span, *call.outputs]:
            self.made_by[node] = box

    def _add_op(self, node: Node) -> None:
        assert node.op is not None
        owner = min(
            ((end - start, path) for path, start, end in self.owners if start < node.number < end),
            default=(0, ""),
        )[1]
        box = self._box(node.op.name, "", "op", node.spec.shape, owner)
        for parent in node.inputs:
            if parent is not None:
                self._arrow(parent, box)
        self.made_by[node] = box

    def _box(
        self,
        label: str,
        detail: str,
        kind: Literal["input", "layer", "op", "output"],
        shape: Shape | None,
        path: str = "",
        parameters: int = 0,
    ) -> str:
        name = f"n{len(self.boxes)}"
        self.boxes.append(GraphNode(name, label, detail, path, kind, parameters, shape))
        return name

    def _arrow(self, source: Node, target: str) -> None:
        made_by = self.made_by.get(source)
        if made_by is not None and made_by != target:
            self.arrows[made_by, target] = None


def _reached(ends: Iterable[Node], after: int = -1) -> list[Node]:
    """Return the nodes that lead to the ends, made after a number, in the order of creation."""
    seen: dict[Node, None] = {}
    stack = [node for node in ends if node.number > after]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack += [p for p in node.inputs if p is not None and p.number > after]
    return sorted(seen, key=lambda node: node.number)


def _shape_text(shape: Shape | None) -> str:
    return "?" if shape is None else str(list(shape))


def _bytes_text(size: int) -> str:
    if size < 10_000:
        return f"{size:,} bytes"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
