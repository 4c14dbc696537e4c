"""Reverse-mode differentiation: the gradient is more graph.

Takes: a tensor and what it is to be differentiated with respect to. Gives: gradients, as
tensors that can be differentiated again.
The one idea: visit nodes in the reverse order of their creation; each op turns the gradient of
its output into gradients of its inputs (Linnainmaa 1970; Griewank & Walther 2008, ch. 3).
Nothing here is recursive, so the depth of a graph is limited by memory alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from chainrule.core.dtype import Array
from chainrule.core.errors import GradientError, StateError
from chainrule.core.shape import Spec, expect
from chainrule.graph.node import Node, enable_grad, is_grad_enabled, mode, set_grad_enabled
from chainrule.graph.op import FUNCTIONS, NOTHING, public
from chainrule.graph.tensor import Tensor
from chainrule.graph.tracing import Value

Grads = dict[Node, Tensor]

# Origins of gradients by which an optimizer notices that `zero_grad` was forgotten.
USED = "a gradient that a step has used"
MIXED = "gradients of several steps added up"


@public
def backward(
    output: Tensor,
    gradient: Tensor | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add gradients of ``output`` to `.grad` of the leaves; see `Tensor.backward`."""
    root = _root("backward", output)
    seed = _seed("backward", output, gradient)
    retain = create_graph if retain_graph is None else retain_graph
    run({root: seed}, None, create_graph=create_graph, retain_graph=retain)


@public
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of outputs with respect to inputs, without touching `.grad`.

    Args:
        outputs: What is differentiated; several are summed.
        inputs: With respect to what.
        grad_outputs: For each output the gradient to start from (1 for single elements).
        retain_graph: Keep what was saved, so that it can run again (default: ``create_graph``).
        create_graph: Record the backward pass itself, for higher derivatives.
        allow_unused: Return None for an input that no output depends on, instead of an error.

    Returns:
        A gradient for each input, of the input's shape and dtype.

    Raises:
        GradientError: An output depends on nothing that requires a gradient, an input is unused,
            or the graph has been freed.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor(3.0, requires_grad=True)
        >>> (dx,) = chainrule.grad(x**2, x)
        >>> dx.item()
        6.0
    """
    ends = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
    targets = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if grad_outputs is None or isinstance(grad_outputs, Tensor):
        starts: tuple[Tensor | None, ...] = (grad_outputs,) * len(ends)
    else:
        starts = tuple(grad_outputs)
    seeds: Grads = {}
    for end, start in zip(ends, starts, strict=True):
        root, seed = _root("grad", end), _seed("grad", end, start)
        seeds[root] = seeds[root] + seed if root in seeds else seed
    wanted = [_root("grad", target) for target in targets]
    retain = create_graph if retain_graph is None else retain_graph
    found = run(seeds, set(wanted), create_graph=create_graph, retain_graph=retain)
    results = tuple(found.get(node) for node in wanted)
    if not allow_unused and any(result is None for result in results):
        position = next(i for i, result in enumerate(results) if result is None)
        raise GradientError(
            f"grad: the outputs do not depend on input {position}",
            hint="pass allow_unused=True to get None for it",
        )
    return results


def run(
    seeds: Grads,
    targets: set[Node] | None,
    *,
    create_graph: bool,
    retain_graph: bool,
    cut: bool = False,
) -> Grads:
    """Propagate gradients from roots to leaves.

    Args:
        seeds: Gradients of the roots.
        targets: Nodes whose gradients are returned; nothing is propagated beyond what leads to
            them and `.grad` stays untouched. None: accumulate into `.grad` of owners.
        create_graph: Record the operations of this pass.
        retain_graph: Keep what nodes have saved.
        cut: Treat targets as independent of each other: nothing is propagated beyond one.
    """
    ends = targets if cut and targets is not None else set()
    nodes = _reachable(seeds, targets, ends)
    pending: Grads = dict(seeds)
    found: Grads = {}
    with set_grad_enabled(create_graph):
        for node in nodes:
            gradient = pending.pop(node, None)
            if gradient is None:
                continue
            gradient = _call_hooks(node, gradient)
            if targets is None:
                _accumulate(node, gradient)
            elif node in targets:
                found[node] = gradient
            if node.op is not None and node not in ends:
                if mode.tracer is not None:
                    mode.tracer.differentiating(node)
                _propagate(node, gradient, nodes, pending)
                if not retain_graph:
                    _free(node)
    if mode.tracer is not None:
        mode.tracer.differentiating(None)
    return found


def _reachable(
    seeds: Iterable[Node], targets: set[Node] | None, ends: set[Node]
) -> dict[Node, None]:
    """Return the nodes to visit, last created first, as an ordered set."""
    seen: set[Node] = set(seeds)
    stack = list(seen)
    while stack:
        node = stack.pop()
        for parent in () if node in ends else node.inputs:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    ordered = sorted(seen, key=lambda node: node.number)
    if targets is not None:
        leads: set[Node] = set()
        for node in ordered:
            if node in targets or any(parent in leads for parent in node.inputs):
                leads.add(node)
        ordered = [node for node in ordered if node in leads]
    return dict.fromkeys(reversed(ordered))


def _propagate(node: Node, gradient: Tensor, nodes: dict[Node, None], pending: Grads) -> None:
    op = node.op
    assert op is not None
    if node.freed:
        raise GradientError(
            "backward: a second time through the same graph: what "
            f"{op.name} saved for its derivative was freed by the first",
            hint="compute the loss anew for each backward(), detach() what one step hands to the "
            "next; or keep the graph: backward(retain_graph=True) the first time",
        )
    inputs = [
        _restore(array, parent, spec)
        for array, parent, spec in zip(node.saved, node.inputs, node.specs, strict=True)
    ]
    output = _restore(node.saved_output, node, node.spec)
    results = op.vjp(gradient, output, *inputs, **node.attrs)
    if len(results) != len(node.inputs):
        raise StateError(f"{op.name}: vjp gave {len(results)} gradients for {len(inputs)} inputs")
    for parent, spec, result in zip(node.inputs, node.specs, results, strict=True):
        if parent is None or result is None or parent not in nodes:
            continue
        result = unbroadcast(op.name, result, spec)
        pending[parent] = pending[parent] + result if parent in pending else result


def _restore(array: Array | None, node: Node | None, spec: Spec) -> Tensor:
    value = Tensor(array, spec)
    value.node = node
    return value


def unbroadcast(op: str, gradient: Tensor, spec: Spec) -> Tensor:
    """Sum a gradient over the axes along which its input was broadcast."""
    if gradient.shape != spec.shape:
        extra = gradient.ndim - len(spec.shape)
        expect(extra >= 0, "{}: gradient {} for an input {}", op, gradient.spec, spec)
        stretched = tuple(
            axis
            for axis in range(gradient.ndim)
            if axis < extra or (spec.shape[axis - extra] == 1 and gradient.shape[axis] != 1)
        )
        gradient = gradient.sum(stretched, keepdims=True).reshape(spec.shape)
    return gradient if gradient.dtype is spec.dtype else gradient.to(spec.dtype)


def _call_hooks(node: Node, gradient: Tensor) -> Tensor:
    owner = node.owner() if node.owner is not None else None
    hooks = owner.hooks if node.op is None and owner is not None else node.hooks
    for hook in list((hooks or {}).values()):
        replaced = hook(gradient)
        if replaced is not None:
            expect(
                replaced.shape == node.spec.shape,
                "hook: returned a gradient {} for a tensor {}",
                *(replaced.spec, node.spec),
            )
            gradient = replaced
    return gradient


def _accumulate(node: Node, gradient: Tensor) -> None:
    owner = node.owner() if node.owner is not None else None
    if owner is None:
        return
    if mode.tracer is not None:
        mode.tracer.accumulating(owner)
    if owner.grad is not None:
        used = owner.grad.origin in (USED, MIXED)
        owner.grad = owner.grad + gradient
        if used:
            owner.grad.origin = MIXED
    elif gradient.node is not None:
        owner.grad = gradient
    else:
        # A handle of its own: one gradient may arrive at several leaves. In row order: that of
        # `x @ w.mT` comes transposed, and each pass of an optimizer over it would be slow.
        array = gradient._array
        in_order = array if type(array) is Value else np.asarray(array, order="C")
        owner.grad = Tensor(in_order, gradient.spec)


def _free(node: Node) -> None:
    node.saved = (None,) * len(node.saved)
    node.saved_output = None
    node.freed = node.op is not None and node.op.saves != NOTHING


def _root(what: str, output: Tensor) -> Node:
    if output.node is None:
        raise GradientError(
            f"{what}: the tensor {output.spec} depends on nothing that requires a gradient",
            hint="compute it from model(x), outside of no_grad() and without detach(), numpy() or "
            "item() on the way; a plain tensor needs requires_grad=True",
        )
    return output.node


def _seed(what: str, output: Tensor, gradient: Tensor | None) -> Tensor:
    if gradient is None:
        if output.size != 1:
            raise GradientError(
                f"{what}: the output {output.spec} has {output.size} elements, expected one",
                hint="reduce it first (loss.mean()), or pass gradient=",
            )
        one: Tensor = FUNCTIONS["full"](output.shape, 1.0, dtype=output.dtype)
        return one
    expect(
        gradient.shape == output.shape,
        "{}: gradient {} for an output {}",
        *(what, gradient.spec, output.spec),
    )
    return gradient


def vjp(
    function: Callable[..., Tensor], *inputs: Tensor
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """Return a function's value and the map from a gradient of it to gradients of the inputs.

    Args:
        function: A function of tensors with one tensor as result.
        inputs: Where it is evaluated.

    Returns:
        The value, and ``pull``: ``pull(v)`` gives vᵀJ for each input (zeros where the value
        does not depend on it); it can be called many times.
    """
    nested = _is_nested(inputs)
    with enable_grad():
        fresh = _fresh(inputs, nested)
        value = function(*fresh)

    def pull(gradient: Tensor) -> tuple[Tensor, ...]:
        if value.node is None:
            return tuple(x.detach() * 0 for x in inputs)
        found = grad(
            value, fresh, gradient, retain_graph=True, create_graph=nested, allow_unused=True
        )
        return tuple(x.detach() * 0 if g is None else g for x, g in zip(inputs, found, strict=True))

    return (value if nested else value.detach()), pull


def _is_nested(inputs: Sequence[Tensor]) -> bool:
    """Return whether the results are themselves to be differentiated."""
    return is_grad_enabled() and any(x.node is not None for x in inputs)


def _fresh(inputs: Sequence[Tensor], nested: bool) -> list[Tensor]:
    """Return stand-ins to differentiate by; they stay linked to the inputs where nested."""
    clone = FUNCTIONS["clone"]
    return [
        clone(x) if nested and x.node is not None else x.detach().requires_grad_() for x in inputs
    ]


def jvp(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], tangents: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return a function's value and its directional derivative J v.

    The map u ↦ uᵀJ is linear in u; its own transpose at v is J v, so two reverse passes give a
    forward derivative and no op needs a second rule.

    Args:
        function: A function of tensors with one tensor as result.
        inputs: Where it is evaluated.
        tangents: The direction, a tensor of the same shape for each input.

    Returns:
        The value and J v, of the value's shape.
    """
    for x, v in zip(inputs, tangents, strict=True):
        expect(x.shape == v.shape, "jvp: tangent {} for an input {}", v.spec, x.spec)
    nested = _is_nested([*inputs, *tangents])
    with enable_grad():
        fresh = _fresh(inputs, nested)
        value = function(*fresh)
        zero = value.detach() * 0
        if value.node is None:
            return value, zero
        dummy = zero.detach().requires_grad_()
        pulled = grad(value, fresh, dummy, create_graph=True, allow_unused=True)
        pairs = [(p, v) for p, v in zip(pulled, tangents, strict=True) if p is not None]
        ends = [p for p, _ in pairs if p.node is not None]
        starts = [v for p, v in pairs if p.node is not None]
        pushed = None
        if ends:
            (pushed,) = grad(ends, dummy, starts, create_graph=nested, allow_unused=True)
    pushed = zero if pushed is None else pushed
    return (value, pushed) if nested else (value.detach(), pushed.detach())
