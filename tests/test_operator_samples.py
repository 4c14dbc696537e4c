"""A slice of PyTorch's operator samples: values and gradients of all that both libraries have.

The whole comparison is `python conformance/operators.py`; its score is in docs/conformance.md.
"""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest

import chainrule

SEED = 4
OPERATORS = 60
SAMPLES = 3


@pytest.fixture(scope="module")
def operators() -> Any:
    pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    pytest.importorskip("expecttest", reason="torch's samples need expecttest")
    from conformance import operators

    return operators


@pytest.fixture(scope="module")
def pairs(operators: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(operators.operators(dtype="float64"))


def test_some_operators_agree_on_their_samples(operators: Any, pairs: list[Any]) -> None:
    known = operators.known_differences()
    chosen = random.Random(SEED).sample(pairs, OPERATORS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reports = [operators.examine(op, ours, "float64", SAMPLES) for op, ours in chosen]
    differ = {r.name: r.differ for r in reports if r.differ and r.name not in known}
    assert differ == {}
    assert sum(r.agree for r in reports) > OPERATORS


def test_most_operators_are_found(pairs: list[Any]) -> None:
    assert len(pairs) > 280


def test_a_wrong_gradient_is_found(operators: Any, pairs: list[Any]) -> None:
    """The comparison can fail: sin with a derivative that is 1 % off is reported."""
    op = next(op for op, _ in pairs if op.name == "sin")

    def crooked(x: chainrule.Tensor) -> chainrule.Tensor:
        return x.sin() * 1.01 - x.sin().detach() * 0.01

    report = operators.examine(op, crooked, "float64", 1)
    assert "gradient 0: differs" in report.differ[0]
    assert operators.different(np.ones(2), np.ones(3), "float64", "x") == (
        "x: shape (2,), expected (3,)"
    )
