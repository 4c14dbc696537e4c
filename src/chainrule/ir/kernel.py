"""Kernels: loops over buffers, and the plan that runs them one after the other.

Takes: expressions over flat buffers. Gives: what the code generator turns into machine code.
The one idea: the outermost iterations (the grid) are independent and split into chunks by the
problem's size alone, so results do not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chainrule.ir.expr import Acc, Axis, Buffer, Expr, Index, Load, Within


@dataclass(frozen=True, slots=True, eq=False)
class Declare:
    """Set a reduction to its neutral element."""

    acc: Acc


@dataclass(frozen=True, slots=True, eq=False)
class Accumulate:
    """Take a value into a reduction: ``acc = fn(acc, value)``."""

    acc: Acc
    value: Expr


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """Write an element: ``buffer[index + dynamic] = value`` (or ``+=`` where ``adds``).

    Nothing is written where a guard does not hold, or where ``dynamic`` leads out of the buffer.
    Neighbouring stores belong together: all of them load before any of them writes.
    """

    buffer: Buffer
    index: Index
    value: Expr
    guards: tuple[Within, ...] = ()
    dynamic: Expr | None = None
    adds: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """Run statements for each value of an axis.

    ``vector``: iterations may run side by side in vector lanes (they are independent, except
    for accumulating into reductions that are declared outside). It may contain serial loops, not
    vector ones. ``unroll``: how many vectors (or iterations) to work on at once.
    """

    axis: Axis
    body: tuple[Statement, ...]
    vector: bool = False
    unroll: int = 1


Statement = Declare | Accumulate | Store | Loop


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Loops over buffers.

    Attributes:
        name: For people: op names joined by underscores.
        buffers: What it reads and writes, in the order of its machine code's arguments.
        grid: Axes of the independent outer iterations, row-major; may be empty (one iteration).
        grain: Number of grid iterations in a chunk, the unit of parallel work.
        body: Statements of one grid iteration.
        scratch: Buffers of the running thread, whose contents last for one grid iteration.
        written: Those of ``buffers`` that it writes.
    """

    name: str
    buffers: tuple[Buffer, ...]
    grid: tuple[Axis, ...]
    grain: int
    body: tuple[Statement, ...]
    scratch: tuple[Buffer, ...] = ()
    written: frozenset[Buffer] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Contraction:
    """``acc[batch, rows, columns] = Σ over depth of left · right``, then stores of one element.

    ``left`` does not depend on ``columns``, ``right`` not on ``rows``; neither has guards.
    ``stores`` are statements for one element: their values may `Read` ``acc``.

    Attributes:
        name: For people.
        buffers: What it reads and writes, in the order of its machine code's arguments.
        batch: Axes that both operands and the result have.
        rows: Axes of left and result.
        columns: Axes of right and result.
        depth: Axes that are summed over.
        left: Element of the left operand, a buffer's.
        right: Element of the right operand, a buffer's.
        acc: The sum.
        stores: What is written of it.
        written: Those of ``buffers`` that it writes.
    """

    name: str
    buffers: tuple[Buffer, ...]
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    depth: tuple[Axis, ...]
    left: Load
    right: Load
    acc: Acc
    stores: tuple[Store, ...]
    written: frozenset[Buffer] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """Run a kernel on buffers of the plan: one for each of the kernel's own, in order."""

    kernel: Kernel | Contraction
    arguments: tuple[Buffer, ...]
    # Which of the user's layers and lines it comes from, and its ops, for the profiler.
    origin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HostCall:
    """Compute an op by its NumPy definition, between native code."""

    op: Any
    attrs: dict[str, Any]
    inputs: tuple[tuple[Buffer, tuple[int, ...]], ...]  # with shapes
    output: tuple[Buffer, tuple[int, ...]]
    origin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """Run steps ``count`` times.

    In round t, an entry (inner, outer, first, stride) of ``views`` makes ``inner`` stand for the
    elements of ``outer`` from ``first + t · stride`` on. After each round the ``carried`` pairs
    (source, target) are copied, element by element, from source to target.
    """

    count: int
    steps: tuple[Step, ...]
    views: tuple[tuple[Buffer, Buffer, int, int], ...] = ()
    carried: tuple[tuple[Buffer, Buffer], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """Stop with a message, before anything of the caller's is changed, unless ``ok`` is true.

    ``ok`` is a buffer of one bool.
    """

    ok: Buffer
    message: str
    origin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """Run one of two lists of steps: ``true`` if ``condition``, a buffer of one bool, is true."""

    condition: Buffer
    true: tuple[Step, ...]
    false: tuple[Step, ...]


@dataclass(frozen=True, slots=True, eq=False)
class While:
    """Run steps for as long as a condition holds.

    Before each round ``test`` runs, and writes the bool ``ok``; if it is false, the loop ends.
    After each round the ``carried`` pairs are copied, as in `Repeat`.
    """

    test: tuple[Step, ...]
    ok: Buffer
    steps: tuple[Step, ...]
    carried: tuple[tuple[Buffer, Buffer], ...] = ()


Step = Launch | HostCall | Repeat | Check | Branch | While


def steps_inside(step: Step) -> tuple[Step, ...]:
    """Return the steps that a step consists of, in order."""
    if isinstance(step, Repeat):
        return step.steps
    if isinstance(step, Branch):
        return (*step.true, *step.false)
    return (*step.test, *step.steps) if isinstance(step, While) else ()


@dataclass(slots=True, eq=False)
class Plan:
    """A whole program: steps in order, and where each buffer lives.

    Attributes:
        name: Of the compiled function.
        steps: What runs, in order.
        inputs: Buffers whose memory the caller gives and the program only reads.
        outputs: Buffers whose memory the caller gives and the program writes. An output may
            share memory with an input that no later step reads.
        constants: Contents of buffers that never change.
        temporaries: Byte offset in the arena of every other buffer (multiples of 64).
        arena: Bytes of the arena.
    """

    name: str
    steps: tuple[Step, ...]
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    constants: dict[Buffer, Any] = field(default_factory=dict)
    temporaries: dict[Buffer, int] = field(default_factory=dict)
    arena: int = 0
