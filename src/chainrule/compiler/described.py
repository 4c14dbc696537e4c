"""Described: a program as a text that says everything its plan depends on.

Takes: a program. Gives: the text, or None for a program that has something of the user's own in it.
The one idea: two programs with equal texts have equal plans, in whichever process they are built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from chainrule.compiler.program import Instruction, Program, Region, Value
from chainrule.core.dtype import DType

_PLAIN = (bool, int, float, str, type(None))


class _OwnError(Exception):
    """An op or an attribute that the text of this package does not define."""


def described(program: Program) -> str | None:
    """Return all that a program's plan depends on, or None if a text cannot say it.

    The user's lines and layers are left out: they do not change what is computed.
    """
    try:
        return "\n".join(_lines(program, {}))
    except _OwnError:
        return None


def _lines(program: Program, regions: dict[Region, int]) -> Iterator[str]:
    numbers: dict[Value, int] = {}

    def named(value: Value) -> int:
        return numbers.setdefault(value, len(numbers))

    yield f"program {program.name}"
    for value in program.inputs:
        yield f"input {named(value)} {value.spec}"
    for value, array in program.constants.items():
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        yield f"constant {named(value)} {value.spec} {digest}"
    for instruction in program.instructions:
        inputs = [named(value) for value in instruction.inputs]
        attrs = ", ".join(f"{k}={_text(v, regions)}" for k, v in instruction.attrs.items())
        output = instruction.output
        yield f"{named(output)} {output.spec} {_op(instruction)} {inputs} {attrs}"
    for assertion in program.assertions:
        yield f"assert {named(assertion.ok)} {str(assertion.error)!r}"
    for value, old in zip(program.outputs, program.overwrites, strict=True):
        yield f"return {named(value)} {None if old is None else named(old)}"


def _op(instruction: Instruction) -> str:
    if not type(instruction.op).__module__.startswith("chainrule."):
        raise _OwnError
    return instruction.op.name


def _text(value: Any, regions: dict[Region, int]) -> str:
    if type(value) in _PLAIN:
        return repr(value)
    if isinstance(value, DType):
        return value.name
    if isinstance(value, tuple | list):
        return f"[{', '.join(_text(item, regions) for item in value)}]"
    if not isinstance(value, Region):
        raise _OwnError
    if value in regions:
        return f"region {regions[value]}"
    regions[value] = len(regions)
    head = f"{value.kind} {value.carry} {value.xs} {value.length} {value.reverse}"
    bodies = (line for body in value.bodies for line in _lines(body, regions))
    return "\n".join((head, *bodies))
