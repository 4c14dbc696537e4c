"""Sums of columns row by row: the same as NumPy's, and only where the rows come from memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule.compiler import columns

ROWS, WIDTH = 40, 512


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors count as far away, and no kernel comes from the cache."""
    monkeypatch.setattr(columns, "FAR", 1)
    monkeypatch.setenv("CHAINRULE_CODE_CACHE_MB", "0")


def kernels(function: Callable[..., Any], *inputs: chainrule.Tensor) -> list[str]:
    """Return the text of each kernel."""
    text = chainrule.compile(function).trace(*inputs).lower().text
    return text.split("\nkernel ")[1:]


def whole(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Return numbers whose sums are exact in any order."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("width", [100, WIDTH, 999, 4096, 8192])
def test_sums_are_numpys_for_rows_of_any_length(width: int) -> None:
    x = whole((ROWS, width))

    def sums(t: chainrule.Tensor) -> Any:
        return t.sum(0), (t * t).sum(0)

    (kernel,) = kernels(sums, chainrule.tensor(x))
    assert "scratch" in kernel
    one, two = chainrule.compile(sums)(chainrule.tensor(x))
    np.testing.assert_array_equal(one.numpy(), x.sum(0))
    np.testing.assert_array_equal(two.numpy(), (x * x).sum(0))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in ("sum", "amax", "amin", "prod", "any")
        for dtype in ("float16", "float64", "int32", "uint8", "bool")
        if dtype != "bool" or name not in ("amax", "amin")  # those are of numbers only
    ],
)
def test_every_reduction_of_every_dtype_is_eagers(name: str, dtype: str) -> None:
    small = np.random.default_rng(1).integers(0, 3, (ROWS, WIDTH))
    x = chainrule.tensor((small // 2 + 1 if name == "prod" else small).astype(dtype))

    def reduced(t: chainrule.Tensor) -> chainrule.Tensor:
        return getattr(t, name)(0)

    expected, found = reduced(x), chainrule.compile(reduced)(x)
    assert found.dtype is expected.dtype
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.usefixtures("always")
def test_not_a_number_and_infinity_pass_through() -> None:
    x = whole((ROWS, WIDTH))
    x[3, 5], x[4, 6], x[5, 7] = np.nan, np.inf, -np.inf
    largest, total = chainrule.compile(lambda t: (t.amax(0), t.sum(0)))(chainrule.tensor(x))
    np.testing.assert_array_equal(largest.numpy(), x.max(0))
    np.testing.assert_array_equal(total.numpy(), x.sum(0))


@pytest.mark.usefixtures("always")
def test_what_is_stored_beside_the_sums_is_stored() -> None:
    x, y = whole((ROWS, WIDTH)), whole((ROWS, WIDTH), 1)
    function = chainrule.compile(lambda a, b: ((a - b) * 2, ((a - b) * 2).sum(0) / 4))
    map_, sums = function(chainrule.tensor(x), chainrule.tensor(y))
    np.testing.assert_array_equal(map_.numpy(), (x - y) * 2)
    np.testing.assert_array_equal(sums.numpy(), ((x - y) * 2).sum(0) / 4)


def test_rows_that_stay_in_a_cache_are_summed_in_registers() -> None:
    near = chainrule.zeros(1024, 512)
    (kernel,) = kernels(lambda t: (t * t).sum(0), near)
    assert "scratch" not in kernel
    assert any(
        "scratch" in k for k in kernels(lambda t: (t * t).sum(0), chainrule.zeros(2048, 512))
    )


def test_large_sums_have_the_same_bits_with_any_number_of_threads() -> None:
    x = chainrule.tensor(np.random.default_rng(2).random((2048, 1024), np.float32))
    before = chainrule.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            chainrule.set_num_threads(threads)
            found.append(chainrule.compile(lambda t: (t.exp() * t).sum(0))(x).numpy())
    finally:
        chainrule.set_num_threads(before)
    np.testing.assert_array_equal(*found)
