"""The array API standard: names, signatures, inspection, DLPack, what differs from chainrule's own.

The public suite data-apis/array-api-tests checks the rest, see docs/conformance.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import array_api as xp

# The standard's own list (2025.12), without what only complex numbers have (eig, eigvals, fft).
NAMES = """
abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan atan2 atanh
bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
broadcast_arrays broadcast_shapes broadcast_to can_cast ceil clip concat conj copysign cos cosh
count_nonzero cumulative_prod cumulative_sum diff divide empty empty_like equal exp expand_dims
expm1 eye finfo flip floor floor_divide from_dlpack full full_like greater greater_equal hypot
iinfo imag isdtype isfinite isin isinf isnan less less_equal linspace log log10 log1p log2
logaddexp logical_and logical_not logical_or logical_xor matmul matrix_transpose max maximum mean
meshgrid min minimum moveaxis multiply negative nextafter nonzero not_equal ones ones_like
permute_dims positive pow prod real reciprocal remainder repeat reshape result_type roll round
searchsorted sign signbit sin sinh sort sqrt square squeeze stack std subtract sum take
take_along_axis tan tanh tensordot tile tril triu trunc unique_all unique_counts unique_inverse
unique_values unstack var vecdot where zeros zeros_like
e inf nan newaxis pi bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64
__array_api_version__ __array_namespace_info__ linalg
"""
LINALG = """
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank
matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
"""
METHODS = """
__abs__ __add__ __and__ __array_namespace__ __bool__ __complex__ __dlpack__ __dlpack_device__
__eq__ __float__ __floordiv__ __ge__ __getitem__ __gt__ __index__ __int__ __invert__ __le__
__lshift__ __lt__ __matmul__ __mod__ __mul__ __ne__ __neg__ __or__ __pos__ __pow__ __rshift__
__setitem__ __sub__ __truediv__ __xor__ to_device dtype device mT ndim shape size T
"""


def test_every_name_of_the_standard_is_there() -> None:
    assert [name for name in NAMES.split() if not hasattr(xp, name)] == []
    assert [name for name in LINALG.split() if not hasattr(xp.linalg, name)] == []
    assert [name for name in METHODS.split() if not hasattr(xp.ones((2, 2)), name)] == []
    assert sorted(xp.__all__) == sorted(NAMES.split())


@pytest.mark.parametrize(
    ("function", "positional", "named"),
    [
        (xp.zeros, ["shape"], ["dtype", "device"]),
        (xp.linspace, ["start", "stop", "num"], ["dtype", "device", "endpoint"]),
        (xp.sum, ["x"], ["axis", "dtype", "keepdims"]),
        (xp.diff, ["x"], ["axis", "n", "prepend", "append"]),
        (xp.linalg.qr, ["x"], ["mode"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_signatures_are_the_standards(
    function: Callable[..., Any], positional: list[str], named: list[str]
) -> None:
    parameters = inspect.signature(function).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == positional
    assert [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] == named


def test_a_tensor_names_its_namespace() -> None:
    x = cr.tensor([1.0])
    assert x.__array_namespace__() is xp
    assert x.__array_namespace__(api_version="2025.12") is xp
    with pytest.raises(cr.ArgumentError, match=r"version '2035.12' .* is unknown"):
        x.__array_namespace__(api_version="2035.12")


def test_inspection() -> None:
    info = xp.__array_namespace_info__()
    assert info.capabilities()["data-dependent shapes"] is True
    assert info.default_device() == "cpu"
    assert info.devices() == ("cpu",)
    assert info.default_dtypes() == {
        "real floating": cr.float32,
        "integral": cr.int64,
        "indexing": cr.int64,
    }
    assert list(info.dtypes(kind="real floating")) == ["float32", "float64"]
    assert info.dtypes(kind=("bool", "complex floating")) == {"bool": cr.bool_}
    assert "float16" not in info.dtypes()
    with pytest.raises(cr.ArgumentError, match="'cuda' is not available"):
        info.dtypes(device="cuda")


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_finfo_agrees_with_numpy(name: str) -> None:
    ours, theirs = cr.finfo(name), np.finfo(name)
    assert (ours.eps, ours.max, ours.min) == (theirs.eps, theirs.max, theirs.min)
    assert (ours.smallest_normal, ours.bits) == (theirs.smallest_normal, theirs.bits)


def test_limits_of_bfloat16_agree_with_torch_and_integers_with_numpy() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    ours, theirs = cr.finfo(cr.bfloat16), torch.finfo(torch.bfloat16)
    assert (ours.eps, ours.max, ours.tiny) == (theirs.eps, theirs.max, theirs.tiny)
    assert cr.iinfo(cr.tensor([1], dtype="uint8")).max == 255
    assert cr.iinfo(cr.int64).min == np.iinfo(np.int64).min


def test_kinds_and_promotion() -> None:
    assert xp.isdtype(cr.int8, "signed integer")
    assert not xp.isdtype(cr.uint8, ("signed integer", "real floating"))
    assert xp.isdtype(cr.float64, (cr.float32, cr.float64))
    assert xp.can_cast(cr.int8, cr.int16)
    assert not xp.can_cast(cr.tensor([1.0]), cr.int64)
    assert not xp.can_cast(cr.uint64, cr.int64)
    assert xp.result_type(cr.tensor([1], dtype="int8"), 3, cr.uint8) is cr.int16
    assert xp.result_type(cr.int8, 1.5) is cr.float32


def test_sums_of_unsigned_integers_are_uint64() -> None:
    x = cr.tensor([200, 100], dtype="uint8")
    for function in (xp.sum, xp.prod, xp.cumulative_sum, xp.cumulative_prod):
        assert function(x).dtype is cr.uint64
    assert xp.linalg.trace(cr.ones((2, 2), dtype="uint8")).dtype is cr.uint64
    assert xp.linalg.vecdot(x, x).dtype is cr.uint8


def test_sets_agree_with_numpy() -> None:
    array = np.array([[3.0, -0.0, np.nan], [0.0, 3.0, np.nan]])
    found, expected = xp.unique_all(cr.tensor(array)), np.unique_all(array)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), theirs)
    assert xp.unique_values(cr.tensor([1.5, 0.5], dtype="bfloat16")).tolist() == [0.5, 1.5]
    assert cr.isin(cr.tensor([float("nan"), 1.0]), 1.0).tolist() == [False, True]


def test_nextafter_conj_and_friends() -> None:
    x = cr.tensor([1.0, -2.0])
    expected = np.nextafter(np.float32([1, -2]), np.float32(0))
    np.testing.assert_array_equal(np.asarray(xp.nextafter(x, 0.0)), expected)
    assert (xp.conj(x).tolist(), xp.real(x).tolist()) == ([1.0, -2.0], [1.0, -2.0])
    assert xp.imag(x).tolist() == [0.0, 0.0]


def test_functions_have_gradients() -> None:
    x = cr.tensor([1.0, 4.0, 9.0], requires_grad=True)
    xp.sum(xp.diff(x) ** 2 + xp.expand_dims(xp.take(x, cr.tensor([0, 2])), 0)).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [-2 * 3 + 1, 2 * 3 - 2 * 5, 2 * 5 + 1]


def test_numpy_and_torch_read_through_dlpack() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    for dtype in ("bool", "int8", "uint64", "float16", "float32", "float64"):
        x = cr.tensor([0, 1, 2], dtype=dtype)
        for library in (np, torch):
            other = library.from_dlpack(x)
            assert str(other.dtype).removeprefix("torch.") == dtype
            assert other.tolist() == x.tolist()
            back = cr.from_dlpack(other)
            assert back.dtype is x.dtype
            assert back.tolist() == x.tolist()


def test_what_is_exported_is_a_copy_or_read_only() -> None:
    x = cr.tensor([1.0, 2.0])
    copy = np.from_dlpack(x, copy=True)
    copy[0] = 9.0
    shared = np.from_dlpack(x, copy=False)
    assert not shared.flags.writeable
    assert np.shares_memory(shared, np.asarray(x))
    assert x.tolist() == [1.0, 2.0]
    with pytest.raises(BufferError, match="read-only, which version"):
        x.__dlpack__(copy=False)
    with pytest.raises(BufferError, match="cannot be moved"):
        x.__dlpack__(dl_device=(2, 0))
    x.__dlpack__(dl_device=(1, 0), max_version=(1, 0))
    assert x.__dlpack_device__() == (1, 0)


def test_asarray_copies_only_when_it_has_to() -> None:
    x = cr.tensor([1.0])
    assert xp.asarray(x) is x
    assert xp.asarray(x, copy=False) is x
    assert xp.asarray(x, copy=True) is not x
    assert xp.asarray([1, 2], dtype=cr.float64).dtype is cr.float64
    assert cr.from_dlpack(x) is x


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "complex number": (lambda: xp.asarray(1j), cr.DTypeError, "1j is complex; tensors are real"),
    "complex array": (
        lambda: xp.asarray(np.ones(2, complex)),
        cr.DTypeError,
        "complex128 are not real",
    ),
    "complex dtype": (lambda: xp.zeros(2, dtype="complex64"), cr.ArgumentError, "unknown dtype"),
    "copy": (lambda: xp.asarray([1], copy=False), cr.ArgumentError, "list has to be copied"),
    "dlpack copy": (
        lambda: cr.from_dlpack(np.ones(1), copy=False),
        cr.ArgumentError,
        "share memory",
    ),
    "no dlpack": (lambda: cr.from_dlpack([1]), cr.ArgumentError, "list has no __dlpack__"),
    "device": (lambda: xp.ones(2, device="cuda"), cr.ArgumentError, "'cuda' is not available"),
    "stream": (lambda: cr.ones(1).to_device("cpu", stream=1), cr.ArgumentError, "no streams"),
    "kind": (lambda: xp.isdtype(cr.int8, "integer"), cr.ArgumentError, "unknown kind of dtype"),
    "iinfo": (lambda: cr.iinfo(cr.float32), cr.DTypeError, "not an integer type"),
    "finfo": (lambda: cr.finfo(cr.int32), cr.DTypeError, "not a floating type"),
    "types": (lambda: xp.result_type(1, 2.0), cr.ArgumentError, "no tensor and no dtype"),
    "take": (lambda: xp.take(cr.ones(2, 2), cr.tensor([0])), cr.ArgumentError, "name one"),
    "axis": (lambda: xp.sum(cr.ones(2), axis=3), IndexError, "sum: axis 3 does not exist"),
    "place": (lambda: xp.expand_dims(cr.ones(2), (0, 0)), cr.ArgumentError, "named twice"),
    "diff": (lambda: xp.diff(cr.ones(2), n=-1), cr.ArgumentError, "diff: n is -1"),
    "half": (lambda: xp.nextafter(cr.ones(1).half(), 2.0), cr.DTypeError, "expected float32 or"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_tensors_cannot_do_is_refused(name: str) -> None:
    call, error, text = REFUSED[name]
    with pytest.raises(error, match=text):
        call()
