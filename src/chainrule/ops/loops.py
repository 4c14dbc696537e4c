"""Loops and branches: scan, while_loop, cond.

Takes: functions of tensors, and what they start with. Gives: what they end with.
The one idea: eagerly they are Python's own loops and branches; while a function is traced they
become loops and branches of the program, whose size does not depend on the number of rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.core.dtype import bool_
from chainrule.core.errors import ArgumentError, ChainruleError, DTypeError, ShapeError
from chainrule.core.structure import Form, arranged, flatten, paths, unflatten
from chainrule.graph.bundle import record_several
from chainrule.graph.node import mode, no_grad
from chainrule.graph.op import public
from chainrule.graph.tensor import Tensor, as_tensor
from chainrule.graph.traced import is_traced
from chainrule.ops.creation import zeros
from chainrule.ops.joining import concat
from chainrule.ops.movement import reshape

Tensors = list[Tensor]


@public
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any,
    length: int | None = None,
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Run a function over the slices of tensors, handing a state on from each to the next.

    It does the same as::

        carry, ys = init, []
        for x in xs:
            carry, y = f(carry, x)
            ys.append(y)
        return carry, chainrule.stack(ys)

    In a compiled function it is one loop of native code, and its derivative is another one:
    neither the program nor the time to compile it grows with the number of rounds.

    Args:
        f: Takes the carry and a slice of ``xs``; returns the next carry, of the same structure,
            shapes and dtypes, and a result of this round (None for none).
        init: The first carry: a tensor or number, or tuples, lists and dictionaries of them.
        xs: Tensors whose slices along the first axis are visited, in such a structure; or None.
        length: Number of rounds; needed where ``xs`` is None. For no rounds at all, ``f`` is
            called once with zeros, to learn what it would return.
        reverse: Visit the slices from the last to the first; results keep the places of slices.

    Returns:
        The last carry, and the results of all rounds stacked along a new first axis.

    Raises:
        ShapeError: The carry comes back from ``f`` in another shape, or ``xs`` have different
            lengths.
        DTypeError: It comes back in another dtype.
        ArgumentError: It comes back in another structure, or the number of rounds is not known.
        TraceError: In a compiled function, ``f`` draws random numbers or changes tensors from
            outside in place.

    Example:
        >>> import chainrule
        >>> def f(total, x):
        ...     return total + x, total
        >>> total, before = chainrule.scan(f, 0, chainrule.tensor([1, 2, 3]))
        >>> total.item(), before.tolist()
        (6, [0, 1, 3])
    """
    carry, carry_form = _tensors(init)
    carry = [_linked(tensor) for tensor in carry]
    slices, slices_form = _tensors(xs)
    count = _rounds(slices, paths(slices_form, "xs"), length)
    found: list[Form] = []
    step = _round(f, carry_form, slices_form, found)
    if mode.tracer is not None:
        carry, ys = mode.tracer.scan(step, carry, slices, count, reverse=reverse)
    else:
        carry, ys = _scan(step, carry, slices, count, reverse=reverse)
    return unflatten(carry_form, carry), unflatten(found[0], ys)


def _round(
    f: Callable[[Any, Any], Any], carry_form: Form, slices_form: Form, found: list[Form]
) -> Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]:
    """Return a round on tensors in a row; the forms of its results go into ``found``."""

    def step(carry: Tensors, x: Tensors) -> tuple[Tensors, Tensors]:
        result = f(unflatten(carry_form, carry), unflatten(slices_form, x))
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentError(
                f"scan: f returned {_named(result)}, expected a pair (carry, y)",
                hint="return carry, None where a round has no result of its own",
            )
        after = _same("scan", "carry", "init", carry_form, carry, result[0])
        results, form = _tensors(result[1])
        if found and form != found[0]:
            raise ArgumentError(f"scan: y is {form} in this round, was {found[0]} before")
        found.append(form)
        return after, results

    return step


def _scan(
    step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]],
    carry: Tensors,
    xs: Tensors,
    count: int,
    *,
    reverse: bool,
) -> tuple[Tensors, Tensors]:
    if not count:
        with no_grad():
            shapes = [(x.shape[1:], x.dtype) for x in xs]
            _, y = step(carry, [zeros(shape, dtype=dtype) for shape, dtype in shapes])
        return carry, [zeros((0, *part.shape), dtype=part.dtype) for part in y]
    slices = [_slices(x) for x in xs]
    order = range(count - 1, -1, -1) if reverse else range(count)
    ys: list[Tensors] = []
    for number in order:
        carry, y = step(carry, [x[number] for x in slices])
        ys.append(y)
    if reverse:
        ys.reverse()
    return carry, [_stacked([y[n] for y in ys]) for n in range(len(ys[0]))]


def _slices(x: Tensor) -> Tensors:
    """Return the slices of a tensor; all of their gradients are put together at once."""
    parts = [Tensor(np.asarray(part), x.spec._replace(shape=x.shape[1:])) for part in x.array]
    for part in parts:
        part.origin, part.site = x.origin, x.site
    if x.node is None or not mode.recording:
        return parts

    def pull(gradients: dict[int, Tensor]) -> Sequence[Tensor]:
        zero = None if len(gradients) == len(parts) else zeros(x.shape[1:], dtype=x.dtype)
        every = [gradients.get(n, zero) for n in range(len(parts))]
        return (_stacked([part for part in every if part is not None]),)

    record_several("scan", [x.node], dict(enumerate(parts)), pull)
    return parts


def _stacked(parts: Tensors) -> Tensor:
    first = parts[0].spec
    for part in parts:
        if part.spec != first:
            raise ShapeError(
                f"scan: y is {part.spec} in one round and {first} in another",
                hint="return results of one shape and dtype",
            )
    return concat([reshape(part, (1, *part.shape)) for part in parts])


def _rounds(xs: Tensors, names: list[str], length: int | None) -> int:
    """Return the number of rounds of a scan."""
    for x, name in zip(xs, names, strict=True):
        if not x.ndim:
            raise ShapeError(
                f"scan: {name} {x.spec} has no axis to go along",
                hint="what is the same in every round belongs into f or into the carry",
            )
    sizes = {x.shape[0] for x in xs}
    if len(sizes) > 1:
        listing = ", ".join(f"{name} {x.spec}" for x, name in zip(xs, names, strict=True))
        raise ShapeError(f"scan: xs have different lengths: {listing}", hint="cut the longer ones")
    if not sizes and length is None:
        raise ArgumentError(
            "scan: nothing to go along, and no number of rounds",
            hint="pass xs, or length=100 for 100 rounds",
        )
    if length is not None and (length < 0 or sizes - {length}):
        got = f", but xs have length {sizes.pop()}" if sizes else ""
        raise ArgumentError(f"scan: length={length}{got}", hint="leave length out")
    return sizes.pop() if sizes else int(length or 0)


@public
def while_loop(condition: Callable[[Any], Any], body: Callable[[Any], Any], init: Any) -> Any:
    """Run a function on its own result for as long as a condition holds.

    It does the same as::

        carry = init
        while condition(carry):
            carry = body(carry)
        return carry

    In a compiled function it is a loop of native code. Its gradient exists only in eager mode,
    since the number of rounds, and so the memory for what they compute, is known only there.

    Args:
        condition: Takes the carry; returns a bool tensor of one element.
        body: Takes the carry; returns the next one, of the same structure, shapes and dtypes.
        init: The first carry: a tensor or number, or tuples, lists and dictionaries of them.

    Returns:
        The carry for which the condition does not hold.

    Raises:
        ShapeError: The carry comes back in another shape.
        DTypeError: It comes back in another dtype, or the condition is not a bool.
        ArgumentError: It comes back in another structure.

    Example:
        >>> import chainrule
        >>> x = chainrule.while_loop(lambda x: x < 100.0, lambda x: x * 3.0, 1.0)
        >>> x.item()
        243.0
    """
    carry, form = _tensors(init)
    carry = [_linked(tensor) for tensor in carry]

    def holds(carry: Tensors) -> Tensor:
        return _truth("while_loop", condition(unflatten(form, carry)))

    def step(carry: Tensors) -> Tensors:
        return _same("while_loop", "carry", "init", form, carry, body(unflatten(form, carry)))

    if mode.tracer is not None:
        return unflatten(form, mode.tracer.while_loop(holds, step, carry))
    while holds(carry).array.item():
        carry = step(carry)
    return unflatten(form, carry)


@public
def cond(
    condition: Any,
    true_function: Callable[..., Any],
    false_function: Callable[..., Any],
    *operands: Any,
) -> Any:
    """Return the result of one of two functions; only that one runs.

    In a compiled function it is a branch of native code, also its derivative: where the other
    function would give NaN, nothing of that is seen.

    Args:
        condition: A bool tensor of one element, or a bool.
        true_function: Runs if it is true, on the operands.
        false_function: Runs if it is false. In a compiled function both must return the same
            structure, shapes and dtypes.
        operands: What the functions take.

    Returns:
        What the function returns.

    Raises:
        DTypeError: The condition is not a bool, or results differ in dtype.
        ShapeError: Results of the two functions differ in shape.
        ArgumentError: Results of the two functions differ in structure.
        TraceError: In a compiled function, one of them draws random numbers or changes tensors
            from outside in place.

    Example:
        >>> import chainrule
        >>> x = chainrule.tensor(-2.0)
        >>> chainrule.cond(x > 0, lambda x: x.sqrt(), lambda x: -x, x).item()
        2.0
    """
    decides = _truth("cond", condition)
    if mode.tracer is None or not is_traced(decides):
        chosen = true_function if decides.array.item() else false_function
        return chosen(*operands)
    first: list[tuple[Form, Tensors]] = []

    def true() -> Tensors:
        results, form = _tensors(true_function(*operands))
        first.append((form, results))
        return results

    def false() -> Tensors:
        form, results = first[0]
        other = false_function(*operands)
        return _same("cond", "result", "the other function", form, results, other)

    results = mode.tracer.cond(decides, true, false)
    return unflatten(first[0][0], results)


# --- what functions take and return ------------------------------------------------------------


def _tensors(structure: Any) -> tuple[Tensors, Form]:
    leaves, form = flatten(structure)
    return [as_tensor(leaf) for leaf in leaves], form


def _linked(tensor: Tensor) -> Tensor:
    """Return another handle of a tensor, which a function may change in place."""
    if mode.tracer is not None:
        mode.tracer.lift(tensor)
    link = Tensor(tensor._array, tensor.spec)
    link.node, link.origin, link.site = tensor.node, tensor.origin, tensor.site
    return link


def _same(op: str, what: str, source: str, form: Form, before: Tensors, structure: Any) -> Tensors:
    """Return the tensors of a structure that must be like another one."""
    after, found = _tensors(arranged(structure, form))
    if found != form:
        raise ArgumentError(
            f"{op}: the {what} is {found}, expected {form} as of {source} (* is a tensor)",
            hint=f"return a {what} of the same structure",
        )
    for old, new, name in zip(before, after, paths(form, what), strict=True):
        if old.shape != new.shape or old.dtype is not new.dtype:
            raise _changed(op, name, source, old, new)
    return after


def _changed(op: str, name: str, source: str, old: Tensor, new: Tensor) -> ChainruleError:
    rule = f"{op}: {name} is {new.spec}, expected {old.spec} as of {source}"
    if old.shape != new.shape:
        remedy = (
            "begin with one of the final shape" if source == "init" else "broadcast one of them"
        )
        return ShapeError(rule, hint=f"both must have one shape: {remedy}")
    convert = f".to(chainrule.{old.dtype.name})"
    return DTypeError(
        rule, hint=f"convert the new one with {convert}, or begin with the other dtype"
    )


def _truth(op: str, condition: Any) -> Tensor:
    """Return a condition as a tensor of one bool."""
    result = as_tensor(condition)
    if result.dtype is not bool_:
        raise DTypeError(
            f"{op}: the condition is {result.spec}, expected a bool", hint="compare: x > 0"
        )
    if result.size != 1:
        raise ShapeError(
            f"{op}: the condition {result.spec} has {result.size} elements, expected one",
            hint="use condition.any() or condition.all(); chainrule.where chooses elements",
        )
    return result


def _named(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"
