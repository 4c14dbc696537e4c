"""The pipeline: from a program to the plan of its kernels, pass by pass.

Takes: a traced program. Gives: a plan that the code generator and the runtime carry out.
The one idea: a fixed list of passes with a check after each; `CHAINRULE_DUMP` shows them all.

    program passes: folding, algebra, lookups, common, dead, regions, winograd
                                                        (Program -> Program)
    lower     instructions -> formulas                  (Program -> Graph)
    contract  contractions, large reductions            (Graph, in place)
    fuse      which formulas become one kernel          (Graph -> groups)
    order     which kernel runs after which             (groups, in order)
    layout    where tensors lie in memory               (groups -> places)
    kernels   loops over buffers                        (group -> kernels)
    memory    which buffers share memory                (steps -> Plan)
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from chainrule.compiler.algebra import simplify
from chainrule.compiler.assemble import Place
from chainrule.compiler.common import share_common
from chainrule.compiler.contract import prepare
from chainrule.compiler.dead import remove_dead
from chainrule.compiler.folding import fold_constants
from chainrule.compiler.fuse import Fusion
from chainrule.compiler.kernels import copied, kernels
from chainrule.compiler.layout import places as lay_out
from chainrule.compiler.layout import put_parts
from chainrule.compiler.lookups import move_lookups
from chainrule.compiler.lower import lower
from chainrule.compiler.memory import laid_out
from chainrule.compiler.nodes import Graph, Group, Host
from chainrule.compiler.order import ordered
from chainrule.compiler.program import Program, Region, verify
from chainrule.compiler.region_passes import optimise_regions
from chainrule.compiler.region_plans import Body, region_of, region_steps, results_in
from chainrule.compiler.repeated import Bodies
from chainrule.compiler.winograd import transform_convolutions
from chainrule.core.config import dump_dir
from chainrule.core.dtype import Array
from chainrule.ir.expr import Buffer, Ref
from chainrule.ir.kernel import Check, Contraction, HostCall, Kernel, Launch, Plan, Step
from chainrule.ir.plan_verifier import verify_plan
from chainrule.ir.printer import formulas_text, plan_text
from chainrule.ir.verifier import in_place

PASSES: tuple[tuple[str, Callable[[Program], Program]], ...] = (
    ("folding", fold_constants),
    ("algebra", simplify),
    ("folding", fold_constants),
    ("lookups", move_lookups),
    ("common", share_common),
    ("dead", remove_dead),
    ("regions", lambda program: optimise_regions(program, simplified)),
    ("common", share_common),
    ("dead", remove_dead),
)
# After those, for whole programs: what they make is not to be simplified.
LAST: tuple[tuple[str, Callable[[Program], Program]], ...] = (
    ("winograd", transform_convolutions),
    ("common", share_common),
    ("dead", remove_dead),
)


def simplified(program: Program) -> Program:
    """Return a program after all passes over programs."""
    for _, change in PASSES:
        program = change(program)
    return program


@contextmanager
def _without_collection() -> Iterator[None]:
    """Put off Python's search for cycles: there are few, and it takes a third of all time here."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@_without_collection()
def build(program: Program, *, target: Any = None, fuse: bool = True, check: bool = False) -> Plan:
    """Return the plan of a program.

    Args:
        program: What a traced function does.
        target: The processor; the plan is the same for all so far.
        fuse: Whether kernels are fused; without, each formula is a kernel, for tests.
        check: Whether each pass's result is verified, as it is while dumping.

    Raises:
        StateError: A pass broke a rule (a bug in chainrule).
    """
    dump = _Dump(program.name)
    check = check or dump.folder is not None
    dump.write("traced", lambda: program.text)
    for name, change in (*PASSES, *LAST):
        program = change(program)
        if check:
            verify(program, name)
        dump.write(name, partial(_text, program))
    graph = lower(program)
    prepare(graph)
    dump.write("formulas", lambda: _formulas(graph))
    fusion = Fusion(graph, fuse=fuse)
    groups, late = ordered(fusion)
    plan = _plan(graph, fusion, groups, late)
    dump.write("plan", lambda: plan_text(plan))
    if check:
        pairs = zip(plan.outputs, program.overwrites, strict=True)
        where = dict(zip(program.inputs, plan.inputs, strict=True))
        verify_plan(plan, {output: where[old] for output, old in pairs if old in where})
    return plan


class _Dump:
    """Writes the text of each stage into the folder that `CHAINRULE_DUMP` names."""

    def __init__(self, name: str) -> None:
        self.folder = dump_dir()
        self.name = "".join(c if c.isalnum() else "_" for c in name)
        self.count = 0

    def write(self, stage: str, text: Callable[[], str]) -> None:
        """Write the text of a stage."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{self.name}.{self.count}.{stage}.txt"
            path.write_text(text(), encoding="utf-8")
            self.count += 1


def _text(program: Program) -> str:
    return program.text


def _formulas(graph: Graph) -> str:
    made = [node.formula for node in graph.nodes if not isinstance(node.formula, Host)]
    return formulas_text(tuple(made))


def _plan(graph: Graph, fusion: Fusion, groups: Sequence[Group], late: set[Ref]) -> Plan:
    bodies = Bodies(partial(_body, fuse=fusion.fuse))
    steps, places, outputs, constants = _scheduled(graph, fusion, groups, late, bodies)
    inputs = tuple(places[ref].buffer for ref in graph.inputs)
    temporaries, arena = laid_out(steps, (*inputs, *outputs, *constants))
    return Plan(graph.name, tuple(steps), inputs, outputs, constants, temporaries, arena)


def _body(
    program: Program, inputs: Sequence[Buffer], outputs: Sequence[Buffer], *, fuse: bool
) -> Body:
    """Return the steps of a body whose inputs and outputs lie in given buffers."""
    graph = lower(program)
    prepare(graph)
    fusion = Fusion(graph, fuse=fuse)
    groups, late = ordered(fusion)
    given = dict(zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True))
    bodies = Bodies(partial(_body, fuse=fuse))
    steps, _, _, constants = _scheduled(graph, fusion, groups, late, bodies, given)
    return Body(steps, constants)


def _scheduled(
    graph: Graph,
    fusion: Fusion,
    groups: Sequence[Group],
    late: set[Ref],
    bodies: Bodies,
    given: dict[Ref, Buffer] | None = None,
) -> tuple[list[Step], dict[Ref, Place], tuple[Buffer, ...], dict[Buffer, Array]]:
    """Return steps, places, where the outputs lie, and the constants.

    Args:
        graph: The program.
        fusion: Its groups.
        groups: These in order.
        late: Outputs that are copied last.
        bodies: Plans the bodies of loops and branches.
        given: Where inputs and outputs lie, if that is decided.
    """
    places = lay_out(fusion, groups)
    for ref, buffer in (given or {}).items():
        places[ref] = Place(buffer, places[ref].strides)
    put_parts(places, fusion.parts)
    nodes = {node.target: node for node in graph.nodes}
    checks: dict[int, list[Check]] = {}
    for ref, message, origin in graph.checks:
        maker = fusion.makers[ref].number if ref in fusion.makers else -1
        checks.setdefault(maker, []).append(Check(places[ref].buffer, message, origin))
    finals = {ref: places[ref].buffer for ref in graph.outputs}
    last: list[Step] = []
    olds = {o: places[i] for o, i in zip(graph.outputs, graph.overwrites, strict=True) if i}
    steps: list[Step] = [*checks.get(-1, ())]
    constants = {places[ref].buffer: array for ref, array in graph.constants.items()}
    for group in groups:
        region = region_of(group)
        if region is None:
            steps.extend(_steps(group, places, nodes, late, olds, last))
        else:
            made = _region(region, group, places, late | set(olds), last, fusion, bodies)
            steps.extend(made.steps)
            constants.update(made.constants)
        steps.extend(checks.get(group.number, ()))
    steps.extend(last)
    return steps, places, tuple(finals[ref] for ref in graph.outputs), constants


def _region(
    region: Region,
    group: Group,
    places: dict[Ref, Place],
    late: set[Ref],
    last: list[Step],
    fusion: Fusion,
    bodies: Bodies,
) -> Body:
    """Return the steps of a loop or branch; copies that have to come last go into ``last``."""
    formula = group.roots[0].node.formula
    assert isinstance(formula, Host)
    origin = group.roots[0].node.origin
    for root in group.roots:
        if root.node.target in late:
            _postpone(root.node.target, places, last, origin)
    inputs = [places[ref].buffer for ref in formula.inputs]
    begins = [places[ref].offset for ref in formula.inputs]
    refs = results_in(group)
    results = {n: places[ref].buffer for n, ref in refs.items()}
    made = region_steps(region, inputs, begins, results, origin, bodies, *_free(refs, fusion))
    for n, (buffer, first) in made.moved.items():
        places[refs[n]] = Place(buffer, places[refs[n]].strides, first)
    return made


def _free(refs: dict[int, Ref], fusion: Fusion) -> tuple[list[int], list[int]]:
    """Return the results of a region that may be part of a larger buffer: its start, any part."""
    graph = fusion.graph
    fixed = {*graph.outputs, *(ref for ref, _, _ in graph.checks)}
    starts: set[Ref] = set()
    for group in fusion.groups:
        formula, other = group.roots[0].node.formula, region_of(group)
        if isinstance(formula, Host) and other is None:
            fixed.update(formula.inputs)
        elif isinstance(formula, Host) and other is not None:
            stacks = range(other.carry, other.fixed) if other.kind == "scan" else ()
            starts.update(ref for n, ref in enumerate(formula.inputs) if n not in stacks)
    free = [n for n, ref in refs.items() if ref not in fixed]
    return free, [n for n in free if refs[n] not in starts]


def _steps(
    group: Group,
    places: dict[Ref, Place],
    nodes: dict[Ref, Any],
    late: set[Ref],
    olds: dict[Ref, Place],
    last: list[Step],
) -> list[Step]:
    """Return the steps of a group; copies that have to come last go into ``last``."""
    origin = tuple(dict.fromkeys(line for root in group.roots for line in root.node.origin))
    made = [root.node.target for root in group.stored]
    for ref in made:
        if ref in late:
            _postpone(ref, places, last, origin)
    if group.kind == "host":
        formula = group.roots[0].node.formula
        assert isinstance(formula, Host)
        inputs = tuple((places[r].buffer, r.shape) for r in formula.inputs)
        output = (places[formula.target].buffer, formula.target.shape)
        return [HostCall(formula.op, formula.attrs, inputs, output, origin)]
    found = kernels(group, places, nodes)
    unsafe = [
        ref
        for ref in made
        if ref in olds
        and ref not in late
        and not _may_share(found, olds[ref].buffer, places[ref].buffer)
    ]
    if unsafe:
        for ref in unsafe:
            _postpone(ref, places, last, origin)
        found = kernels(group, places, nodes)
    return [Launch(kernel, kernel.buffers, origin) for kernel in found]


def _may_share(kernels: Sequence[Kernel | Contraction], old: Buffer, new: Buffer) -> bool:
    """Return whether kernels that run in turn may write a buffer in the memory of another one."""
    begun = False
    for kernel in kernels:
        clashes = begun or (new in kernel.buffers and not in_place(kernel, old, new))
        if old in kernel.buffers and clashes:
            return False
        begun = begun or new in kernel.written
    return True


def _postpone(
    ref: Ref, places: dict[Ref, Place], last: list[Step], origin: tuple[str, ...]
) -> None:
    """Let an output be computed in memory of our own, and copied at the end."""
    final = places[ref]
    own = Buffer(final.buffer.name + "_new", final.buffer.dtype, final.buffer.size)
    places[ref] = Place(own, final.strides)
    if own.size:
        kernel = copied(own, final.buffer)
        last.append(Launch(kernel, kernel.buffers, origin))
