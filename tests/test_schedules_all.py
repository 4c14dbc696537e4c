"""Every schedule and combination: 200 steps against PyTorch, momentum, resumption, compiled."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.optim import lr_scheduler, swa_utils

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

Make = Callable[[Any, Any], Any]

CASES: dict[str, Make] = {
    "polynomial": lambda o, m: m.PolynomialLR(o, 50, 2.0),
    "polynomial-line": lambda o, m: m.PolynomialLR(o, total_iters=250),
    "multiplicative": lambda o, m: m.MultiplicativeLR(o, lambda n: 0.9 + 0.1 * (n % 2)),
    "multiplicatives": lambda o, m: m.MultiplicativeLR(o, [lambda n: 0.99, lambda n: 1.01]),
    "restarts": lambda o, m: m.CosineAnnealingWarmRestarts(o, 30),
    "restarts-longer": lambda o, m: m.CosineAnnealingWarmRestarts(o, 10, 2, eta_min=1e-3),
    "swa": lambda o, m: swa(m)(o, 0.5),
    "swa-line": lambda o, m: swa(m)(o, [0.01, 0.2], anneal_epochs=60, anneal_strategy="linear"),
    "swa-at-once": lambda o, m: swa(m)(o, 0.5, anneal_epochs=0),
}
for mode in ("triangular", "triangular2", "exp_range"):
    for down in (None, 13):
        for cycle in (False, True):
            CASES[f"cyclic-{mode}-{down}-{cycle}"] = (
                lambda o, m, mode=mode, down=down, cycle=cycle: m.CyclicLR(
                    o, 0.01, [0.1, 0.2], 20, down, mode, 0.99, cycle_momentum=cycle
                )
            )
for scale in ("cycle", "iterations"):
    CASES[f"cyclic-own-{scale}"] = lambda o, m, scale=scale: m.CyclicLR(
        o, [0.01, 0.02], 0.1, 25, scale_fn=lambda x: 0.5**x + 0.1, scale_mode=scale,
        base_momentum=0.7, max_momentum=[0.8, 0.9],
    )  # fmt: skip
for strategy in ("cos", "linear"):
    for three in (False, True):
        for cycle in (False, True):
            CASES[f"one-cycle-{strategy}-{three}-{cycle}"] = (
                lambda o, m, strategy=strategy, three=three, cycle=cycle: m.OneCycleLR(
                    o, [0.1, 1.0], epochs=20, steps_per_epoch=10, anneal_strategy=strategy,
                    three_phase=three, cycle_momentum=cycle, pct_start=0.4,
                )
            )  # fmt: skip
CASES["one-cycle-odd"] = lambda o, m: m.OneCycleLR(
    o, 0.3, 203, pct_start=0.0, div_factor=10, final_div_factor=3, base_momentum=0.1
)


def swa(module: Any) -> Any:
    """Return SWALR of the same library as a module of schedules."""
    return swa_utils.SWALR if module is lr_scheduler else torch.optim.swa_utils.SWALR


def chain(*makes: Make) -> Make:
    """Return schedules that act at once."""
    return lambda o, m: m.ChainedScheduler([make(o, m) for make in makes])


def sequence(milestones: list[int], *makes: Make) -> Make:
    """Return schedules that act one after another."""
    return lambda o, m: m.SequentialLR(o, [make(o, m) for make in makes], milestones)


STEP: Make = lambda o, m: m.StepLR(o, 30, 0.5)  # noqa: E731
MULTI: Make = lambda o, m: m.MultiStepLR(o, [20, 20, 90], 0.5)  # noqa: E731
CONSTANT: Make = lambda o, m: m.ConstantLR(o, 0.3, 40)  # noqa: E731
LINEAR: Make = lambda o, m: m.LinearLR(o, 0.1, 1.0, 25)  # noqa: E731
EXPONENTIAL: Make = lambda o, m: m.ExponentialLR(o, 0.99)  # noqa: E731
COSINE: Make = lambda o, m: m.CosineAnnealingLR(o, 70, 1e-3)  # noqa: E731
POLYNOMIAL: Make = lambda o, m: m.PolynomialLR(o, 240, 1.5)  # noqa: E731
LAMBDA: Make = lambda o, m: m.LambdaLR(o, lambda n: 1 / (1 + n / 50))  # noqa: E731
MULTIPLICATIVE: Make = lambda o, m: m.MultiplicativeLR(o, lambda n: 0.995)  # noqa: E731
RESTARTS: Make = lambda o, m: m.CosineAnnealingWarmRestarts(o, 15, 2)  # noqa: E731
CYCLIC: Make = CASES["cyclic-triangular-None-True"]
ONE_CYCLE: Make = CASES["one-cycle-cos-False-True"]

COMBINED: dict[str, Make] = {
    "chain-warmup": chain(LINEAR, EXPONENTIAL),
    "chain-factors": chain(CONSTANT, MULTI, STEP, POLYNOMIAL, MULTIPLICATIVE),
    "chain-cosine": chain(CONSTANT, COSINE),
    "chain-cosine-first": chain(COSINE, LINEAR, EXPONENTIAL),
    "chain-lambda": chain(STEP, LAMBDA, EXPONENTIAL),
    "chain-restarts": chain(RESTARTS, EXPONENTIAL),
    "chain-cyclic": chain(CYCLIC, EXPONENTIAL),
    "chain-one": chain(STEP),
    "sequence-warmup": sequence([25], LINEAR, COSINE),
    "sequence-three": sequence([20, 120], CONSTANT, EXPONENTIAL, STEP),
    "sequence-lambda": sequence([50], LAMBDA, RESTARTS),
    "sequence-relative": sequence([30, 60], EXPONENTIAL, MULTIPLICATIVE, POLYNOMIAL),
    "sequence-restarts": sequence([40, 41], RESTARTS, MULTI, RESTARTS),
    "sequence-cyclic": sequence([40], LINEAR, CYCLIC),
    "sequence-at-once": sequence([0], LINEAR, EXPONENTIAL),
}


def groups(make: Callable[[tuple[int, ...]], Any], module: Any, rule: str) -> Any:
    params = [make((2,)), make((3,))]
    settings = {"momentum": 0.9} if rule == "SGD" else {}
    listing = [{"params": params[:1]}, {"params": params[1:], "lr": 0.03}]
    return getattr(module, rule)(listing, lr=0.1, **settings)


def our_optimizer(rule: str = "SGD") -> optim.Optimizer:
    return groups(lambda shape: cr.zeros(shape, requires_grad=True), optim, rule)


def their_optimizer(rule: str = "SGD") -> Any:
    return groups(lambda shape: torch.zeros(shape, requires_grad=True), torch.optim, rule)


def settings(optimizer: Any) -> list[float]:
    """Return rates and momenta of all groups."""
    values: list[float] = []
    for group in optimizer.param_groups:
        values += [group["lr"], *([group["momentum"]] if "momentum" in group else group["betas"])]
    return values


def follow(make: Make, rule: str) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Yield both optimizers and schedules before each of 200 steps."""
    ours, theirs = our_optimizer(rule), their_optimizer(rule)
    with warnings.catch_warnings():  # PyTorch warns of its own SequentialLR
        warnings.simplefilter("ignore")
        schedule, other = make(ours, lr_scheduler), make(theirs, torch.optim.lr_scheduler)
        for _ in range(200):
            yield ours, theirs, schedule, other
            schedule.step()
            other.step()


@pytest.mark.parametrize("name", [*CASES, *COMBINED])
def test_schedule_follows_pytorch_for_200_steps(name: str) -> None:
    make = CASES.get(name) or COMBINED[name]
    for ours, theirs, schedule, _ in follow(make, "SGD"):
        # PyTorch's recursions gather rounding; where a rate is near 0 that is all that is left.
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-10, abs=1e-15)
        assert schedule.get_last_lr() == [group["lr"] for group in ours.param_groups]


@pytest.mark.parametrize("name", ["cyclic-exp_range-13-True", "one-cycle-linear-True-True"])
def test_adams_beta_takes_the_place_of_momentum(name: str) -> None:
    for ours, theirs, _, _ in follow(CASES[name], "Adam"):
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-10)


def test_two_schedules_stepped_in_turn_multiply() -> None:
    def make(optimizer: Any, module: Any) -> Any:
        parts = [EXPONENTIAL(optimizer, module), MULTI(optimizer, module)]

        class Both:
            def step(self) -> None:
                for part in parts:
                    part.step()

        return Both()

    for ours, theirs, _, _ in follow(make, "SGD"):
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-10)


def test_rate_changed_by_hand_is_where_the_schedule_goes_on_from() -> None:
    for number, (ours, theirs, _, _) in enumerate(follow(EXPONENTIAL, "SGD")):
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-10)
        if number == 50:
            for optimizer in (ours, theirs):
                optimizer.param_groups[0]["lr"] *= 0.5


def test_swalr_takes_over_from_another_schedule() -> None:
    def make(optimizer: Any, module: Any) -> Any:
        first = COSINE(optimizer, module)
        second = swa(module)(optimizer, 0.05, anneal_epochs=20)

        class Both:
            count = 0

            def step(self) -> None:
                self.count += 1
                (first if self.count < 50 else second).step()

        return Both()

    for ours, theirs, _, _ in follow(make, "SGD"):
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-10)


@pytest.mark.parametrize("name", [*CASES, *COMBINED])
def test_schedule_goes_on_from_its_state_bit_for_bit(name: str) -> None:
    make = CASES.get(name) or COMBINED[name]
    ours = our_optimizer()
    schedule = make(ours, lr_scheduler)
    for _ in range(73):
        schedule.step()
    saved = json.loads(json.dumps([schedule.state_dict(), ours.state_dict()["param_groups"]]))
    fresh = our_optimizer()
    resumed = make(fresh, lr_scheduler)
    resumed.load_state_dict(saved[0])
    fresh.load_state_dict({"state": {}, "param_groups": saved[1]})
    for _ in range(50):
        assert settings(fresh) == settings(ours)
        schedule.step()
        resumed.step()


@pytest.mark.parametrize("name", ["polynomial", "restarts-longer", "one-cycle-cos-True-True"])
def test_state_walks_from_pytorch(name: str) -> None:
    make = CASES[name]
    for number, (_, theirs, _, other) in enumerate(follow(make, "SGD")):
        if number == 73:
            state = other.state_dict()
            fresh = our_optimizer()
            schedule = make(fresh, lr_scheduler)
            schedule.load_state_dict(state)
        if number >= 73:
            assert settings(fresh) == pytest.approx(settings(theirs), rel=1e-10)
            schedule.step()


def test_restarts_count_parts_of_epochs() -> None:
    ours, theirs = our_optimizer(), their_optimizer()
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(ours, 2, 2)
    other = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(theirs, 2, 2)
    for epoch in np.arange(0, 20, 0.3):
        schedule.step(float(epoch))
        other.step(float(epoch))
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-10)


# --- plateau -----


def figures() -> list[float]:
    """Return a noisy fall with plateaus, and a NaN."""
    rng = np.random.default_rng(0)
    values = 1 + np.exp(-np.arange(200) / 30) + 0.02 * rng.normal(size=200)
    values[40:70] = values[40]
    values[100] = np.nan
    return [float(value) for value in values]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"patience": 3, "cooldown": 5, "factor": 0.5},
        {"patience": 0, "threshold": 0.01, "min_lr": [1e-3, 2e-3]},
        {"patience": 2, "min_lr": 1e-3, "eps": 1e-3, "factor": 0.9},
    ],
    ids=str,
)
def test_plateau_follows_pytorch(mode: str, threshold_mode: str, extra: dict[str, Any]) -> None:
    options = {"mode": mode, "threshold_mode": threshold_mode, **extra}
    ours, theirs = our_optimizer(), their_optimizer()
    schedule: Any = lr_scheduler.ReduceLROnPlateau(ours, **options)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for step, figure in enumerate(figures()):
        if step == 90:
            saved = schedule.state_dict()
            schedule = lr_scheduler.ReduceLROnPlateau(ours, **options)
            schedule.load_state_dict(saved)
        schedule.step(-figure if mode == "max" else figure)
        other.step(-figure if mode == "max" else figure)
        assert settings(ours) == pytest.approx(settings(theirs), rel=1e-12)


def test_plateau_needs_a_figure() -> None:
    schedule = lr_scheduler.ReduceLROnPlateau(our_optimizer())
    with pytest.raises(cr.ArgumentError, match="needs the figure that it watches"):
        schedule.step()
    with pytest.raises(cr.ArgumentError, match="waits for a figure"):
        lr_scheduler.ChainedScheduler([schedule])


# --- compiled, ready-made -----


@pytest.mark.parametrize("rule", ["SGD", "Adam", "RMSprop", "Lion"])
def test_compiled_step_sees_new_rates_and_momenta_without_a_retrace(rule: str) -> None:
    found = []
    for compiled in (False, True):
        x = cr.tensor([1.0, -2.0, 3.0], dtype="float64", requires_grad=True)
        extra = {"momentum": 0.9} if rule in ("SGD", "RMSprop") else {}
        optimizer = getattr(optim, rule)([x], lr=0.1, **extra)
        schedule = lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=30)

        def step(x: cr.Tensor = x, optimizer: optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad()
            (x**4).sum().backward()
            optimizer.step()

        run = cr.compile(step) if compiled else step
        for _ in range(30):
            run()
            schedule.step()
        if compiled:
            assert len(run.causes) == 1
        found.append(x.numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=1e-10)


def test_ready_made_schedules() -> None:
    optimizer = our_optimizer()
    schedule = lr_scheduler.step_at_fractions(optimizer, 200)
    rates = []
    for _ in range(200):
        rates.append(optimizer.param_groups[0]["lr"])
        schedule.step()
    expected = np.repeat([0.1, 0.01, 0.001], [100, 50, 50])
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    optimizer = our_optimizer()
    rising = lr_scheduler.warmup(lr_scheduler.ExponentialLR(optimizer, 0.9), 4, 0.2)
    rates = []
    for _ in range(7):
        rates.append(optimizer.param_groups[0]["lr"])
        rising.step()
    np.testing.assert_allclose(rates, [0.02, 0.04, 0.06, 0.08, 0.1, 0.09, 0.081])


def test_sequence_in_a_sequence_is_one_sequence() -> None:
    # PyTorch's begins the inner one at its second step.
    nested, flat = our_optimizer(), our_optimizer()
    inner = sequence([10], LINEAR, STEP)
    a = sequence([100], inner, COSINE)(nested, lr_scheduler)
    b = sequence([10, 100], LINEAR, STEP, COSINE)(flat, lr_scheduler)
    for _ in range(200):
        assert settings(nested) == settings(flat)
        a.step()
        b.step()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda o, m: m.PolynomialLR(o, 0), "total_iters is 0"),
        (lambda o, m: m.PolynomialLR(o, 5, -1), "power is -1"),
        (lambda o, m: m.MultiplicativeLR(o, 0.9), "'float' object is not iterable"),
        (lambda o, m: m.MultiplicativeLR(o, [0.9, 0.8]), "lr_lambda is 0.9, expected a function"),
        (lambda o, m: m.CosineAnnealingWarmRestarts(o, 0), "T_0 is 0"),
        (lambda o, m: m.CosineAnnealingWarmRestarts(o, 5, 0), "T_mult is 0"),
        (lambda o, m: m.CyclicLR(o, 0.1, [1.0]), "1 values of max_lr for 2 parameter groups"),
        (lambda o, m: m.CyclicLR(o, 0.1, 1.0, mode="square"), "unknown mode: 'square'"),
        (lambda o, m: m.CyclicLR(o, 0.1, 1.0, max_momentum=1.5), "max_momentum is 1.5"),
        (lambda o, m: m.OneCycleLR(o, 0.1), "needs total_steps, or epochs and steps_per_epoch"),
        (lambda o, m: m.OneCycleLR(o, 0.1, 10, pct_start=1.5), "pct_start is 1.5"),
        (lambda o, m: m.OneCycleLR(o, 0.1, 10, anneal_strategy="exp"), "anneal_strategy: 'exp'"),
        (lambda o, m: m.OneCycleLR(o, -0.1, 10), "max_lr is -0.1"),
        (lambda o, m: m.OneCycleLR(o, 0.1, 10, div_factor=0), "div_factor is 0"),
        (lambda o, m: m.ReduceLROnPlateau(o, factor=1.0), "factor is 1.0"),
        (lambda o, m: m.ReduceLROnPlateau(o, "best"), "unknown mode: 'best'"),
        (lambda o, m: m.ChainedScheduler([]), "got no schedules"),
        (lambda o, m: m.step_at_fractions(o, 10, (50, 75)), "a fraction is 50"),
        (lambda o, m: m.warmup(o, 5), "warmup: got SGD, expected a schedule"),
    ],
)
def test_bad_setting_is_refused(make: Make, text: str) -> None:
    with pytest.raises((cr.ChainruleError, TypeError)) as caught:
        make(our_optimizer(), lr_scheduler)
    assert text in str(caught.value)


def test_schedules_that_need_more_say_so() -> None:
    schedule = lr_scheduler.OneCycleLR(our_optimizer(), 0.1, total_steps=3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(cr.StateError, match=r"step 4 of 3"):
        schedule.step()
    plain = optim.Adagrad([cr.zeros(1, requires_grad=True)])
    with pytest.raises(cr.ArgumentError, match="neither momentum nor betas") as caught:
        lr_scheduler.CyclicLR(plain, 0.1, 1.0)
    assert "cycle_momentum=False" in str(caught.value)
