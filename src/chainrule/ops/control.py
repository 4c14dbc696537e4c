"""Control of what is kept: recomputation of a part of the graph instead of storing it.

Takes: a function and its inputs. Gives: its result, remembering only the inputs.
The one idea: run the function twice, once forwards without keeping anything and once more when
its gradient is asked for (Griewank & Walther 2000; Chen et al. 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from chainrule.core.dtype import Array
from chainrule.core.errors import StateError
from chainrule.core.shape import Spec
from chainrule.graph.autodiff import run
from chainrule.graph.node import Node, enable_grad, is_grad_enabled, next_number
from chainrule.graph.op import INPUTS, Op
from chainrule.graph.sample import Sample
from chainrule.graph.tensor import Tensor, record
from chainrule.ops.random import default_generator

Function = Callable[..., Tensor]


class Recompute(Op):
    """One checkpointed call. Not in the registry: it exists per call and holds a function.

    Inputs are the tensor arguments, then the nodes outside the function that it reads (such as
    a module's parameters), which need no elements here.
    """

    name = "checkpoint"
    saves = INPUTS

    def __init__(self, function: Function, arity: int, random_state: dict[str, Any]) -> None:
        self.function = function
        self.arity = arity
        self.random_state = random_state

    def infer(self, *inputs: Spec) -> Spec:
        raise StateError("checkpoint: the shape is known only by running the function")

    def eval(self, *inputs: Array) -> Array:
        raise StateError("checkpoint: evaluated by calling the function")

    def samples(self) -> Iterable[Sample]:
        return ()

    def vjp(self, grad: Tensor, output: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
        """Run the function again with recording on, then differentiate that."""
        create_graph = is_grad_enabled()
        generator = default_generator()
        now = generator.get_state()
        generator.set_state(self.random_state)
        try:
            with enable_grad():
                args = [_linked(x) for x in inputs[: self.arity]]
                result = self.function(*args)
        finally:
            generator.set_state(now)
        outside = [x.node for x in inputs[self.arity :]]
        targets = [x.node for x in args] + outside
        wanted = {node for node in targets if node is not None}
        if result.node is None:
            return (None,) * len(inputs)
        # Cut: an argument may itself depend on what the function reads from outside.
        found = run(
            {result.node: grad}, wanted, create_graph=create_graph, retain_graph=True, cut=True
        )
        return tuple(None if node is None else found.get(node) for node in targets)


def _linked(value: Tensor) -> Tensor:
    link = Tensor(value._array, value.spec)
    link.node = value.node
    return link


def checkpoint(function: Function, *args: Tensor) -> Tensor:
    """Return ``function(*args)`` keeping only the arguments; its inside is recomputed later.

    Memory for the activations inside the function is traded for one more forward run of it.
    Random numbers drawn inside are the same in both runs. Gradients reach the arguments and
    everything else that the function reads (parameters); derivatives of any order work.

    Args:
        function: A function of the arguments with one tensor as result. It must give the same
            result when called again (no other side effects).
        args: Its tensor arguments.

    Returns:
        The function's result.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor([1.0, 2.0], requires_grad=True)
        >>> y = chainrule.checkpoint(lambda x: (x * x).exp(), x)
        >>> y.sum().backward()
        >>> x.grad.shape
        (2,)
    """
    if not is_grad_enabled():
        return function(*args)
    random_state = default_generator().get_state()
    start = next_number()
    result = function(*args)
    if result.node is None:
        return result
    outside = _read_from_outside(result.node, start, {x.node for x in args})
    op = Recompute(function, len(args), random_state)
    stand_ins = tuple(_stand_in(node) for node in outside)
    inputs = (*args, *stand_ins)
    kept = Tensor(result._array, result.spec)
    kept.origin, kept.site = op.name, result.site
    nodes = tuple(x.node for x in inputs)
    kept.node = record(op, inputs, nodes, {}, tuple(x.spec for x in inputs), kept)
    return kept


def _read_from_outside(root: Node, start: int, known: set[Node | None]) -> list[Node]:
    """Return the nodes older than ``start`` that the graph of ``root`` ends at, oldest first."""
    found: set[Node] = set()
    seen = {root}
    stack = [root]
    while stack:
        for parent in stack.pop().inputs:
            if parent is None or parent in seen or parent in known:
                continue
            seen.add(parent)
            if parent.number < start:
                found.add(parent)
            else:
                stack.append(parent)
    return sorted(found, key=lambda node: node.number)


def _stand_in(node: Node) -> Tensor:
    value = Tensor(None, node.spec)
    value.node = node
    return value
