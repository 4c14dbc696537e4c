"""Gather, scatter, look-ups, one-hot rows and positions, against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.dtype import float64, int64
from chainrule.core.errors import DTypeError, IndexRangeError, ShapeError
from chainrule.graph.autodiff import grad
from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops import positions
from chainrule.ops.gathering import gather, nonzero, one_hot, scatter, scatter_add, take_along_axis
from chainrule.ops.selection import index_add, index_select, take
from chainrule.testing import gradcheck


@st.composite
def gather_cases(draw: st.DrawFn) -> tuple[np.ndarray, int, np.ndarray]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = [draw(st.integers(0, n)) for n in shape]
    sizes[axis] = draw(st.integers(0, 5))
    seed = draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), axis, rng.integers(0, shape[axis], tuple(sizes))


@settings(max_examples=150, deadline=None)
@given(gather_cases())
def test_gather_and_scatter_agree_with_torch(case: tuple[np.ndarray, int, np.ndarray]) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    array, axis, index = case
    x = tensor(array, requires_grad=True)
    t = torch.tensor(array, requires_grad=True)
    ti = torch.tensor(index)
    source = np.random.default_rng(3).normal(size=index.shape)
    s = tensor(source, requires_grad=True)
    ts = torch.tensor(source, requires_grad=True)
    pairs = [
        (gather(x, axis, tensor(index)), t.gather(axis, ti)),
        (scatter_add(x, axis, tensor(index), s), t.scatter_add(axis, ti, ts)),
    ]
    for got, want in pairs:
        assert got.shape == tuple(want.shape)
        np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-12)
        (got**3).sum().backward()
        (want**3).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(s.grad.numpy(), ts.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_scatter_add_takes_the_part_of_a_larger_source_that_the_index_covers() -> None:
    # PyTorch gives the value, and fails in the derivative; so that one is by differences.
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(0)
    array, source, index = rng.normal(size=(3, 4)), rng.normal(size=(4, 5)), [[2, 2], [0, 2]]
    want = torch.tensor(array).scatter_add(0, torch.tensor(index), torch.tensor(source))

    def ours(x: Tensor, source: Tensor) -> Tensor:
        return scatter_add(x, 0, tensor(index), source)

    got = ours(tensor(array), tensor(source))
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-14)
    gradcheck(ours, [tensor(array), tensor(source)])


@settings(max_examples=100, deadline=None)
@given(gather_cases(), st.booleans())
def test_scatter_without_repetition_agrees_with_numpy(
    case: tuple[np.ndarray, int, np.ndarray], number: bool
) -> None:
    array, axis, index = case
    size = array.shape[axis]
    shape = list(index.shape)
    shape[axis] = min(shape[axis], size)
    index = np.argsort(np.random.default_rng(0).random(array.shape), axis)
    index = index[tuple(slice(0, n) for n in shape)]
    source = np.random.default_rng(1).normal(size=shape)
    want = array.copy()
    place = np.indices(index.shape)
    want[tuple(index if a == axis else place[a] for a in range(array.ndim))] = (
        2.5 if number else source
    )
    x = tensor(array)
    got = scatter(x, axis, tensor(index), 2.5 if number else tensor(source))
    np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize(
    ("shape", "sizes", "axis"),
    [((3, 4), (1, 2), 1), ((1, 4), (5, 3), 1), ((2, 3, 4), (2, 2, 1), 1), ((3,), (7,), -1)],
)
def test_take_along_axis_broadcasts_as_numpy(
    shape: tuple[int, ...], sizes: tuple[int, ...], axis: int
) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=shape)
    index = rng.integers(-shape[axis], shape[axis], sizes)
    got = take_along_axis(tensor(array), tensor(index), axis)
    want = np.take_along_axis(array, index, axis)
    np.testing.assert_array_equal(got.numpy(), want)
    gradcheck(lambda x: take_along_axis(x, tensor(index), axis), [tensor(array)])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_take_agrees_with_numpy(axis: int | None) -> None:
    array = np.random.default_rng(0).normal(size=(3, 4, 2))
    index = np.array([[0, -1], [1, 1]])
    got = take(tensor(array), tensor(index), axis)
    np.testing.assert_array_equal(got.numpy(), np.take(array, index, axis))


@pytest.mark.parametrize(("rows", "columns"), [(50, 3), (40, 600), (300, 1), (0, 4)])
def test_gradient_of_an_embedding_adds_repeated_rows(rows: int, columns: int) -> None:
    rng = np.random.default_rng(0)
    index = rng.integers(0, 7, rows)
    table = tensor(rng.normal(size=(7, columns)), requires_grad=True)
    weight = rng.normal(size=(rows, columns))
    (found,) = grad(take(table, tensor(index), 0), table, tensor(weight))
    want = np.zeros((7, columns))
    np.add.at(want, index, weight)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-12, atol=1e-14)


def test_gradient_of_an_embedding_longer_than_a_chunk() -> None:
    rng = np.random.default_rng(0)
    columns = 4
    rows = positions.CHUNK // columns + 5
    index = rng.integers(0, 11, rows)
    weight = rng.normal(size=(rows, columns))
    table = tensor(np.zeros((11, columns)), requires_grad=True)
    (found,) = grad(table[tensor(index)], table, tensor(weight))
    want = np.stack(
        [np.bincount(index, weights=weight[:, c], minlength=11) for c in range(columns)], axis=1
    )
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-9)


def test_index_add_and_index_select_agree_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(0)
    array, source, index = rng.normal(size=(2, 4)), rng.normal(size=(2, 3)), np.array([1, 1, 3])
    t = torch.tensor(array)
    want = t.index_add(1, torch.tensor(index), torch.tensor(source))
    got = index_add(tensor(array), 1, tensor(index), tensor(source))
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-14)
    chosen = index_select(tensor(array), 1, tensor(index))
    np.testing.assert_array_equal(chosen.numpy(), t.index_select(1, torch.tensor(index)).numpy())


def test_scatter_keeps_the_last_of_equal_positions_and_its_gradient() -> None:
    source = tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = tensor([0.0, 0.0], requires_grad=True)
    result = scatter(x, 0, tensor([0, 0, 0]), source)
    assert result.tolist() == [3.0, 0.0]
    result.sum().backward()
    assert source.grad.tolist() == [0.0, 0.0, 1.0]
    assert x.grad.tolist() == [0.0, 1.0]


def test_one_hot_agrees_with_torch_and_refuses_classes_out_of_range() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    classes = np.array([[0, 2], [1, 1]])
    for count in (-1, 3, 5):
        want = torch.nn.functional.one_hot(torch.tensor(classes), count)
        assert one_hot(tensor(classes), count).tolist() == want.tolist()
    with pytest.raises(IndexRangeError) as error:
        one_hot(tensor(classes), 2)
    assert str(error.value).startswith(
        "one_hot: class 2 at position [0, 1] is out of range for 2 classes; valid: from 0 to 1"
    )
    assert "num_classes=3" in str(error.value)


def test_nonzero_agrees_with_numpy() -> None:
    array = np.array([[0.0, np.nan, 0.0], [1.0, -0.0, 2.0]])
    for got, want in zip(nonzero(tensor(array)), np.nonzero(array), strict=True):
        assert got.dtype is int64
        np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda x, i: take(x, i, 0),
            "take: index 3 at position [1] of the index is out of range for axis 0 of size 3",
        ),
        (
            lambda x, i: gather(x, 1, i.reshape(1, 2) + 1),
            "gather: index 4 at position [0, 1] of the index is out of range for axis 1 of size 4",
        ),
        (
            lambda x, i: take_along_axis(x, i.reshape(2, 1), 0),
            "take_along_axis: index 3 at position [1, 0] of the index is out of range for axis 0",
        ),
        (
            lambda x, i: scatter_add(x, 0, i.reshape(2, 1), x),
            "scatter_add: index 3 at position [1, 0] of the index is out of range for axis 0",
        ),
    ],
)
def test_positions_out_of_range_are_named(call: Any, text: str) -> None:
    x = tensor(np.zeros((3, 4)), dtype=float64)
    with pytest.raises(IndexRangeError) as error:
        call(x, tensor([-3, 3]))
    assert text in str(error.value)


def test_gather_refuses_an_index_with_other_axes() -> None:
    x: Tensor = tensor(np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(ShapeError, match=r"gather: index i64\[2\] for x f32\[3,4\]"):
        gather(x, 0, tensor([0, 1]))
    with pytest.raises(DTypeError, match="gather: positions must be integers"):
        gather(x, 0, x)
