"""Contractions in machine code, against einsum in float64, PyTorch and the interpreter."""

from __future__ import annotations

import ctypes
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainrule.codegen import machine
from chainrule.codegen.contraction import emit_contraction, supported
from chainrule.codegen.target import Target, host
from chainrule.codegen.text import Module
from chainrule.core.dtype import DType, bool_, float16, float32, float64, int64
from chainrule.core.errors import StateError
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Expr,
    Index,
    Load,
    Position,
    Read,
    Within,
    call,
    const,
)
from chainrule.ir.interpreter import run_kernel
from chainrule.ir.kernel import Contraction, Store

PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
NAMES = (f"tested{n}" for n in itertools.count())
NARROW = [Target("", 32, 16, True), Target("", 16, 16, False), Target("", 0, 16, False)]
SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

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


@settings(max_examples=40, **SLOW)
@given(
    *(st.integers(1, 70) for _ in range(3)),
    st.sampled_from(["nn", "nt", "tn", "tt"]),
    st.integers(1, 3),
    st.sampled_from([float32, float64]),
    st.sampled_from([None, None, *NARROW]),
)
def test_matmul_of_odd_sizes(
    m: int, k: int, n: int, turn: str, batch: int, dtype: DType, target: Target | None
) -> None:
    check(matmul(m, k, n, turn, batch, dtype), target=target)


@pytest.mark.parametrize("turn", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("sizes", [(100, 784, 300), (513, 100, 257), (1000, 300, 10)])
def test_matmul_in_many_chunks(sizes: tuple[int, int, int], turn: str) -> None:
    spec = matmul(*sizes, turn)
    check(spec)
    assert max(chunks for _, chunks in Compiled(spec.contraction()).phases) > 1


@pytest.mark.parametrize("columns", [10, 64, 100])
@pytest.mark.parametrize(("channels", "places"), [(30, 144), (5, 37), (3, 9)])
def test_image_with_channels_last_meets_weights_with_channels_first(
    columns: int, channels: int, places: int
) -> None:
    """What a linear layer behind a flattened image does: squares of weights are transposed."""
    depth = channels * places
    left = {"m": depth, "p": channels, "c": 1}
    right = {"n": depth, "c": places, "p": 1}
    extents = {"m": 33, "n": columns, "c": channels, "p": places}
    sizes = (33 * depth, columns * depth, 33 * columns)
    check(Spec("", "m", "n", "cp", extents, (left, right, {"m": columns, "n": 1}), sizes))


@pytest.mark.parametrize("depth", [4099, 20001])
def test_long_depth_is_summed_in_pieces(depth: int) -> None:
    spec = matmul(48, depth, 33, "tn")
    check(spec)
    assert len(Compiled(spec.contraction()).phases) == 2


@pytest.mark.parametrize("sizes", [(40, 2100, 300), (18, 4099, 520)])
def test_long_depth_over_far_rows_is_summed_in_blocks_without_packing(
    sizes: tuple[int, int, int],
) -> None:
    spec = matmul(*sizes, "tn")
    check(spec)
    phases = Compiled(spec.contraction()).emitted.phases
    assert not any(phase.symbol.endswith("_pack") for phase in phases)


def layout(
    names: Sequence[str], extents: dict[str, int], chance: random.Random
) -> tuple[Strides, int]:
    """Return strides of an array with axes in any order, perhaps with gaps; and its size."""
    size = chance.choice([1, 1, 2, 3])
    strides = {}
    for name in chance.sample(names, len(names)):
        strides[name] = size
        size *= extents[name]
    return strides, size


def any_contraction(seed: int) -> Spec:
    """Return a random contraction: groups of axes, layouts, broadcast and reversed axes."""
    chance = random.Random(seed)
    names = iter("abcdefghijkl")
    sizes = (1, 2, 3, 4, 5, 7, 8, 16, 17, 33)
    extents: dict[str, int] = {}

    def group(most: int, largest: int) -> str:
        own = [next(names) for _ in range(chance.randint(0, most))]
        extents.update({name: chance.choice(sizes[:largest]) for name in own})
        return "".join(own)

    batch, rows, columns, depth = group(2, 4), group(3, 8), group(2, 10), group(3, 7)
    left, m = layout(batch + rows + depth, extents, chance)
    right, n = layout(batch + columns + depth, extents, chance)
    out, size = layout(batch + rows + columns, extents, chance)
    for name in batch:
        if chance.random() < 0.3:
            chance.choice((left, right))[name] = 0
    start = 0
    for name in depth:
        if chance.random() < 0.3:
            start += right[name] * (extents[name] - 1)
            right[name] = -right[name]
    dtype = chance.choice([float32, float64])
    strides, sizes = (left, right, out), (m, n, size)
    return Spec(batch, rows, columns, depth, extents, strides, sizes, (0, start), dtype)


@settings(max_examples=60, **SLOW)
@given(st.integers(0, 2**32), st.sampled_from([None, None, *NARROW]))
def test_any_axes_and_strides(seed: int, target: Target | None) -> None:
    spec = any_contraction(seed)
    if np.prod(list(spec.extents.values()), dtype=np.int64) < 10_000_000:
        check(spec, seed % 1000, target)


# --- convolution -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """A convolution over an image that is padded already, channels last."""

    N: int
    H: int
    W: int
    C: int  # channels of one group
    O: int  # noqa: E741 - of one group
    kernel: tuple[int, int]
    step: int = 1
    dilation: int = 1
    groups: int = 1

    @property
    def out(self) -> tuple[int, int]:
        reach = [self.dilation * (k - 1) for k in self.kernel]
        return (self.H - reach[0] - 1) // self.step + 1, (self.W - reach[1] - 1) // self.step + 1

    def spec(self) -> Spec:
        (kh, kw), (h, w) = self.kernel, self.out
        channels, outs = self.C * self.groups, self.O * self.groups
        line = self.W * channels
        extents = {"g": self.groups, "n": self.N, "y": h, "x": w, "o": self.O}
        extents |= {"u": kh, "v": kw, "c": self.C}
        image = {"g": self.C, "n": self.H * line, "y": self.step * line, "x": self.step * channels}
        image |= {"u": self.dilation * line, "v": self.dilation * channels, "c": 1}
        taps = kh * kw
        weights = {"g": self.O * self.C * taps, "o": self.C * taps, "c": taps, "u": kw, "v": 1}
        result = {"g": self.O, "n": h * w * outs, "y": w * outs, "x": outs, "o": 1}
        sizes = (self.N * self.H * line, outs * self.C * taps, self.N * h * w * outs)
        return Spec("g", "nyx", "o", "uvc", extents, (image, weights, result), sizes)

    def gradient(self) -> Spec:
        """Return the gradient to the weights: image and result are contracted over pixels."""
        spec = self.spec()
        image, weights, result = spec.strides
        sizes = (spec.sizes[0], spec.sizes[2], spec.sizes[1])
        return Spec("g", "uvc", "o", "nyx", spec.extents, (image, result, weights), sizes)


IMAGES = [
    Image(2, 12, 11, 3, 16, (3, 3)),
    Image(2, 13, 13, 16, 33, (3, 3), 2),
    Image(3, 12, 12, 1, 30, (5, 5)),
    Image(1, 15, 14, 5, 7, (3, 2), 1, 2),
    Image(2, 9, 9, 4, 6, (3, 3), 2, 1, 3),
    Image(2, 9, 9, 1, 1, (3, 3), 1, 1, 8),
    Image(4, 7, 7, 64, 64, (1, 1)),
    Image(1, 4, 4, 300, 20, (3, 3)),
    Image(2, 9, 10, 20, 3, (3, 3), 2),
    Image(2, 9, 10, 33, 1, (3, 3), 1, 2),
]


@pytest.mark.parametrize("image", IMAGES, ids=str)
def test_convolution_agrees_with_pytorch(image: Image) -> None:
    torch = pytest.importorskip("torch")
    spec = image.spec()
    random_numbers = np.random.default_rng(0)
    x, w = (random_numbers.standard_normal(size).astype(np.float32) for size in spec.sizes[:2])
    result = np.full(spec.sizes[2], np.nan, np.float32)
    Compiled(spec.contraction()).run([x, w, result])
    pixels = torch.from_numpy(x.reshape(image.N, image.H, image.W, -1)).permute(0, 3, 1, 2)
    weights = torch.from_numpy(w.reshape(-1, image.C, *image.kernel))
    steps = {"stride": image.step, "dilation": image.dilation, "groups": image.groups}
    expected = torch.conv2d(pixels.double(), weights.double(), **steps).permute(0, 2, 3, 1)
    depth = image.C * image.kernel[0] * image.kernel[1]
    bound = 2e-7 * depth  # random numbers: eps times the sum of magnitudes, with room
    np.testing.assert_allclose(result, expected.numpy().ravel(), rtol=0, atol=bound)


@pytest.mark.parametrize("image", [*IMAGES, Image(64, 18, 18, 8, 24, (3, 3))], ids=str)
def test_gradient_to_weights(image: Image) -> None:
    check(image.gradient())


@pytest.mark.parametrize("image", IMAGES[:5], ids=str)
def test_result_with_channels_first_swaps_operands(image: Image) -> None:
    spec = image.spec()
    h, w = image.out
    pixels = h * w
    first = {"g": image.O * pixels, "n": image.groups * image.O * pixels, "o": pixels}
    out = first | {"y": w, "x": 1}
    extents = spec.extents
    strides = (*spec.strides[:2], out)
    check(Spec(spec.batch, spec.rows, spec.columns, spec.depth, extents, strides, spec.sizes))


# --- what follows the sum ----------------------------------------------------------------------


@dataclass
class Product:
    """A matrix product with further buffers for what follows it."""

    m: int
    n: int
    k: int
    dtype: DType = float32

    def __post_init__(self) -> None:
        m, n, k, dtype = self.m, self.n, self.k, self.dtype
        self.row, self.column, self.inner = Axis("m", m), Axis("n", n), Axis("k", k)
        self.left, self.right = Buffer("left", dtype, m * k), Buffer("right", dtype, k * n)
        self.out, self.other = Buffer("out", dtype, 3 * m * n), Buffer("other", dtype, m * n)
        self.bias, self.flags = Buffer("bias", dtype, n), Buffer("flags", bool_, m * n)
        self.short = Buffer("short", float16, m * n)
        self.acc = Acc("sum", "add", dtype)

    def at(self, row: int, column: int, offset: int = 0) -> Index:
        return Index(((self.row, row), (self.column, column)), offset)

    @property
    def biased(self) -> Expr:
        return call("add", Read(self.acc), Load(self.bias, (Index(((self.column, 1),)),)))

    def contraction(self, *stores: Store) -> Contraction:
        left = Load(self.left, (Index(((self.row, self.k), (self.inner, 1))),))
        right = Load(self.right, (Index(((self.inner, self.n), (self.column, 1))),))
        written = frozenset(store.buffer for store in stores)
        buffers = (self.left, self.right, self.out, self.other, self.bias, self.flags, self.short)
        groups = ((), (self.row,), (self.column,), (self.inner,))
        return Contraction("p", buffers, *groups, left, right, self.acc, stores, written)


def relu(p: Product) -> list[Store]:
    value = call("maximum", p.biased, const(0, p.dtype))
    return [Store(p.out, p.at(p.n, 1), value)]


def residual_and_mask(p: Product) -> list[Store]:
    value = call("add", p.biased, Load(p.other, (p.at(p.n, 1),)))
    positive = call("less", const(0, p.dtype), value)
    return [Store(p.out, p.at(p.n, 1), value), Store(p.flags, p.at(p.n, 1), positive)]


def cropped(p: Product) -> list[Store]:
    inside = (Within(p.at(1, 0, -2), p.m - 3), Within(p.at(0, 1, -1), p.n))
    return [Store(p.out, p.at(p.n, 1), p.biased, inside)]


def added(p: Product) -> list[Store]:
    return [Store(p.out, p.at(p.n, 1), p.biased, adds=True)]


def turned(p: Product) -> list[Store]:
    return [Store(p.out, p.at(1, p.m), p.biased)]


def shortened(p: Product) -> list[Store]:
    value = p.biased if p.dtype is float32 else call("cast", p.biased, dtype=float32)
    return [Store(p.short, p.at(p.n, 1), value)]


def in_place(p: Product) -> list[Store]:
    value = call("multiply", Load(p.other, (p.at(p.n, 1),)), Read(p.acc))
    return [Store(p.other, p.at(p.n, 1), value)]


def by_position(p: Product) -> list[Store]:
    position = call("cast", Position(p.at(1, 3)), dtype=p.dtype)
    return [Store(p.out, p.at(p.n, 1), call("add", Read(p.acc), position))]


def shifted(p: Product) -> list[Store]:
    inside = (Within(p.at(1, 0, -1), p.m), Within(p.at(0, 1, -1), p.n))
    neighbour = Load(p.other, (p.at(p.n, 1, -p.n - 1),), inside)
    return [Store(p.out, p.at(p.n, 1), call("add", Read(p.acc), neighbour))]


def scattered(p: Product) -> list[Store]:
    own = call("cast", Load(p.flags, (p.at(p.n, 1),)), dtype=int64)
    return [Store(p.out, p.at(2 * p.n, 2), Read(p.acc), dynamic=own)]


FOLLOWING = [
    *(relu, residual_and_mask, cropped, added, turned),
    *(shortened, in_place, by_position, shifted, scattered),
]


@pytest.mark.parametrize("dtype", [float32, float64], ids=["float32", "float64"])
@pytest.mark.parametrize("sizes", [(33, 45, 17), (5, 100, 3), (64, 7, 5000), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("follow", FOLLOWING, ids=lambda f: f.__name__)
def test_stores_agree_with_the_interpreter(
    follow: Callable[[Product], list[Store]], sizes: tuple[int, int, int], dtype: DType
) -> None:
    product = Product(*sizes, dtype)
    contraction = product.contraction(*follow(product))
    chance = np.random.default_rng(0)
    # Small whole numbers: sums are exact, so even signs of results must agree.
    arrays = [
        chance.integers(0 if b.dtype is bool_ else -3, 2, b.size)
        .clip(-3, 1)
        .astype(b.dtype.storage)
        for b in contraction.buffers
    ]
    memory = {b: a.copy() for b, a in zip(contraction.buffers, arrays, strict=True)}
    run_kernel(contraction, memory)
    order = random.Random(0)
    Compiled(contraction).run(arrays, lambda n: order.sample(range(n), n))
    for buffer, array in zip(contraction.buffers, arrays, strict=True):
        np.testing.assert_array_equal(array, memory[buffer], err_msg=buffer.name)


def test_nan_and_inf_reach_only_their_rows_and_columns() -> None:
    spec = matmul(20, 30, 37, "nt")
    a, b = np.ones((20, 30), np.float32), np.ones((37, 30), np.float32)
    a[3, 5], b[36, 7], a[8, 7], b[35, 0] = np.nan, np.inf, 0, -np.inf
    result = np.zeros((20, 37), np.float32)
    Compiled(spec.contraction()).run([a, b, result])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(result, a @ b.T)


def test_memory_aligned_to_elements_only() -> None:
    spec = matmul(30, 40, 50)
    memory = [np.zeros(size * 4 + 1, np.float32)[1:] for size in (1200, 2000, 1500)]
    a, b, result = memory[0][:1200], memory[1][:2000], memory[2][:1500]
    a[:], b[:] = np.arange(1200) % 7, np.arange(2000) % 5
    Compiled(spec.contraction()).run([a, b, result])
    np.testing.assert_array_equal(result.reshape(30, 50), a.reshape(30, 40) @ b.reshape(40, 50))


def test_whole_small_product_is_one_chunk() -> None:
    assert [n for _, n in Compiled(matmul(4, 16, 1).contraction()).phases][-1] == 1


def test_dot_products_of_few_columns_need_no_workspace() -> None:
    spec = matmul(100, 784, 10, "nt")
    check(spec)
    assert Compiled(spec.contraction()).emitted.workspace == 0


def test_convolution_of_each_channel_by_itself_is_left_to_loops() -> None:
    assert not supported(Image(2, 9, 9, 1, 1, (3, 3), 1, 1, 8).spec().contraction())
    assert supported(Image(2, 9, 9, 4, 4, (3, 3), 1, 1, 2).spec().contraction())


def test_other_dtypes_are_refused_by_name() -> None:
    product = Product(4, 4, 4, float16)
    contraction = product.contraction(Store(product.out, product.at(4, 1), Read(product.acc)))
    assert not supported(contraction)
    with pytest.raises(StateError, match=r"contraction p: .*\n  hint: ask .*supported first"):
        emit_contraction(Module(), contraction, "refused", host())
