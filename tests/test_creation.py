"""Casts and creation of tensors: every dtype, every spelling, exact ends, refused values.

Oracle: NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.core.dtype import ALL, DType, bool_, float32, float64, int32, int64, uint8
from chainrule.core.errors import ArgumentError, DTypeError, ShapeError
from chainrule.graph.node import no_grad
from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops import creation, ranges, rounding
from chainrule.ops.cast import astype, clone


@pytest.mark.parametrize("source", ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("target", ALL, ids=lambda d: d.name)
def test_cast_between_all_dtypes(source: DType, target: DType) -> None:
    x = tensor([0, 1, 1], dtype=source)
    result = astype(x, target)
    assert result.dtype is target
    assert result.tolist() == [0, 1, 1]
    assert astype(x, source) is x
    assert astype(x, source, copy=True) is not x


def test_cast_of_halves_rounds_once_and_passes_gradients() -> None:
    x = tensor([1.0 + 2.0**-9], dtype=float64, requires_grad=True)
    half = astype(x, "bfloat16")
    assert half.tolist() == [1.0]
    astype(half, float64).sum().backward()
    assert x.grad is not None
    assert (x.grad.dtype, x.grad.tolist()) == (float64, [1.0])


def test_cast_to_bool_takes_nan_for_true() -> None:
    assert astype(tensor([0.0, -0.0, np.nan, 0.1]), bool_).tolist() == [False, False, True, True]


def test_clone_has_its_own_handle() -> None:
    x = tensor([1.0])
    with no_grad():
        y = clone(x)
        y += 1
    assert (x.tolist(), y.tolist()) == ([1.0], [2.0])


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_filled_tensors_in_both_spellings(shape: tuple[int, ...]) -> None:
    for function, value in ((creation.zeros, 0), (creation.ones, 1), (creation.empty, 0)):
        for made in (function(*shape), function(shape), function(list(shape))):
            assert (made.shape, made.dtype) == (shape, float32)
            assert bool((made == value).all())


def test_full_takes_the_dtype_of_its_value() -> None:
    assert [creation.full(2, v).dtype for v in (1, 1.0, True)] == [int64, float32, bool_]
    assert creation.full((), tensor(2.5)).item() == 2.5
    assert np.signbit(creation.full((), -0.0).item())
    assert np.isnan(creation.full(1, float("nan")).item())
    with pytest.raises(ArgumentError, match="300 does not fit uint8"):
        creation.full(2, 300, uint8)
    with pytest.raises(ArgumentError, match="nan does not fit int64"):
        creation.full(2, float("nan"), int64)
    with pytest.raises(ShapeError, match="negative size"):
        creation.full((2, -1), 0)


def test_like_functions_follow_shape_and_dtype() -> None:
    x = tensor([[1, 2]], dtype=int32)
    assert creation.zeros_like(x).dtype is int32
    assert creation.ones_like(x, dtype=float64).tolist() == [[1.0, 1.0]]
    assert creation.full_like(x, 7).tolist() == [[7, 7]]


def test_created_leaf_receives_a_gradient() -> None:
    x = creation.ones(3, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    "arguments",
    [(5,), (2, 7), (2, 7, 2), (7, 2, -2), (0, 1, 0.1), (5, 2), (-3, 3, 1.5), (1.0, 2.0, 0.3)],
)
def test_arange_agrees_with_numpy(arguments: tuple[float, ...]) -> None:
    want = np.arange(*arguments)
    got = creation.arange(*arguments)
    assert got.dtype is (int64 if want.dtype == np.int64 else float32)
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6)


def test_arange_refuses_step_zero_and_takes_extreme_integers() -> None:
    with pytest.raises(ArgumentError, match="not 0"):
        creation.arange(0, 1, 0)
    with pytest.raises(ArgumentError, match="finite"):
        creation.arange(0, float("inf"))
    top = 2**64 - 3
    assert creation.arange(top, 2**64 - 1, dtype="uint64").tolist() == [top, top + 1]
    assert creation.arange(-(2**63), -(2**63) + 2).tolist() == [-(2**63), -(2**63) + 1]


@pytest.mark.parametrize("endpoint", [True, False])
@pytest.mark.parametrize("num", [0, 1, 2, 7, 100])
def test_linspace_ends_are_exact(num: int, endpoint: bool) -> None:
    got = ranges.linspace(0.1, 0.7, num, endpoint=endpoint, dtype=float64)
    want = np.linspace(0.1, 0.7, num, endpoint=endpoint)
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-15)
    if num > 1 and endpoint:
        assert got.tolist()[-1] == 0.7
    if num:
        assert got.tolist()[0] == 0.1
    with pytest.raises(DTypeError, match="expected a floating type"):
        ranges.linspace(0, 1, 3, dtype=int64)


@pytest.mark.parametrize("k", [-5, -1, 0, 1, 5])
def test_triangles_agree_with_numpy_and_pass_gradients(k: int) -> None:
    array = np.arange(1.0, 25.0).reshape(2, 3, 4)
    for ours, oracle in ((ranges.tril, np.tril), (ranges.triu, np.triu)):
        x = tensor(array, requires_grad=True)
        result = ours(x, k=k)
        np.testing.assert_array_equal(np.asarray(result), oracle(array, k))
        np.testing.assert_array_equal(np.asarray(ours(x, k)), oracle(array, k))
        result.sum().backward()
        np.testing.assert_array_equal(np.asarray(x.grad), oracle(np.ones_like(array), k))
    with pytest.raises(ShapeError, match="at least two axes"):
        ranges.tril(tensor([1.0]))


@pytest.mark.parametrize("indexing", ["xy", "ij"])
@pytest.mark.parametrize("lengths", [(3,), (3, 2), (2, 3, 4), ()])
def test_meshgrid_agrees_with_numpy(lengths: tuple[int, ...], indexing: Any) -> None:
    arrays = [np.arange(float(n)) for n in lengths]
    want = np.meshgrid(*arrays, indexing=indexing)
    got = ranges.meshgrid(*map(tensor, arrays), indexing=indexing)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)


def test_results_do_not_alias_inputs_that_change() -> None:
    """What looks like a view in NumPy must not show a later in-place update."""
    x = tensor([1.0, 2.0])
    kept: list[Tensor] = [clone(x), astype(x, float32, copy=True), rounding.floor(tensor([1, 2]))]
    x += 1
    assert [k.tolist() for k in kept] == [[1.0, 2.0], [1.0, 2.0], [1, 2]]
