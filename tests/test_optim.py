"""Optimizers: 200 steps against PyTorch for all options, state, clipping, bad arguments."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

STEPS = 200
SHAPES = [(4, 3), (3,), ()]

CASES: list[tuple[str, dict[str, Any]]] = []
for momentum, dampening, decay, nesterov, maximize in itertools.product(
    (0.0, 0.9), (0.0, 0.3), (0.0, 0.1), (False, True), (False, True)
):
    if nesterov and (momentum == 0 or dampening != 0):
        continue
    settings = {"momentum": momentum, "dampening": dampening, "weight_decay": decay}
    CASES.append(("SGD", {**settings, "nesterov": nesterov, "maximize": maximize}))
for name in ("Adam", "AdamW"):
    for amsgrad, decay, maximize, betas in itertools.product(
        (False, True), (0.0, 0.1), (False, True), ((0.9, 0.999), (0.5, 0.9), (0.0, 0.0))
    ):
        settings = {"amsgrad": amsgrad, "weight_decay": decay, "betas": betas}
        CASES.append((name, {**settings, "maximize": maximize, "eps": 1e-6}))


def title(case: tuple[str, dict[str, Any]]) -> str:
    return case[0] + "".join(f"-{k}={v}".replace(" ", "") for k, v in case[1].items() if v)


def trajectories(
    case: tuple[str, dict[str, Any]], dtype: str, steps: int = STEPS
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the parameters after some steps on noisy gradients, ours and PyTorch's."""
    name, settings = case
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=shape).astype(dtype) for shape in SHAPES]
    ours = [cr.tensor(start, requires_grad=True) for start in starts]
    theirs = [torch.tensor(start, requires_grad=True) for start in starts]
    a = getattr(optim, name)(ours, lr=0.01, **settings)
    b = getattr(torch.optim, name)(theirs, lr=0.01, **settings)
    for step in range(steps):
        for number, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            # A gradient of its own for each, and none now and then.
            grad = (np.cos(starts[number] * step) + rng.normal(size=p.shape)).astype(dtype)
            skipped = number == 1 and step % 7 == 3
            p.grad = None if skipped else cr.tensor(grad)
            q.grad = None if skipped else torch.tensor(grad)
        a.step()
        b.step()
    return [p.numpy() for p in ours], [q.detach().numpy() for q in theirs]


@pytest.mark.parametrize("case", CASES, ids=title)
def test_trajectory_agrees_with_pytorch_in_float64(case: tuple[str, dict[str, Any]]) -> None:
    for ours, theirs in zip(*trajectories(case, "float64"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", CASES[::5], ids=title)
def test_trajectory_agrees_with_pytorch_in_float32(case: tuple[str, dict[str, Any]]) -> None:
    for ours, theirs in zip(*trajectories(case, "float32"), strict=True):
        assert ours.dtype == np.float32
        # 200 steps of a few roundings of 6e-8 each.
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_network_learns_as_pytorchs_does() -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(16, 5)), rng.integers(0, 3, 16)
    ours = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    theirs = theirs.double()
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    a = optim.AdamW(ours.parameters(), lr=0.01)
    b = torch.optim.AdamW(theirs.parameters(), lr=0.01)
    for _ in range(50):
        a.zero_grad()
        b.zero_grad()
        loss = nn.functional.cross_entropy(ours(cr.tensor(x)), cr.tensor(t))
        other = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(t))
        assert loss.item() == pytest.approx(other.item(), rel=1e-9)
        loss.backward()
        other.backward()
        nn.utils.clip_grad_norm_(ours.parameters(), 0.1)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        a.step()
        b.step()


# --- groups, state ----


def parameters(count: int = 3) -> list[cr.Tensor]:
    return [cr.tensor(np.full(2, i + 1.0), requires_grad=True) for i in range(count)]


def test_groups_have_settings_of_their_own() -> None:
    a, b, c = parameters()
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.1)
    optimizer.add_param_group({"params": [c], "weight_decay": 0.5})
    for p in (a, b, c):
        p.grad = cr.ones(2, dtype="float64")
    optimizer.step()
    np.testing.assert_allclose(np.stack([p.numpy() for p in (a, b, c)])[:, 0], [0.9, 1.0, 2.75])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0, 0.1]
    assert "group 1: 1 parameters, lr=1.0" in repr(optimizer)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_training_goes_on_from_saved_state_bit_for_bit(name: str) -> None:
    settings = {"momentum": 0.9} if name == "SGD" else {"amsgrad": True}

    def steps(params: list[cr.Tensor], optimizer: optim.Optimizer, first: int, last: int) -> None:
        for step in range(first, last):
            for p in params:
                p.grad = cr.tensor(np.sin(np.arange(2.0) + step))
            optimizer.step()

    whole = parameters()
    steps(whole, getattr(optim, name)(whole, lr=0.1, **settings), 0, 10)
    params = parameters()
    optimizer = getattr(optim, name)(params, lr=0.1, **settings)
    steps(params, optimizer, 0, 4)
    saved = optimizer.state_dict()
    kept = [p.numpy() for p in params]
    steps(params, optimizer, 4, 6)  # must not change what was saved
    again = [cr.tensor(values, requires_grad=True) for values in kept]
    fresh = getattr(optim, name)(again, lr=5.0, **settings)
    fresh.load_state_dict(saved)
    assert fresh.param_groups[0]["lr"] == 0.1
    steps(again, fresh, 4, 10)
    for p, q in zip(whole, again, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_state_walks_from_pytorch(name: str) -> None:
    settings = {"momentum": 0.9} if name == "SGD" else {"betas": (0.8, 0.9)}
    theirs = [torch.ones(2, dtype=torch.float64, requires_grad=True)]
    other = getattr(torch.optim, name)(theirs, lr=0.1, **settings)
    ours = [cr.ones(2, dtype="float64", requires_grad=True)]
    optimizer = getattr(optim, name)(ours, lr=1.0)
    for step in range(6):
        if step == 3:
            optimizer.load_state_dict(other.state_dict())
            with cr.no_grad():
                ours[0].copy_(cr.tensor(theirs[0].detach().numpy()))
        theirs[0].grad = torch.tensor([np.sin(step), 2.0], dtype=torch.float64)
        other.step()
        if step >= 3:
            ours[0].grad = cr.tensor(theirs[0].grad.numpy())
            optimizer.step()
    np.testing.assert_allclose(ours[0].numpy(), theirs[0].detach().numpy(), rtol=1e-14)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_state_has_pytorchs_form() -> None:
    params = parameters(2)
    optimizer = optim.Adam(params)
    params[1].grad = cr.ones(2, dtype="float64")
    optimizer.step()
    state = optimizer.state_dict()
    assert set(state) == {"state", "param_groups"}
    assert list(state["state"]) == [1]
    assert set(state["state"][1]) == {"step", "exp_avg", "exp_avg_sq"}
    assert state["param_groups"][0]["params"] == [0, 1]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("state"), "not the state of an optimizer"),
        (lambda s: s["param_groups"].append({"params": []}), "the saved groups have [2, 0]"),
        (lambda s: s["param_groups"][0].update(params=[0]), "the saved groups have [1]"),
        (lambda s: s["param_groups"][0].update(lr=-1.0), "lr is -1.0"),
        (lambda s: s["state"][0].pop("step"), "step of parameter 0 is missing"),
        (lambda s: s["state"][0].update(step=-1), "step of parameter 0 is -1"),
        (lambda s: s["state"][0].update(exp_avg=cr.ones(3)), "exp_avg of parameter 0 is f32[3]"),
    ],
)
def test_damaged_state_is_refused_and_nothing_changes(change: Any, text: str) -> None:
    params = parameters(2)
    optimizer = optim.Adam(params)
    for p in params:
        p.grad = cr.ones(2, dtype="float64")
    optimizer.step()
    state = optimizer.state_dict()
    before = repr(optimizer), optimizer.state
    change(state)
    with pytest.raises(cr.ChainruleError) as caught:
        optimizer.load_state_dict(state)
    assert text in str(caught.value)
    assert (repr(optimizer), optimizer.state) == before


def test_closure_is_called_with_recording_on() -> None:
    (x,) = parameters(1)
    optimizer = optim.SGD([x], lr=0.1)

    def closure() -> cr.Tensor:
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with cr.no_grad():
        loss = optimizer.step(closure)
    assert loss is not None
    assert loss.item() == 2.0
    np.testing.assert_allclose(x.numpy(), [0.8, 0.8])


def test_step_leaves_leaves_and_graphs_alone() -> None:
    (x,) = parameters(1)
    optimizer = optim.SGD([x], lr=0.1, weight_decay=0.1)
    before = (x * x).sum()
    before.backward(retain_graph=True)
    optimizer.step()
    assert x.is_leaf
    assert x.requires_grad
    optimizer.zero_grad()
    (x * 3).sum().backward()
    np.testing.assert_array_equal(np.asarray(x.grad), [3, 3])


def test_zero_grad_removes_or_clears() -> None:
    (x,) = parameters(1)
    optimizer = optim.SGD([x], lr=0.1)
    x.grad = cr.ones(2, dtype="float64")
    optimizer.zero_grad(set_to_none=False)
    assert x.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert x.grad is None
    optimizer.step()  # nothing to do, no error


def test_half_precision_parameters_stay_half() -> None:
    for make in (optim.SGD, optim.Adam):
        x = cr.ones(4, dtype="bfloat16", requires_grad=True)
        x.grad = cr.ones(4, dtype="bfloat16")
        make([x], lr=0.5).step()
        assert x.dtype is cr.bfloat16
        assert x.tolist() == [0.5] * 4


# --- bad arguments ----


def result() -> cr.Tensor:
    return cr.ones(2, requires_grad=True) * 2


def with_gradient(shape: tuple[int, ...], dtype: str) -> optim.Optimizer:
    x = cr.ones(2, requires_grad=True)
    optimizer = optim.Adam([("head.bias", x)])
    x.grad = cr.ones(shape, dtype=dtype)
    return optimizer


X = cr.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: optim.Adam([]), "Adam: got no parameters"),
        (lambda: optim.Adam(nn.Linear(2, 2)), "optim.Adam(model.parameters(), lr=...)"),
        (lambda: optim.Adam(X), "Adam: got one tensor, expected several"),
        (lambda: optim.SGD([X, X]), "a parameter is given twice"),
        (lambda: optim.SGD([result()]), "parameter 0 f32[2] is the result of multiply, not a leaf"),
        (lambda: optim.SGD([cr.tensor([1])]), "parameter 0 i64[1] is not of a floating-point type"),
        (lambda: optim.SGD(["weight"]), "parameter 0 is a str, expected tensors"),
        (lambda: optim.SGD(3), "SGD: got int, expected parameters"),
        (lambda: optim.SGD([{"params": [X], "momentun": 0.9}]), "unknown setting 'momentun'"),
        (lambda: optim.SGD([{"lr": 0.1}]), "is a dictionary with 'params'"),
        (lambda: optim.SGD([X], lr=-0.1), "SGD: lr is -0.1, expected a number at least 0"),
        (lambda: optim.SGD([X], lr=float("nan")), "lr is nan"),
        (lambda: optim.SGD([X], lr="0.1"), "lr is '0.1'"),
        (lambda: optim.SGD([X], momentum=-1), "momentum is -1"),
        (lambda: optim.SGD([X], nesterov=True), "nesterov needs momentum and no dampening"),
        (lambda: optim.Adam([X], betas=(0.9, 1.0)), "betas[1] is 1.0, expected a number from 0"),
        (lambda: optim.Adam([X], betas=0.9), "betas is 0.9, expected two numbers"),
        (lambda: optim.Adam([X], eps=-1e-8), "eps is -1e-08"),
        (lambda: optim.AdamW([X], weight_decay=-1), "AdamW: weight_decay is -1"),
        (lambda: with_gradient((3,), "float32").step(), "head.bias is f32[2], but its gradient is"),
        (lambda: with_gradient((2,), "float64").step(), "its gradient is f64[2]"),
    ],
)
def test_bad_argument_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        make()
    assert text in str(caught.value)


# --- clipping ----


@pytest.mark.parametrize("kind", [2.0, 1.0, 3.0, float("inf")])
@pytest.mark.parametrize("limit", [0.5, 100.0, 0.0])
def test_clipping_by_norm_agrees_with_pytorch(kind: float, limit: float) -> None:
    rng = np.random.default_rng(0)
    ours = [cr.zeros(shape, dtype="float64", requires_grad=True) for shape in SHAPES]
    theirs = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES]
    for p, q in zip(ours[:2], theirs[:2], strict=True):
        grad = rng.normal(size=p.shape)
        p.grad, q.grad = cr.tensor(grad), torch.tensor(grad)
    total = nn.utils.clip_grad_norm_(ours, limit, kind)
    expected = torch.nn.utils.clip_grad_norm_(theirs, limit, kind)
    assert total.item() == pytest.approx(expected.item(), rel=1e-13)
    for p, q in zip(ours[:2], theirs[:2], strict=True):
        np.testing.assert_allclose(np.asarray(p.grad), q.grad.numpy(), rtol=1e-12, atol=1e-300)
    assert ours[2].grad is None


def test_clipping_says_when_the_norm_is_not_finite() -> None:
    x = cr.zeros(2, requires_grad=True)
    x.grad = cr.tensor([1.0, float("nan")])
    assert np.isnan(nn.utils.clip_grad_norm_(x, 1.0).item())
    with pytest.raises(cr.GradientError, match="the norm of the gradients is nan"):
        nn.utils.clip_grad_norm_(x, 1.0, error_if_nonfinite=True)
    with pytest.raises(cr.ArgumentError, match="max_norm is -1"):
        nn.utils.clip_grad_norm_(x, -1.0)


def test_clipping_of_half_precision_gradients_does_not_overflow() -> None:
    x, y = (cr.zeros(2, dtype="float16", requires_grad=True) for _ in range(2))
    x.grad = y.grad = cr.tensor([3e4, 3e4], dtype="float16")
    nn.utils.clip_grad_norm_([x, y], 2.0)
    np.testing.assert_allclose(np.asarray(x.grad), [1.0, 1.0], rtol=2e-3)


def test_clipping_without_gradients_gives_zero() -> None:
    assert nn.utils.clip_grad_norm_([cr.zeros(2, requires_grad=True)], 1.0).item() == 0.0


def test_clipping_by_value_limits_elements() -> None:
    x = cr.zeros(3, requires_grad=True)
    x.grad = cr.tensor([-3.0, 0.5, 2.0])
    nn.utils.clip_grad_value_([x], 1.0)
    assert x.grad.tolist() == [-1.0, 0.5, 1.0]
    with pytest.raises(cr.ArgumentError):
        nn.utils.clip_grad_value_([x], -1.0)


def test_parameters_as_one_vector_and_back() -> None:
    model = nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (8,)
    nn.utils.vector_to_parameters(cr.arange(8.0), model.parameters())
    assert model.weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert model.bias is not None
    assert model.bias.tolist() == [6, 7]
    assert model.bias.requires_grad
    with pytest.raises(cr.ShapeError):
        nn.utils.vector_to_parameters(cr.arange(7.0), model.parameters())
