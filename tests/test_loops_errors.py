"""scan, while_loop, cond: what they refuse, and how they say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import chainrule
from chainrule import nn
from chainrule.core.errors import ArgumentError, DTypeError, GradientError, ShapeError
from chainrule.graph.tensor import Tensor
from chainrule.graph.tracing import TraceError


def test_carry_that_changes_is_refused() -> None:
    xs = chainrule.ones(3, 2)
    with pytest.raises(ShapeError, match=r"carry\[0\] is f32\[2\], expected f32\[\] as of init"):
        chainrule.scan(lambda c, x: ((c[0] + x, c[1]), None), (0.0, 1), xs)
    with pytest.raises(DTypeError, match=r"carry\['n'\] is f32\[\], expected i64\[\]"):
        chainrule.scan(lambda c, x: ({"n": c["n"] + x.sum()}, None), {"n": 0}, xs)
    with pytest.raises(ArgumentError, match=r"the carry is \*, expected \(\*, \*\) as of init"):
        chainrule.scan(lambda c, x: (c[0], None), (0.0, 1.0), xs)
    with pytest.raises(ArgumentError, match=r"f returned a Tensor, expected a pair"):
        chainrule.scan(lambda c, x: c, 0.0, xs)
    with pytest.raises(ShapeError, match=r"while_loop: carry is f32\[2\], expected f32\[\]"):
        chainrule.while_loop(lambda c: c.sum() < 3, lambda c: c + xs[0], 0.0)


def test_lengths_that_do_not_fit_are_refused() -> None:
    def f(c: Tensor, x: Any) -> tuple[Tensor, None]:
        return c, None

    with pytest.raises(ShapeError, match=r"xs\[0\] f32\[3\], xs\[1\] f32\[4\]"):
        chainrule.scan(f, 0.0, (chainrule.ones(3), chainrule.ones(4)))
    with pytest.raises(ArgumentError, match=r"length=2, but xs have length 3"):
        chainrule.scan(f, 0.0, chainrule.ones(3), 2)
    with pytest.raises(ArgumentError, match=r"no number of rounds"):
        chainrule.scan(f, 0.0, None)
    with pytest.raises(ShapeError, match=r"xs f32\[\] has no axis"):
        chainrule.scan(f, 0.0, chainrule.tensor(1.0))


def test_results_that_differ_between_rounds_are_refused() -> None:
    rounds = iter(range(3))

    def f(c: Tensor, x: Tensor) -> tuple[Tensor, Any]:
        return c, chainrule.ones(next(rounds) + 1)

    with pytest.raises(ShapeError, match=r"y is f32\[2\] in one round and f32\[1\] in another"):
        chainrule.scan(f, 0.0, chainrule.ones(3))


def test_conditions_must_be_one_bool() -> None:
    with pytest.raises(DTypeError, match=r"cond: the condition is f32\[\]"):
        chainrule.cond(chainrule.tensor(1.0), lambda: 1, lambda: 2)
    with pytest.raises(ShapeError, match="has 2 elements"):
        chainrule.while_loop(lambda c: c > 0, lambda c: c, chainrule.ones(2))


def test_branches_must_agree_when_compiled() -> None:
    def run(x: Tensor, other: Callable[[Tensor], Any]) -> Any:
        return chainrule.cond(x.sum() > 0, lambda x: x, other, x)

    compiled = chainrule.compile(run)
    with pytest.raises(DTypeError, match=r"cond: result is f64\[2\], expected f32\[2\]"):
        compiled(chainrule.ones(2), lambda x: x.double())
    with pytest.raises(ShapeError, match=r"cond: result is f32\[\], expected f32\[2\]"):
        compiled(chainrule.ones(2), lambda x: x.sum())
    with pytest.raises(ArgumentError, match=r"the result is \(\*, \*\), expected \*"):
        compiled(chainrule.ones(2), lambda x: (x, x))


def test_random_numbers_inside_are_refused_when_compiled() -> None:
    @chainrule.compile
    def run(xs: Tensor) -> Any:
        return chainrule.scan(lambda c, x: (c + chainrule.rand(()), None), 0.0, xs)

    with pytest.raises(TraceError, match=r"random numbers are drawn inside of the body of a scan"):
        run(chainrule.ones(3))


def test_changes_from_inside_are_refused_when_compiled() -> None:
    total = chainrule.zeros(2)
    w = nn.Parameter(chainrule.ones(2))

    def adds(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
        total.add_(x)
        return c, None

    def differentiates(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
        (w * x.detach()).sum().backward()
        return c, None

    def goes_on(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
        (x * x).sum().backward()
        return c, None

    faults = {"in place": adds, r"adds to \.grad": differentiates, r"backward\(\) is": goes_on}
    for message, body in faults.items():
        with pytest.raises(TraceError, match=message):
            chainrule.compile(lambda xs, body=body: chainrule.scan(body, 0.0, xs))(
                chainrule.ones(3, 2)
            )
    assert total.tolist() == [0.0, 0.0]
    assert w.grad is None


def test_tensors_that_leave_a_body_are_refused_when_compiled() -> None:
    kept: list[Tensor] = []

    def f(c: Tensor, x: Tensor) -> tuple[Tensor, None]:
        kept.append(c + x)
        return c, None

    @chainrule.compile
    def run(xs: Tensor) -> Tensor:
        chainrule.scan(f, chainrule.zeros(2), xs)
        return kept[0] * 2

    with pytest.raises(TraceError, match=r"made in the body of a scan is used outside"):
        run(chainrule.ones(3, 2))


def test_reading_elements_in_a_round_is_refused_when_compiled() -> None:
    @chainrule.compile
    def run(xs: Tensor) -> Any:
        return chainrule.scan(lambda c, x: (c + x if x > 0 else c, None), 0.0, xs)

    with pytest.raises(TraceError, match=r"truth of a traced tensor"):
        run(chainrule.ones(3))


def test_gradients_that_do_not_exist_compiled_are_refused() -> None:
    @chainrule.compile
    def through_while(x: Tensor) -> Any:
        return chainrule.grad(chainrule.while_loop(lambda c: c < 9, lambda c: c * x, x), x)

    @chainrule.compile
    def twice(x: Tensor) -> Any:
        y, _ = chainrule.scan(lambda c, t: (c * x, None), x, None, 3)
        return chainrule.grad(y, x, create_graph=True)

    x = chainrule.tensor(2.0, requires_grad=True)
    with pytest.raises(GradientError, match="while_loop: it has no gradient in a compiled"):
        through_while(x)
    with pytest.raises(GradientError, match="scan: its second derivative does not exist"):
        twice(x)
