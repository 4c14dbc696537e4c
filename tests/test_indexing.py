"""x[key] and x[key] = value, against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule.core.dtype import int64
from chainrule.core.errors import (
    ArgumentError,
    ChainruleError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)
from chainrule.graph.autodiff import grad
from chainrule.graph.tensor import tensor
from chainrule.ops.indexing import getitem, setitem
from chainrule.testing import gradcheck, gradgradcheck

SHAPES = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Draw a NumPy key with every kind of part, in any order, for arrays of a shape."""
    common = draw(st.sampled_from([(), (1,), (2,), (3, 1), (2, 3)]))
    parts: list[Any] = []
    axis = 0
    has_dots = False
    while axis < len(shape):
        kind = draw(
            st.sampled_from(
                ["int", "slice", "none", "dots", "array", "mask", "flag", "zero", "end"]
            )
        )
        size = shape[axis]
        if kind == "none":
            parts.append(None)
            if len(parts) > 8:
                break
            continue
        if kind == "end":
            break
        if kind == "dots":
            if has_dots:
                continue
            has_dots = True
            parts.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        if kind == "flag":
            parts.append(draw(st.booleans()))
            if len(parts) > 8:
                break
            continue
        if kind == "mask":
            ndim = draw(st.integers(1, min(2, len(shape) - axis)))
            bits = draw(st.lists(st.booleans(), min_size=16, max_size=16))
            cover = shape[axis : axis + ndim]
            parts.append(np.resize(np.array(bits), cover))
            axis += ndim
            continue
        if kind == "slice":
            bound = st.none() | st.integers(-6, 6)
            step = draw(st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3]))
            parts.append(slice(draw(bound), draw(bound), step))
        elif size == 0:
            parts.append(slice(None))
        elif kind == "int":
            parts.append(draw(st.integers(-size, size - 1)))
        elif kind == "zero":
            parts.append(np.array(draw(st.integers(-size, size - 1))))
        else:
            found = tuple(draw(st.sampled_from([1, n])) for n in common)
            count = int(np.prod(found))
            values = draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count))
            parts.append(np.array(values, dtype=np.int64).reshape(found))
        axis += 1
    return tuple(parts)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, tuple[Any, ...]]:
    shape = draw(SHAPES)
    array = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape)
    return array, draw(keys(shape))


def numpy_result(array: np.ndarray, key: tuple[Any, ...]) -> np.ndarray | None:
    """Return what NumPy selects, or None where it refuses the key."""
    try:
        found = np.asarray(array[key])
    except IndexError:
        return None
    # NumPy lets positions out of range pass where nothing is selected; we do not.
    return None if found.size == 0 and leaves_range(array.shape, key) else found


def leaves_range(shape: tuple[int, ...], key: tuple[Any, ...]) -> bool:
    """Return whether positions in a valid key leave their axis, or a mask does not cover its axes.

    NumPy lets an empty mask pass on an axis of size 1.
    """
    used = [part.ndim if is_mask(part) else 1 for part in key if is_consuming(part)]
    axis = 0
    for part in key:
        if part is Ellipsis:
            axis += len(shape) - sum(used)
        elif is_mask(part):
            if part.shape != shape[axis : axis + part.ndim]:
                return True
            axis += part.ndim
        elif is_consuming(part):
            size = shape[axis]
            if isinstance(part, np.ndarray) and ((part < -size) | (part >= size)).any():
                return True
            axis += 1
    return False


def is_mask(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == bool


def is_consuming(part: Any) -> bool:
    return part is not None and part is not Ellipsis and not isinstance(part, bool)


def ours(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a key with arrays as tensors."""
    return tuple(tensor(part) if isinstance(part, np.ndarray) else part for part in key)


@settings(max_examples=600, deadline=None)
@given(cases())
def test_getitem_agrees_with_numpy(case: tuple[np.ndarray, tuple[Any, ...]]) -> None:
    array, key = case
    expected = numpy_result(array, key)
    for form in (key, ours(key)):
        if expected is None:
            with pytest.raises(ChainruleError):
                tensor(array)[form]
            continue
        result = tensor(array)[form]
        assert result.shape == expected.shape
        np.testing.assert_array_equal(result.numpy(), expected)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_getitem_gradient_agrees_with_add_at(case: tuple[np.ndarray, tuple[Any, ...]]) -> None:
    array, key = case
    expected = numpy_result(array, key)
    assume(expected is not None)
    x = tensor(array, requires_grad=True)
    y = x[ours(key)]
    weight = np.arange(1.0, 1.0 + y.numel()).reshape(y.shape)
    (found,) = grad(y, x, tensor(weight))
    want = np.zeros_like(array)
    np.add.at(want, key, weight)
    np.testing.assert_array_equal(found.numpy(), want)


@settings(max_examples=400, deadline=None)
@given(cases(), st.booleans())
def test_setitem_agrees_with_numpy(
    case: tuple[np.ndarray, tuple[Any, ...]], as_number: bool
) -> None:
    array, key = case
    selected = numpy_result(array, key)
    assume(selected is not None)
    value = np.float64(-7.0) if as_number else -1.0 - np.arange(selected.size)
    value = value if as_number else value.reshape(selected.shape)
    want = array.copy()
    want[key] = value
    x = tensor(array)
    x[ours(key)] = float(value) if as_number else tensor(value)
    np.testing.assert_array_equal(x.numpy(), want)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_setitem_gradients_go_to_the_last_writer(
    case: tuple[np.ndarray, tuple[Any, ...]],
) -> None:
    array, key = case
    selected = numpy_result(array, key)
    assume(selected is not None)
    order = np.arange(selected.size).reshape(selected.shape)
    stays = np.full(array.shape, -1)
    stays[key] = order
    x = tensor(array, requires_grad=True)
    v = tensor(np.zeros(selected.shape), requires_grad=True)
    y = setitem(x, ours(key), v)
    weight = np.arange(1.0, 1.0 + array.size).reshape(array.shape)
    to_x, to_v = grad(y, (x, v), tensor(weight))
    np.testing.assert_array_equal(to_x.numpy(), np.where(stays < 0, weight, 0.0))
    want = np.zeros(selected.size)
    want[stays[stays >= 0]] = weight[stays >= 0]
    np.testing.assert_array_equal(to_v.numpy(), want.reshape(selected.shape))


@pytest.mark.parametrize(
    "key",
    [
        (slice(None, None, -2), np.array([2, 0, 2])),
        (np.array([[0], [1]]), slice(1, 3), np.array([3, 0])),
        (1, slice(None), np.array([3, 3])),
        (np.array([[True, False, True], [False, True, True]]), slice(0, 3)),
        (None, ..., np.array([0, -1])),
    ],
    ids=["step", "apart", "number-apart", "mask", "dots"],
)
def test_indexing_has_second_derivatives(key: tuple[Any, ...]) -> None:
    rng = np.random.default_rng(0)
    x = tensor(rng.normal(size=(2, 3, 4)))
    gradcheck(lambda x: getitem(x, key), [x])
    gradgradcheck(lambda x: getitem(x * x, key) ** 2, [x])
    value = tensor(rng.normal(size=np.zeros((2, 3, 4))[key].shape))
    gradcheck(lambda x, v: setitem(x, key, v), [x, value])
    gradgradcheck(lambda x, v: setitem(x * x, key, v * v) ** 2, [x, value])


@pytest.mark.parametrize("key", [2, (0, 1), ([0, 2],), (slice(1, None), [1, 0]), ..., None, ()])
def test_gradients_agree_with_torch_on_common_keys(key: Any) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    array = np.random.default_rng(1).normal(size=(3, 4))
    x = tensor(array, requires_grad=True)
    t = torch.tensor(array, requires_grad=True)
    (x[key] ** 3).sum().backward()
    (t[key] ** 3).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-12)


def test_getitem_gives_a_new_handle() -> None:
    x = tensor([1.0, 2.0])
    for key in (..., slice(None), ()):
        y = x[key]
        y += 1
        assert x.tolist() == [1.0, 2.0]


def test_setitem_in_place_leaves_other_handles_alone() -> None:
    x = tensor([1.0, 2.0, 3.0])
    y = x[1:]
    x[1] = 9.0
    assert x.tolist() == [1.0, 9.0, 3.0]
    assert y.tolist() == [2.0, 3.0]


def test_setitem_strips_leading_ones_of_the_value() -> None:
    x = tensor(np.zeros((3, 2)))
    x[0] = tensor([[[1.0, 2.0]]])
    assert x.tolist()[0] == [1.0, 2.0]


def test_setitem_casts_the_value_to_the_tensor() -> None:
    x = tensor([1, 2, 3])
    x[0] = tensor(7.9)
    assert x.dtype is int64
    assert x.tolist() == [7, 2, 3]


def test_setitem_with_a_mask_on_leading_axes_and_a_number() -> None:
    x = tensor(np.arange(6.0).reshape(3, 2))
    x[tensor([True, False, True])] = -1
    assert x.tolist() == [[-1.0, -1.0], [2.0, 3.0], [-1.0, -1.0]]


def test_iteration_stops_at_the_end_of_the_first_axis() -> None:
    assert [row.tolist() for row in tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "uint64"])
def test_any_integer_dtype_is_an_index(dtype: str) -> None:
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x[tensor([1, 0], dtype=dtype)].tolist() == [[3.0, 4.0], [1.0, 2.0]]


MESSAGES: list[tuple[Any, type[Exception], str]] = [
    (
        5,
        IndexRangeError,
        "getitem: index 5 is out of range for axis 0 of size 3 of f32[3,4]; valid: from -3 to 2",
    ),
    (
        (0, tensor([1, 7, 9])),
        IndexRangeError,
        "getitem: index 7 at position [1] of the index is out of range for axis 1 of size 4 "
        "of f32[3,4]; valid: from -4 to 3",
    ),
    ((0, 0, 0), IndexRangeError, "getitem: 3 indices for the 2 axes of f32[3,4]"),
    (
        tensor([True, False]),
        ShapeError,
        "getitem: mask bool[2] for axes 0 of f32[3,4], expected the shape [3]",
    ),
    (tensor([0.5]), DTypeError, "getitem: an index tensor holds integers or booleans"),
    (1.5, DTypeError, "getitem: float 1.5 is not an index"),
    ("a", DTypeError, "getitem: str 'a' is not an index"),
    (slice(None, None, 0), ArgumentError, "getitem: a slice has step 0"),
    (slice("a", None), DTypeError, "getitem: slice('a', None, None) has a bound"),
    ((..., ...), ArgumentError, "getitem: '...' stands twice in the index"),
    (([0, 1], [0, 1, 2]), ShapeError, "index: shapes [2] and [3] do not broadcast"),
]


@pytest.mark.parametrize(("key", "kind", "text"), MESSAGES, ids=[m[2][9:25] for m in MESSAGES])
def test_wrong_keys_are_refused(key: Any, kind: type[Exception], text: str) -> None:
    x = tensor(np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(kind) as error:
        x[key]
    assert str(error.value).startswith(text)


def test_setitem_error_names_both_shapes() -> None:
    x = tensor(np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(
        ShapeError, match=r"setitem: value f32\[3\] does not broadcast to the selected shape \[4\]"
    ):
        x[0] = tensor([1.0, 2.0, 3.0])


def test_a_position_out_of_range_leaves_the_tensor_as_it_was() -> None:
    x = tensor([1.0, 2.0])
    with pytest.raises(IndexRangeError, match="setitem: index 2 at position"):
        x[tensor([0, 2])] = 5.0
    assert x.tolist() == [1.0, 2.0]
