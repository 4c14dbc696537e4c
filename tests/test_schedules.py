"""Schedules: 200 steps against PyTorch, state, resumption, bad settings."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import chainrule as cr
from chainrule import optim
from chainrule.optim import lr_scheduler

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")


def sequential(o: Any, m: Any) -> Any:
    parts = [
        m.LinearLR(o, 0.1, 1.0, 10),
        m.CosineAnnealingLR(o, 90, 1e-4),
        m.ConstantLR(o, 0.5, 30),
    ]
    return m.SequentialLR(o, parts, [10, 100])


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "step": lambda o, m: m.StepLR(o, 30),
    "step-1": lambda o, m: m.StepLR(o, 1, gamma=0.97),
    "step-up": lambda o, m: m.StepLR(o, 50, gamma=1.5),
    "multi": lambda o, m: m.MultiStepLR(o, [50, 150]),
    "multi-odd": lambda o, m: m.MultiStepLR(o, [150, 0, 50, 50], gamma=0.5),
    "exponential": lambda o, m: m.ExponentialLR(o, 0.98),
    "cosine": lambda o, m: m.CosineAnnealingLR(o, 200),
    "cosine-beyond": lambda o, m: m.CosineAnnealingLR(o, 60, eta_min=1e-3),
    "linear": lambda o, m: m.LinearLR(o, 0.25, 0.75, total_iters=40),
    "constant": lambda o, m: m.ConstantLR(o, 0.3, total_iters=17),
    "lambda": lambda o, m: m.LambdaLR(o, lambda n: 1 / (1 + n)),
    "lambdas": lambda o, m: m.LambdaLR(o, [lambda n: 1 / (1 + n), lambda n: 0.9**n]),
    "sequential": sequential,
}


def our_optimizer() -> optim.Optimizer:
    groups = [cr.zeros(2, requires_grad=True), cr.zeros(3, requires_grad=True)]
    return optim.SGD([{"params": groups[:1]}, {"params": groups[1:], "lr": 0.03}], lr=0.1)


def their_optimizer() -> Any:
    groups = [torch.zeros(2, requires_grad=True), torch.zeros(3, requires_grad=True)]
    return torch.optim.SGD([{"params": groups[:1]}, {"params": groups[1:], "lr": 0.03}], lr=0.1)


def rates(optimizer: Any) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


@pytest.mark.parametrize("name", CASES)
def test_schedule_follows_pytorch_for_200_steps(name: str) -> None:
    ours, theirs = our_optimizer(), their_optimizer()
    schedule = CASES[name](ours, lr_scheduler)
    with warnings.catch_warnings():  # PyTorch warns of its own SequentialLR
        warnings.simplefilter("ignore")
        other = CASES[name](theirs, torch.optim.lr_scheduler)
        for _ in range(200):
            # PyTorch multiplies step by step and gathers rounding; ours is the formula itself.
            # Near the end of a cosine that is all that is left of the rate, hence abs.
            assert rates(ours) == pytest.approx(rates(theirs), rel=1e-11, abs=1e-15)
            assert schedule.get_last_lr() == rates(ours)
            for optimizer, step in ((ours, schedule), (theirs, other)):
                optimizer.step()
                step.step()


@pytest.mark.parametrize("name", CASES)
def test_schedule_goes_on_from_its_state_bit_for_bit(name: str) -> None:
    ours = our_optimizer()
    schedule = CASES[name](ours, lr_scheduler)
    for _ in range(73):
        schedule.step()
    saved = json.loads(json.dumps([schedule.state_dict(), ours.state_dict()["param_groups"]]))
    fresh = our_optimizer()
    resumed = CASES[name](fresh, lr_scheduler)
    resumed.load_state_dict(saved[0])
    fresh.load_state_dict({"state": {}, "param_groups": saved[1]})
    for _ in range(50):
        assert rates(fresh) == rates(ours)
        schedule.step()
        resumed.step()


def test_schedule_may_begin_in_the_middle() -> None:
    ours = our_optimizer()
    with pytest.raises(cr.StateError, match="does not know the rate it started from"):
        lr_scheduler.StepLR(ours, 2, last_epoch=5)
    lr_scheduler.StepLR(ours, 2)
    lr_scheduler.StepLR(ours, 2, last_epoch=5)
    assert rates(ours) == pytest.approx([0.1 * 0.1**3, 0.03 * 0.1**3])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda o: lr_scheduler.StepLR(o, 0), "StepLR: step_size is 0, expected an integer"),
        (lambda o: lr_scheduler.StepLR(o, 2.5), "step_size is 2.5"),
        (
            lambda o: lr_scheduler.StepLR(o, 2, gamma=-1),
            "gamma is -1, expected a number at least 0",
        ),
        (lambda o: lr_scheduler.StepLR(None, 2), "StepLR: got NoneType, expected an optimizer"),
        (lambda o: lr_scheduler.MultiStepLR(o, [10, "20"]), "a milestone is '20'"),
        (lambda o: lr_scheduler.MultiStepLR(o, [-1]), "a milestone is -1"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, -3), "T_max is -3"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 3, eta_min=float("nan")), "eta_min is nan"),
        (lambda o: lr_scheduler.LinearLR(o, 0.0), "start_factor is 0.0"),
        (lambda o: lr_scheduler.ConstantLR(o, 1.5), "factor is 1.5"),
        (lambda o: lr_scheduler.LambdaLR(o, [lambda n: 1.0]), "1 functions for 2 parameter groups"),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]),
            "milestones [3]",
        ),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(our_optimizer(), 1)], []),
            "belongs to another optimizer",
        ),
    ],
)
def test_bad_setting_is_refused(make: Callable[[Any], object], text: str) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        make(our_optimizer())
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "state", [{}, {"last_epoch": "3", "base_lrs": [0.1, 0.1]}, {"last_epoch": 3, "base_lrs": [0.1]}]
)
def test_damaged_state_is_refused(state: dict[str, Any]) -> None:
    schedule = lr_scheduler.StepLR(our_optimizer(), 2)
    with pytest.raises(cr.StateError, match=r"StepLR\.load_state_dict"):
        schedule.load_state_dict(state)
    assert schedule.last_epoch == 0


def test_group_added_after_the_schedule_is_noticed() -> None:
    optimizer = our_optimizer()
    schedule = lr_scheduler.StepLR(optimizer, 2)
    optimizer.add_param_group({"params": [cr.zeros(1, requires_grad=True)]})
    with pytest.raises(cr.StateError, match="make the schedule after add_param_group"):
        schedule.step()
