"""Text of formulas, kernels and plans, and the canonical text of kernels."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from chainrule.core.dtype import bool_, float32, int64
from chainrule.ir.definition import Scatter, pointwise, read, reduction
from chainrule.ir.expr import (
    Acc,
    Axis,
    Buffer,
    Call,
    Index,
    Load,
    Read,
    Ref,
    Within,
    add,
    call,
    const,
    index_of,
    scale,
)
from chainrule.ir.kernel import (
    Accumulate,
    Check,
    Declare,
    HostCall,
    Kernel,
    Launch,
    Loop,
    Plan,
    Repeat,
    Store,
)
from chainrule.ir.printer import fingerprint, formulas_text, kernel_text, plan_text


def test_formulas_name_axes_and_shared_parts() -> None:
    x = Ref("x", (2, 3), float32)
    total = reduction("add", float32, (2,), (3,), lambda a, r: read(x, *a, *r), "total")
    double = pointwise("add", float32, (2,), total.target, total.target)
    assert formulas_text((total, double)) == (
        "total : f32[2]\n"
        "  [i<2>] = add over r<3> of x[i, r]\n"
        "out : f32[2]\n"
        "  [i.2<2>] = (total[i.2] + total[i.2])\n"
    )


def test_scatter_says_where_it_adds() -> None:
    table, rows = Ref("table", (5, 2), float32), Ref("rows", (3,), int64)
    out = Ref("out", (5, 2), float32)
    axes = Axis("n", 3), Axis("d", 2)
    position = Index(()), index_of(axes[1])
    dynamic = read(rows, axes[0]), None
    formula = Scatter(out, table, axes, position, dynamic, const(1, float32), "add")
    assert formulas_text((formula,)) == (
        "out : f32[5,2]\n  = table, then for n<3>, d<2>: [rows[n], d] += 1.0:f32\n"
    )


def softmax_sums(suffix: str = "") -> Kernel:
    row, column = Axis("row" + suffix, 4), Axis("column" + suffix, 8)
    x, out = Buffer("x" + suffix, float32, 32), Buffer("out" + suffix, float32, 4)
    load = Load(x, (add(scale(row, 8), column),), (Within(add(row, -1), 4),))
    squared = Call("multiply", (load, load), float32)
    total = Acc("total" + suffix, "add", float32)
    body = (
        Declare(total),
        Loop(column, (Accumulate(total, call("exp", squared)),), vector=True, unroll=2),
        Store(out, index_of(row), Read(total)),
    )
    return Kernel("sums", (x, out), (row,), 2, body, (), frozenset((out,)))


def test_kernel_is_readable() -> None:
    assert kernel_text(softmax_sums()) == (
        "kernel sums (x: f32[32], out out: f32[4])\n"
        "  grid row<4> grain 2\n"
        "  total : add f32\n"
        "  for column<8> vector unroll 2\n"
        "    t0 = (x[8*row+column] if 0 <= row-1 < 4)\n"
        "    total add= exp((t0 * t0))\n"
        "  out[row] = total\n"
    )


def test_names_do_not_matter_to_the_fingerprint() -> None:
    renamed = replace(softmax_sums("_2"), name="other")
    assert fingerprint(softmax_sums()) == fingerprint(renamed)
    assert kernel_text(softmax_sums()) != kernel_text(renamed)


def test_everything_else_matters_to_the_fingerprint() -> None:
    kernel = softmax_sums()
    declare, loop, store = kernel.body
    changed = [
        replace(kernel, grain=1),
        replace(kernel, buffers=kernel.buffers[::-1]),
        replace(kernel, body=(declare, replace(loop, vector=False), store)),
        replace(kernel, body=(declare, replace(loop, unroll=1), store)),
        replace(kernel, body=(declare, loop, replace(store, adds=True))),
        replace(kernel, body=(declare, loop, replace(store, value=const(-0.0, float32)))),
        replace(kernel, body=(declare, loop, replace(store, value=const(0.0, float32)))),
    ]
    assert len({fingerprint(k) for k in (kernel, *changed)}) == len(changed) + 1


def test_plan_shows_places_steps_and_each_kernel_once() -> None:
    kernel = softmax_sums()
    x, out = Buffer("x", float32, 32), Buffer("y", float32, 4)
    kept, ok = Buffer("kept", float32, 4), Buffer("ok", bool_, 1)
    op = SimpleNamespace(name="argsort")
    part = Buffer("part", float32, 32)
    steps = (
        Check(ok, "labels are out of range"),
        Launch(kernel, (x, kept)),
        HostCall(op, {"axis": 0}, ((kept, (2, 2)),), (out, (4,))),
        Repeat(3, (Launch(kernel, (part, kept)),), ((part, x, 0, 0),), ((kept, out),)),
    )
    plan = Plan("step", steps, (x,), (out,), {ok: np.ones(1, bool)}, {kept: 64}, 128)
    text = plan_text(plan)
    assert text.startswith(
        "plan step: arena of 128 bytes\n"
        "  input x : f32[32]\n"
        "  output y : f32[4]\n"
        "  constant ok : bool[1]\n"
        "  temporary kept : f32[4] at 64\n"
        "  check ok: labels are out of range\n"
        "  launch sums#0(x, kept)\n"
        "  host y = argsort(kept:2,2) axis=0\n"
        "  repeat 3 times\n"
        "    view part : f32[32] = x[0 + t*0..]\n"
        "    launch sums#0(part, kept)\n"
        "    carry kept -> y\n"
    )
    assert text.count("kernel sums") == 1
