"""Lion, LAMB, LARS, Muon against their papers' formulas in NumPy; L-BFGS against PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optim_cases import leaf

import chainrule as cr
from chainrule import optim

Rule = Callable[[np.ndarray, np.ndarray, dict[str, Any], int], np.ndarray]


def lion(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    m = s.get("m", 0.0)
    c = 0.9 * m + 0.1 * g
    s["m"] = 0.99 * m + 0.01 * g
    return p - 0.01 * (np.sign(c) + 0.1 * p)


def lamb(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0.0) + 0.001 * g**2
    r = (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["v"] / (1 - 0.999**t)) + 1e-6) + 0.1 * p
    norms = np.linalg.norm(p), np.linalg.norm(r)
    return p - 0.01 * (norms[0] / norms[1] if min(norms) > 0 else 1.0) * r


def lars(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    w, d = np.linalg.norm(p), np.linalg.norm(g)
    local = 0.001 * w / (d + 0.1 * w + 1e-8) if min(w, d) > 0 else 1.0
    s["v"] = 0.9 * s.get("v", 0.0) + 0.01 * local * (g + 0.1 * p)
    return p - s["v"]


def muon(p: np.ndarray, g: np.ndarray, s: dict[str, Any], t: int) -> np.ndarray:
    s["b"] = 0.95 * s.get("b", 0.0) + 0.05 * g
    u = 0.05 * g + 0.95 * s["b"]
    # By singular values: the polynomial acts on each of them alone.
    left, values, right = np.linalg.svd(u / np.linalg.norm(u), full_matrices=False)
    for _ in range(5):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    scale = np.sqrt(max(1.0, p.shape[0] / p.shape[1]))
    return p * (1 - 0.01 * 0.1) - 0.01 * scale * (left * values) @ right


@pytest.mark.parametrize(
    ("name", "rule"), [("Lion", lion), ("LAMB", lamb), ("LARS", lars), ("Muon", muon)]
)
@pytest.mark.parametrize("maximize", [False, True])
def test_trajectory_agrees_with_the_papers_formula(name: str, rule: Rule, maximize: bool) -> None:
    settings: dict[str, Any] = {"lr": 0.01, "weight_decay": 0.1}
    if name != "Muon":
        settings["maximize"] = maximize
    rng = np.random.default_rng(0)
    # A parameter of zeros: its norm is 0 at the first step.
    places = [rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), np.zeros((2, 2))]
    params = [leaf(place) for place in places]
    optimizer = getattr(optim, name)(params, **settings)
    states: list[dict[str, Any]] = [{} for _ in places]
    for t in range(1, 201):
        for number, param in enumerate(params):
            grad = rng.normal(size=places[number].shape) + places[number]
            param.grad = cr.tensor(grad)
            sign = -1 if settings.get("maximize") else 1
            places[number] = rule(places[number], sign * grad, states[number], t)
        optimizer.step()
    for param, place in zip(params, places, strict=True):
        np.testing.assert_allclose(param.numpy(), place, rtol=1e-9, atol=1e-11)


# --- L-BFGS -----


def problem(module: Any, x: Any) -> Any:
    """A valley in six dimensions that bends (Rosenbrock)."""
    return (100 * (x[1:] - x[:-1] ** 2) ** 2).sum() + ((1 - x[:-1]) ** 2).sum()


OPTIONS = [
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 7},
    {"line_search_fn": "strong_wolfe", "max_eval": 5, "lr": 0.5},
    {"lr": 0.05, "max_iter": 5},
    {"lr": 0.02, "max_iter": 1},
    {"lr": 0.1, "history_size": 2, "max_iter": 10, "tolerance_change": 1e-3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lbfgs_agrees_with_pytorch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    start = np.array([-1.2, 1.0, 0.5, -0.3, 0.8, 1.5])
    x, y = leaf(start), torch.tensor(start, requires_grad=True)
    a, b = optim.LBFGS([x], **options), torch.optim.LBFGS([y], **options)
    evaluations = [0, 0]

    def ours() -> cr.Tensor:
        evaluations[0] += 1
        a.zero_grad()
        loss = problem(cr, x)
        loss.backward()
        return loss

    def theirs() -> Any:
        evaluations[1] += 1
        b.zero_grad()
        loss = problem(torch, y)
        loss.backward()
        return loss

    for step in range(8):
        if step == 4:  # in mid-run, through what was saved
            saved = a.state_dict()
            a = optim.LBFGS([x], lr=9.0)
            a.load_state_dict(saved)
        loss, expected = a.step(ours), b.step(theirs)
        assert loss is not None
        assert evaluations[0] == evaluations[1]
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-12)
        # Products summed in another order: the valley amplifies their rounding.
        np.testing.assert_allclose(x.numpy(), y.detach().numpy(), rtol=1e-6)


def test_lbfgs_goes_on_from_pytorchs_state() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    y = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    other = torch.optim.LBFGS([y], max_iter=2, lr=0.1)

    def theirs() -> Any:
        other.zero_grad()
        loss = (y**4).sum()
        loss.backward()
        return loss

    other.step(theirs)
    x = leaf(y.detach().numpy())
    optimizer = optim.LBFGS([x])
    optimizer.load_state_dict(other.state_dict())

    def closure() -> cr.Tensor:
        optimizer.zero_grad()
        loss = (x**4).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
        other.step(theirs)
    np.testing.assert_allclose(x.numpy(), y.detach().numpy(), rtol=1e-9)


def test_lbfgs_minimises_several_parameters_to_the_end() -> None:
    rng = np.random.default_rng(0)
    a, b = cr.tensor(rng.normal(size=(20, 4))), cr.tensor(rng.normal(size=20))
    w, c = leaf(np.zeros(4)), leaf(0.0)
    optimizer = optim.LBFGS([w, c], line_search_fn="strong_wolfe", max_iter=50)

    def closure() -> cr.Tensor:
        optimizer.zero_grad()
        loss = ((a @ w + c - b) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    design = np.hstack([a.numpy(), np.ones((20, 1))])
    expected = np.linalg.lstsq(design, b.numpy(), rcond=None)[0]
    np.testing.assert_allclose(np.append(w.numpy(), c.numpy()), expected, atol=1e-6)


def test_lbfgs_line_search_backs_off_from_an_infinite_loss() -> None:
    x = leaf([0.5])
    optimizer = optim.LBFGS([x], lr=1e3, line_search_fn="strong_wolfe", max_iter=30)

    def closure() -> cr.Tensor:
        optimizer.zero_grad()
        loss = (x - cr.log(x)).sum()  # NaN left of 0, minimum at 1
        loss.backward()
        return loss

    with np.errstate(all="ignore"):
        for _ in range(3):
            optimizer.step(closure)
    assert x.item() == pytest.approx(1.0, abs=1e-5)


def test_lbfgs_says_what_it_needs() -> None:
    x = leaf([1.0])
    optimizer = optim.LBFGS([x])
    with pytest.raises(cr.ArgumentError, match="needs a closure"):
        optimizer.step()
    with pytest.raises(cr.ArgumentError, match="takes one group"):
        optim.LBFGS([{"params": [x]}, {"params": [leaf([2.0])]}])

    @cr.compile
    def step() -> None:
        optimizer.step(lambda: (x * x).sum())

    with pytest.raises(cr.ChainruleError, match=r"LBFGS\.step: cannot be compiled"):
        step()
    with pytest.raises(cr.StateError, match="d is f64\\[2\\], the parameters have 1 elements"):
        optimizer.load_state_dict(
            {
                "state": {0: {"d": cr.ones(2, dtype="float64"), "n_iter": 1}},
                "param_groups": optimizer.state_dict()["param_groups"],
            }
        )


def test_lbfgs_closure_may_be_compiled() -> None:
    x = leaf([3.0, -2.0])
    optimizer = optim.LBFGS([x], line_search_fn="strong_wolfe")

    @cr.compile
    def closure() -> cr.Tensor:
        optimizer.zero_grad()
        loss = (x**4).sum() + (x**2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    np.testing.assert_allclose(x.numpy(), 0, atol=1e-6)
