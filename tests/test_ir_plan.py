"""Plans: what they do, by the interpreter, and each rule of the verifier, broken once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule.core.dtype import bfloat16, bool_, float32, to_compute, to_storage
from chainrule.core.errors import StateError
from chainrule.ir.expr import Axis, Buffer, Call, Const, Expr, Load, index_of
from chainrule.ir.interpreter import run_plan
from chainrule.ir.kernel import Check, HostCall, Kernel, Launch, Plan, Repeat, Step, Store
from chainrule.ir.plan_verifier import verify_plan


def pointwise(change: Callable[[Expr], Expr], size: int = 4) -> Kernel:
    axis = Axis("i", size)
    x, out = Buffer("in", float32, size), Buffer("out", float32, size)
    body = (Store(out, index_of(axis), change(Load(x, (index_of(axis),)))),)
    return Kernel("pointwise", (x, out), (axis,), 4, body, (), frozenset((out,)))


def summed(size: int = 4) -> Kernel:
    axis = Axis("i", size)
    x, y, out = (Buffer(name, float32, size) for name in ("x", "y", "out"))
    at = index_of(axis)
    value = Call("add", (Load(x, (at,)), Load(y, (at,))), float32)
    return Kernel("add", (x, y, out), (axis,), 4, (Store(out, at, value),), (), frozenset((out,)))


DOUBLE = pointwise(lambda x: Call("add", (x, x), float32))
ADD = summed()
X, Y = Buffer("x", float32, 4), Buffer("y", float32, 4)
A, B = Buffer("a", float32, 4), Buffer("b", float32, 4)
OK = Buffer("ok", bool_, 1)
FOUR = np.asarray([1, 2, 3, 4], np.float32)


class Reversed:
    """An op, as far as plans know one."""

    name = "reversed"

    def eval(self, x: np.ndarray, *, axis: int) -> np.ndarray:
        return np.flip(x, axis)


def plan(*steps: Step, places: dict[Buffer, int] | None = None, **changes: Any) -> Plan:
    given: dict[str, Any] = {"inputs": (X,), "outputs": (Y,), **changes}
    return Plan("test", steps, temporaries=places or {}, arena=256, **given)


def result(made: Plan, *extra: tuple[Buffer, np.ndarray]) -> list[float]:
    verify_plan(made)
    out = np.zeros(4, np.float32)
    run_plan(made, {X: FOUR, Y: out, **dict(extra)})
    return out.tolist()


def test_steps_run_in_order() -> None:
    steps = Launch(DOUBLE, (X, A)), Launch(DOUBLE, (A, B)), Launch(ADD, (A, B, Y))
    assert result(plan(*steps, places={A: 0, B: 64})) == [6, 12, 18, 24]


def test_update_in_place() -> None:
    steps = Launch(DOUBLE, (X, A)), Launch(DOUBLE, (A, B)), Launch(DOUBLE, (B, Y))
    assert result(plan(*steps, places={A: 0, B: 0})) == [8, 16, 24, 32]


def test_constant() -> None:
    made = plan(Launch(ADD, (X, A, Y)), constants={A: np.full((2, 2), 10.0)})
    assert result(made) == [11, 12, 13, 14]


def test_op_without_kernel_is_evaluated() -> None:
    call = HostCall(Reversed(), {"axis": 0}, ((X, (2, 2)),), (Y, (2, 2)))
    assert result(plan(call)) == [3, 4, 1, 2]


def test_op_without_kernel_computes_short_floats_long() -> None:
    x, y = Buffer("x", bfloat16, 2), Buffer("y", bfloat16, 2)
    call = HostCall(Reversed(), {"axis": 0}, ((x, (2,)),), (y, (2,)))
    out = np.zeros(2, np.uint16)
    given = to_storage(np.asarray([1.5, -2.0], np.float32), bfloat16)
    made = Plan("test", (call,), (x,), (y,))
    verify_plan(made)
    run_plan(made, {x: given, y: out})
    assert to_compute(out, bfloat16).tolist() == [-2.0, 1.5]


def test_repeat_moves_views_and_carries() -> None:
    """A running sum over rows: state + row -> state, and each state into a row of the output."""
    rows, sums = Buffer("rows", float32, 12), Buffer("sums", float32, 12)
    row, out = Buffer("row", float32, 4), Buffer("out", float32, 4)
    copy = pointwise(lambda x: Call("add", (x, Const(0.0, float32)), float32))
    zero = pointwise(lambda x: Call("multiply", (x, Const(0.0, float32)), float32))
    first = Buffer("first", float32, 4)
    loop = Repeat(
        3,
        (Launch(ADD, (A, row, B)), Launch(copy, (B, out))),
        ((row, rows, 0, 4), (out, sums, 8, -4)),  # the output from its end
        ((B, A),),
    )
    steps = Launch(zero, (first, A)), loop
    made = Plan("scan", steps, (rows, first), (sums,), {}, {A: 0, B: 64}, 128)
    verify_plan(made)
    values = np.arange(12, dtype=np.float32)
    result = np.zeros(12, np.float32)
    run_plan(made, {rows: values, first: FOUR, sums: result})
    expected = np.cumsum(values.reshape(3, 4), 0)[::-1]
    np.testing.assert_array_equal(result.reshape(3, 4), expected)


def test_check_that_fails_stops_with_its_message_before_outputs_change() -> None:
    made = plan(Check(OK, "x is bad"), Launch(DOUBLE, (X, Y)), constants={OK: np.zeros(1, bool)})
    verify_plan(made)
    out = np.zeros(4, np.float32)
    with pytest.raises(StateError, match="x is bad"):
        run_plan(made, {X: FOUR, Y: out})
    assert not out.any()


def test_memory_that_was_not_written_reads_as_nan() -> None:
    with np.errstate(invalid="ignore"):
        out = np.zeros(4, np.float32)
        run_plan(plan(Launch(DOUBLE, (A, Y)), places={A: 0}), {X: FOUR, Y: out})
    assert np.isnan(out).all()


SHIFT = (Launch(DOUBLE, (X, A)), Launch(DOUBLE, (A, B)), Launch(ADD, (A, B, Y)))
TRUE = {OK: np.ones(1, bool)}
LONG = Buffer("long", float32, 5)
BROKEN: dict[str, Callable[[], Plan]] = {
    "x is declared twice": lambda: plan(Launch(DOUBLE, (X, Y)), outputs=(Y, X)),
    "a at 32, 16 bytes, is not aligned": lambda: plan(*SHIFT, places={A: 32, B: 64}),
    "b at 256, 16 bytes, is not aligned": lambda: plan(*SHIFT, places={A: 0, B: 256}),
    "uses b, which lives nowhere": lambda: plan(*SHIFT, places={A: 0}),
    "reads a before it is written": lambda: plan(Launch(DOUBLE, (A, Y)), places={A: 0}),
    "writes x, which is given": lambda: plan(Launch(DOUBLE, (X, X)), Launch(DOUBLE, (X, Y))),
    "output y is never written": lambda: plan(),
    "a and b live at once in one memory": lambda: plan(*SHIFT, places={A: 0, B: 0}),
    "which it cannot do in place": lambda: plan(
        *(Launch(DOUBLE, (X, A)), Launch(pointwise(flipped), (A, B)), Launch(DOUBLE, (B, Y))),
        places={A: 0, B: 0},
    ),
    "in is float32[4], got float32[5]": lambda: plan(Launch(DOUBLE, (LONG, Y)), inputs=(LONG,)),
    "pointwise got 1 buffers": lambda: plan(Launch(DOUBLE, (X,))),
    "constant a has (3,), not 4": lambda: plan(Launch(ADD, (X, A, Y)), constants={A: np.zeros(3)}),
    "a check of ok comes after an output is written": lambda: plan(
        Launch(DOUBLE, (X, Y)), Check(OK, "late"), constants=TRUE
    ),
    "a check reads x, which is not one bool": lambda: plan(
        Check(X, "what"), Launch(DOUBLE, (X, Y))
    ),
    "reversed: y has 4, not (3,)": lambda: plan(HostCall(Reversed(), {}, ((X, (4,)),), (Y, (3,)))),
    "view b is not inside of x": lambda: plan(
        Repeat(2, (Launch(DOUBLE, (B, Y)),), ((B, X, 0, 1),))
    ),
    "a is carried after it was carried to": lambda: plan(
        *(Launch(DOUBLE, (X, A)), Launch(DOUBLE, (X, B)), Launch(DOUBLE, (X, Y))),
        Repeat(2, (), (), ((B, A), (A, B))),
        places={A: 0, B: 64},
    ),
    # What the next round reads must survive this one.
    "a and b live at once": lambda: plan(
        Launch(DOUBLE, (X, A)),
        Repeat(2, (Launch(DOUBLE, (A, Y)), Launch(DOUBLE, (X, B)), Launch(DOUBLE, (B, Y)))),
        places={A: 0, B: 0},
    ),
}


def flipped(x: Expr) -> Expr:
    assert isinstance(x, Load)
    axis = x.indices[0].terms[0][0]
    return Load(x.source, (type(x.indices[0])(((axis, -1),), 3),))


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_rule_is_named(rule: str) -> None:
    with pytest.raises(StateError, match="plan test: .*" + re.escape(rule)):
        verify_plan(BROKEN[rule]())


def test_output_over_an_input_must_come_after_its_last_read() -> None:
    verify_plan(plan(Launch(DOUBLE, (X, A)), Launch(ADD, (A, X, Y)), places={A: 0}), {Y: X})
    early = Launch(DOUBLE, (X, Y)), Launch(DOUBLE, (X, A))
    with pytest.raises(StateError, match="y is written while x is still read"):
        verify_plan(plan(*early, places={A: 0}), {Y: X})
