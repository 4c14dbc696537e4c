"""Programs for tests: a builder, an evaluator by `Op.eval`, and random programs.

The evaluator is the definition of what a program means; passes are compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.compiler.program import Instruction, Program, Value, verify
from chainrule.core.dtype import (
    Array,
    DType,
    as_dtype,
    bool_,
    float32,
    int32,
    to_compute,
    to_storage,
)
from chainrule.core.shape import Spec
from chainrule.graph.op import OPS

SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, -0.5, np.inf, -np.inf, np.nan, 1e-40, 3e38)


class Builder:
    """Makes programs instruction by instruction."""

    def __init__(self) -> None:
        self.made = Program("test")

    def input(self, shape: Sequence[int], dtype: DType = float32) -> Value:
        """Add an input."""
        value = Value(Spec(tuple(shape), dtype), f"x{len(self.made.inputs)}")
        self.made.inputs.append(value)
        return value

    def constant(self, data: Any, dtype: DType = float32) -> Value:
        """Add a constant."""
        array = to_storage(np.asarray(data, dtype.compute), dtype)
        value = Value(Spec(array.shape, dtype))
        self.made.constants[value] = array
        return value

    def __call__(self, name: str, *inputs: Value, **attrs: Any) -> Value:
        """Add an instruction."""
        op = OPS[name]
        output = Value(op.infer(*(v.spec for v in inputs), **attrs))
        self.made.instructions.append(Instruction(op, inputs, attrs, output))
        return output

    def program(self, *outputs: Value) -> Program:
        """Return the program with these outputs."""
        self.made.outputs = list(outputs)
        self.made.overwrites = [None] * len(outputs)
        verify(self.made, "building")
        return self.made


def evaluate(program: Program, inputs: Sequence[Array]) -> list[Array]:
    """Return the outputs of a program, computed by the ops' own definitions."""
    known = dict(zip(program.inputs, inputs, strict=True)) | program.constants
    for instruction in program.instructions:
        arrays = [to_compute(known[v], v.spec.dtype) for v in instruction.inputs]
        with np.errstate(all="ignore"):
            result = np.asarray(instruction.op.eval(*arrays, **instruction.attrs))
            known[instruction.output] = to_storage(result, instruction.output.spec.dtype)
    return [known[value] for value in program.outputs]


def numbers(rng: np.random.Generator, spec: Spec) -> Array:
    """Return random elements in storage form, special ones among them."""
    if spec.dtype is bool_:
        return rng.random(spec.shape) < 0.5
    if not spec.dtype.is_floating:
        return rng.integers(0, 6, spec.shape).astype(spec.dtype.storage)
    values = np.where(
        rng.random(spec.shape) < 0.5, rng.choice(SPECIAL, spec.shape), rng.normal(size=spec.shape)
    )
    with np.errstate(over="ignore"):
        return to_storage(np.asarray(values, spec.dtype.compute), spec.dtype)


UNARY = ("negative", "abs", "sign", "relu", "floor", "ceil", "round", "exp", "clone", "sigmoid")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "pow", "less", "equal")
INTEGER = ("add", "subtract", "multiply", "maximum", "bitwise_and", "bitwise_or")
DTYPES = ("bool", "int8", "int32", "int64", "uint8", "float16", "bfloat16", "float32", "float64")


class Chance:
    """A random program, made of instructions that passes have something to say about."""

    def __init__(self, seed: int, length: int = 25) -> None:
        self.rng = np.random.default_rng(seed)
        self.build = Builder()
        self.values = [
            self.build.input((2, 1, 3)),
            self.build.input((2, 4, 3)),
            self.build.input((), float32),
            self.build.input((4, 3), as_dtype(self.one(("float16", "bfloat16", "float64")))),
            self.build.input((2, 3), int32),
        ]
        moves = (self.unary, self.binary, self.move, self.choose, self.cast, self.reduce)
        for _ in range(length):
            self.values.append(self.one(moves)())
        picked = self.rng.choice(len(self.values), size=5)
        self.program = self.build.program(*(self.values[i] for i in picked), self.values[-1])

    def one(self, choices: Sequence[Any]) -> Any:
        """Return one of several things."""
        return choices[self.rng.integers(len(choices))]

    def value(self) -> Value:
        """Return a value made so far, a recent one by preference."""
        return self.values[-1 - int(self.rng.integers(len(self.values)) * self.rng.random())]

    def number(self, dtype: DType) -> Value:
        """Return a constant, or one that is spread over a shape."""
        number = float(self.one(SPECIAL[:8]))
        if not dtype.is_floating:
            number = float(self.one((0, 1)))
        if self.rng.random() < 0.3:
            return self.build("full", shape=(3,), value=number, dtype=dtype)
        return self.build.constant(number, dtype)

    def unary(self) -> Value:
        """Add an op of one operand."""
        x = self.value()
        if x.spec.dtype.is_floating:
            return self.build(self.one(UNARY), x)
        return self.build("bitwise_invert", x)

    def operand(self, x: Value) -> Value:
        """Return another operand for one: a number, or a value of any broadcasting shape."""
        fitting = [
            v
            for v in self.values
            if v.spec.dtype is x.spec.dtype and v.spec.shape in (x.spec.shape, ())
        ]
        return self.one(fitting) if self.rng.random() < 0.5 else self.number(x.spec.dtype)

    def binary(self) -> Value:
        """Add an op of two operands."""
        x = self.value()
        names = BINARY if x.spec.dtype.is_floating else INTEGER
        name = self.one(names)
        if x.spec.dtype is bool_ and name == "subtract":
            name = "add"
        y = self.operand(x)
        if x.spec.shape and x.spec.shape[-1] not in (1, y.spec.shape[-1] if y.spec.shape else 1):
            y = self.build.constant(1.0, x.spec.dtype)
        return self.build(name, *((x, y) if self.rng.random() < 0.6 else (y, x)))

    def choose(self) -> Value:
        """Add a choice, or limits."""
        x = self.value()
        if x.spec.dtype.is_floating and self.rng.random() < 0.2:
            bounds = (float(self.one((-np.inf, -1.0, 0.0, 1.0, np.inf))) for _ in range(2))
            return self.build("clip", x, *(self.build.constant(b, x.spec.dtype) for b in bounds))
        flags = [v for v in self.values if v.spec.dtype is bool_ and v.spec.shape == x.spec.shape]
        condition = self.build.constant(self.rng.random() < 0.5, bool_)
        if flags and self.rng.random() < 0.7:
            condition = self.build("bitwise_invert", self.one(flags))
        return self.build("where", condition, x, self.build.constant(1.0, x.spec.dtype))

    def cast(self) -> Value:
        """Add a cast; floating numbers only to floating types, where every result is defined."""
        x = self.value()
        names = DTYPES[5:] if x.spec.dtype.is_floating else DTYPES
        return self.build("astype", x, dtype=as_dtype(self.one(names)))

    def reduce(self) -> Value:
        """Add a reduction along one axis or none."""
        x = self.value()
        axes = () if not x.spec.shape else (int(self.rng.integers(len(x.spec.shape))),)
        name = "sum" if x.spec.dtype is bool_ else self.one(("sum", "max", "prod"))
        if self.rng.random() < 0.3:
            axes = ()
        return self.build(name, x, axes=axes, keepdims=bool(self.rng.random() < 0.5))

    def move(self) -> Value:
        """Add a movement."""
        x = self.value()
        shape = x.spec.shape
        ranges = tuple((0, n, 1) if self.rng.random() < 0.7 else (n - 1, n, -1) for n in shape)
        inside = tuple((n // 2, n - n // 2, 1) for n in shape)
        width = int(self.rng.integers(0, 2)) if x.spec.size < 200 else 0
        larger = shape if x.spec.size > 200 else (2, *shape)
        options = (
            ("reshape", {"shape": (x.spec.size,)}),
            ("reshape", {"shape": (1, *shape)}),
            ("permute", {"axes": tuple(int(a) for a in self.rng.permutation(len(shape)))}),
            ("expand", {"shape": larger}),
            ("flip", {"axes": tuple(range(len(shape)))}),
            ("slice", {"ranges": ranges}),
            ("slice", {"ranges": inside}),
            ("unslice", {"shape": shape, "ranges": ranges}),
            ("pad", {"widths": ((width, 0),) * len(shape), "value": float(self.one((0.0, 1.0)))}),
            ("concat", {"axis": 0}),
        )
        name, attrs = self.one(options)
        if name == "concat" and not shape:
            name, attrs = "clone", {}
        return self.build(name, x, **attrs)
