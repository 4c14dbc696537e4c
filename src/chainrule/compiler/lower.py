"""Lowering: each instruction becomes the formulas of its op.

Takes: a program. Gives: a graph of nodes; ops without formulas become calls of their NumPy
definition.
The one idea: from here on no pass knows an op by name.
"""

from __future__ import annotations

import math
from functools import lru_cache

from chainrule.compiler.nodes import Graph, Host, Made, Node, bug, node_of
from chainrule.compiler.program import Instruction, Program, Value
from chainrule.core.dtype import DType, to_compute
from chainrule.core.errors import Site, describe_site
from chainrule.ir.definition import Definition, compute, filled, read
from chainrule.ir.expr import Const, Expr, Index, Ref, call, computed, substitute


def lower(program: Program) -> Graph:
    """Return a program as formulas.

    Raises:
        StateError: The formulas of an op do not fit its shape rule.
    """
    graph = Graph(program.name)
    refs: dict[Value, Ref] = {}
    for number, value in enumerate(program.inputs):
        refs[value] = _ref(value, f"input{number}")
        graph.inputs.append(refs[value])
    for number, (value, array) in enumerate(program.constants.items()):
        refs[value] = ref = _ref(value, f"constant{number}")
        if math.prod(ref.shape) == 1:
            number_ = to_compute(array.reshape(-1), ref.dtype)[0].item()
            made = filled(ref.shape, number_, ref.dtype)
            refs[value] = made.target
            graph.nodes.append(_node(graph, made, "constant", ()))
        else:
            graph.constants[ref] = array
    for instruction in program.instructions:
        refs[instruction.output] = _instruction(graph, instruction, refs)
    for assertion in program.assertions:
        graph.checks.append((refs[assertion.ok], str(assertion.error), ()))
    _outputs(graph, program, refs)
    return graph


def _ref(value: Value, name: str) -> Ref:
    return Ref(name, tuple(value.spec.shape), value.spec.dtype)


def _instruction(graph: Graph, instruction: Instruction, refs: dict[Value, Ref]) -> Ref:
    op, attrs = instruction.op, instruction.attrs
    inputs = tuple(refs[value] for value in instruction.inputs)
    origin = origin_of(instruction)
    condition = op.condition(*inputs, **attrs)
    if condition is not None:
        formulas, error = condition
        for formula in formulas:
            graph.nodes.append(_node(graph, formula, op.name, origin))
        graph.checks.append((formulas[-1].target, str(error), origin))
    found = op.lower(*inputs, **attrs)
    spec = instruction.output.spec
    if found is None:
        made: tuple[Made, ...] = (Host(Ref(op.name, spec.shape, spec.dtype), op, attrs, inputs),)
    else:
        made = found
    target = made[-1].target
    if target.shape != tuple(spec.shape) or target.dtype is not spec.dtype:
        raise bug(f"{op.name}: its formulas make {target.dtype.short}{list(target.shape)}")
    for step in made:
        graph.nodes.append(_node(graph, step, op.name, origin))
    return target


def origin_of(instruction: Instruction) -> tuple[str, ...]:
    """Return what a profile says of an instruction: its op, the user's layer and line."""
    line = "" if instruction.site is None else _line(instruction.site)
    return tuple(part for part in (instruction.op.name, instruction.layer, line) if part)


@lru_cache(maxsize=4096)
def _line(site: Site) -> str:
    return describe_site(site)


def _node(graph: Graph, formula: Made, name: str, origin: tuple[str, ...]) -> Node:
    made = _plain(formula) if isinstance(formula, Definition) else formula
    return node_of(made, name, origin)


def _plain(formula: Definition) -> Definition:
    """Return a definition that reduces something and gives elements of its type."""
    target = formula.target
    if formula.fn and not math.prod(axis.extent for axis in formula.reduced):
        value = neutral(formula.fn, formula.body.dtype)
        made = compute(target.shape, target.dtype, lambda *_: _cast(value, target.dtype))
        return Definition(target, made.axes, made.body)
    if formula.fn and all(axis.extent == 1 for axis in formula.reduced):
        body = substitute(formula.body, {axis: Index((), 0) for axis in formula.reduced})
        return Definition(target, formula.axes, _cast(body, target.dtype))
    if not formula.fn and formula.body.dtype is not computed(target.dtype):
        return Definition(target, formula.axes, _cast(formula.body, target.dtype))
    return formula


def _cast(value: Expr, dtype: DType) -> Expr:
    kind = computed(dtype)
    return value if value.dtype is kind else call("cast", value, dtype=kind)


def neutral(fn: str, dtype: DType) -> Const:
    """Return what a reduction over nothing gives."""
    if fn in ("add", "multiply"):
        return Const(float(fn == "multiply") if dtype.is_floating else fn == "multiply", dtype)
    if fn.startswith("logical"):
        return Const(fn == "logical_and", dtype)
    if dtype.is_floating:
        return Const(-math.inf if fn == "maximum" else math.inf, dtype)
    low = -(2 ** (dtype.bits - 1)) if dtype.kind == "int" else 0
    high = 2 ** (dtype.bits - (dtype.kind == "int")) - 1
    return Const(low if fn == "maximum" else high, dtype)


def _outputs(graph: Graph, program: Program, refs: dict[Value, Ref]) -> None:
    """Make every output a tensor of its own, by copying inputs, constants and repeated ones."""
    taken = {*graph.inputs, *graph.constants}
    for value, old in zip(program.outputs, program.overwrites, strict=True):
        ref = refs[value]
        if ref in taken:
            made = compute(ref.shape, ref.dtype, lambda *at, ref=ref: read(ref, *at), "copy")
            graph.nodes.append(_node(graph, made, "copy", ("copy",)))
            ref = made.target
        taken.add(ref)
        graph.outputs.append(ref)
        graph.overwrites.append(None if old is None else refs[old])
