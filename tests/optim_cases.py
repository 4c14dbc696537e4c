"""Every combination of options of every optimizer that PyTorch has as well.

Takes: nothing. Gives: names with settings, and runs of both side by side.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import chainrule as cr
from chainrule import optim

Case = dict[str, Any]


def product(**options: tuple[Any, ...]) -> list[Case]:
    """Return all combinations of values."""
    return [
        dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())
    ]


FLAGS = (False, True)
DECAYS = (0.0, 0.1)
BETAS = ((0.9, 0.999), (0.5, 0.9))

CASES: dict[str, list[Case]] = {
    "SGD": [
        case
        for case in product(
            momentum=(0.0, 0.9),
            dampening=(0.0, 0.3),
            weight_decay=DECAYS,
            nesterov=FLAGS,
            maximize=FLAGS,
        )
        if not case["nesterov"] or (case["momentum"] and not case["dampening"])
    ],
    "Adam": product(amsgrad=FLAGS, weight_decay=DECAYS, betas=BETAS, maximize=FLAGS, eps=(1e-6,)),
    "AdamW": product(amsgrad=FLAGS, weight_decay=DECAYS, betas=BETAS, maximize=FLAGS),
    "Adagrad": product(
        lr_decay=(0.0, 0.05),
        weight_decay=DECAYS,
        initial_accumulator_value=(0.0, 0.1),
        eps=(1e-10, 1e-3),
        maximize=FLAGS,
    ),
    "Adadelta": product(
        lr=(1.0, 0.1), rho=(0.9, 0.5), eps=(1e-6, 1e-3), weight_decay=DECAYS, maximize=FLAGS
    ),
    "RMSprop": product(
        alpha=(0.99, 0.5),
        momentum=(0.0, 0.9),
        centered=FLAGS,
        weight_decay=DECAYS,
        maximize=FLAGS,
    ),
    "Adamax": product(betas=BETAS, eps=(1e-8, 1e-2), weight_decay=DECAYS, maximize=FLAGS),
    "NAdam": product(
        betas=BETAS,
        weight_decay=DECAYS,
        momentum_decay=(4e-3, 0.5),
        decoupled_weight_decay=FLAGS,
        maximize=FLAGS,
    ),
    "RAdam": product(
        betas=BETAS, weight_decay=DECAYS, decoupled_weight_decay=FLAGS, maximize=FLAGS
    ),
    "Rprop": product(
        lr=(0.01, 0.3), etas=((0.5, 1.2), (0.3, 1.7)), step_sizes=((1e-6, 50), (0.02, 0.1)),
        maximize=FLAGS,
    ),
    "ASGD": product(
        lambd=(1e-4, 0.1), alpha=(0.75, 0.5), t0=(1e6, 50), weight_decay=DECAYS, maximize=FLAGS
    ),
    "Adafactor": product(
        beta2_decay=(-0.8, -0.5), eps=((None, 1e-3), (1e-2, 0.1)), d=(1.0, 2.0),
        weight_decay=DECAYS, maximize=FLAGS,
    ),
}  # fmt: skip


def make(module: Any, name: str, params: Any, case: Case) -> Any:
    """Return an optimizer of ours or of PyTorch's."""
    return getattr(module, name)(params, **{"lr": 0.01, **case})


# Optimizers of ours alone, with settings that use all of their state.
OWN: dict[str, Case] = {
    "Lion": {"weight_decay": 0.1},
    "LAMB": {"weight_decay": 0.1},
    "LARS": {"weight_decay": 0.1},
}


def ours(name: str, params: Any) -> optim.Optimizer:
    """Return an optimizer with the last combination of its options."""
    return make(optim, name, params, OWN[name] if name in OWN else CASES[name][-1])


@contextmanager
def double(torch: Any) -> Iterator[None]:
    """Let PyTorch keep numbers of its state (mu_product, eta) in float64 too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def leaf(values: Any) -> cr.Tensor:
    """Return a parameter in float64."""
    return cr.tensor(values, dtype="float64", requires_grad=True)
