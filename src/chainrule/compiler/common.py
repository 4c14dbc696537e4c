"""Common subexpressions: what is computed twice from the same values is computed once.

Takes: a program. Gives: the program in which later copies of an instruction are gone.
The one idea: an op is a function of its inputs and attributes alone, so equal ones have equal
results (random bits too: their state is an input).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from chainrule.compiler.program import Instruction, Program, Value
from chainrule.core.dtype import Array

# Exactly equal with inputs exchanged. `maximum` and `minimum` are not: of 0.0 and -0.0 they may
# choose the first.
COMMUTATIVE = frozenset(
    ("add", "multiply", "equal", "not_equal", "bitwise_and", "bitwise_or", "bitwise_xor")
)

# Constants up to that many bytes are compared by content, larger ones by identity.
COMPARED = 1024


def share_common(program: Program) -> Program:
    """Return a program that computes no value twice.

    The first of equal instructions stays, with its line and layer.
    """
    same: dict[Value, Value] = {}
    constants = _distinct(program.constants, same)
    numbers = {value: n for n, value in enumerate((*program.inputs, *constants))}
    first: dict[Hashable, Value] = {}
    instructions = []
    for given in program.instructions:
        inputs = tuple([same.get(value, value) for value in given.inputs])
        key = _key(given, [numbers[value] for value in inputs])
        known = first.get(key) if key is not None else None
        if known is not None:
            same[given.output] = known
            continue
        if key is not None:
            first[key] = given.output
        numbers[given.output] = len(numbers)
        changed = inputs != given.inputs
        instructions.append(replace(given, inputs=inputs) if changed else given)
    return replace(
        program,
        constants=constants,
        instructions=instructions,
        outputs=[same.get(value, value) for value in program.outputs],
        assertions=[replace(a, ok=same.get(a.ok, a.ok)) for a in program.assertions],
    )


def _distinct(constants: dict[Value, Array], same: dict[Value, Value]) -> dict[Value, Array]:
    """Return constants without repetitions; what each left out one equals goes into ``same``."""
    kept: dict[Value, Array] = {}
    first: dict[Hashable, Value] = {}
    for value, array in constants.items():
        content = array.tobytes() if array.nbytes <= COMPARED else id(array)
        known = first.setdefault((value.spec, content), value)
        if known is value:
            kept[value] = array
        else:
            same[value] = known
    return kept


def _key(instruction: Instruction, inputs: list[int]) -> Hashable | None:
    """Return what equal instructions have in common, or None where that cannot be told."""
    if instruction.op.name in COMMUTATIVE:
        inputs.sort()
    attrs = tuple([(name, _exact(attr)) for name, attr in sorted(instruction.attrs.items())])
    key = (instruction.op, tuple(inputs), attrs)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _exact(attr: Any) -> Any:
    """Return an attribute in a form in which 0.0 and -0.0 differ."""
    return ("float", attr.hex()) if isinstance(attr, float) else attr
