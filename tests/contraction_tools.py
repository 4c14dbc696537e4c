"""Contractions for tests: by names of axes and strides, as machine code, against einsum."""

from __future__ import annotations

import ctypes
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.codegen import machine
from chainrule.codegen.contraction import emit_contraction
from chainrule.codegen.target import Target, host
from chainrule.codegen.text import Module
from chainrule.core.dtype import DType, float32
from chainrule.ir.expr import Acc, Axis, Buffer, Index, Load, Read
from chainrule.ir.kernel import Contraction, Store

PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
NAMES = (f"tested{n}" for n in itertools.count())
NARROW = [Target("", 32, 16, True), Target("", 16, 16, False), Target("", 0, 16, False)]

Strides = dict[str, int]


@dataclass
class Spec:
    """A contraction by names of axes, extents, strides and offsets of left, right and result."""

    batch: str
    rows: str
    columns: str
    depth: str
    extents: dict[str, int]
    strides: tuple[Strides, Strides, Strides]
    sizes: tuple[int, int, int]
    offsets: tuple[int, int] = (0, 0)
    dtype: DType = float32
    axes: dict[str, Axis] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.axes = {name: Axis(name, extent) for name, extent in self.extents.items()}

    def index(self, strides: Strides, offset: int = 0) -> Index:
        return Index(tuple((self.axes[n], s) for n, s in strides.items() if s), offset)

    def contraction(self) -> Contraction:
        names = ("left", "right", "out")
        buffers = tuple(Buffer(n, self.dtype, s) for n, s in zip(names, self.sizes, strict=True))
        acc = Acc("sum", "add", self.dtype)
        groups = (self.batch, self.rows, self.columns, self.depth)
        return Contraction(
            "tested",
            buffers,
            *(tuple(self.axes[n] for n in group) for group in groups),
            Load(buffers[0], (self.index(self.strides[0], self.offsets[0]),)),
            Load(buffers[1], (self.index(self.strides[1], self.offsets[1]),)),
            acc,
            (Store(buffers[2], self.index(self.strides[2]), Read(acc)),),
            frozenset((buffers[2],)),
        )

    def view(self, memory: Any, names: str, operand: int) -> Any:
        offset = self.offsets[operand] if operand < 2 else 0
        strides = [self.strides[operand].get(n, 0) * memory.itemsize for n in names]
        shape = [self.extents[n] for n in names]
        return np.lib.stride_tricks.as_strided(memory[offset:], shape, strides)


class Compiled:
    """Machine code of a contraction."""

    def __init__(self, contraction: Contraction, target: Target | None = None) -> None:
        module, name = Module(), next(NAMES)
        self.emitted = emit_contraction(module, contraction, name, target or host())
        symbols = [phase.symbol for phase in self.emitted.phases]
        places = machine.load(machine.assemble(module.text), symbols, name)
        self.phases = [(PROTOTYPE(places[p.symbol]), p.chunks) for p in self.emitted.phases]

    def run(
        self, arrays: Sequence[Any], order: Callable[[int], Sequence[int]] | None = None
    ) -> None:
        """Run all phases: in one call each, or chunk by chunk in an order."""
        memory = np.full(self.emitted.workspace + 64, 255, np.uint8)
        workspace = memory.ctypes.data + -memory.ctypes.data % 64
        pointers = [*(array.ctypes.data for array in arrays), workspace]
        args = (ctypes.c_void_p * len(pointers))(*pointers)
        for function, chunks in self.phases:
            if order is None:
                function(args, 0, chunks)
                continue
            for chunk in order(chunks):
                function(args, chunk, chunk + 1)


def check(spec: Spec, seed: int = 0, target: Target | None = None) -> None:
    """Compare with einsum in float64; the same bits for another order of chunks."""
    random_numbers = np.random.default_rng(seed)
    kind = spec.dtype.storage
    arrays = [random_numbers.standard_normal(size).astype(kind) for size in spec.sizes[:2]]
    result = np.full(spec.sizes[2], np.nan, kind)
    compiled = Compiled(spec.contraction(), target)
    compiled.run([*arrays, result])
    lefts, rights = spec.batch + spec.rows + spec.depth, spec.batch + spec.columns + spec.depth
    names = spec.batch + spec.rows + spec.columns
    left = spec.view(arrays[0].astype(np.float64), lefts, 0)
    right = spec.view(arrays[1].astype(np.float64), rights, 1)
    text = f"{lefts},{rights}->{names}"
    expected = np.einsum(text, left, right, optimize=True)
    magnitude = np.einsum(text, abs(left), abs(right), optimize=True)
    depth = np.prod([spec.extents[n] for n in spec.depth])
    # A sum of n products errs by at most n eps times the sum of the magnitudes; as errors have
    # random signs, by about sqrt(n) eps.
    bound = (2 + depth**0.5) * np.finfo(kind).eps * magnitude
    assert np.all(np.abs(spec.view(result, names, 2) - expected) <= bound)
    assert np.isnan(result).sum() == result.size - expected.size  # nothing else was written
    again = np.full_like(result, np.nan)
    shuffled = random.Random(seed)
    compiled.run([*arrays, again], lambda chunks: shuffled.sample(range(chunks), chunks))
    assert again.tobytes() == result.tobytes()


def matmul(
    m: int, k: int, n: int, turn: str = "nn", batch: int = 1, dtype: DType = float32
) -> Spec:
    left = {"m": 1, "k": m} if turn[0] == "t" else {"m": k, "k": 1}
    right = {"k": 1, "n": k} if turn[1] == "t" else {"k": n, "n": 1}
    strides = (left | {"b": m * k}, right | {"b": k * n}, {"b": m * n, "m": n, "n": 1})
    sizes = (batch * m * k, batch * k * n, batch * m * n)
    extents = {"b": batch, "m": m, "n": n, "k": k}
    return Spec("b", "m", "n", "k", extents, strides, sizes, dtype=dtype)
