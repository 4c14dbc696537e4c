"""An axis of a 0-d tensor: as in PyTorch it is one of size 1, so that code need not ask.

The oracle is PyTorch; an axis other than 0 and -1 is still an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule.core.errors import AxisError

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

SHAPED: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(-1, keepdim=True),
    "prod": lambda x: x.prod(0),
    "amax": lambda x: x.amax((0,)),
    "max": lambda x: x.max(0)[0],
    "logsumexp": lambda x: x.logsumexp(0),
    "cumsum": lambda x: x.cumsum(0),
    "sort": lambda x: x.sort()[0],
    "topk": lambda x: x.topk(1)[0],
    "squeeze": lambda x: x.squeeze(0),
    "transpose": lambda x: x.transpose(0, -1),
    "flip": lambda x: x.flip(0),
}
PLACES: dict[str, Callable[[Any, Any], Any]] = {
    "gather": lambda x, i: x.gather(0, i),
    "index_select": lambda x, i: x.index_select(0, i),
    "scatter_add": lambda x, i: x.scatter_add(0, i, x * 2),
}


def both(f: Callable[..., Any], *extra: Any) -> tuple[Any, Any]:
    """Return results and gradients of both libraries for a 0-d tensor."""
    results = []
    for made, other in ((cr.tensor, cr.tensor), (torch.tensor, torch.tensor)):
        x = made(2.5, requires_grad=True)
        y = f(x, *(other(e) for e in extra))
        (y * y).sum().backward()
        results.append((np.asarray(y.detach()), np.asarray(x.grad)))
    return results[0], results[1]


@pytest.mark.parametrize("name", SHAPED)
def test_value_and_gradient_agree_with_pytorch(name: str) -> None:
    (y, dx), (wanted, gradient) = both(SHAPED[name])
    assert y.shape == wanted.shape == ()
    np.testing.assert_allclose([y, dx], [wanted, gradient], rtol=1e-6)


@pytest.mark.parametrize("name", PLACES)
def test_positions_agree_with_pytorch(name: str) -> None:
    (y, dx), (wanted, gradient) = both(PLACES[name], 0)
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=1e-6)
    np.testing.assert_allclose(dx, gradient, rtol=1e-6)


def test_other_functions_agree_with_pytorch() -> None:
    x = cr.tensor(2.5)
    assert (x.argmax(0).item(), x.argsort().shape, x.all(0).item()) == (0, (), True)
    assert np.isnan(x.std(0).item())
    assert x.var(0, correction=0).item() == 0.0
    assert cr.cumprod(x, 0).item() == 2.5
    index = cr.tensor([0])
    assert cr.scatter(x, 0, cr.tensor(0), 7.0).item() == 7.0
    assert cr.index_add(x, 0, index, cr.tensor([1.0])).item() == 3.5
    assert F.normalize(x, dim=0).item() == 1.0


def test_the_same_when_compiled() -> None:
    f = cr.compile(lambda x: x.sum(0) + x.cumsum(0) + x.sort()[0] + x.flip(0) + x.max(0)[0])
    assert f(cr.tensor(2.0)).item() == 10.0


@pytest.mark.parametrize("function", [cr.sum, cr.sort, cr.cumsum, cr.squeeze, cr.flip])
def test_another_axis_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(AxisError, match="axis 1 does not exist"):
        function(cr.tensor(1.0), 1)


def test_empty_lists_join_anything() -> None:
    x = cr.ones((2, 2))
    assert cr.cat([cr.tensor([]), x, cr.tensor([])], 1).shape == (2, 2)
    assert cr.cat([cr.tensor([]), cr.tensor([1.0])]).shape == (1,)


def test_batch_norm_and_dropout_of_what_has_no_channels() -> None:
    nothing, none = cr.zeros((0,)), cr.zeros((0,))
    assert F.batch_norm(nothing, none, cr.ones((0,)), training=True).shape == (0,)
    x = cr.ones((3,))
    assert F.feature_alpha_dropout(x, 0.5, training=False).tolist() == [1.0] * 3
    with pytest.raises(cr.ShapeError, match=r"must have the axes \[N, C"):
        F.feature_alpha_dropout(x, 0.5, training=True)


def test_linspace_of_tensors_and_meshgrid_of_numbers() -> None:
    made = cr.linspace(cr.tensor(-2.0), 4.9, 3, dtype="float64")
    np.testing.assert_allclose(made.numpy(), [-2, 1.45, 4.9], rtol=1e-15)
    rows, columns = cr.meshgrid(cr.tensor(5), cr.arange(3), indexing="ij")
    assert rows.tolist() == [[5, 5, 5]]
    assert columns.tolist() == [[0, 1, 2]]


def test_variances_that_do_not_fit_are_refused() -> None:
    x = cr.ones((3, 2))
    for target, var, text in (
        (cr.ones((4,)), 1.0, "gaussian_nll_loss: shapes .* do not broadcast"),
        (x, cr.ones((4, 2)), "var .* must have the shape of input"),
        (x, cr.ones((1, 1)), "or 1 as one size"),
    ):
        with pytest.raises(cr.ShapeError, match=text):
            F.gaussian_nll_loss(x, target, var)
