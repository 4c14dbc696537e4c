"""Convolutions by transformed tiles: exact tables, the same values, no loss of exactness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from compiler_tools import check
from hypothesis import given, settings
from hypothesis import strategies as st
from program_tools import Builder, evaluate

import chainrule as cr
import chainrule.nn.functional as F
from chainrule.compiler import winograd
from chainrule.compiler.program import Program, verify
from chainrule.compiler.winograd import TABLES, Tables, Work, form_of, transform_convolutions
from chainrule.core.dtype import Array, DType, float16, float32, float64


@contextmanager
def everywhere(**limits: float) -> Iterator[None]:
    """Let convolutions of all sizes be done by tiles."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ({"SMALLEST": 0, "_GAIN": 1e9, "_ROWS": 1} | limits).items():
            patch.setattr(winograd, name, value)
        yield


def convolutions(
    n: int, c: int, o: int, size: tuple[int, int], dtype: DType = float64, **attrs: Any
) -> tuple[Program, list[Array]]:
    """Return a program of all three products of a convolution, and its inputs."""
    kernel, stride, padding = attrs["kernel"], attrs["stride"], attrs["padding"]
    kept = {"stride": (stride, stride), "padding": padding, "dilation": (1, 1), "groups": 1}
    kept |= {name: attrs[name] for name in ("dilation", "groups") if name in attrs}
    b = Builder()
    x = b.input((n, c, *size), dtype)
    w = b.input((o, c // kept["groups"], kernel, kernel), dtype)
    y = b("conv", x, w, **kept)
    g = b.input(y.spec.shape, dtype)
    to_x = b("conv_input_grad", g, w, size=size, **kept)
    to_w = b("conv_weight_grad", x, g, kernel=(kernel, kernel), **kept)
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=v.spec.shape).astype(dtype.storage) for v in (x, w, g)]
    return b.program(y, to_x, to_w), arrays


def tiled(program: Program) -> int:
    """Return how many loops over tiles a program has after the pass."""
    return sum(bool(region.xs) for region in transform_convolutions(program).regions())


@pytest.mark.parametrize(("shape", "tables"), TABLES.items())
def test_tables_give_sums_of_products_exactly(shape: tuple[int, int], tables: Tables) -> None:
    taps, step = shape
    image, kernel, output = (
        [[Fraction(value).limit_denominator(12) for value in row] for row in table]
        for table in tables
    )
    rng = np.random.default_rng(0)
    x = [int(v) for v in rng.integers(-99, 99, taps + step - 1)]
    w = [int(v) for v in rng.integers(-99, 99, taps)]

    def times(table: list[list[Fraction]], vector: list[Any]) -> list[Fraction]:
        return [sum((a * v for a, v in zip(row, vector, strict=True)), Fraction()) for row in table]

    products = [a * b for a, b in zip(times(kernel, w), times(image, x), strict=True)]
    wanted = [sum(x[i + t] * w[t] for t in range(taps)) for i in range(step)]
    assert times(output, products) == wanted
    for table, exact in zip(tables, (image, kernel, output), strict=True):
        np.testing.assert_allclose(table, [[float(v) for v in row] for row in exact], rtol=1e-16)


@settings(max_examples=12)
@given(
    taps=st.integers(2, 3),
    stride=st.integers(1, 3),
    images=st.integers(1, 4),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    more=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    padding=st.tuples(*(st.integers(0, 3) for _ in range(4))),
)
def test_the_three_products_mean_the_same(
    taps: int,
    stride: int,
    images: int,
    channels: tuple[int, int],
    more: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> None:
    kernel = taps * stride
    size = (kernel + more[0], kernel + more[1])
    pairs = (padding[:2], padding[2:])
    program, inputs = convolutions(
        images, *channels, size, kernel=kernel, stride=stride, padding=pairs
    )
    with everywhere():
        moved = transform_convolutions(program)
        assert tiled(program) == 3
    verify(moved, "winograd")
    for got, want in zip(evaluate(moved, inputs), evaluate(program, inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, (5, 6)), (4, 2, (14, 14))])
def test_kernels_of_tiles_mean_the_same(kernel: int, stride: int, size: tuple[int, int]) -> None:
    given = {"kernel": kernel, "stride": stride, "padding": ((1, 1), (1, 1))}
    program, inputs = convolutions(2, 3, 2, size, **given)
    with everywhere(_BLOCK=1, _MOST=2**30):  # a block is an image
        assert tiled(program) == 3
        check(program, inputs, rtol=1e-9)


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "size", "worse"),
    [(64, 3, 1, 16, 1.5), (32, 4, 2, 28, 1.5), (64, 4, 2, 14, 6.0)],
)
def test_float32_is_about_as_exact_as_pytorch(
    channels: int, kernel: int, stride: int, size: int, worse: float
) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(32, channels, size, size)).astype("float32")
    w = (rng.normal(size=(64, channels, kernel, kernel)) / kernel / 8).astype("float32")
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w)]
    exact = [t.detach().double().requires_grad_() for t in theirs]
    results = []
    for a, b in (theirs, exact):
        y = torch.nn.functional.conv2d(a, b, stride=stride, padding=1)
        g = torch.tensor(np.random.default_rng(2).normal(size=y.shape).astype("float32")).to(y)
        y.backward(g)
        results.append([t.detach().numpy() for t in (y, a.grad, b.grad)])

    @cr.compile
    def run(x: Any, w: Any, g: Any) -> Any:
        y = F.conv2d(x, w, stride=stride, padding=1)
        y.backward(g)
        return y

    ours = [cr.tensor(a, requires_grad=True) for a in (x, w)]
    slope = cr.tensor(g.float().numpy())
    y = run(*ours, slope)
    found = [y, *(t.grad for t in ours)]
    for tensor in ours:
        tensor.grad = None
    assert "tile_output" in run.trace(*ours, slope).lower().text
    for got, other, want in zip(found, *results, strict=True):
        error = np.sqrt(np.mean((np.asarray(got) - want) ** 2))
        assert error <= worse * np.sqrt(np.mean((other - want) ** 2))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    x = cr.tensor(rng.normal(size=(8, 32, 16, 16)).astype("float32"))
    w = cr.tensor(rng.normal(size=(64, 32, 3, 3)).astype("float32"))

    @cr.compile
    def run(x: Any, w: Any) -> Any:
        return F.conv2d(x, w, padding=1)

    found = []
    before = cr.get_num_threads()
    try:
        for count in (1, 2, 3):
            cr.set_num_threads(count)
            found.append(run(x, w).numpy().tobytes())
    finally:
        cr.set_num_threads(before)
    assert "tile_output" in run.trace(x, w).lower().text
    assert found[0] == found[1] == found[2]


def test_what_is_not_finite_spreads_as_far_as_the_kernel_reaches() -> None:
    x = np.ones((16, 32, 16, 16), "float32")
    x[3, 5, 8, 8] = np.inf
    x[4, 6, 2, 3] = np.nan
    given = cr.tensor(x), cr.tensor(np.ones((64, 32, 3, 3), "float32"))
    run = cr.compile(lambda x, w: F.conv2d(x, w, padding=1))
    found = run(*given).numpy()
    assert "tile_output" in run.trace(*given).lower().text
    plain = F.conv2d(*given, padding=1).numpy()
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(plain))


@pytest.mark.parametrize(
    "given",
    [
        {"kernel": 3, "stride": 2},  # no whole number of strides
        {"kernel": 5, "stride": 1},
        {"kernel": 1, "stride": 1},
        {"kernel": 3, "stride": 1, "dilation": (2, 2)},
        {"kernel": 3, "stride": 1, "groups": 2},
        {"kernel": 3, "stride": 1, "dtype": float16},
    ],
    ids=str,
)
def test_other_convolutions_stay_as_they_are(given: dict[str, Any]) -> None:
    program, _ = convolutions(2, 4, 4, (9, 9), padding=((1, 1), (1, 1)), **given)
    with everywhere():
        assert tiled(program) == 0


def test_small_convolutions_and_those_of_few_channels_stay_as_they_are() -> None:
    same = ((1, 1), (1, 1))
    for n, c, o, size in ((2, 32, 32, 8), (64, 3, 64, 32), (64, 64, 1, 32), (1, 256, 256, 8)):
        program, _ = convolutions(n, c, o, (size, size), float32, kernel=3, stride=1, padding=same)
        assert tiled(program) == 0, (n, c, o, size)


def test_blocks_divide_the_images_and_stay_in_the_cache() -> None:
    for images in (1, 7, 61, 64):
        work = Work(images, (32, 32), 3, 1, 64, 64, 4)
        form = form_of(work)
        assert form is not None
        assert images % form.block == 0
    assert form_of(Work(1, (224, 224), 3, 1, 64, 64, 4)) is None  # no image in parts
    few = form_of(Work(64, (8, 8), 3, 1, 256, 256, 4))
    assert few is not None
    assert few.block * few.tiles[0] * few.tiles[1] >= 48


def test_the_form_is_chosen_by_the_work_it_takes() -> None:
    assert [
        form.step
        for size in (6, 7, 8, 9, 16)
        if (form := form_of(Work(64, (size, size), 2, 2, 256, 128, 4)))
    ] == [3, 4, 4, 3, 4]
