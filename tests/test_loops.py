"""scan, while_loop, cond: eager against hand-written loops and PyTorch, compiled against eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule import nn
from chainrule.compiler.kernels import copied
from chainrule.compiler.pipeline import build, simplified
from chainrule.compiler.program import Program
from chainrule.compiler.regions import run_program, run_region
from chainrule.core.dtype import bool_, float32
from chainrule.core.errors import StateError
from chainrule.graph.tensor import Tensor
from chainrule.ir.expr import Buffer
from chainrule.ir.interpreter import run_plan
from chainrule.ir.kernel import Branch, Launch, Plan, Repeat, While
from chainrule.ir.plan_verifier import verify_plan

Results = tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]


def random(*shape: int, seed: int = 0, scale: float = 0.5) -> Tensor:
    return chainrule.randn(*shape, generator=chainrule.Generator(seed)) * scale


class Cell(nn.Module):
    """An LSTM's cell, with one product for all gates."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.w = nn.Parameter(random(inputs, 4 * hidden, seed=1))
        self.u = nn.Parameter(random(hidden, 4 * hidden, seed=2))
        self.b = nn.Parameter(random(4 * hidden, seed=3))

    def forward(self, state: tuple[Tensor, Tensor], x: Tensor) -> tuple[Any, Tensor]:
        h, c = state
        i, f, g, o = chainrule.chunk(x @ self.w + h @ self.u + self.b, 4, axis=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h, c), h

    def zeros(self, batch: int) -> tuple[Tensor, Tensor]:
        return chainrule.zeros(batch, self.hidden), chainrule.zeros(batch, self.hidden)


def both(
    function: Callable[..., Any], *arguments: Tensor, parameters: Any = (), rtol: float = 2e-5
) -> None:
    """Compare results and gradients of a function compiled and eager."""
    leaves = [a.detach().requires_grad_() if a.dtype.is_floating else a for a in arguments]

    def step(*leaves: Tensor) -> tuple[list[Tensor], list[Tensor | None]]:
        results = [r for r in flat(function(*leaves)) if isinstance(r, Tensor)]
        loss = sum((r * r).sum() for r in results if r.node is not None)
        wanted = [x for x in (*leaves, *parameters) if x.node is not None]
        if not isinstance(loss, Tensor):
            return results, []
        return results, list(chainrule.grad(loss, wanted, allow_unused=True))

    compiled = chainrule.compile(step)
    for got, wanted in zip(compiled(*leaves), step(*leaves), strict=True):
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            if other is None:  # where the other branch was taken, say
                assert one is None or not one.numpy().any()
            else:
                assert one.spec == other.spec
                size = float(np.abs(other.numpy()).max(initial=1e-3))
                np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=rtol, atol=rtol * size)
    program = chainrule.compile(step).trace(*leaves).trace.program
    build(program, check=True)


def flat(structure: Any) -> list[Any]:
    if isinstance(structure, tuple | list):
        return [leaf for part in structure for leaf in flat(part)]
    if isinstance(structure, dict):
        return flat(list(structure.values()))
    return [structure]


def instructions(program: Program) -> int:
    """Return the number of instructions of a program and of all bodies in it."""
    inside = (body for region in program.regions() for body in region.bodies)
    return len(program.instructions) + sum(map(instructions, inside))


def regions(program: Program) -> list[str]:
    found = []
    for region in program.regions():
        found.append(repr(region))
        found.extend(name for body in region.bodies for name in regions(body))
    return found


# --- eager ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_eager_scan_is_a_python_loop(reverse: bool) -> None:
    w, xs = random(3, 3).requires_grad_(), random(5, 3, seed=1).requires_grad_()

    def f(h: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        h = (h @ w + x).tanh()
        return h, {"norm": (h * h).sum(), "h": h}

    h, ys = chainrule.scan(f, chainrule.ones(3), xs, reverse=reverse)
    loop, norms = chainrule.ones(3), []
    for t in range(4, -1, -1) if reverse else range(5):
        loop = (loop @ w + xs[t]).tanh()
        norms.append((loop * loop).sum())
    norms = norms[::-1] if reverse else norms
    np.testing.assert_array_equal(h.numpy(), loop.numpy())
    np.testing.assert_array_equal(ys["norm"].numpy(), [n.item() for n in norms])
    assert ys["h"].shape == (5, 3)
    weights = chainrule.arange(5, dtype="float32")
    ours = chainrule.grad(h.sum() + (ys["norm"] * weights).sum(), [w, xs])
    total = loop.sum() + (chainrule.stack(norms) * weights).sum()
    for got, wanted in zip(ours, chainrule.grad(total, [w, xs]), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-6)  # type: ignore[union-attr]


def test_eager_lstm_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    cell, xs = Cell(3, 4), random(6, 2, 3, seed=4).requires_grad_()
    peer = torch.nn.LSTM(3, 4)
    ours = {"weight_ih_l0": cell.w, "weight_hh_l0": cell.u, "bias_ih_l0": cell.b}
    with torch.no_grad():
        peer.bias_hh_l0.zero_()
        for name, value in ours.items():
            getattr(peer, name).copy_(torch.tensor(value.detach().numpy().T.copy()))
    theirs = torch.tensor(xs.detach().numpy(), requires_grad=True)
    got, wanted = chainrule.scan(cell, cell.zeros(2), xs)[1], peer(theirs)[0]
    np.testing.assert_allclose(got.numpy(), wanted.detach().numpy(), rtol=1e-5, atol=1e-6)
    (got * got).sum().backward()
    (wanted * wanted).sum().backward()
    np.testing.assert_allclose(xs.grad.numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-6)  # type: ignore[union-attr]
    for name, value in ours.items():
        expected = getattr(peer, name).grad.numpy().T
        np.testing.assert_allclose(value.grad.numpy(), expected, rtol=1e-4, atol=1e-5)  # type: ignore[union-attr]


def test_eager_second_derivative() -> None:
    x = chainrule.tensor([0.3, -0.7, 1.1], requires_grad=True)
    y, _ = chainrule.scan(lambda c, x: (c * x.sin() + x, None), chainrule.tensor(1.0), x)
    a, b, c = x.detach().numpy().astype(np.float64)
    (first,) = chainrule.grad(y, x, create_graph=True)
    assert first is not None
    (second,) = chainrule.grad(first[0], x)
    # y = ((sin a + a) sin b + b) sin c + c
    expected = [-np.sin(a) * np.sin(b) * np.sin(c), (np.cos(a) + 1) * np.cos(b) * np.sin(c)]
    np.testing.assert_allclose(second.numpy()[:2], expected, rtol=1e-5)  # type: ignore[union-attr]
    assert second.numpy()[2] == pytest.approx((np.cos(a) + 1) * np.sin(b) * np.cos(c), rel=1e-5)  # type: ignore[union-attr]


def test_scan_without_slices_counts_rounds() -> None:
    carry, ys = chainrule.scan(lambda n, _: (n + 2, n), 0, None, 4)
    assert carry.item() == 8
    assert ys.tolist() == [0, 2, 4, 6]


def test_scan_of_no_rounds_knows_the_shape_of_results() -> None:
    calls = []

    def f(h: Tensor, x: Tensor) -> tuple[Tensor, tuple[Tensor, None]]:
        calls.append(x)
        return h + x.sum(), ((x > 0), None)

    for run in (chainrule.scan, chainrule.compile(lambda f, *rest: chainrule.scan(f, *rest))):
        carry, (y, none) = run(f, chainrule.tensor(1.5), chainrule.zeros(0, 2, 3))
        assert carry.item() == 1.5
        assert y.shape == (0, 2, 3)
        assert y.dtype is chainrule.bool_
        assert none is None
    assert len(calls) == 2


def test_while_loop_eager_has_gradients() -> None:
    a = chainrule.tensor(2.0, requires_grad=True)
    root = chainrule.while_loop(
        lambda x: (x * x - a).abs() > 1e-6, lambda x: 0.5 * (x + a / x), chainrule.tensor(1.0)
    )
    root.backward()
    assert root.item() == pytest.approx(2**0.5)
    assert a.grad is not None
    assert a.grad.item() == pytest.approx(0.5 / 2**0.5, rel=1e-4)


def test_cond_runs_one_function() -> None:
    ran: list[str] = []

    def note(name: str) -> Callable[[Tensor], Tensor]:
        return lambda x: ran.append(name) or x * 2.0  # type: ignore[func-returns-value]

    x = chainrule.tensor(3.0)
    assert chainrule.cond(x > 4.0, note("true"), note("false"), x).item() == 6.0
    assert chainrule.cond(True, note("true"), note("false"), x).item() == 6.0
    assert ran == ["false", "true"]


# --- compiled is eager ----------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_compiled(reverse: bool) -> None:
    cell = Cell(3, 5)

    def run(h: Tensor, c: Tensor, xs: Tensor) -> Any:
        return chainrule.scan(cell, (h, c), xs, reverse=reverse)

    h, c = random(2, 5, seed=5), random(2, 5, seed=6)
    both(run, h, c, random(64, 2, 3, seed=4), parameters=list(cell.parameters()))


def test_program_does_not_grow_with_the_number_of_rounds() -> None:
    cell = Cell(3, 5)

    def step(xs: Tensor) -> Tensor:
        _, ys = chainrule.scan(cell, cell.zeros(2), xs)
        loss = (ys * ys).mean()
        loss.backward()
        return loss

    programs = [chainrule.compile(step).trace(random(n, 2, 3)).trace.program for n in (8, 64)]
    assert instructions(programs[0]) == instructions(programs[1]) < 120
    plans = [build(program, check=True) for program in programs]
    assert len(plans[0].steps) == len(plans[1].steps)


def test_nested_scan() -> None:
    w = nn.Parameter(random(4, 4))

    def row(total: Tensor, xs: Tensor) -> tuple[Tensor, Tensor]:
        last, ys = chainrule.scan(lambda h, x: ((h @ w + x).tanh(), h * x), total, xs)
        return last, ys.sum(0) + total

    both(lambda h, xs: chainrule.scan(row, h, xs), random(4), random(3, 5, 4), parameters=[w])


@pytest.mark.parametrize("flag", [1.0, -1.0])
def test_scan_inside_of_a_branch(flag: float) -> None:
    w = nn.Parameter(random(3, 3))

    def run(flag: Tensor, h: Tensor, xs: Tensor) -> Tensor:
        def loop(h: Tensor) -> Tensor:
            return chainrule.scan(lambda h, x: ((h @ w + x).tanh(), None), h, xs)[0]  # type: ignore[no-any-return]

        return chainrule.cond(flag.sum() > 0, loop, lambda h: h * h.exp(), h) + h  # type: ignore[no-any-return]

    both(run, chainrule.full(2, flag), random(3), random(4, 3, seed=2), parameters=[w])


def test_branch_inside_of_a_scan() -> None:
    w = nn.Parameter(random(3))

    def f(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        new = chainrule.cond(x.sum() > 0, lambda: (h * w).sin() + x, lambda: h.exp() * 0.1)
        return new, new * h

    both(lambda h, xs: chainrule.scan(f, h, xs), random(3), random(6, 3, seed=3), parameters=[w])


def test_carry_of_integers_bools_and_dictionaries() -> None:
    def f(state: dict[str, Any], x: Tensor) -> tuple[dict[str, Any], Tensor]:
        count, (best, any_) = state["n"], state["pair"]
        pair = (chainrule.maximum(best, x), any_ | (x > 1))
        return {"pair": pair, "n": count + 1}, count * 2

    def run(xs: Tensor) -> Any:
        start = {
            "n": chainrule.tensor(0),
            "pair": (chainrule.tensor(-9.0), chainrule.tensor(False)),
        }
        return chainrule.scan(f, start, xs)

    carry, ys = chainrule.compile(run)(chainrule.tensor([0.5, 2.0, -1.0]))
    assert list(carry) == ["n", "pair"]
    assert (carry["n"].item(), carry["pair"][0].item(), carry["pair"][1].item()) == (3, 2.0, True)
    assert ys.tolist() == [0, 2, 4]
    both(run, chainrule.tensor([0.5, 2.0, -1.0]))


def test_swapped_carry_and_carry_that_never_changes() -> None:
    def f(state: tuple[Tensor, Tensor, Tensor], x: Tensor) -> tuple[Any, tuple[Tensor, Tensor]]:
        a, b, w = state
        return (b, a, w), (a * x, w)

    both(lambda a, b, w, x: chainrule.scan(f, (a, b, w), x), *(random(3, seed=n) for n in range(3)),
         random(5, seed=4))  # fmt: skip


def test_carry_changed_in_place() -> None:
    def f(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        before = h * 1.0
        h += x
        x *= h
        return h, before * x

    def run(h: Tensor, xs: Tensor) -> tuple[Tensor, Tensor]:
        h = h * 2.0
        last, ys = chainrule.scan(f, h, xs)
        return last * h, ys

    both(run, random(3), random(4, 3, seed=1))


def test_slices_without_elements() -> None:
    both(
        lambda h, xs: chainrule.scan(lambda h, x: (h + x.sum(), x * 2), h, xs),
        *(random(2), chainrule.zeros(4, 0)),
    )


def test_products_that_rounds_do_not_wait_for_are_done_at_once() -> None:
    w, v = nn.Parameter(random(4, 5)), nn.Parameter(random(5, 3))

    def f(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = (h + x @ w).tanh()
        return h, h @ v

    def step(xs: Tensor) -> list[Tensor | None]:
        ys = chainrule.scan(f, chainrule.zeros(2, 5), xs)[1]
        return list(chainrule.grad((ys * ys).sum(), [w, v]))

    xs = random(6, 2, 4, seed=1)
    program = simplified(chainrule.compile(step).trace(xs).trace.program)
    inside = [i.op.name for r in program.regions() for b in r.bodies for i in b.instructions]
    assert inside.count("matmul") == 0
    assert [i.op.name for i in program.instructions].count("matmul") == 5
    both(lambda xs: chainrule.scan(f, xs[0, :, :1] * 0 + w[0], xs), xs, parameters=[w, v])


def test_same_slices_twice_and_results_that_are_inputs() -> None:
    def f(h: Tensor, x: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        a, b = x
        return h + a * b, (h, h, a)

    both(lambda h, x: chainrule.scan(f, h, (x, x)), random(2), random(4, 2, seed=1))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_floating_types(dtype: str) -> None:
    xs = random(4, 3).to(dtype)
    w = random(3, 3, seed=1).to(dtype).detach().requires_grad_()
    rtol = {"float64": 1e-12, "float16": 4e-3, "bfloat16": 3e-2}[dtype]

    def f(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        h = (h @ w).tanh() + x
        return h, h * 2

    both(lambda xs: chainrule.scan(f, xs[0] * 0, xs), xs, parameters=[w], rtol=rtol)


def test_training_with_an_optimizer() -> None:
    losses = []
    for compiled in (False, True):
        cell = Cell(2, 4)
        rule = chainrule.optim.Adam(cell.parameters(), lr=0.02)

        def step(xs: Tensor, cell: Cell = cell, rule: Any = rule) -> Tensor:
            rule.zero_grad()
            (h, _), _ = chainrule.scan(cell, cell.zeros(3), xs)
            loss = ((h - 0.3) ** 2).mean()
            loss.backward()
            rule.step()
            return loss

        run = chainrule.compile(step) if compiled else step
        losses.append([run(random(7, 3, 2, seed=n)).item() for n in range(6)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)
    assert losses[0][-1] < losses[0][0]


def test_gradient_inside_of_a_round() -> None:
    w = nn.Parameter(random(3))

    def descend(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        x = x * 1.0
        loss = ((x * w - target) ** 2).sum()
        (slope,) = chainrule.grad(loss, x, create_graph=True)
        assert slope is not None
        return x - 0.1 * slope, loss

    both(
        lambda x, ts: chainrule.scan(descend, x, ts),
        random(3),
        random(4, 3, seed=1),
        parameters=[w],
    )


def test_state_that_is_carried_is_updated() -> None:
    state = chainrule.tensor([1.0, 2.0])

    @chainrule.compile
    def step(xs: Tensor) -> Tensor:
        last, ys = chainrule.scan(lambda h, x: (h * 0.5 + x, h), state, xs)
        state.copy_(last)
        return ys  # type: ignore[no-any-return]

    assert step(chainrule.ones(2, 2)).tolist() == [[1.0, 2.0], [1.5, 2.0]]
    assert state.tolist() == [1.75, 2.0]
    assert step(chainrule.zeros(2, 2)).tolist() == [[1.75, 2.0], [0.875, 1.0]]
    assert state.tolist() == [0.4375, 0.5]


def test_while_loop_compiled() -> None:
    a = chainrule.tensor([2.0, 9.0])

    def roots(a: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        def go_on(state: tuple[Tensor, Tensor]) -> Tensor:
            return ((state[0] * state[0] - a).abs() > 1e-5).any() & (state[1] < 50)

        def newton(state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return 0.5 * (state[0] + a / state[0]), state[1] + 1

        return chainrule.while_loop(go_on, newton, (start, 0))  # type: ignore[no-any-return]

    run = chainrule.compile(roots)
    for start in (chainrule.ones(2), a.sqrt()):
        x, count = run(a, start)
        np.testing.assert_allclose(x.numpy(), [2**0.5, 3.0], rtol=1e-5)
        assert count.item() == roots(a, start)[1].item()
    build(run.trace(a, a).trace.program, check=True)


def test_while_loop_inside_of_a_scan() -> None:
    def f(total: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        power = chainrule.while_loop(lambda p: p < n, lambda p: p * 2, 1)
        return total + power, power

    both(lambda n: chainrule.scan(f, 0, n), chainrule.tensor([3, 1, 17, 64]))


@pytest.mark.parametrize("value", [4.0, -4.0])
def test_gradient_of_a_branch_does_not_see_the_other_one(value: float) -> None:
    def root(x: Tensor) -> Tensor:
        return chainrule.cond(x > 0, lambda x: x.sqrt(), lambda x: 0.0 * x, x)  # type: ignore[no-any-return]

    @chainrule.compile
    def step(x: Tensor) -> tuple[Tensor, Tensor | None]:
        y = root(x)
        return y, chainrule.grad(y, x)[0]

    y, slope = step(chainrule.tensor(value, requires_grad=True))
    assert slope is not None
    assert (y.item(), slope.item()) == ((2.0, 0.25) if value > 0 else (0.0, 0.0))


def test_second_call_with_another_condition_needs_no_new_trace() -> None:
    run = chainrule.compile(lambda x: chainrule.cond(x > 0, lambda: x * 2, lambda: x - 1))
    assert [run(chainrule.tensor(v)).item() for v in (3.0, -3.0, 5.0)] == [6.0, -4.0, 10.0]
    assert len(run.causes) == 1


def test_index_out_of_range_in_a_round_is_an_error() -> None:
    table = chainrule.arange(5)

    @chainrule.compile
    def run(indices: Tensor) -> Tensor:
        return chainrule.scan(lambda n, i: (n + table[i].sum(), None), 0, indices)[0]  # type: ignore[no-any-return]

    assert run(chainrule.tensor([[1, 2], [3, 4]])).item() == 10
    with pytest.raises(IndexError):
        run(chainrule.tensor([[1, 2], [3, 5]]))


def test_what_rounds_share_is_computed_once() -> None:
    w = nn.Parameter(random(4, 4))

    def run(h: Tensor, xs: Tensor) -> Tensor:
        return chainrule.scan(lambda h, x: (h * (w @ w).exp().sum(0) + x, None), h, xs)[0]  # type: ignore[no-any-return]

    traced = chainrule.compile(run).trace(random(4), random(5, 4)).trace.program
    (repeat,) = (s for s in build(traced, check=True).steps if isinstance(s, Repeat))
    assert len(repeat.steps) == 1
    both(run, random(4), random(5, 4), parameters=[w])


# --- every stage means the same -------------------------------------------------------------------


CELL = Cell(3, 4)


def lstm_step(xs: Tensor) -> Any:
    (_, c), ys = chainrule.scan(CELL, CELL.zeros(2), xs, reverse=True)
    return chainrule.grad((ys * c).sum(), list(CELL.parameters())), ys


def branches_and_rounds(xs: Tensor) -> Any:
    def f(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        big = chainrule.while_loop(lambda b: b < x.abs().sum(), lambda b: b * 2.0 + 0.1, 0.1)
        return chainrule.cond(big > 3.0, lambda: (h * x).tanh(), lambda: h - x), big

    xs = xs.detach().requires_grad_()
    h, ys = chainrule.scan(f, xs[0] * 0.5, xs)
    return h, ys, chainrule.grad((h * h).sum(), xs)


@pytest.mark.parametrize("function", [lstm_step, branches_and_rounds])
@pytest.mark.parametrize("fuse", [True, False])
def test_plans_mean_what_programs_mean(function: Callable[..., Any], fuse: bool) -> None:
    traced = chainrule.compile(function).trace(random(5, 2, 3, scale=1.5)).trace
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=v.spec.shape).astype(np.float32) for v in traced.program.inputs]
    wanted = run_program(traced.program, inputs)
    for got, expected in zip(run_program(simplified(traced.program), inputs), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-5)
    plan = build(traced.program, fuse=fuse, check=True)
    memory = dict(zip(plan.inputs, (a.reshape(-1) for a in inputs), strict=True))
    memory |= {buffer: np.zeros(buffer.size, buffer.dtype.storage) for buffer in plan.outputs}
    run_plan(plan, memory)
    for buffer, expected in zip(plan.outputs, wanted, strict=True):
        np.testing.assert_allclose(memory[buffer], expected.reshape(-1), rtol=2e-5, atol=1e-5)


def test_evaluating_one_result_runs_the_region() -> None:
    traced = chainrule.compile(branches_and_rounds).trace(random(3, 2)).trace.program
    step = next(i for i in traced.instructions if i.op.name == "region_output")
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=v.spec.shape).astype(np.float32) for v in step.inputs]
    region = step.attrs["region"]
    for place, result in enumerate(run_region(region, inputs)):
        np.testing.assert_array_equal(step.op.eval(*inputs, region=region, place=place), result)


def test_result_that_only_one_branch_writes_is_found_by_the_verifier() -> None:
    flag, x, y = Buffer("flag", bool_, 1), Buffer("x", float32, 3), Buffer("y", float32, 3)
    kernel = copied(x, y)
    write = (Launch(kernel, kernel.buffers),)
    verify_plan(Plan("both", (Branch(flag, write, write),), (flag, x), (y,)))
    with pytest.raises(StateError, match="output y is never written"):
        verify_plan(Plan("one", (Branch(flag, write, ()),), (flag, x), (y,)))
    with pytest.raises(StateError, match="a condition is x, which is not one bool"):
        verify_plan(Plan("no bool", (Branch(x, write, write),), (flag, x), (y,)))
    test = copied(flag, Buffer("ok", bool_, 1))
    loop = While((Launch(test, test.buffers),), test.buffers[1], write)
    with pytest.raises(StateError, match="output y is never written"):
        verify_plan(Plan("loop", (loop,), (flag, x), (y,), {}, {test.buffers[1]: 0}, 64))


def test_branches_and_loops_are_part_of_the_text() -> None:
    def run(xs: Tensor) -> Any:
        return chainrule.scan(lambda c, x: (c + x.sin(), None), 0.0, xs)

    traced = chainrule.compile(run).trace(chainrule.ones(3))
    assert regions(traced.trace.program) == ["<scan of 3>"]
    assert "sin(" in traced.text
    assert "repeat 3 times" in traced.lower().text
