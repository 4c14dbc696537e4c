"""Reductions, cumulative reductions, statistics and sorting, against NumPy, SciPy and PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp as scipy_logsumexp

from chainrule.core.dtype import bfloat16, float16, float32, int64, uint64
from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.graph.tensor import tensor
from chainrule.ops import cumulative, folding, reduce, sorting, statistics, truth
from chainrule.testing import gradcheck, gradgradcheck


@st.composite
def reductions(draw: st.DrawFn) -> tuple[np.ndarray, Any, bool]:
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    array = np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape)
    axes = (
        draw(st.lists(st.sampled_from(range(-len(shape), len(shape))), unique=True))
        if shape
        else []
    )
    axes = [
        a for i, a in enumerate(axes) if a % len(shape) not in [b % len(shape) for b in axes[:i]]
    ]
    axis = draw(st.sampled_from([None, tuple(axes), *axes[:1]]))
    return array, axis, draw(st.booleans())


@settings(max_examples=300, deadline=None)
@given(reductions())
def test_reductions_agree_with_numpy(case: tuple[np.ndarray, Any, bool]) -> None:
    array, axis, keepdims = case
    x = tensor(array)
    for name in ("sum", "prod", "any", "all", "max", "min"):
        room = truth if name in ("any", "all") else reduce
        function = getattr(room, name)
        try:
            want = getattr(np, name)(array, axis=axis, keepdims=keepdims)
        except ValueError:
            with pytest.raises(ShapeError, match=f"{name}: axis . of .* has no elements"):
                function(x, axis, keepdims=keepdims)
            continue
        got = function(x, axis, keepdims=keepdims)
        assert got.shape == np.shape(want)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-14)
    if array.size:
        for name in ("mean", "var", "std"):
            got = getattr(statistics, name)(x, axis, keepdims=keepdims)
            want = getattr(np, name)(array, axis=axis, keepdims=keepdims)
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-14)
        if axis != ():
            got = statistics.logsumexp(x, axis, keepdims=keepdims)
            want = scipy_logsumexp(array, axis=axis, keepdims=keepdims)
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-14)


# --- the faster paths for large arrays ----------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.sampled_from([1, 2, 3, 5, 10, 31, 64, 200, 257, 300]),
    st.booleans(),
    st.booleans(),
)
def test_folded_reductions_agree_with_numpy(
    rows: int, columns: int, along_rows: bool, keepdims: bool
) -> None:
    array = np.random.default_rng(rows).normal(size=(rows, columns))
    axes = (0,) if along_rows else (1,)
    total = folding.total(array, axes, keepdims)
    np.testing.assert_allclose(total, array.sum(axes, keepdims=keepdims), rtol=1e-9, atol=1e-9)
    for ufunc, plain in ((np.maximum, np.max), (np.minimum, np.min)):
        got = folding.extreme(ufunc, array, axes, keepdims)
        np.testing.assert_array_equal(got, plain(array, axes, keepdims=keepdims))


@pytest.mark.parametrize(("shape", "axes"), [((200, 5, 7), (0,)), ((30, 40, 6), (0, 1))])
@pytest.mark.parametrize("keepdims", [False, True])
def test_folded_reductions_of_several_axes(
    shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool
) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    trailing = tuple(len(shape) - 1 - a for a in reversed(axes))
    for chosen in (axes, trailing):
        got = folding.total(array, chosen, keepdims)
        np.testing.assert_allclose(got, array.sum(chosen, keepdims=keepdims), rtol=1e-10)
        got = folding.extreme(np.maximum, array, chosen, keepdims)
        np.testing.assert_array_equal(got, array.max(chosen, keepdims=keepdims))


@pytest.mark.parametrize("shape", [(5000, 3), (3, 5000), (2500, 2), (40, 200)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_folded_reductions_pass_special_values_on(shape: tuple[int, ...], value: float) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    array[shape[0] // 2, shape[1] // 2] = value
    array[-1, -1] = value
    for axes in ((0,), (1,), (0, 1)):
        np.testing.assert_allclose(folding.total(array, axes, False), array.sum(axes), rtol=1e-10)
        got = folding.extreme(np.maximum, array, axes, False)
        np.testing.assert_array_equal(got, array.max(axes))


def test_sum_of_many_rows_in_float32_keeps_its_digits() -> None:
    array = np.random.default_rng(0).random((1_000_000, 3), dtype=np.float32)
    exact = array.astype(np.float64).sum(0)
    error = np.abs(reduce.sum(tensor(array), 0).numpy() - exact) / exact
    assert error.max() < 2e-6  # NumPy's own sum along this axis is off by 1e-4 and more
    half = reduce.sum(tensor(array[:1000, 0]).half())
    assert half.item() == pytest.approx(exact[0] / 1000, rel=0.05)


def test_sums_of_integers_are_taken_in_64_bits() -> None:
    assert reduce.sum(tensor([100, 100], dtype="int8")).item() == 200
    assert reduce.sum(tensor([200, 100], dtype="uint8")).dtype is int64
    assert reduce.sum(tensor([True, True])).item() == 2
    assert reduce.sum(tensor([1], dtype="uint64")).dtype is uint64
    assert reduce.prod(tensor([100, 100], dtype="int8")).item() == 10_000
    assert reduce.sum(tensor([100, 100], dtype="int8"), dtype="int8").tolist() == -56
    assert reduce.sum(tensor([1, 2]), dtype="float32").dtype is float32


@pytest.mark.parametrize("dtype", [float16, bfloat16])
def test_mean_of_halves_does_not_overflow(dtype: Any) -> None:
    x = tensor(np.full(1000, 1000.0), dtype=dtype)
    assert statistics.mean(x).item() == 1000.0
    assert statistics.mean(x).dtype is dtype
    assert statistics.var(x).item() == 0.0


def test_mean_of_integers_is_float32_and_of_nothing_nan() -> None:
    assert statistics.mean(tensor([1, 2])).dtype is float32
    assert math.isnan(statistics.mean(tensor([])).item())


def test_variance_with_a_large_mean_is_not_cancelled() -> None:
    array = (1e4 + np.random.default_rng(0).normal(size=1000)).astype(np.float32)
    want = array.astype(np.float64).var()
    assert statistics.var(tensor(array)).item() == pytest.approx(want, rel=1e-3)


def test_var_of_one_element_with_correction_is_nan_as_in_torch() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert math.isnan(torch.tensor([2.0]).var().item())
    assert math.isnan(tensor([2.0]).var().item())


# --- gradients at awkward places ----------------------------------------------------------


def torch_gradient(name: str, array: np.ndarray, **options: Any) -> np.ndarray:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    t = torch.tensor(array, requires_grad=True)
    getattr(torch, name)(t, **options).sum().backward()
    return t.grad.numpy()


@pytest.mark.parametrize(("ours", "theirs"), [("max", "amax"), ("min", "amin")])
@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_ties_share_the_gradient_as_in_torch(ours: str, theirs: str, axis: Any) -> None:
    array = np.array([[1.0, 3.0, 3.0], [3.0, 1.0, 3.0], [1.0, 1.0, 2.0]])
    x = tensor(array, requires_grad=True)
    getattr(reduce, ours)(x, axis).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), torch_gradient(theirs, array, dim=axis))


@pytest.mark.parametrize(
    "row", [[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [1.5, 2.0, -3.0], [0.0]]
)
def test_prod_and_cumprod_have_right_derivatives_at_zeros(row: list[float]) -> None:
    x = tensor(np.array(row))
    for function in (lambda x: reduce.prod(x), lambda x: cumulative.cumprod(x, 0)):
        gradcheck(function, [x])
        gradgradcheck(function, [x])
    np_row = np.array(row)
    leaf = tensor(np_row, requires_grad=True)
    reduce.prod(leaf).backward()
    np.testing.assert_allclose(leaf.grad.numpy(), torch_gradient("prod", np_row), atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13])
def test_prod_gradient_for_every_length_of_the_tree(size: int) -> None:
    array = np.random.default_rng(size).normal(size=(2, size))
    array[0, 0] = 0.0
    x = tensor(array, requires_grad=True)
    reduce.prod(x, 1).sum().backward()
    np.testing.assert_allclose(
        x.grad.numpy(), torch_gradient("prod", array, dim=1), rtol=1e-10, atol=1e-14
    )


@pytest.mark.parametrize("name", ["std", "vector_norm"])
def test_gradient_of_a_root_at_zero_is_zero(name: str) -> None:
    x = tensor(np.zeros((2, 3)), requires_grad=True)
    getattr(statistics, name)(x, axis=1).sum().backward()
    assert not x.grad.numpy().any()


def test_logsumexp_of_infinities() -> None:
    inf = math.inf
    array = np.array([[-inf, -inf], [-inf, 1.0], [inf, 1.0], [inf, -inf], [np.nan, 1.0]])
    x = tensor(array, requires_grad=True)
    y = statistics.logsumexp(x, 1)
    np.testing.assert_allclose(y.numpy(), [-inf, 1.0, inf, inf, np.nan])
    y[:2].sum().backward()
    assert x.grad.numpy()[:2].tolist() == [[0.0, 0.0], [0.0, 1.0]]
    assert statistics.logsumexp(tensor(np.zeros((2, 0))), 1).tolist() == [-inf, -inf]
    big = tensor(np.array([3e38, 3e38]), dtype=float32)
    assert statistics.logsumexp(big).item() == pytest.approx(3e38)


@pytest.mark.parametrize("ord", [0, 1, 2, 3, 0.5, math.inf, -math.inf])
def test_vector_norms_agree_with_numpy(ord: float) -> None:
    array = np.array([[3.0, -4.0, 0.0], [1.0, 2.0, -2.0]])
    got = statistics.vector_norm(tensor(array), ord, 1)
    np.testing.assert_allclose(got.numpy(), np.linalg.norm(array, ord, 1), rtol=1e-12)


# --- positions and order ------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(0, 99),
    st.booleans(),
    st.booleans(),
)
def test_order_agrees_with_torch(
    shape: list[int], seed: int, descending: bool, with_nan: bool
) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(seed)
    array = rng.integers(-2, 3, shape).astype(np.float64)  # many ties
    if with_nan:
        array.flat[rng.integers(array.size)] = np.nan
    axis = int(rng.integers(-len(shape), len(shape)))
    x, t = tensor(array), torch.tensor(array)
    values, order = torch.sort(t, dim=axis, descending=descending, stable=True)
    assert sorting.argsort(x, axis, descending=descending).tolist() == order.tolist()
    got = x.sort(dim=axis, descending=descending)
    np.testing.assert_array_equal(got.values.numpy(), values.numpy())
    assert got.indices.tolist() == order.tolist()
    k = int(rng.integers(0, shape[axis] + 1))
    top = sorting.topk(x, k, axis, descending)
    want = torch.topk(t, k, axis, largest=descending)
    np.testing.assert_array_equal(top.values.numpy(), want.values.numpy())
    for name in ("argmax", "argmin"):
        found = getattr(truth, name)(x, axis)
        np.testing.assert_array_equal(found.numpy(), getattr(np, name)(array, axis))


def test_topk_gradient_goes_to_the_chosen() -> None:
    x = tensor(np.array([[1.0, 3.0, 2.0], [6.0, 5.0, 4.0]]))
    gradcheck(lambda x: sorting.topk(x, 2).values, [x])
    gradcheck(lambda x: x.topk(2, dim=0).values ** 2, [x])
    gradcheck(lambda x: sorting.sort(x, descending=True) ** 2, [x])


@pytest.mark.parametrize("keepdims", [False, True])
def test_argmax_of_all_elements(keepdims: bool) -> None:
    array = np.array([[1.0, 5.0], [np.nan, 9.0]])
    got = truth.argmax(tensor(array), keepdims=keepdims)
    assert got.shape == ((1, 1) if keepdims else ())
    assert got.item() == 2


def test_max_with_positions_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    array = np.random.default_rng(0).normal(size=(3, 4))
    x = tensor(array, requires_grad=True)
    t = torch.tensor(array, requires_grad=True)
    values, where = x.max(1)
    their_values, their_where = t.max(1)
    assert where.tolist() == their_where.tolist()
    values.sum().backward()
    their_values.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), t.grad.numpy())


@pytest.mark.parametrize("name", ["cumulative_sum", "cumulative_prod"])
@pytest.mark.parametrize("initial", [False, True])
def test_cumulative_functions_agree_with_numpy(name: str, initial: bool) -> None:
    array = np.random.default_rng(0).normal(size=(3, 5))
    got = getattr(cumulative, name)(tensor(array), axis=1, include_initial=initial)
    want = getattr(np, name)(array, axis=1, include_initial=initial)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted_agrees_with_numpy(side: str) -> None:
    grid, values = np.array([3.0, 1.0, 2.0, 2.0]), np.array([[0.0, 2.0], [9.0, np.nan]])
    order = np.argsort(grid)
    got = sorting.searchsorted(tensor(grid), tensor(values), side=side, sorter=tensor(order))
    want = np.searchsorted(grid, values, side=side, sorter=order)
    assert got.tolist() == want.tolist()


# --- messages -----------------------------------------------------------------------------


def test_wrong_arguments_are_refused() -> None:
    x = tensor(np.zeros((2, 0), dtype=np.float32))
    cases: list[tuple[Any, type[Exception], str]] = [
        (lambda: x.max(1), ShapeError, "argmax: axis 1 of f32[2,0] has no elements to choose from"),
        (lambda: x.amax(), ShapeError, "max: axis 1 of f32[2,0] has no elements to choose from"),
        (lambda: x.sum(2), ShapeError, "sum: axis 2 does not exist; axes of a 2-d tensor"),
        (lambda: x.sum((0, -2)), ShapeError, "sum: axis named twice in [0, -2]"),
        (lambda: reduce.sum(x, 0, dim=1), ArgumentError, "sum: got axis=0 and dim=1"),
        (lambda: x.cumsum(), ShapeError, "cumsum: f32[2,0] has 2 axes, so one must be named"),
        (lambda: x.topk(1), ArgumentError, "topk: k = 1 elements along axis 1 of f32[2,0]"),
        (lambda: sorting.argsort(x, 0, dim=1), ArgumentError, "argsort: got axis=0 and dim=1"),
        (
            lambda: sorting.searchsorted(x, x[:1]),
            ShapeError,
            "searchsorted: the sorted tensor must be 1-d, or rows [..., K] for values [..., M]; "
            "got f32[2,0] for f32[1,0]",
        ),
    ]
    for call, kind, text in cases:
        with pytest.raises(kind) as error:
            call()
        assert str(error.value).startswith(text)
