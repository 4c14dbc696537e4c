"""Methods of tensors that PyTorch has too: the same values, shapes and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

MATRIX, BATCH = (4, 4), (2, 4, 4)

# Each runs on a tensor of either library; names and arguments are PyTorch's.
CALLS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "mm": (MATRIX, lambda x: x.mm(x)),
    "bmm": (BATCH, lambda x: x.bmm(x)),
    "mv": (MATRIX, lambda x: x.mv(x[0])),
    "dot": (MATRIX, lambda x: x[0].dot(x[1])),
    "matmul": (BATCH, lambda x: x.matmul(x[0])),
    "t": (MATRIX, lambda x: x.t()),
    "mT": (BATCH, lambda x: x.mT),
    "view": (BATCH, lambda x: x.view(2, -1)),
    "view_as": (MATRIX, lambda x: x.view_as(x.reshape(2, 8))),
    "expand_as": (MATRIX, lambda x: x[0].expand_as(x)),
    "type_as": (MATRIX, lambda x: x.type_as(x)),
    "contiguous": (MATRIX, lambda x: x.t().contiguous()),
    "cpu": (MATRIX, lambda x: x.cpu()),
    "masked_fill": (MATRIX, lambda x: x.masked_fill(x > 0, 3.0)),
    "list as index": (MATRIX, lambda x: x[:, [2, 0]]),
    "repeat": (MATRIX, lambda x: x.repeat(2, 1)),
    "std": (MATRIX, lambda x: x.std(dim=1)),
    "var": (MATRIX, lambda x: x.var(dim=0, keepdim=True)),
    "max along an axis": (MATRIX, lambda x: x.max(1)[0]),
    "min along an axis": (MATRIX, lambda x: x.min(dim=0).values),
    "sort": (MATRIX, lambda x: x.sort(dim=1, descending=True)[0]),
    "topk": (MATRIX, lambda x: x.topk(2, dim=1)[0]),
    "tril": (MATRIX, lambda x: x.tril(1)),
    "triu": (MATRIX, lambda x: x.triu(-1)),
    "split": (MATRIX, lambda x: x.split([1, 3], 1)[1]),
    "chunk": (MATRIX, lambda x: x.chunk(2)[1]),
    "clamp_": (MATRIX, lambda x: (x * 1).clamp_(-0.5, 0.5)),
    "div_": (MATRIX, lambda x: (x * 1).div_(3.0)),
    "sub_": (MATRIX, lambda x: (x * 1).sub_(x * 2)),
}


@pytest.mark.parametrize("name", CALLS)
def test_method_agrees_with_torch_in_value_and_gradient(name: str) -> None:
    shape, call = CALLS[name]
    values = np.random.default_rng(0).normal(size=shape)
    ours = cr.tensor(values, requires_grad=True)
    theirs = torch.tensor(values, requires_grad=True)
    result, expected = call(ours), call(theirs)
    assert result.shape == tuple(expected.shape)
    np.testing.assert_allclose(np.asarray(result), expected.detach().numpy(), rtol=1e-12)
    (result * result).sum().backward()
    (expected * expected).sum().backward()
    assert ours.grad is not None
    np.testing.assert_allclose(np.asarray(ours.grad), theirs.grad.numpy(), rtol=1e-12, atol=1e-14)


def test_positions_along_an_axis_agree_with_torch() -> None:
    values = np.random.default_rng(1).permutation(20).reshape(4, 5).astype(np.float64)
    ours, theirs = cr.tensor(values), torch.tensor(values)
    for mine, other in (
        (ours.max(1).indices, theirs.max(1).indices),
        (ours.min(0).indices, theirs.min(0).indices),
        (ours.sort(dim=0).indices, theirs.sort(dim=0).indices),
        (ours.topk(3, dim=1)[1], theirs.topk(3, dim=1)[1]),
    ):
        np.testing.assert_array_equal(np.asarray(mine), other.numpy())
