"""Loops whose carries lie one behind the other: no round copies anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule.compiler.pipeline import build
from chainrule.graph.tensor import Tensor
from chainrule.ir.kernel import Launch, Repeat

ROUNDS, SIZE = 5, (4, 6)


def random(*shape: int, seed: int = 0) -> Tensor:
    return chainrule.randn(*shape, generator=chainrule.Generator(seed)) * 0.5


W = random(6, 6, seed=1)


def loops(function: Callable[..., Any]) -> list[Repeat]:
    """Return the loops of a function of a state and of inputs, which is checked before."""
    given = random(*SIZE), random(ROUNDS, *SIZE, seed=2)
    compiled = chainrule.compile(function)
    for got, want in zip(compiled(*given), function(*given), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-5, atol=1e-6)
    plan = build(compiled.trace(*given).trace.program, check=True)
    return [step for step in plan.steps if isinstance(step, Repeat)]


def copies(loop: Repeat) -> int:
    """Return how often a round copies something."""
    names = [step.kernel.name for step in loop.steps if isinstance(step, Launch)]
    return len(loop.carried) + names.count("copy")


def rounds(
    step: Callable[[Tensor, Tensor], tuple[Tensor, Any]], *, reverse: bool = False
) -> Callable[[Tensor, Tensor], Any]:
    def run(h: Tensor, xs: Tensor) -> Any:
        last, ys = chainrule.scan(step, h, xs, reverse=reverse)
        return (last, *(ys if isinstance(ys, tuple) else (ys,)))

    return run


def cell(h: Tensor, x: Tensor) -> Tensor:
    return chainrule.tanh(h @ W + x)


@pytest.mark.parametrize("reverse", [False, True])
def test_states_that_are_multiplied_later_are_written_once(reverse: bool) -> None:
    def both(h: Tensor, x: Tensor) -> Any:
        after = cell(h, x)
        return after, (after, h)

    def run(h: Tensor, xs: Tensor) -> Any:
        last, after, before = rounds(both, reverse=reverse)(h, xs)
        return last * 2.0, after.exp(), before.exp()

    (loop,) = loops(run)
    assert copies(loop) == 0


def test_states_that_are_outputs_are_copied() -> None:
    def step(h: Tensor, x: Tensor) -> Any:
        after = cell(h, x)
        return after, (after, h)

    loops(rounds(step))


def test_states_of_one_loop_are_inputs_of_another() -> None:
    def step(h: Tensor, x: Tensor) -> Any:
        after = cell(h, x)
        return after, (after, h)

    def run(h: Tensor, xs: Tensor) -> Any:
        _, after, before = rounds(step)(h, xs)
        return rounds(lambda h, x: (h * x[0] + x[1], h))(h, chainrule.stack([after, before], 1))

    def direct(h: Tensor, xs: Tensor) -> Any:
        _, after, before = rounds(step)(h, xs)
        last, (found, _) = chainrule.scan(
            lambda h, x: (h * x[0] + x[1], (h, x[0])), h, (after, before)
        )
        return last, found

    assert len(loops(run)) == len(loops(direct)) == 2


def test_carries_that_change_places_are_right() -> None:
    def run(h: Tensor, xs: Tensor) -> Any:
        def step(carry: Any, x: Tensor) -> Any:
            a, b = carry
            return (b, a * x + b), (a, b)

        (a, b), (before, other) = chainrule.scan(step, (h, h * 2.0), xs)
        return a, b, before.exp(), other.exp()

    loops(run)


@pytest.mark.parametrize("reverse", [False, True])
def test_rounds_of_a_derivative_copy_nothing(reverse: bool) -> None:
    def run(h: Tensor, xs: Tensor) -> Any:
        last, ys = chainrule.scan(lambda h, x: (cell(h, x),) * 2, h, xs, reverse=reverse)
        return chainrule.grad((ys * ys).sum() + last.sum(), [h, xs])

    def train(h: Tensor, xs: Tensor) -> Any:
        h, xs = h.detach(), xs.detach()
        h.requires_grad, xs.requires_grad = True, True
        return run(h, xs)

    assert [copies(loop) for loop in loops(train)] == [0, 0]
