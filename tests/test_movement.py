"""Movement of elements: shapes, axes, slices and pieces, against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.errors import ArgumentError, ChainruleError, ShapeError
from chainrule.graph.autodiff import grad
from chainrule.graph.tensor import Tensor, tensor
from chainrule.ops import axes, joining, movement, pieces
from chainrule.ops.slicing import put_ranges, take_ranges
from chainrule.testing import gradcheck, gradgradcheck

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    """Return an array whose elements tell where they came from."""
    return np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape)


def check(got: Tensor, want: np.ndarray) -> None:
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.numpy(), want)


def check_linear(function: Any, array: np.ndarray) -> None:
    """A movement's gradient carries each weight back to where the element came from."""
    x = tensor(array, requires_grad=True)
    y = function(x)
    weight = 1.0 + np.arange(y.numel(), dtype=np.float64).reshape(y.shape)
    (found,) = grad(y, x, tensor(weight))
    origin = function(tensor(numbered(array.shape))).numpy().astype(int).reshape(-1)
    want = np.bincount(origin, weights=weight.reshape(-1), minlength=array.size)
    np.testing.assert_allclose(found.numpy(), want.reshape(array.shape))


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[tuple[int, ...], list[int]]:
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 3]), max_size=4))
    total = int(np.prod(sizes))
    target = list(draw(st.permutations(sizes)))
    if target and draw(st.booleans()):
        target.insert(draw(st.integers(0, len(target))), 1)
    if target and total and draw(st.booleans()):
        target[draw(st.integers(0, len(target) - 1))] = -1
    return tuple(sizes), target


@settings(max_examples=150, deadline=None)
@given(reshapes())
def test_reshape_agrees_with_numpy(case: tuple[tuple[int, ...], list[int]]) -> None:
    shape, target = case
    array = numbered(shape)
    check(movement.reshape(tensor(array), target), array.reshape(target))
    if array.size:
        check_linear(lambda x: movement.reshape(x, target), array)


@settings(max_examples=150, deadline=None)
@given(SHAPES, st.randoms(use_true_random=False))
def test_permute_and_flip_agree_with_numpy(shape: tuple[int, ...], random: Any) -> None:
    array = numbered(shape)
    order = list(range(len(shape)))
    random.shuffle(order)
    check(movement.permute(tensor(array), order), array.transpose(order))
    some = tuple(order[: random.randint(0, len(order))])
    check(movement.flip(tensor(array), some), np.flip(array, some))
    if array.size:
        check_linear(lambda x: movement.permute(x, order), array)
        check_linear(lambda x: movement.flip(x, some), array)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    shape = draw(st.lists(st.integers(0, 6), min_size=1, max_size=3).map(tuple))
    bound = st.none() | st.integers(-8, 8)
    steps = st.sampled_from([-3, -2, -1, 1, 2, 3])
    return shape, tuple(slice(draw(bound), draw(bound), draw(steps)) for _ in shape)


@settings(max_examples=200, deadline=None)
@given(ranges())
def test_slices_with_any_step_agree_with_numpy(
    case: tuple[tuple[int, ...], tuple[slice, ...]],
) -> None:
    shape, key = case
    array = numbered(shape)
    x = tensor(array)
    check(x[key], array[key])
    places = []
    for part, size in zip(key, shape, strict=True):
        start, stop, step = part.indices(size)
        count = len(range(start, stop, step))
        places.append((start, count, step) if count else (0, 0, 1))
    check(take_ranges(x, tuple(places)), array[key])
    want = array.copy()
    want[key] = -1.0 - numbered(array[key].shape)
    check(put_ranges(x, tensor(-1.0 - numbered(array[key].shape)), tuple(places)), want)
    if array.size:
        check_linear(lambda x: take_ranges(x, tuple(places)), array)


def test_slices_with_negative_steps_have_second_derivatives() -> None:
    x = tensor(np.random.default_rng(0).normal(size=(5, 4)))
    gradcheck(lambda x: x[::-2, 3:0:-1] ** 2, [x])
    gradgradcheck(lambda x: x[::-2, 3:0:-1] ** 3, [x])


@settings(max_examples=100, deadline=None)
@given(SHAPES.filter(len), st.data())
def test_concat_undoes_split(shape: tuple[int, ...], data: st.DataObject) -> None:
    array = numbered(shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[axis]), max_size=3)))
    sizes = np.diff([0, *cuts, shape[axis]]).tolist()
    parts = pieces.split(tensor(array), sizes, axis)
    for part, want in zip(parts, np.split(array, cuts, axis), strict=True):
        check(part, want)
    check(joining.concat(parts, axis), array)
    if array.size:
        check_linear(lambda x: joining.concat(pieces.split(x, sizes, axis)[::-1], axis), array)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 9), st.integers(1, 5))
def test_split_by_size_and_chunk_agree_with_torch(total: int, count: int) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    array = numbered((2, total))
    t = torch.from_numpy(array)
    for ours, theirs in (
        (pieces.split(tensor(array), count, 1), t.split(count, 1)),
        (pieces.chunk(tensor(array), count, 1), t.chunk(count, 1)),
        (tensor(array).split(count, 1), t.split(count, 1)),
    ):
        assert [p.shape for p in ours] == [tuple(p.shape) for p in theirs]
        for a, b in zip(ours, theirs, strict=True):
            check(a, b.numpy())


@settings(max_examples=100, deadline=None)
@given(SHAPES, st.integers(1, 3), st.data())
def test_unstack_undoes_stack(shape: tuple[int, ...], count: int, data: st.DataObject) -> None:
    arrays = [numbered(shape) + 100 * i for i in range(count)]
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    stacked = pieces.stack([tensor(a) for a in arrays], axis)
    check(stacked, np.stack(arrays, axis))
    for got, want in zip(pieces.unstack(stacked, axis), arrays, strict=True):
        check(got, want)
    assert len(pieces.unbind(stacked, axis)) == count


@settings(max_examples=100, deadline=None)
@given(SHAPES, st.data())
def test_pad_agrees_with_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    array = numbered(shape)
    widths = [(data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))) for _ in shape]
    got = movement.pad(tensor(array), widths, 7.0)
    check(got, np.pad(array, widths, constant_values=7.0) if shape else array)
    crop = [(-low, -high) for low, high in widths]
    check(movement.pad(got, crop), array)


@settings(max_examples=100, deadline=None)
@given(SHAPES, st.lists(st.integers(0, 3), max_size=5))
def test_tile_agrees_with_numpy(shape: tuple[int, ...], repeats: list[int]) -> None:
    array = numbered(shape)
    check(pieces.tile(tensor(array), repeats), np.tile(array, repeats))


@settings(max_examples=100, deadline=None)
@given(SHAPES.filter(len), st.data())
def test_roll_and_repeat_agree_with_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    array = numbered(shape)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    shift = data.draw(st.integers(-9, 9))
    check(pieces.roll(tensor(array), shift, axis), np.roll(array, shift, axis))
    check(pieces.roll(tensor(array), shift), np.roll(array, shift))
    counts = [data.draw(st.integers(0, 3)) for _ in range(shape[axis])]
    if counts:
        check(pieces.repeat(tensor(array), counts, axis), np.repeat(array, counts, axis))
    check(pieces.repeat_interleave(tensor(array), 2, axis), np.repeat(array, 2, axis))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=4).map(tuple), st.data())
def test_axes_functions_agree_with_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    array, ndim = numbered(shape), len(shape)
    one, two = data.draw(st.permutations(range(ndim)))[:2]
    x = tensor(array)
    check(axes.transpose(x, one, two - ndim), np.swapaxes(array, one, two))
    check(axes.moveaxis(x, (one, two), (two, one)), np.moveaxis(array, (one, two), (two, one)))
    check(axes.moveaxis(x, one, -1), np.moveaxis(array, one, -1))
    check(axes.unsqueeze(x, one), np.expand_dims(array, one))
    check(axes.squeeze(axes.unsqueeze(x, one), one), array)
    check(x.mT, array.swapaxes(-1, -2))
    offset = data.draw(st.integers(-5, 5))
    check(pieces.diagonal(x, offset, one, two), np.diagonal(array, offset, one, two))


def test_squeeze_without_axis_takes_out_all_axes_of_size_one() -> None:
    check(axes.squeeze(tensor(numbered((1, 3, 1, 2, 1)))), numbered((3, 2)))


def test_flatten_and_unflatten_agree_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    array = numbered((2, 3, 4))
    t = torch.from_numpy(array)
    for start, end in ((0, -1), (1, -1), (0, 1), (1, 1)):
        check(axes.flatten(tensor(array), start, end), t.flatten(start, end).numpy())
    check(axes.unflatten(tensor(array), 2, (2, -1)), t.unflatten(2, (2, -1)).numpy())
    check(tensor(array).flatten(1), t.flatten(1).numpy())


def test_expand_keeps_sizes_at_minus_one_and_sums_the_gradient() -> None:
    x = tensor(np.array([[1.0], [2.0]]), requires_grad=True)
    y = x.expand(3, -1, 4)
    assert y.shape == (3, 2, 4)
    y.sum().backward()
    assert x.grad.tolist() == [[12.0], [12.0]]


def test_broadcasting_functions_agree_with_numpy() -> None:
    a, b = numbered((3, 1)), numbered((4,))
    wants = np.broadcast_arrays(a, b)
    for got, want in zip(axes.broadcast_arrays(tensor(a), tensor(b)), wants, strict=True):
        check(got, want)
    check(axes.broadcast_to(tensor(b), (2, 4)), np.broadcast_to(b, (2, 4)))


def test_concat_promotes_and_flattens() -> None:
    got = joining.concat([tensor([1, 2]), tensor([[0.5]])], axis=None)
    assert got.tolist() == [1.0, 2.0, 0.5]
    assert joining.cat((tensor([[1]]), tensor([[2]])), dim=1).tolist() == [[1, 2]]


def test_results_are_new_handles() -> None:
    """No movement returns its input itself: an in-place change of the result must not reach it."""
    x = tensor([1.0, 2.0])
    same = [
        x.reshape(2),
        x.permute(0),
        x.expand(2),
        x.flip(()),
        x.squeeze(),
        x.flatten(),
        movement.pad(x, [(0, 0)]),
        joining.concat([x]),
        pieces.tile(x, 1),
        pieces.roll(x, 0),
        pieces.roll(x, (), ()),
        pieces.split(x, 2)[0],
        axes.moveaxis(x, (), ()),
        axes.broadcast_tensors(x)[0],
        x.sum(()),
    ]
    for result in same:
        result += 1
    assert x.tolist() == [1.0, 2.0]


X = tensor(np.zeros((2, 3), dtype=np.float32))

MESSAGES: list[tuple[Any, type[ChainruleError], str]] = [
    (
        lambda: X.reshape(4, 2),
        ShapeError,
        "reshape: f32[2,3] has 6 elements, the shape [4, 2] holds 8",
    ),
    (
        lambda: X.reshape(4, -1),
        ShapeError,
        "reshape: f32[2,3] has 6 elements, which no size at -1 in [4, -1] can hold",
    ),
    (
        lambda: X.reshape(-1, -1),
        ShapeError,
        "reshape: shape [-1, -1] has more than one unknown size",
    ),
    (lambda: X.reshape(-2, 3), ShapeError, "reshape: negative size in shape [-2, 3]"),
    (
        lambda: X.permute(0, 0),
        ShapeError,
        "permute: axes [0, 0] are not an order of the 2 axes of f32[2,3]",
    ),
    (lambda: X.expand(4, 3), ShapeError, "expand: f32[2,3] does not broadcast to [4, 3]"),
    (lambda: X.flip(5), ShapeError, "flip: axis 5 does not exist"),
    (lambda: movement.pad(X, [(1, 1)]), ShapeError, "pad: 1 widths for the 2 axes of f32[2,3]"),
    (
        lambda: movement.pad(X, [(-2, -1), (0, 0)]),
        ShapeError,
        "pad: widths [(-2, -1), (0, 0)] take more from f32[2,3] than there is",
    ),
    (
        lambda: joining.concat([X, X.T]),
        ShapeError,
        "concat: tensor 0 f32[2,3] and tensor 1 f32[3,2] differ outside axis 0",
    ),
    (lambda: joining.concat([]), ShapeError, "concat: no tensors to join"),
    (lambda: joining.concat([tensor(1.0)]), ShapeError, "concat: a 0-d tensor has no axis"),
    (
        lambda: pieces.stack([X, X.T]),
        ShapeError,
        "stack: tensor 0 f32[2,3] and tensor 1 f32[3,2] differ in shape",
    ),
    (
        lambda: pieces.split(X, [1, 1], 1),
        ShapeError,
        "split: sizes [1, 1] add up to 2, axis 1 of f32[2,3] has 3",
    ),
    (lambda: pieces.split(X, 0), ArgumentError, "split: pieces of size 0, expected at least 1"),
    (lambda: pieces.chunk(X, 0), ArgumentError, "chunk: 0 pieces, expected at least 1"),
    (lambda: X.squeeze(1), ShapeError, "squeeze: axis 1 of f32[2,3] has size 3"),
    (lambda: X.unsqueeze(4), ShapeError, "unsqueeze: axis 4 does not exist"),
    (lambda: X.flatten(1, 0), ShapeError, "flatten: start_dim 1 comes after end_dim 0"),
    (
        lambda: axes.unflatten(X, 1, (2, 2)),
        ShapeError,
        "unflatten: sizes [2, 2] do not multiply to 3, the size of axis 1 of f32[2,3]",
    ),
    (lambda: pieces.narrow(X, 1, 2, 2), ShapeError, "narrow: 2 elements from 2 on reach beyond"),
    (lambda: pieces.tile(X, (-1,)), ArgumentError, "tile: negative number of repeats in [-1]"),
    (
        lambda: pieces.repeat(X, (1, 2), 1),
        ShapeError,
        "repeat: repeats of shape [2] for axis 1 of f32[2,3], expected one number or 3",
    ),
    (lambda: pieces.roll(X, (1, 2), (0,)), ShapeError, "roll: 2 shifts for 1 axes"),
    (
        lambda: axes.broadcast_tensors(X, X.T),
        ShapeError,
        "broadcast_tensors: shapes [2, 3] and [3, 2] do not broadcast",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), MESSAGES, ids=[m[2][:24] for m in MESSAGES])
def test_wrong_arguments_are_refused(call: Any, kind: type[ChainruleError], text: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).startswith(text)
