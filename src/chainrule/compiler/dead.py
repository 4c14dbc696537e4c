"""Dead code: what no output and no assertion depends on is left out.

Takes: a program. Gives: the program without instructions and constants that nobody reads.
The one idea: walk backwards; an instruction lives if its result is read further on.
"""

from __future__ import annotations

from dataclasses import replace

from chainrule.compiler.program import Program, Value


def remove_dead(program: Program) -> Program:
    """Return a program without instructions and constants that reach no output or assertion.

    Inputs stay, read or not: they are what the caller passes.
    """
    read: set[Value] = {*program.outputs, *(check.ok for check in program.assertions)}
    living = []
    for instruction in reversed(program.instructions):
        if instruction.output in read:
            read.update(instruction.inputs)
            living.append(instruction)
    living.reverse()
    constants = {value: array for value, array in program.constants.items() if value in read}
    return replace(program, instructions=living, constants=constants)
