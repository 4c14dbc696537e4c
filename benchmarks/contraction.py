"""How fast contractions are: each shape against PyTorch and NumPy, and against the processor.

Usage: OPENBLAS_NUM_THREADS=1 python -m benchmarks.contraction [WORD ...]

Only cases whose name holds one of the words are run. Columns: microseconds, GFLOP/s and their
fraction of the measured peak on one thread; microseconds on two threads; PyTorch's microseconds on
one and two threads; NumPy's; milliseconds of writing and of compiling the code. All methods take
turns; figures are the least of all turns, since other programs can only make a turn longer.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from chainrule.codegen import machine
from chainrule.codegen.contraction import emit_contraction
from chainrule.codegen.target import host
from chainrule.codegen.text import Module
from chainrule.core.dtype import DType, float32, float64
from chainrule.ir.expr import Acc, Axis, Buffer, Index, Load, Read
from chainrule.ir.kernel import Contraction, Store

TURNS = 7
SECONDS = 0.03  # how long one turn of a method takes, about
PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
Strides = dict[str, int]


@dataclass
class Case:
    """A contraction by extents and strides, and the same work for PyTorch and NumPy."""

    name: str
    groups: tuple[str, str, str, str]
    extents: dict[str, int]
    strides: tuple[Strides, Strides, Strides]
    sizes: tuple[int, int, int]
    torch: Callable[[Any, Any], Callable[[], Any]]
    numpy: Callable[[Any, Any], Callable[[], Any]] | None = None
    dtype: DType = float32

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        count = 2
        for extent in self.extents.values():
            count *= extent
        return count

    def contraction(self) -> Contraction:
        """Return it in the kernel language."""
        axes = {name: Axis(name, extent) for name, extent in self.extents.items()}

        def index(strides: Strides) -> Index:
            terms = ((axes[n], s) for n, s in strides.items() if axes[n].extent > 1 and s)
            return Index(tuple(terms))

        names = ("left", "right", "out")
        buffers = tuple(Buffer(n, self.dtype, s) for n, s in zip(names, self.sizes, strict=True))
        left, right, out = buffers
        acc = Acc("sum", "add", self.dtype)
        batch, rows, columns, depth = (tuple(axes[n] for n in g) for g in self.groups)
        return Contraction(
            self.name.replace(" ", "_"),
            buffers,
            *(batch, rows, columns, depth),
            Load(left, (index(self.strides[0]),)),
            Load(right, (index(self.strides[1]),)),
            acc,
            (Store(out, index(self.strides[2]), Read(acc)),),
            frozenset((out,)),
        )


def matmul(
    rows: int, depth: int, columns: int, turn: str = "nn", batch: int = 1, dtype: DType = float32
) -> Case:
    """Return left @ right; ``t`` in ``turn`` for an operand that is stored transposed."""
    left = {"b": rows * depth} | ({"m": 1, "k": rows} if turn[0] == "t" else {"m": depth, "k": 1})
    right = {"b": depth * columns}
    right |= {"k": 1, "n": depth} if turn[1] == "t" else {"k": columns, "n": 1}
    out = {"b": rows * columns, "m": columns, "n": 1}
    sizes = (batch * rows * depth, batch * depth * columns, batch * rows * columns)
    shapes = [(batch, rows, depth), (batch, depth, columns)]

    def view(array: Any, operand: int) -> Any:
        shape = shapes[operand]
        if turn[operand] == "t":
            return array.reshape(shape[0], shape[2], shape[1]).swapaxes(1, 2)
        return array.reshape(shape)

    def multiply(a: Any, b: Any) -> Callable[[], Any]:
        x, y = view(a, 0), view(b, 1)
        x, y = (x, y) if batch > 1 else (x[0], y[0])
        return lambda: x @ y

    times = f"{batch}x " if batch > 1 else ""
    return Case(
        f"matmul {times}{rows}x{depth}x{columns} {turn} {dtype.name}",
        ("b", "m", "n", "k"),
        {"b": batch, "m": rows, "n": columns, "k": depth},
        (left, right, out),
        sizes,
        multiply,
        multiply,
        dtype,
    )


@dataclass(frozen=True)
class Image:
    """A convolution: sizes of images, channels, window, step."""

    N: int
    H: int
    W: int
    C: int
    O: int  # noqa: E741
    window: int = 3
    step: int = 1
    pad: int = 1

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width with zeros round it."""
        return self.H + 2 * self.pad, self.W + 2 * self.pad

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the result."""
        h, w = self.padded
        return (h - self.window) // self.step + 1, (w - self.window) // self.step + 1

    @property
    def extents(self) -> dict[str, int]:
        """Extents of all axes."""
        (h, w), k = self.out, self.window
        return {"n": self.N, "y": h, "x": w, "o": self.O, "u": k, "v": k, "c": self.C}

    @property
    def image(self) -> Strides:
        """Strides in the padded image, channels last."""
        line = self.padded[1] * self.C
        moves = {"n": self.padded[0] * line, "y": self.step * line, "x": self.step * self.C}
        return moves | {"u": line, "v": self.C, "c": 1}

    @property
    def result(self) -> Strides:
        """Strides in the result, channels last."""
        h, w = self.out
        return {"n": h * w * self.O, "y": w * self.O, "x": self.O, "o": 1}

    @property
    def weights(self) -> Strides:
        """Strides in the weights, as PyTorch has them."""
        k = self.window
        return {"o": self.C * k * k, "c": k * k, "u": k, "v": 1}

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Elements of image, weights, result."""
        (h, w), (y, x) = self.padded, self.out
        return (
            self.N * h * w * self.C,
            self.O * self.C * self.window**2,
            self.N * y * x * self.O,
        )

    def __str__(self) -> str:
        shape = f"{self.N}x{self.H}x{self.W} {self.C}->{self.O} {self.window}x{self.window}"
        return shape + (f"/{self.step}" if self.step > 1 else "")


def _last(array: Any, *shape: int) -> Any:
    return array.reshape(shape).permute(0, 3, 1, 2)


def convolution(image: Image) -> Case:
    """Return a convolution; PyTorch's pads by itself."""

    def call(x: Any, w: Any) -> Callable[[], Any]:
        h, wide = image.padded
        x = _last(x, image.N, h, wide, image.C)
        if image.pad:
            p = image.pad
            x = x[:, :, p:-p, p:-p].contiguous(memory_format=torch.channels_last)
        w = w.reshape(image.O, image.C, image.window, image.window)
        w = w.contiguous(memory_format=torch.channels_last)
        return lambda: torch.conv2d(x, w, None, image.step, image.pad)

    return Case(
        f"conv {image}",
        ("", "nyx", "o", "uvc"),
        image.extents,
        (image.image, image.weights, image.result),
        image.sizes,
        call,
    )


def weight_gradient(image: Image) -> Case:
    """Return a convolution's gradient to the weights."""

    def call(x: Any, g: Any) -> Callable[[], Any]:
        h, wide = image.padded
        x = _last(x, image.N, h, wide, image.C)
        if image.pad:
            p = image.pad
            x = x[:, :, p:-p, p:-p].contiguous(memory_format=torch.channels_last)
        g = _last(g, image.N, *image.out, image.O)
        w = torch.zeros(image.O, image.C, image.window, image.window)
        w = w.contiguous(memory_format=torch.channels_last)
        two = [image.step] * 2, [image.pad] * 2, [1, 1]
        gradient = torch.ops.aten.convolution_backward
        mask = [False, True, False]
        return lambda: gradient(g, x, w, None, *two, False, [0, 0], 1, mask)

    pixels, weights, results = image.sizes
    return Case(
        f"convw {image}",
        ("", "uvc", "o", "nyx"),
        image.extents,
        (image.image, image.result, image.weights),
        (pixels, results, weights),
        call,
    )


def cases() -> Iterator[Case]:
    """Yield the shapes of the workloads."""
    yield from (matmul(100, 784, n, "nt") for n in (512, 100, 10))
    yield from (matmul(100, 100, 10, "nt"), matmul(100, 512, 784), matmul(100, 10, 512))
    yield from (matmul(1, 784, 512, "nt"), matmul(1, 784, 512))
    yield from (matmul(512, 100, 784, "tn"), matmul(100, 100, 784, "tn"))
    yield matmul(10, 100, 512, "tn")
    yield from (matmul(256, 2048, 2048, "nt"), matmul(256, 2048, 2048))
    yield from (matmul(2048, 256, 2048, "tn"), matmul(512, 512, 512), matmul(1024, 1024, 1024))
    yield from (matmul(1024, 1024, 1024, "tt"), matmul(512, 512, 512, dtype=float64))
    yield from (matmul(128, 32, 128, "nt", 64), matmul(128, 128, 32, "nn", 64))
    net = [Image(64, 32, 32, 3, 16), Image(64, 32, 32, 16, 16), Image(64, 16, 16, 32, 32)]
    net += [Image(64, 8, 8, 64, 64), Image(64, 32, 32, 16, 32, step=2)]
    net += [Image(64, 16, 16, 32, 64, step=2), Image(64, 32, 32, 64, 64)]
    net += [Image(64, 16, 16, 128, 128), Image(64, 8, 8, 256, 256)]
    net += [
        Image(64, 32, 32, 64, 3),
        Image(100, 28, 28, 1, 30, 5, pad=0),
        Image(64, 8, 8, 64, 256, 1, pad=0),
    ]
    net += [Image(64, 32, 32, 16, 32, 1, 2, 0)]
    yield from map(convolution, net)
    yield from map(weight_gradient, net)


@dataclass
class Native:
    """Compiled code of a case with its memory."""

    case: Case
    arrays: list[Any]
    phases: list[tuple[Any, int]] = field(default_factory=list)
    compiled: tuple[float, float] = (0.0, 0.0)
    count: int = 0

    def build(self, number: int) -> None:
        """Compile."""
        start = time.perf_counter()
        module = Module()
        emitted = emit_contraction(module, self.case.contraction(), f"case{number}", host())
        text = module.text
        written = time.perf_counter()
        code = machine.assemble(text)
        self.compiled = (written - start, time.perf_counter() - written)
        symbols = [phase.symbol for phase in emitted.phases]
        places = machine.load(code, symbols, f"contraction{number}")
        self.phases = [(PROTOTYPE(places[p.symbol]), p.chunks) for p in emitted.phases]
        self.workspace = aligned(emitted.workspace // 4 + 16, np.float32)
        pointers = [array.ctypes.data for array in (*self.arrays, self.workspace)]
        self.args = (ctypes.c_void_p * len(pointers))(*pointers)

    def run(self) -> None:
        """Run all chunks on this thread."""
        for function, chunks in self.phases:
            function(self.args, 0, chunks)

    def halves(self, times: int) -> float:
        """Return the seconds of one run on two threads, the mean of some."""
        barrier = threading.Barrier(2)

        def work(own: int) -> None:
            for _ in range(times):
                for function, chunks in self.phases:
                    middle = (chunks + 1) // 2
                    function(self.args, *((middle, chunks) if own else (0, middle)))
                    barrier.wait()

        other = threading.Thread(target=work, args=(1,))
        start = time.perf_counter()
        other.start()
        work(0)
        other.join()
        return (time.perf_counter() - start) / times


def aligned(count: int, dtype: Any) -> Any:
    """Return an array that begins at a multiple of 64 bytes."""
    size = np.dtype(dtype).itemsize
    memory = np.zeros(count * size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + count * size].view(dtype)


def least(call: Callable[[], Any], times: int, *, alone: bool = True) -> float:
    """Return the least seconds of some calls.

    Of calls of more than 2 ms that keep to this thread (``alone``) processor time counts, as no
    turn of a busy machine may be free of interruptions.
    """
    best = float("inf")
    for _ in range(times):
        start, used = time.perf_counter(), time.thread_time()
        call()
        used, wall = time.thread_time() - used, time.perf_counter() - start
        best = min(best, used if alone and used > 2e-3 else wall)
    return best


def peak(dtype: DType) -> float:
    """Return the GFLOP/s of independent multiply-adds in registers on one thread."""
    lanes = host().lanes(dtype.itemsize)
    kind = "float" if dtype is float32 else "double"
    vector, name = f"<{lanes} x {kind}>", f"llvm.fma.v{lanes}f{dtype.bits}"
    chains, rounds = 12, 20000
    numbers = range(chains)
    lines = [f"declare {vector} @{name}({vector}, {vector}, {vector})"]
    lines += ["define void @peak(ptr %m, i64 %n, i64 %unused) {", "entry:"]
    for i in numbers:
        lines.append(f"  %p{i} = getelementptr {vector}, ptr %m, i64 {i}")
        lines.append(f"  %x{i} = load volatile {vector}, ptr %p{i}, align 64")
    lines += ["  br label %loop", "loop:", "  %i = phi i64 [ 0, %entry ], [ %j, %loop ]"]
    lines += [f"  %a{i} = phi {vector} [ %x{i}, %entry ], [ %b{i}, %loop ]" for i in numbers]
    for i in numbers:
        args = f"{vector} %x0, {vector} %x1, {vector} %a{i}"
        lines.append(f"  %b{i} = call {vector} @{name}({args})")
    lines += ["  %j = add i64 %i, 1", "  %more = icmp slt i64 %j, %n"]
    lines += ["  br i1 %more, label %loop, label %done", "done:"]
    lines += [f"  store {vector} %b{i}, ptr %p{i}, align 64" for i in numbers]
    code = machine.assemble("\n".join([*lines, "  ret void", "}"]) + "\n")
    function = PROTOTYPE(machine.load(code, ["peak"], f"peak_{dtype.name}")["peak"])
    memory = aligned(chains * lanes, dtype.storage)
    seconds = least(lambda: function(memory.ctypes.data, rounds, 0), 50)
    return rounds * chains * lanes * 2 / seconds / 1e9


def measure(case: Case, number: int, peaks: dict[DType, float]) -> str:
    """Measure a case; returns its line of the table."""
    random = np.random.default_rng(number)
    arrays = [aligned(size, case.dtype.storage) for size in case.sizes]
    for array in arrays[:2]:
        array[:] = random.standard_normal(array.size)
    native = Native(case, arrays)
    native.build(number)
    native.run()
    theirs = case.torch(*(torch.from_numpy(array) for array in arrays[:2]))
    numpy = case.numpy(*arrays[:2]) if case.numpy else None
    best = [float("inf")] * 5
    for _ in range(TURNS):
        times = max(3, int(SECONDS / (case.flops / 5e10)))
        torch.set_num_threads(1)
        found = [least(native.run, times), float("inf"), least(theirs, times)]
        found.append(least(numpy, times) if numpy else float("nan"))
        torch.set_num_threads(2)
        found[1] = native.halves(times)
        found.append(least(theirs, times, alone=False))
        best = [min(a, b) for a, b in zip(found, best, strict=True)]
    one, two, torch_one, numpy_one, torch_two = best
    rate = case.flops / one / 1e9
    return (
        f"{case.name:36s}{one * 1e6:9.1f}{rate:8.1f}{rate / peaks[case.dtype]:7.0%}"
        f"{two * 1e6:10.1f}{torch_one * 1e6:10.1f}{torch_two * 1e6:10.1f}{numpy_one * 1e6:10.1f}"
        f"{torch_one / one:7.2f}{native.compiled[0] * 1e3:7.1f}{native.compiled[1] * 1e3:7.1f}"
    )


def main(words: Sequence[str]) -> None:
    """Print the table."""
    peaks = {dtype: peak(dtype) for dtype in (float32, float64)}
    for dtype, rate in peaks.items():
        print(f"peak of {dtype.name}: {rate:.1f} GFLOP/s on one thread")
    head = ("1 thr us", "GFLOP/s", "peak", "2 thr us", "torch 1", "torch 2", "NumPy", "x torch")
    widths = (9, 8, 7, 10, 10, 10, 10, 8)
    print(
        f"{'':36s}"
        + "".join(f"{h:>{w}}" for h, w in zip(head, widths, strict=True))
        + " write+compile ms"
    )
    for number, case in enumerate(cases()):
        if not words or any(word in case.name for word in words):
            print(measure(case, number, peaks), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
