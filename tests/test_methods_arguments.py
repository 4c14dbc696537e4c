"""Arguments that PyTorch's methods take beyond those of the functions, against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

X = np.array([[2.25, -1.625, 0.0], [-3.5, 4.125, 1.0]])
Y = np.array([[1.5, 2.0, -1.0], [2.0, -0.5, 3.0]])

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "add alpha": lambda x, y: x.add(y, alpha=2),
    "sub alpha": lambda x, y: x.sub(y, alpha=-0.5),
    "div floor": lambda x, y: x.div(y, rounding_mode="floor"),
    "div trunc": lambda x, y: x.div(y, rounding_mode="trunc"),
    "div trunc integers": lambda x, y: (x * 8).long().div((y * 2).long(), rounding_mode="trunc"),
    "round 2": lambda x, y: x.round(decimals=2),
    "round -1": lambda x, y: (x * 10).round(decimals=-1),
    "max of two": lambda x, y: x.max(y),
    "min of two": lambda x, y: x.min(y),
    "topk smallest": lambda x, y: x.topk(2, 1, False)[0],
    "sort stable": lambda x, y: x.sort(dim=0, stable=True)[0],
    "argsort stable": lambda x, y: x.argsort(dim=1, descending=True, stable=True),
    "var of one": lambda x, y: x.var(dim=1, correction=None),
}


@pytest.mark.parametrize("name", CALLS)
def test_method_agrees_with_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    found = CALLS[name](cr.tensor(X), cr.tensor(Y))
    expected = CALLS[name](torch.tensor(X), torch.tensor(Y))
    assert found.dtype.name == str(expected.dtype).removeprefix("torch.")
    np.testing.assert_allclose(np.asarray(found), expected.numpy(), rtol=1e-14)


def test_reductions_convert_first() -> None:
    x = cr.tensor([100, 100], dtype="int8")
    assert x.sum(dtype="float32").dtype is cr.float32
    assert x.prod(dtype="int8").item() == 10_000 % 256
    assert x.cumsum(0, dtype="float64").tolist() == [100.0, 200.0]
    assert x.softmax(0, dtype="float64").tolist() == [0.5, 0.5]
    assert x.log_softmax(0, dtype="float64").dtype is cr.float64


def test_unknown_rounding_is_refused() -> None:
    with pytest.raises(cr.ArgumentError, match="unknown rounding_mode: 'ceil'"):
        cr.tensor([1.0]).div(2.0, rounding_mode="ceil")


def test_index_add_scales_the_source() -> None:
    ones, index = cr.ones(2), cr.tensor([1, 1])
    assert cr.index_add(cr.zeros(2), 0, index, ones, alpha=0.5).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("order", [0.5, -1.0, 3.0])
def test_gradient_of_a_norm_at_zeros_is_zero_there(order: float) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    for values in ([0.0, 0.0], [0.0, 2.0]):
        x, t = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
        cr.vector_norm(x, order).backward()
        torch.linalg.vector_norm(t, order).backward()
        np.testing.assert_allclose(np.asarray(x.grad), t.grad.numpy(), rtol=1e-6)


def test_linspace_without_the_end_begins_like_one_with_it() -> None:
    for count in (1, 3, 8):
        whole = cr.linspace(0.1, 0.7, count + 1, dtype="float64").tolist()
        assert cr.linspace(0.1, 0.7, count, endpoint=False, dtype="float64").tolist() == whole[:-1]


def test_differences_taken_no_time_are_the_tensor_itself() -> None:
    assert cr.diff(cr.tensor([1, 2]), 0, prepend=cr.tensor([5])).tolist() == [1, 2]
