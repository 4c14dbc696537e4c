"""Repeated: bodies of loops that do the same on other buffers are planned once.

Takes: the program of a body, and where its inputs and outputs lie. Gives: its steps.
The one idea: a launch says on which buffers a kernel runs, so equal bodies share kernels and
differ in the arguments of launches alone; a network with twenty equal layers has one of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from chainrule.compiler.described import described
from chainrule.compiler.lower import origin_of
from chainrule.compiler.program import Program
from chainrule.compiler.region_plans import Body, Build
from chainrule.ir.expr import Buffer
from chainrule.ir.kernel import Launch


class _Known(NamedTuple):
    program: Program
    places: tuple[Buffer, ...]
    body: Body


class Bodies:
    """The bodies of one plan.

    Args:
        build: Plans one.
    """

    def __init__(self, build: Build) -> None:
        self._build = build
        self._known: dict[tuple[str, tuple[tuple[int, int], ...]], _Known] = {}

    def __call__(
        self, program: Program, inputs: Sequence[Buffer], outputs: Sequence[Buffer]
    ) -> Body:
        """Return the steps of a body whose inputs and outputs lie in given buffers."""
        text = described(program)
        if text is None:
            return self._build(program, inputs, outputs)
        places = (*inputs, *outputs)
        # Which of them are one and the same, and how large they are, decides what kernels are.
        key = (text, tuple((places.index(buffer), buffer.size) for buffer in places))
        known = self._known.get(key)
        made = _moved(known, program, places) if known is not None else None
        if made is not None:
            return made
        body = self._build(program, inputs, outputs)
        if all(isinstance(step, Launch) for step in body.steps):
            self._known[key] = _Known(program, places, body)
        return body


def _moved(known: _Known, program: Program, places: Sequence[Buffer]) -> Body | None:
    """Return the steps of an equal body on other buffers; None if lines cannot be told apart."""
    lines: dict[str, str] = {}
    for old, new in zip(known.program.instructions, program.instructions, strict=True):
        before, after = origin_of(old), origin_of(new)
        if len(before) != len(after):
            return None
        if any(lines.setdefault(a, b) != b for a, b in zip(before, after, strict=True)):
            return None
    buffers = dict(zip(known.places, places, strict=True))

    def moved(buffer: Buffer) -> Buffer:
        if buffer not in buffers:
            buffers[buffer] = Buffer(buffer.name, buffer.dtype, buffer.size)
        return buffers[buffer]

    steps = [
        replace(
            step,
            arguments=tuple(map(moved, step.arguments)),
            origin=tuple(lines.get(part, part) for part in step.origin),
        )
        for step in known.body.steps
        if isinstance(step, Launch)
    ]
    return Body(list(steps), {moved(b): array for b, array in known.body.constants.items()})
