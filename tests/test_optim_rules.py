"""Every optimizer, every combination of options: 200 steps against PyTorch, eager and compiled."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from optim_cases import CASES, OWN, Case, double, leaf, make, ours

import chainrule as cr
from chainrule import nn, optim

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

STEPS = 200
SHAPES = [(4, 3), (5,), ()]
RULES = [name for name in CASES if name not in ("SGD", "Adam", "AdamW")]
EVERY = [*CASES, *OWN]


def gradients(starts: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Return noisy gradients of a random quadratic, which no optimizer influences."""
    rng = np.random.default_rng(1)
    return [[np.cos(s * step) + rng.normal(size=s.shape) for s in starts] for step in range(STEPS)]


STARTS = [np.random.default_rng(0).normal(size=shape) for shape in SHAPES]
GRADS = gradients(STARTS)


def theirs(name: str, case: Case) -> list[np.ndarray]:
    """Return where PyTorch's optimizer arrives; the second parameter now and then has no grad."""
    with double(torch):
        params = [torch.tensor(start, requires_grad=True) for start in STARTS[:2]]
        optimizer = make(torch.optim, name, params, case)
        for step, grads in enumerate(GRADS):
            for number, (param, grad) in enumerate(zip(params, grads, strict=False)):
                param.grad = None if skipped(number, step) else torch.tensor(grad)
            optimizer.step()
    return [param.detach().numpy() for param in params]


def skipped(number: int, step: int) -> bool:
    return number == 1 and step % 7 == 3


def check(found: list[cr.Tensor], expected: list[np.ndarray], case: Case) -> None:
    for p, q in zip(found, expected, strict=True):
        np.testing.assert_allclose(p.numpy(), q, rtol=1e-10, atol=1e-11, err_msg=str(case))


@pytest.mark.parametrize("name", RULES)
def test_trajectory_agrees_with_pytorch(name: str) -> None:
    for case in CASES[name]:
        params = [leaf(start) for start in STARTS[:2]]
        optimizer = make(optim, name, params, case)
        for step, grads in enumerate(GRADS):
            for number, (param, grad) in enumerate(zip(params, grads, strict=False)):
                param.grad = None if skipped(number, step) else cr.tensor(grad)
            optimizer.step()
        check(params, theirs(name, case), case)


@pytest.mark.parametrize("name", EVERY)
def test_compiled_trajectory_is_the_eager_one(name: str) -> None:
    # All cases of a rule in one program; each steps on gradients that depend on where it is.
    cases = [OWN[name]] if name in OWN else CASES[name][:: max(len(CASES[name]) // 8, 1)]
    runs: dict[bool, list[list[cr.Tensor]]] = {}
    for compiled in (False, True):
        every = [[leaf(start) for start in STARTS[:2]] for _ in cases]
        optimizers = [make(optim, name, p, c) for p, c in zip(every, cases, strict=True)]

        def step(
            a: cr.Tensor, b: cr.Tensor, every: Any = every, optimizers: Any = optimizers
        ) -> None:
            for params, optimizer in zip(every, optimizers, strict=True):
                optimizer.zero_grad()
                for param, noise in zip(params, (a, b), strict=True):
                    (param * param / 2 + param * noise).sum().backward()
                optimizer.step()

        run = cr.compile(step) if compiled else step
        for first, second, _ in GRADS[:40]:
            run(cr.tensor(first), cr.tensor(second))
        if compiled:
            assert run.causes == ["first call"]
        runs[compiled] = every
    for case, eager, fast in zip(cases, runs[False], runs[True], strict=True):
        for p, q in zip(eager, fast, strict=True):
            np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-10, err_msg=str(case))


def test_network_learns_as_pytorchs_does_with_every_optimizer() -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(16, 5)), rng.integers(0, 3, 16)
    names = list(CASES)
    with double(torch):
        models, others, rules, other_rules = [], [], [], []
        for name in names:
            model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
            other = torch.nn.Sequential(
                torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
            )
            state = {k: torch.tensor(v.numpy()) for k, v in model.state_dict().items()}
            other.load_state_dict(state)
            models.append(model)
            others.append(other)
            rules.append(make(optim, name, model.parameters(), CASES[name][0]))
            other_rules.append(make(torch.optim, name, other.parameters(), CASES[name][0]))

        @cr.compile
        def step(x: cr.Tensor, t: cr.Tensor) -> list[cr.Tensor]:
            losses = []
            for model, rule in zip(models, rules, strict=True):
                rule.zero_grad()
                loss = nn.functional.cross_entropy(model(x), t)
                loss.backward()
                rule.step()
                losses.append(loss)
            return losses

        inputs, targets = torch.tensor(x), torch.tensor(t)
        for _ in range(40):
            losses = step(cr.tensor(x), cr.tensor(t))
            for name, loss, other, rule in zip(names, losses, others, other_rules, strict=True):
                rule.zero_grad()
                expected = torch.nn.functional.cross_entropy(other(inputs), targets)
                expected.backward()
                rule.step()
                assert loss.item() == pytest.approx(expected.item(), rel=1e-8), name


def test_two_compiled_functions_may_share_an_optimizer_and_some_of_its_parameters() -> None:
    results = []
    for compiled in (False, True):
        trunk, a, b = (leaf([1.0, -2.0]) for _ in range(3))
        optimizer = optim.Adam([trunk, a, b], lr=0.1)

        def step(
            head: cr.Tensor, trunk: cr.Tensor = trunk, optimizer: optim.Optimizer = optimizer
        ) -> None:
            optimizer.zero_grad()
            ((trunk * head - 1) ** 2).sum().backward()
            optimizer.step()

        runs: list[Any] = [lambda s=step, a=a: s(a), lambda s=step, b=b: s(b)]
        runs = [cr.compile(run) for run in runs] if compiled else runs
        for number in (0, 0, 1, 0, 1, 1, 0, 1, 0, 0):
            runs[number]()
        results.append([p.numpy() for p in (trunk, a, b)])
        if compiled:
            assert max(len(run.causes) for run in runs) <= 2
    np.testing.assert_allclose(results[1], results[0], rtol=1e-12)


# --- what no number is, state -----


@pytest.mark.parametrize("name", sorted(set(CASES) - {"Rprop", "Adafactor"}))
def test_nan_and_infinity_in_a_gradient_spoil_what_they_spoil_in_pytorch(name: str) -> None:
    case = CASES[name][0]
    grads = [[1.0, float("nan"), float("inf"), -2.0, 0.0], [1.0, 1.0, 1.0, 0.0, 0.0]]
    param, other = leaf([1.0] * 5), torch.ones(5, dtype=torch.float64, requires_grad=True)
    a, b = make(optim, name, [param], case), make(torch.optim, name, [other], case)
    for grad in grads:
        param.grad, other.grad = cr.tensor(grad, dtype="float64"), torch.tensor(grad).double()
        with np.errstate(all="ignore"):
            a.step()
        b.step()
    np.testing.assert_allclose(param.numpy(), other.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["Rprop", "Adafactor", "Lion", "LAMB", "LARS"])
def test_nan_in_a_gradient_is_not_hidden(name: str) -> None:
    # PyTorch's Rprop leaves the element where it is, for its sign of NaN is 0; its Adafactor
    # compares with NaN and so leaves it out.
    param = leaf([1.0, 1.0])
    param.grad = cr.tensor([1.0, float("nan")], dtype="float64")
    ours(name, [param]).step()
    assert np.isnan(param.numpy()[1])


def steps(params: list[cr.Tensor], optimizer: optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        for param, grad in zip(params, GRADS[step], strict=False):
            param.grad = cr.tensor(grad)
        optimizer.step()


@pytest.mark.parametrize("name", EVERY)
def test_training_goes_on_from_saved_state_bit_for_bit(name: str) -> None:
    whole = [leaf(start) for start in STARTS]
    steps(whole, ours(name, whole), 0, 10)
    params = [leaf(start) for start in STARTS]
    optimizer = ours(name, params)
    steps(params, optimizer, 0, 4)
    saved, kept = optimizer.state_dict(), [p.numpy() for p in params]
    steps(params, optimizer, 4, 6)  # must not change what was saved
    again = [leaf(values) for values in kept]
    fresh = ours(name, again)
    fresh.load_state_dict(saved)
    steps(again, fresh, 4, 10)
    for p, q in zip(whole, again, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@pytest.mark.parametrize("name", CASES)
def test_state_walks_from_pytorch_and_has_its_names(name: str) -> None:
    case = CASES[name][-1]
    with double(torch):
        others = [torch.tensor(start, requires_grad=True) for start in STARTS]
        other = make(torch.optim, name, others, case)
        params = [leaf(start) for start in STARTS]
        optimizer = make(optim, name, params, {**case, "lr": 0.5})
        for step in range(8):
            if step == 4:
                optimizer.load_state_dict(other.state_dict())
                with cr.no_grad():
                    for p, q in zip(params, others, strict=True):
                        p.copy_(cr.tensor(q.detach().numpy()))
            for q, grad in zip(others, GRADS[step], strict=True):
                q.grad = torch.tensor(grad)
            other.step()
            if step >= 4:
                steps(params, optimizer, step, step + 1)
        assert optimizer.param_groups[0]["lr"] == case.get("lr", 0.01)
        check(params, [q.detach().numpy() for q in others], case)
        state, expected = optimizer.state_dict()["state"], other.state_dict()["state"]
        for number, kept in expected.items():
            filled = {key for key, value in kept.items() if value is not None}
            assert set(state[number]) == filled - ({"step"} if name == "SGD" else set())


def test_muon_agrees_with_pytorch_up_to_its_bfloat16() -> None:
    for case in ({}, {"nesterov": False}, {"adjust_lr_fn": "match_rms_adamw", "momentum": 0.5}):
        for shape in ((6, 4), (3, 8)):
            start = np.random.default_rng(0).normal(size=shape)
            p, q = leaf(start), torch.tensor(start, requires_grad=True)
            a, b = make(optim, "Muon", [p], case), make(torch.optim, "Muon", [q], case)
            for step in range(10):
                grad = np.random.default_rng(step).normal(size=shape)
                p.grad, q.grad = cr.tensor(grad), torch.tensor(grad)
                a.step()
                b.step()
            moved, expected = p.numpy() - start, q.detach().numpy() - start
            # PyTorch orthogonalises in bfloat16, whose spacing is 8e-3; ten steps gather it.
            assert np.abs(moved - expected).max() < 0.05 * np.abs(expected).max()


# --- bad settings -----

X = cr.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        *((name, {"lr": -0.1}, f"{name}: lr is -0.1") for name in [*EVERY, "LBFGS", "Muon"]),
        ("Adagrad", {"lr_decay": -1}, "lr_decay is -1"),
        ("Adagrad", {"initial_accumulator_value": -1}, "initial_accumulator_value is -1"),
        ("Adadelta", {"rho": 1.5}, "rho is 1.5, expected a number from 0 to below 1"),
        ("RMSprop", {"alpha": -0.1}, "alpha is -0.1"),
        ("RMSprop", {"centered": 1}, "centered is 1, expected True or False"),
        ("Adamax", {"betas": (1.0, 0.9)}, "betas[0] is 1.0"),
        ("NAdam", {"momentum_decay": -1}, "momentum_decay is -1"),
        ("RAdam", {"decoupled_weight_decay": 0.1}, "decoupled_weight_decay is 0.1"),
        ("Rprop", {"etas": (1.2, 0.5)}, "etas is (1.2, 0.5), expected 0 < slower < 1 < faster"),
        ("Rprop", {"step_sizes": (50, 1e-6)}, "step_sizes is (50, 1e-06)"),
        ("ASGD", {"lambd": -1}, "lambd is -1"),
        ("Lion", {"betas": 0.9}, "betas is 0.9, expected two numbers"),
        ("LARS", {"trust_coefficient": -1}, "trust_coefficient is -1"),
        ("LAMB", {"eps": -1}, "eps is -1"),
        ("Adafactor", {"beta2_decay": 0.8}, "beta2_decay is 0.8, expected a number of at most 0"),
        ("Adafactor", {"eps": 1e-3}, "eps is 0.001, expected two numbers"),
        ("Adafactor", {"d": 0.5}, "d is 0.5, expected a number at least 1"),
        ("Muon", {}, "Muon: parameter 0 is f32[2], expected a matrix"),
        ("Muon", {"ns_steps": 0}, "ns_steps is 0"),
        ("Muon", {"adjust_lr_fn": "rms"}, "adjust_lr_fn is 'rms'"),
        ("LBFGS", {"line_search_fn": "armijo"}, "line_search_fn is 'armijo'"),
        ("LBFGS", {"history_size": 0}, "history_size is 0"),
    ],
)
def test_bad_setting_is_refused(name: str, settings: Case, text: str) -> None:
    with pytest.raises(cr.ArgumentError) as caught:
        getattr(optim, name)([X], **settings)
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "LARS"])
def test_momentum_of_one_or_more_is_warned_of(name: str) -> None:
    with pytest.warns(UserWarning, match=f"{name}: momentum is 1.5") as caught:
        getattr(optim, name)([X], momentum=1.5)
    assert "momentum=0.9" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(optim, name)([X], momentum=0.99)
