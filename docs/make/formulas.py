"""Formulas of the functions, in the syntax of `mathtext`.

Takes: nothing. Gives: tables by name; tests compare each with the function of that name.
The one idea: what a reader sees is what was computed and found equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Formula:
    """What a function of numbers is.

    Attributes:
        value: The function of ``x`` (of ``x`` and ``t`` for losses).
        derivative: With respect to ``x``; "" where it is not written out.
        settings: The function's arguments that are letters in the formula: letter to argument
            and the value that it is compared at.
    """

    value: str
    derivative: str = ""
    settings: Mapping[str, tuple[str, float]] = field(default_factory=dict)


_SELU = "1.0507009873554805"
_SELU_ALPHA = "1.6732632423543772"

ACTIVATIONS: Mapping[str, Formula] = {
    "sigmoid": Formula("1 / (1 + exp(-x))", "sigmoid(x) * (1 - sigmoid(x))"),
    "tanh": Formula("tanh(x)", "1 - tanh(x)**2"),
    "relu": Formula("max(x, 0)", "1 if x > 0 else 0"),
    "leaky_relu": Formula(
        "x if x > 0 else a * x", "1 if x > 0 else a", {"a": ("negative_slope", 0.01)}
    ),
    "elu": Formula(
        "x if x > 0 else alpha * (exp(x) - 1)",
        "1 if x > 0 else alpha * exp(x)",
        {"alpha": ("alpha", 1.5)},
    ),
    "celu": Formula(
        "x if x > 0 else alpha * (exp(x / alpha) - 1)",
        "1 if x > 0 else exp(x / alpha)",
        {"alpha": ("alpha", 1.5)},
    ),
    "selu": Formula(
        f"{_SELU} * x if x > 0 else {_SELU} * {_SELU_ALPHA} * (exp(x) - 1)",
        f"{_SELU} if x > 0 else {_SELU} * {_SELU_ALPHA} * exp(x)",
    ),
    "silu": Formula("x * sigmoid(x)", "sigmoid(x) * (1 + x * (1 - sigmoid(x)))"),
    "gelu": Formula("x * Phi(x)", "Phi(x) + x * phi(x)"),
    "mish": Formula("x * tanh(softplus(x))"),
    "softplus": Formula(
        "log(1 + exp(beta * x)) / beta", "sigmoid(beta * x)", {"beta": ("beta", 2.0)}
    ),
    "logsigmoid": Formula("-log(1 + exp(-x))", "sigmoid(-x)"),
    "softsign": Formula("x / (1 + abs(x))", "1 / (1 + abs(x))**2"),
    "tanhshrink": Formula("x - tanh(x)", "tanh(x)**2"),
    "hardtanh": Formula("-1 if x < -1 else 1 if x > 1 else x", "0 if abs(x) > 1 else 1"),
    "hardsigmoid": Formula(
        "0 if x < -3 else 1 if x > 3 else x / 6 + 1 / 2", "0 if abs(x) > 3 else 1 / 6"
    ),
    "hardswish": Formula(
        "0 if x < -3 else x if x > 3 else x * (x + 3) / 6",
        "0 if x < -3 else 1 if x > 3 else (2 * x + 3) / 6",
    ),
    "relu6": Formula("min(max(x, 0), 6)", "1 if 0 < x < 6 else 0"),
    "hardshrink": Formula(
        "x if abs(x) > lambda_ else 0", "1 if abs(x) > lambda_ else 0", {"lambda_": ("lambd", 0.5)}
    ),
    "softshrink": Formula(
        "x - lambda_ * sign(x) if abs(x) > lambda_ else 0",
        "1 if abs(x) > lambda_ else 0",
        {"lambda_": ("lambd", 0.5)},
    ),
    "threshold": Formula(
        "x if x > theta else v",
        "1 if x > theta else 0",
        {"theta": ("threshold", 0.3), "v": ("value", -1.0)},
    ),
    "softmax": Formula("exp(x) / sum(exp(x))"),
    "log_softmax": Formula("x - log(sum(exp(x)))"),
    "softmin": Formula("exp(-x) / sum(exp(-x))"),
}

LOSSES: Mapping[str, Formula] = {
    "mse_loss": Formula("(x - t)**2", "2 * (x - t)"),
    "l1_loss": Formula("abs(x - t)", "sign(x - t)"),
    "huber_loss": Formula(
        "(x - t)**2 / 2 if abs(x - t) < delta else delta * (abs(x - t) - delta / 2)",
        "x - t if abs(x - t) < delta else delta * sign(x - t)",
        {"delta": ("delta", 0.7)},
    ),
    "smooth_l1_loss": Formula(
        "(x - t)**2 / (2 * beta) if abs(x - t) < beta else abs(x - t) - beta / 2",
        "(x - t) / beta if abs(x - t) < beta else sign(x - t)",
        {"beta": ("beta", 0.7)},
    ),
    "binary_cross_entropy": Formula(
        "-(t * log(x) + (1 - t) * log(1 - x))", "(x - t) / (x * (1 - x))"
    ),
    "binary_cross_entropy_with_logits": Formula(
        "-(t * log(sigmoid(x)) + (1 - t) * log(1 - sigmoid(x)))", "sigmoid(x) - t"
    ),
    "poisson_nll_loss": Formula("exp(x) - t * x", "exp(x) - t"),
    "soft_margin_loss": Formula("log(1 + exp(-t * x))", "-t * sigmoid(-t * x)"),
    "kl_div": Formula("t * (log(t) - x)", "-t"),
}


@dataclass(frozen=True)
class Rule:
    """How an optimizer moves a parameter ``p`` with gradient ``g`` in its step number ``k``.

    Attributes:
        steps: Assignments in order; other names keep their values from step to step, from 0 on.
        settings: Letter to argument and the value that it is compared at.
    """

    steps: tuple[str, ...]
    settings: Mapping[str, tuple[str, float]]


_ADAM = (
    "m = beta_1 * m + (1 - beta_1) * g",
    "v = beta_2 * v + (1 - beta_2) * g**2",
    "m_hat = m / (1 - beta_1**k)",
    "v_hat = v / (1 - beta_2**k)",
)
_BETAS = {"eta": ("lr", 0.1), "beta_1": ("betas.0", 0.9), "beta_2": ("betas.1", 0.99)}
_EPS = {"epsilon": ("eps", 1e-8)}

OPTIMIZERS: Mapping[str, Rule] = {
    "SGD": Rule(
        ("v = mu * v + g", "p = p - eta * v"), {"eta": ("lr", 0.1), "mu": ("momentum", 0.9)}
    ),
    "Adagrad": Rule(
        ("s = s + g**2", "p = p - eta * g / (sqrt(s) + epsilon)"),
        {"eta": ("lr", 0.1), "epsilon": ("eps", 1e-10)},
    ),
    "Adadelta": Rule(
        (
            "s = rho * s + (1 - rho) * g**2",
            "u = g * sqrt(d + epsilon) / sqrt(s + epsilon)",
            "d = rho * d + (1 - rho) * u**2",
            "p = p - eta * u",
        ),
        {"eta": ("lr", 1.0), "rho": ("rho", 0.9), "epsilon": ("eps", 1e-6)},
    ),
    "RMSprop": Rule(
        ("s = alpha * s + (1 - alpha) * g**2", "p = p - eta * g / (sqrt(s) + epsilon)"),
        {"eta": ("lr", 0.1), "alpha": ("alpha", 0.99), **_EPS},
    ),
    "Adam": Rule((*_ADAM, "p = p - eta * m_hat / (sqrt(v_hat) + epsilon)"), {**_BETAS, **_EPS}),
    "AdamW": Rule(
        ("p = p - eta * lambda_ * p", *_ADAM, "p = p - eta * m_hat / (sqrt(v_hat) + epsilon)"),
        {**_BETAS, **_EPS, "lambda_": ("weight_decay", 0.05)},
    ),
    "Adamax": Rule(
        (
            "m = beta_1 * m + (1 - beta_1) * g",
            "u = max(beta_2 * u, abs(g) + epsilon)",
            "p = p - eta * m / ((1 - beta_1**k) * u)",
        ),
        {**_BETAS, **_EPS},
    ),
    "Lion": Rule(
        (
            "c = beta_1 * m + (1 - beta_1) * g",
            "p = p - eta * (sign(c) + lambda_ * p)",
            "m = beta_2 * m + (1 - beta_2) * g",
        ),
        {**_BETAS, "lambda_": ("weight_decay", 0.05)},
    ),
}
