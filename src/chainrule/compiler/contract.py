"""Contractions: sums of products are recognised, and large reductions cut into parallel parts.

Takes: a graph of nodes. Gives: the same graph, whose contractions know their axes and read
tensors without margins, and whose large reductions have two stages.
The one idea: which operand an axis indexes says what it is: batch, row, column or depth.
"""

from __future__ import annotations

from dataclasses import replace

from chainrule.compiler.lower import neutral
from chainrule.compiler.nodes import Graph, Host, Node, Roles, extent, is_flat, node_of
from chainrule.core.dtype import float32
from chainrule.ir.definition import Definition, Scatter, compute, read
from chainrule.ir.expr import (
    Axis,
    Call,
    Const,
    Expr,
    Inside,
    Load,
    Ref,
    Within,
    add,
    extremes,
    index_of,
    rewrite,
    scale,
    substitute,
    walk,
    where,
)

# Multiplications from which a contraction is worth its own machinery.
SMALLEST = 20_000
# Rows and columns below which vectors of a contraction would be mostly empty.
NARROW = 4
# Elements from which a reduction is cut into parts, and about as many for each part.
LARGE = 65_536
PART = 32_768
PARTS = 64
# Rows of a sum over everything that are summed first: fewest, most.
ROWS = (32, 16_384)

Padded = dict[tuple[object, ...], Ref]


def prepare(graph: Graph) -> None:
    """Recognise contractions and cut large reductions, in place."""
    nodes: list[Node] = []
    padded: Padded = {}
    same: dict[Ref, Ref] = {}
    for node in graph.nodes:
        formula = node.formula
        if same and any(load.source in same for load in node.loads):
            node = _reading(node, same)
            formula = node.formula
        if padding_of(node) is not None and _known(node, padded, same):
            continue
        if isinstance(formula, Definition) and formula.fn:
            roles = _roles(formula)
            if roles is not None:
                _add_contraction(nodes, node, formula, roles, padded)
                continue
            count = _parts(formula)
            rows = _rows_first(formula) if count > 1 else []
            if rows:
                _add_rows(nodes, node, formula, rows)
                continue
            if count > 1:
                _add_parts(nodes, node, formula, count)
                continue
        nodes.append(node)
    for number, node in enumerate(nodes):
        node.number = number
    graph.nodes = nodes


# --- copies with margins -----------------------------------------------------------------------


def padding_of(node: Node) -> tuple[int, ...] | None:
    """Return where each axis begins in the source, if a node is a copy with margins of zeros."""
    formula = node.formula
    if not isinstance(formula, Definition) or formula.fn or not isinstance(formula.body, Load):
        return None
    load = formula.body
    source = load.source
    if not load.guards or any(load.dynamic) or source.dtype is not node.target.dtype:
        return None
    assert isinstance(source, Ref)
    starts = []
    if len(load.indices) != len(formula.axes) or source.shape == node.target.shape:
        return None
    for index, axis in zip(load.indices, formula.axes, strict=True):
        if index.terms != (() if axis.extent == 1 else ((axis, 1),)):
            return None
        starts.append(index.offset)
    within = {Within(i, n) for i, n in zip(load.indices, source.shape, strict=True)}
    if not within.issuperset(load.guards):
        return None
    if any(
        s > 0 or s + a.extent < n
        for s, a, n in zip(starts, formula.axes, source.shape, strict=True)
    ):
        return None
    return tuple(starts)


def _known(node: Node, padded: Padded, same: dict[Ref, Ref]) -> bool:
    """Return whether a copy is made already, or note that this node makes it."""
    key = (node.loads[0].source, node.target.shape, padding_of(node))
    if key in padded:
        same[node.target] = padded[key]
        return True
    padded[key] = node.target
    return False


def _reading(node: Node, same: dict[Ref, Ref]) -> Node:
    """Return a node that reads other tensors of the same elements."""

    def change(expr: Expr) -> Expr:
        if isinstance(expr, Load) and expr.source in same:
            return Load(same[expr.source], expr.indices, expr.guards, expr.dynamic)
        return expr

    formula = node.formula
    if isinstance(formula, Host):
        inputs = tuple(same.get(ref, ref) for ref in formula.inputs)
        return replace(node, formula=replace(formula, inputs=inputs))
    changed: dict[str, object] = {"body": rewrite(formula.body, change)}
    if isinstance(formula, Scatter):
        changed["initial"] = same.get(formula.initial, formula.initial)
        changed["dynamic"] = tuple(e and rewrite(e, change) for e in formula.dynamic)
    made = replace(formula, **changed)  # type: ignore[arg-type]
    return node_of(made, node.name, node.origin)


# --- contractions ------------------------------------------------------------------------------


def _roles(formula: Definition) -> Roles | None:
    """Return the axes of a contraction, or None if a definition is none or a small one."""
    body = formula.body
    if formula.fn != "add" or not isinstance(body, Call) or body.fn != "multiply":
        return None
    left, right = body.args
    if not isinstance(left, Load) or not isinstance(right, Load) or not body.dtype.is_floating:
        return None
    if any(left.dynamic) or any(right.dynamic) or is_flat(left) or is_flat(right):
        return None
    in_left, in_right = _axes(left), _axes(right)
    kept = [axis for axis in formula.axes if axis.extent != 1]
    depth = tuple(a for a in formula.reduced if a.extent != 1)
    if any(axis not in in_left and axis not in in_right for axis in (*kept, *depth)):
        return None
    batch = tuple(a for a in kept if a in in_left and a in in_right)
    rows = tuple(a for a in kept if a not in in_right)
    columns = tuple(a for a in kept if a not in in_left)
    work = extent((*kept, *depth))
    if work < SMALLEST or min(extent(rows), extent(columns)) < NARROW or extent(depth) < 2:
        return None
    return Roles(batch, rows, columns, depth, left, right)


def _axes(load: Load) -> set[Axis]:
    indices = (*load.indices, *(g.index for g in load.guards))
    return {axis for index in indices for axis, _ in index.terms}


def _add_contraction(
    nodes: list[Node], node: Node, formula: Definition, roles: Roles, padded: Padded
) -> None:
    left = _unguarded(nodes, node, roles.left, padded)
    right = _unguarded(nodes, node, roles.right, padded)
    body = Call("multiply", (left, right), formula.body.dtype)
    made = Definition(formula.target, formula.axes, body, formula.fn, formula.reduced)
    known = Roles(roles.batch, roles.rows, roles.columns, roles.depth, left, right)
    nodes.append(node_of(made, node.name, node.origin, known))


def _unguarded(nodes: list[Node], node: Node, load: Load, padded: Padded) -> Load:
    """Return a load from a copy in memory: wide where it was short, with margins for guards."""
    source = load.source
    assert isinstance(source, Ref)
    if source.dtype.is_half:
        short = source
        made = compute(short.shape, float32, lambda *at: read(short, *at), "wide")
        nodes.append(node_of(made, "cast", node.origin))
        source = made.target
        load = Load(source, load.indices, load.guards)
    if not load.guards:
        return load
    shape, places, starts = [], [], []
    for index, size in zip(load.indices, source.shape, strict=True):
        low, high = extremes(index)
        low, high = min(low, 0), max(high, size - 1)
        shape.append(high - low + 1)
        places.append(add(index, -low))
        starts.append(low)
    key = (source, tuple(shape), tuple(starts))
    if key not in padded:
        padded[key] = _add_padded(nodes, node, source, shape, starts)
    return Load(padded[key], tuple(places))


def _add_padded(
    nodes: list[Node], node: Node, source: Ref, shape: list[int], starts: list[int]
) -> Ref:
    target = Ref("padded", tuple(shape), source.dtype)
    axes = tuple(Axis("ijklmnpq"[n % 8], size) for n, size in enumerate(shape))
    places = tuple(add(axis, start) for axis, start in zip(axes, starts, strict=True))
    guards = tuple(
        Within(place, size)
        for place, size, wide in zip(places, source.shape, shape, strict=True)
        if wide != size
    )
    formula = Definition(target, axes, Load(source, places, guards))
    nodes.append(node_of(formula, "pad", node.origin))
    return target


# --- large reductions --------------------------------------------------------------------------


def _rows_first(formula: Definition) -> list[Axis]:
    """Return the axes of a sum over everything whose rows should be summed first, or none.

    Where something else works on the same rows, their sums then cost nothing.
    """
    wide = [axis for axis in formula.reduced if axis.extent != 1]
    rows, last = wide[:-1], wide[-1:]
    fits = ROWS[0] <= extent(rows) <= ROWS[1] and extent(last) >= ROWS[0]
    return rows if extent(formula.axes) == 1 and fits else []


def _add_rows(nodes: list[Node], node: Node, formula: Definition, rows: list[Axis]) -> None:
    """Add a reduction of each row, and one of their results."""
    target = Ref("rows", tuple(axis.extent for axis in rows), formula.body.dtype)
    rest = tuple(axis for axis in formula.reduced if axis not in rows)
    first = Definition(target, tuple(rows), formula.body, formula.fn, rest)
    nodes.append(node_of(first, node.name, node.origin))
    again = tuple(Axis(axis.name, axis.extent) for axis in rows)
    load = Load(target, tuple(index_of(axis) for axis in again))
    second = Definition(formula.target, formula.axes, load, formula.fn, again)
    nodes.append(node_of(second, node.name, node.origin))


def _parts(formula: Definition) -> int:
    """Return into how many parts a reduction is cut."""
    kept, reduced = extent(formula.axes), extent(formula.reduced)
    if kept * reduced < LARGE or kept >= reduced or not kept:
        return 1
    # Rows are independent; where the kept axes come last, vectors of them are.
    by_rows = kept if _is_of_rows(formula) else max(1, kept // 16)
    wanted = min(PARTS, kept * reduced // PART, reduced // 2)
    return wanted if by_rows < 2 * wanted else 1


def _is_of_rows(formula: Definition) -> bool:
    """Return whether what is reduced lies side by side in what is read."""
    reduced = set(formula.reduced)
    for expr in walk(formula.body):
        if isinstance(expr, Load) and len(expr.indices) > 1:
            wide = [i for i in expr.indices if i.terms]
            if wide:
                first, last = (any(a in reduced for a, _ in wide[n].terms) for n in (0, -1))
                return last and not first
    return False


def _add_parts(nodes: list[Node], node: Node, formula: Definition, count: int) -> None:
    """Add a reduction of each part, and one of their results in order."""
    axis = next((a for a in formula.reduced if a.extent >= 8), None)
    axis = axis or max(formula.reduced, key=lambda a: a.extent)
    count = _divisor(axis.extent, count)
    step = -(-axis.extent // count)
    part, within = Axis("p", count), Axis(axis.name + "1", step)
    place = add(scale(part, step), index_of(within))
    body = substitute(formula.body, {axis: place})
    if count * step != axis.extent:
        body = _limited(body, Within(place, axis.extent), formula.fn)
    kind = body.dtype
    target = Ref("parts", (count, *formula.target.shape), kind)
    reduced = tuple(within if a is axis else a for a in formula.reduced)
    first = Definition(target, (part, *formula.axes), body, formula.fn, reduced)
    nodes.append(node_of(first, node.name, node.origin))
    axes = tuple(Axis(a.name, a.extent) for a in formula.axes)
    again = Axis("r", count)
    load = Load(target, (index_of(again), *(index_of(a) for a in axes)))
    second = Definition(formula.target, axes, load, formula.fn, (again,))
    nodes.append(node_of(second, node.name, node.origin))


def _divisor(size: int, wanted: int) -> int:
    """Return a divisor near a wanted number of parts, or that number if there is none."""
    near = [n for n in range(max(wanted // 2, 2), 2 * wanted + 1) if size % n == 0]
    return min(near, key=lambda n: abs(n - wanted)) if near else min(wanted, size)


def _limited(body: Expr, bound: Within, fn: str) -> Expr:
    """Return a body that is neutral, and reads nothing, outside of a bound."""
    from_guarded = _guarded(body, bound)
    empty: Const = neutral(fn, body.dtype)
    return where(Inside((bound,)), from_guarded, empty)


def _guarded(body: Expr, bound: Within) -> Expr:
    def change(expr: Expr) -> Expr:
        if isinstance(expr, Load):
            return Load(expr.source, expr.indices, (*expr.guards, bound), expr.dynamic)
        return expr

    return rewrite(body, change)
