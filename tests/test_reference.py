"""The reference: its formulas are what functions compute, its names exist, its pages are new."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs.make import build
from docs.make.comparison import ROOTS, absent, rows
from docs.make.formulas import ACTIVATIONS, LOSSES, OPTIMIZERS
from docs.make.mathtext import FormulaError, latex, run, value

import chainrule as cr
import chainrule.nn.functional as F
from chainrule import optim

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
# Away from every kink of the functions.
POINTS = np.array([-7.3, -3.4, -2.6, -1.2, -0.7, -0.2, 0.1, 0.45, 0.8, 1.7, 2.9, 3.3, 6.4])


def settings_of(settings: Mapping[str, tuple[str, float]]) -> dict[str, Any]:
    """Return keyword arguments; ``betas.1`` is the second of a pair."""
    found: dict[str, Any] = {}
    for name, number in settings.values():
        head, dot, place = name.partition(".")
        if dot:
            found.setdefault(head, [0.0, 0.0])[int(place)] = number
        else:
            found[head] = number
    return {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_formula_of_an_activation_is_what_it_computes(name: str) -> None:
    formula = ACTIVATIONS[name]
    letters = {letter: number for letter, (_, number) in formula.settings.items()}
    given = settings_of(formula.settings)
    if name in ("softmax", "log_softmax", "softmin"):
        given["dim"] = -1
    x = cr.tensor(POINTS, dtype="float64", requires_grad=True)
    y = getattr(F, name)(x, **given)
    np.testing.assert_allclose(y.detach().numpy(), value(formula.value, {"x": POINTS, **letters}),
                               rtol=1e-12, atol=1e-14)  # fmt: skip
    if formula.derivative:
        y.sum().backward()
        slope = value(formula.derivative, {"x": POINTS, **letters})
        np.testing.assert_allclose(x.grad.numpy(), slope * np.ones_like(POINTS), rtol=1e-11,
                                   atol=1e-13)  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_the_formula_of_a_loss_is_what_it_computes(name: str) -> None:
    formula = LOSSES[name]
    letters = {letter: number for letter, (_, number) in formula.settings.items()}
    rng = np.random.default_rng(3)
    values, targets = rng.uniform(0.1, 0.9, (2, 9))
    if name != "binary_cross_entropy":
        values = 3 * values - 1.5
    if name == "soft_margin_loss":
        targets = np.sign(targets - 0.5)
    x, t = (
        cr.tensor(values, dtype="float64", requires_grad=True),
        cr.tensor(targets, dtype="float64"),
    )
    y = getattr(F, name)(x, t, reduction="none", **settings_of(formula.settings))
    names = {"x": values, "t": targets, **letters}
    np.testing.assert_allclose(y.detach().numpy(), value(formula.value, names), rtol=1e-12)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), value(formula.derivative, names), rtol=1e-11)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rule_of_an_optimizer_is_what_it_does(name: str) -> None:
    rule = OPTIMIZERS[name]
    names: dict[str, Any] = {letter: number for letter, (_, number) in rule.settings.items()}
    names |= dict.fromkeys("msvud", 0.0) | {"p": np.array([1.5, -0.3, 0.8])}
    p = cr.tensor(names["p"], dtype="float64", requires_grad=True)
    optimizer = getattr(optim, name)([p], **settings_of(rule.settings))
    for number in range(1, 7):
        optimizer.zero_grad()
        (p**4 / 4 - p).sum().backward()
        names |= {"k": number, "g": names["p"] ** 3 - 1}
        names = run(rule.steps, names)
        optimizer.step()
        np.testing.assert_allclose(p.detach().numpy(), names["p"], rtol=1e-12, atol=1e-14)


def test_every_public_name_has_a_page_and_pages_are_new() -> None:
    made = build.pages()
    stale = [n for n, text in made.items() if (FOLDER / n).read_text(encoding="utf-8") != text]
    assert not stale, f"python -m docs.make: {stale} out of date"
    assert {path.name for path in FOLDER.glob("*.md")} == set(made)


def _find(path: str, place: int) -> bool:
    root = max((root for root in ROOTS if path.startswith(root)), key=len)
    thing: Any = importlib.import_module(ROOTS[root][place])
    for part in path[len(root) :].split("."):
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


def test_the_names_of_the_comparison_exist() -> None:
    missing = [row[1] for row in rows() if len(row) > 1 and not _find(row[1], 0)]
    assert not missing


def test_pytorchs_names_of_the_comparison_exist() -> None:
    pytest.importorskip("torch", reason="the extra `peers` is not installed")
    named = [row[2] for row in rows() if len(row) > 1 and row[2] != "-"]
    assert [name for name in named if not _find(name, 1)] == []


def test_what_pytorch_has_is_here_or_listed_as_absent() -> None:
    torch = pytest.importorskip("torch", reason="the extra `peers` is not installed")
    # Helpers of PyTorch that its namespace lets show.
    inside = ("handle_torch_function", "has_torch_function", "boolean_dispatch", "assert_int")
    spaces = {"nn": torch.nn, "F": torch.nn.functional, "optim": torch.optim}
    missing = set()
    for short, space in spaces.items():
        ours = importlib.import_module(ROOTS[f"{short}."][0])
        for name, thing in vars(space).items():
            if name[0] == "_" or name[-1] == "_" or not callable(thing) or hasattr(ours, name):
                continue
            theirs = str(getattr(thing, "__module__", "torch")).startswith(("torch", "None"))
            is_ours_to_have = name[0].islower() if short == "F" else name[0].isupper()
            if theirs and is_ours_to_have and not name.startswith(inside):
                missing.add(f"{short}.{name}")
    assert missing == set(absent())


# --- formulas as text ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "want"),
    [
        ("a - (b - c)", r"a - \left(b - c\right)"),
        ("x / (1 + abs(x))", r"\frac{x}{1 + \left|x\right|}"),
        ("(1 - x)**2 * y", r"\left(1 - x\right)^{2}\,y"),
        ("2 * 3", r"2 \cdot 3"),
        ("m_hat / sqrt(v)", r"\frac{\hat{m}}{\sqrt{v}}"),
        (
            "x if x > 0 else 0",
            r"\begin{cases}x & \text{if } x > 0 \\ 0 & \text{otherwise}\end{cases}",
        ),
        ("p = p - eta * g", r"p \leftarrow p - \eta\,g"),
    ],
)
def test_latex(formula: str, want: str) -> None:
    assert latex(formula) == want


@pytest.mark.parametrize("formula", ["import os", "x.real", "open(x)", "[x]", "x = y = 1"])
def test_what_is_no_formula_is_refused(formula: str) -> None:
    with pytest.raises((FormulaError, ValueError)):
        value(formula, {"x": 1.0})


def test_value_against_numpy() -> None:
    x = np.linspace(-2, 2, 9)
    found = value("x**2 / 2 if abs(x) < 1 else abs(x) - 1 / 2", {"x": x})
    np.testing.assert_allclose(found, np.where(np.abs(x) < 1, x * x / 2, np.abs(x) - 0.5))
