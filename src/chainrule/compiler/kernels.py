"""Kernels: what each group becomes.

Takes: a group, and where tensors lie. Gives: the kernels that compute it, in order.
The one idea: maps and reductions, contractions, scatters and running sums differ only in which
loops may run side by side.
"""

from __future__ import annotations

from chainrule.compiler.assemble import Assembly, Place
from chainrule.compiler.contract import padding_of
from chainrule.compiler.margin import margin
from chainrule.compiler.nest import arranged, buffers_of
from chainrule.compiler.nodes import (
    Access,
    Group,
    Node,
    Root,
    bug,
    extent,
    is_view,
    replaced,
    size_of,
)
from chainrule.compiler.stages import Form, Stage, form_of, rewritten
from chainrule.ir.definition import Prefix, Scatter
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Expr,
    Index,
    Load,
    Read,
    Ref,
    Within,
    add,
    computed,
    index_of,
    needed,
    scale,
    where,
)
from chainrule.ir.kernel import (
    Accumulate,
    Contraction,
    Declare,
    Kernel,
    Loop,
    Statement,
    Store,
)

# Elements from which the independent columns of a scatter are handed out in blocks of so many.
PARALLEL = 65_536
BLOCK = 512


def kernels(
    group: Group, places: dict[Ref, Place], nodes: dict[Ref, Node]
) -> list[Kernel | Contraction]:
    """Return the kernels of a group; none if it makes no elements, or others lay them there."""
    if group.kind == "join" or not size_of(group.roots[0].node.target):
        return []
    assembly = Assembly(group, places, nodes)
    name = name_of(group)
    if group.kind == "scatter":
        return _scatter(group, assembly, name)
    if group.kind == "margin":
        starts = padding_of(group.roots[0].node)
        assert starts is not None
        return [margin(group.roots[0].node, starts, assembly.places)]
    if group.kind == "prefix":
        return [_prefix(group, assembly, name)]
    if group.core is not None:
        return [_contraction(group, group.core, assembly, name)]
    return [arranged(form_of(group, assembly), name)]


def name_of(group: Group) -> str:
    """Return the name of a group's kernel: its ops, in order."""
    names: dict[str, None] = {}
    for root in reversed(group.roots):
        if len(group.roots) == 1 or not is_view(root.node):
            names[root.node.name] = None
    return "_".join(list(names)[:6]) or "copy"


def copied(
    source: Buffer, target: Buffer, size: int | None = None, first: int = 0, at: int = 0
) -> Kernel:
    """Return the kernel that copies a buffer, or some elements of it to some place in another."""
    axis = Axis("i", source.size if size is None else size)
    load = Load(source, (add(axis, first),))
    stage = Stage(stores=[Store(target, add(axis, at), load)])
    return arranged(Form([axis], [], [stage]), "copy")


# --- contractions ------------------------------------------------------------------------------


def _contraction(group: Group, core: Root, assembly: Assembly, name: str) -> Contraction:
    roles = core.node.contracted
    assert roles is not None

    def axes(given: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(
            axis for a in given for axis, _ in sorted(core.axes[a].terms, key=lambda term: -term[1])
        )

    left = assembly.expression(core, roles.left)
    right = assembly.expression(core, roles.right)
    if not isinstance(left, Load) or not isinstance(right, Load) or left.guards or right.guards:
        raise bug(f"{name}: an operand is not in memory")
    rows, columns = axes(roles.rows), axes(roles.columns)
    stores = tuple(
        Store(assembly.places[root.node.target].buffer, assembly.index(root), assembly.result(root))
        for root in group.stored
    )
    near = {axis for axis, step in stores[-1].index.terms if step == 1}
    if near & set(rows) and not near & set(columns):
        left, right, rows, columns = right, left, columns, rows
    buffers, written = buffers_of(stores)
    operands = dict.fromkeys([left.source, right.source])
    every = dict.fromkeys([*operands, *buffers])
    return Contraction(
        name,
        tuple(every),  # type: ignore[arg-type]
        axes(roles.batch),
        rows,
        columns,
        axes(roles.depth),
        left,
        right,
        assembly.acc(core),
        stores,
        frozenset(written),
    )


# --- scatters ----------------------------------------------------------------------------------


def _scatter(group: Group, assembly: Assembly, name: str) -> list[Kernel | Contraction]:
    """Return the kernel that writes what a scatter starts as, and the one that updates it."""
    root = group.roots[0]
    formula = root.node.formula
    assert isinstance(formula, Scatter)
    place = assembly.places[formula.target]
    result: list[Kernel | Contraction] = []
    if extent(group.inner):
        first = assembly.value(formula.initial, Access(root.start))
        store = Store(place.buffer, place.at(root.start), first)
        form = Form(list(group.inner), [], [Stage(stores=[store])])
        result.append(arranged(form, f"{name}_start"))
    if extent(group.rows) and extent(group.inner):
        result.append(_update(group, root, formula, assembly, name))
    return result


def _update(group: Group, root: Root, formula: Scatter, assembly: Assembly, name: str) -> Kernel:
    place = assembly.places[formula.target]
    store = _updating(root, formula, assembly, place)
    free = _independent(root, formula)
    rows = [axis for axis in group.rows if axis.extent != 1]
    apart = [axis for axis in rows if axis in free]
    serial = [axis for axis in rows if axis not in free]
    vector = next((a for a in apart if dict(store.index.terms).get(a) == 1), None)
    if vector is None and apart and not serial:
        vector = apart[-1]
    chunks = max(1, min(extent(rows) // PARALLEL, 64))
    if vector is not None:
        apart.remove(vector)
        whole = vector.extent > BLOCK and vector.extent % BLOCK == 0
        if whole and extent(apart) < chunks:
            block, within = Axis(vector.name + "0", vector.extent // BLOCK), Axis("v", BLOCK)
            form = Form(rows, [], [Stage(stores=[store])])
            cut = rewritten(form, {vector: add(scale(block, BLOCK), index_of(within))})
            store, vector = cut[0].stores[0], within
            apart.append(block)
    body: tuple[Statement, ...] = (store,)
    if vector is not None:
        body = (Loop(vector, body, vector=True),)
    for axis in reversed(serial):
        body = (Loop(axis, body),)
    buffers, written = buffers_of(body)
    grain = -(-extent(apart) // chunks)
    return Kernel(name, buffers, tuple(apart), grain, body, (), frozenset(written))


def _updating(root: Root, formula: Scatter, assembly: Assembly, place: Place) -> Store:
    """Return the store of one update; positions out of range are skipped."""
    value = assembly.body(root)
    still: list[Index] = []
    offset: Expr | None = None
    holds: Expr | None = None
    guards: list[Within] = []
    for n, index in enumerate(formula.position):
        position = replaced(index, root.axes)
        size, stride = formula.target.shape[n], place.strides[n]
        extra = formula.dynamic[n] if n < len(formula.dynamic) else None
        if extra is None:
            still.append(position)
            guards.extend(needed([Within(position, size)]))
            continue
        still.append(Index((), 0))
        at = assembly.plus(assembly.expression(root, extra), position)
        inside = assembly.call(
            "logical_and",
            assembly.compare("greater_equal", at, 0),
            assembly.compare("less", at, size),
        )
        holds = inside if holds is None else assembly.call("logical_and", holds, inside)
        step = assembly.times(at, stride)
        offset = step if offset is None else assembly.call("add", offset, step)
    if offset is not None and holds is not None:
        offset = where(holds, offset, assembly.number(-place.buffer.size))
    index = place.at(still)
    adds = formula.fn == "add"
    return Store(place.buffer, index, value, tuple(guards), offset, adds)


def _independent(root: Root, formula: Scatter) -> set[Axis]:
    """Return the axes whose iterations write to different elements."""
    counts: dict[Axis, int] = {}
    alone: set[Axis] = set()
    for n, index in enumerate(formula.position):
        terms = [axis for a, _ in index.terms for axis, _ in root.axes[a].terms]
        for axis in terms:
            counts[axis] = counts.get(axis, 0) + 1
        dynamic = n < len(formula.dynamic) and formula.dynamic[n] is not None
        if len(terms) == 1 and not dynamic:
            alone.add(terms[0])
    return {axis for axis in alone if counts[axis] == 1}


# --- running reductions ------------------------------------------------------------------------


def _prefix(group: Group, assembly: Assembly, name: str) -> Kernel:
    root = group.roots[0]
    formula = root.node.formula
    assert isinstance(formula, Prefix)
    place = assembly.places[formula.target]
    along = formula.axes[formula.axis]
    acc = Acc("acc", formula.fn, formula.body.dtype)
    index = assembly.index(root)
    value = assembly.as_type(Read(acc), computed(formula.target.dtype))
    steps: tuple[Statement, ...] = (
        Accumulate(acc, assembly.body(root)),
        Store(place.buffer, index, value),
    )
    body: tuple[Statement, ...] = (Declare(acc), Loop(along, steps))
    rows = [axis for axis in group.rows if axis is not along]
    if rows and dict(index.terms).get(rows[-1]) == 1:
        body = (Loop(rows.pop(), body, vector=True),)
    buffers, written = buffers_of(body)
    chunks = max(1, min(extent(group.rows) // PARALLEL, 64))
    grain = max(1, -(-extent(rows) // chunks))
    return Kernel(name, buffers, tuple(rows), grain, body, (), frozenset(written))
