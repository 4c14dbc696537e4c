"""Recurrent layers as programs: loops whose size does not depend on the number of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.codegen.emit import emit
from chainrule.codegen.target import host
from chainrule.codegen.text import Module
from chainrule.compiler.pipeline import build, simplified
from chainrule.compiler.program import Program
from chainrule.ir.kernel import Plan, Repeat
from chainrule.ir.printer import fingerprint
from chainrule.runtime.commands import launches

Step = Callable[[cr.Tensor], cr.Tensor]


def training(layer: nn.RNNBase, **given: Any) -> Step:
    """Return a function that differentiates by all weights."""

    def step(x: cr.Tensor) -> cr.Tensor:
        layer.zero_grad()
        y, _ = layer(x, **given)
        loss = (y * y).mean()
        loss.backward()
        return loss

    return step


def traced(layer: nn.RNNBase, steps: int, **given: Any) -> Program:
    x = cr.zeros((steps, 4, layer.input_size))
    return cr.compile(training(layer, **given)).trace(x).trace.program


def code(plan: Plan) -> tuple[int, int]:
    """Return how many kernels a plan has, and lines of code they become."""
    found = {fingerprint(step.kernel): step.kernel for step, _ in launches(plan.steps)}
    module = Module()
    for number, kernel in enumerate(found.values()):
        emit(module, kernel, f"kernel{number}", host())
    return len(found), module.text.count("\n")


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_code_does_not_grow_with_the_length(name: str) -> None:
    layer = getattr(nn, name)(8, 16, num_layers=2, bidirectional=True)
    programs = [traced(layer, steps) for steps in (8, 128, 512)]
    assert len({len(program.text.splitlines()) for program in programs}) == 1
    plans = [build(program) for program in programs]
    inside = [
        [
            [fingerprint(part.kernel) for part, _ in launches(step.steps)]
            for step in plan.steps
            if isinstance(step, Repeat)
        ]
        for plan in plans
    ]
    assert len(inside[0]) == 8  # two layers, two directions, there and back
    assert inside[0] == inside[1] == inside[2]
    # What is done for all steps at once is cut for its size, up to a point.
    (few, short), (many, long) = map(code, plans[1:])
    assert many <= few + 4
    assert long < 1.25 * short


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_round_multiplies_only_with_the_state(name: str) -> None:
    """Products with inputs, and gradients of weights and biases, are done for all steps at once."""
    program = simplified(traced(getattr(nn, name)(8, 16), 32))
    bodies = [body for region in program.regions() for body in region.bodies]
    for body in bodies:
        names = [i.op.name for i in body.instructions]
        assert names.count("matmul") == 1
        assert "sum" not in names
    assert [i.op.name for i in program.instructions].count("matmul") == 3


def test_a_layer_with_wide_weights_and_lengths_is_the_eager_one() -> None:
    """Panels of the weights of the state, which only wide ones have."""
    for dtype, tolerance in (("float32", 2e-4), ("float64", 1e-11)):
        layer = nn.LSTM(7, 96, dtype=dtype)
        x = cr.randn((6, 5, 7), dtype=dtype)
        step = training(layer, lengths=[6, 1, 4, 6, 2])
        loss = step(x).item()
        expected = [p.grad.numpy() for p in layer.parameters()]
        assert cr.compile(step)(x).item() == pytest.approx(loss, rel=tolerance)
        for p, g in zip(layer.parameters(), expected, strict=True):
            np.testing.assert_allclose(
                p.grad.numpy(), g, rtol=tolerance, atol=tolerance * np.abs(g).max()
            )


def test_training_lowers_the_loss_and_reads_far_back() -> None:
    """The first of eight symbols has to be told after the last: the adding of a memory at work."""
    cr.manual_seed(0)
    embedding, lstm = nn.Embedding(5, 8), nn.LSTM(8, 24, forget_bias=1.0)
    head = nn.Linear(24, 5)
    model = nn.ModuleList([embedding, lstm, head])
    rule = cr.optim.Adam(model.parameters(), lr=1e-2)

    @cr.compile
    def step(x: cr.Tensor) -> cr.Tensor:
        rule.zero_grad()
        y, _ = lstm(embedding(x))
        loss = nn.functional.cross_entropy(head(y[-1]), x[0])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rule.step()
        return loss

    rng = np.random.default_rng(0)
    losses = [step(cr.tensor(rng.integers(0, 5, (8, 32)))).item() for _ in range(200)]
    assert np.mean(losses[:5]) > 1.4
    assert np.mean(losses[-5:]) < 0.2
