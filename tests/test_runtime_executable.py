"""Executables: steps of every kind, errors, interruption, profile."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime_plans import SLOW, Kernels, chain

from chainrule.core.dtype import bfloat16, bool_, float32, to_compute, to_storage
from chainrule.core.errors import ArgumentError, OutOfMemoryError, StateError
from chainrule.ir.expr import Buffer
from chainrule.ir.kernel import Check, HostCall, Launch, Plan, Repeat
from chainrule.runtime import memory
from chainrule.runtime.commands import Code
from chainrule.runtime.executable import Executable

ADD_ONE = "%r = fadd float %v, 1.0"
DOUBLE = "%r = fmul float %v, 2.0"
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels()


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


class Shout:
    """An op as host calls see it."""

    def eval(self, *inputs: Any, **attrs: Any) -> Any:
        return sum(inputs) * attrs["by"]


class Refuse:
    def eval(self, *inputs: Any, **attrs: Any) -> Any:
        raise ArgumentError("refuse: no")


def test_launches_run_in_order_through_the_arena(kernels: Kernels) -> None:
    add, double = kernels.pointwise(ADD_ONE, 5, 2), kernels.pointwise(DOUBLE, 5, 5)
    program = Executable(chain(kernels, [add, double, add], 5), kernels.code)
    x, y = np.arange(5, dtype=np.float32), np.empty(5, np.float32)
    assert program.call([x, y]) == 0
    assert y.tolist() == [3, 5, 7, 9, 11]


def test_other_arrays_in_the_next_call_are_the_ones_used(kernels: Kernels) -> None:
    program = Executable(chain(kernels, [kernels.pointwise(ADD_ONE, 3, 2)], 3), kernels.code)
    for start in range(5):
        x, y = np.full(3, start, np.float32), np.zeros(3, np.float32)
        program.call([x, y])
        assert y.tolist() == [start + 1] * 3


def test_constants_are_inputs_that_never_change(kernels: Kernels) -> None:
    c, y = Buffer("c", float32, 3), Buffer("y", float32, 3)
    launch = Launch(kernels.pointwise(DOUBLE, 3, 3), (c, y))
    # Every second element: constants need not be contiguous.
    plan = Plan("p", (launch,), (), (y,), {c: np.arange(6, dtype=np.float32)[::2]})
    out = np.zeros(3, np.float32)
    Executable(plan, kernels.code).call([out])
    assert out.tolist() == [0, 4, 8]


def test_repeat_moves_views_and_carries(kernels: Kernels) -> None:
    # h = 2 (h + x[t]) for t in 0..3, every h kept; x is read backwards.
    add = kernels.binary("fadd")
    double = kernels.pointwise(DOUBLE, 1, 1)
    x, out = Buffer("x", float32, 4), Buffer("out", float32, 4)
    xt, yt = Buffer("xt", float32, 1), Buffer("yt", float32, 1)
    h, s = Buffer("h", float32, 1), Buffer("s", float32, 1)
    zero = Buffer("zero", float32, 1)
    start = Launch(double, (zero, h))
    body = (Launch(add, (h, xt, s)), Launch(double, (s, yt)))
    loop = Repeat(4, body, ((xt, x, 3, -1), (yt, out, 0, 1)), ((yt, h),))
    plan = Plan("p", (start, loop), (x,), (out,), {zero: floats(0)}, {h: 0, s: 64}, 128)
    given, result = floats(1, 2, 3, 4), np.zeros(4, np.float32)
    program = Executable(plan, kernels.code)
    for _ in range(2):
        program.call([given, result])
        assert result.tolist() == [8, 22, 48, 98]


def test_repeat_inside_repeat(kernels: Kernels) -> None:
    # out[i, j] = x[i, j] + 1 through views of views.
    add = kernels.pointwise(ADD_ONE, 1, 1)
    x, out = Buffer("x", float32, 6), Buffer("out", float32, 6)
    row, line = Buffer("row", float32, 3), Buffer("line", float32, 3)
    a, b = Buffer("a", float32, 1), Buffer("b", float32, 1)
    inner = Repeat(3, (Launch(add, (a, b)),), ((a, row, 0, 1), (b, line, 0, 1)))
    outer = Repeat(2, (inner,), ((row, x, 0, 3), (line, out, 0, 3)))
    given, result = np.arange(6, dtype=np.float32), np.zeros(6, np.float32)
    Executable(Plan("p", (outer,), (x,), (out,)), kernels.code).call([given, result])
    assert (result == given + 1).all()


def test_repeat_of_no_rounds_does_nothing(kernels: Kernels) -> None:
    x, y = Buffer("x", float32, 1), Buffer("y", float32, 1)
    loop = Repeat(0, (Launch(kernels.pointwise(ADD_ONE, 1, 1), (x, y)),))
    result = floats(7)
    Executable(Plan("p", (loop,), (x,), (y,)), kernels.code).call([floats(1), result])
    assert result.tolist() == [7]


def test_a_failed_check_stops_before_outputs_are_written(kernels: Kernels) -> None:
    ok, fine = Buffer("ok", bool_, 1), Buffer("fine", bool_, 1)
    x, y = Buffer("x", float32, 1), Buffer("y", float32, 1)
    steps = (Check(fine, "first"), Check(ok, "second"))
    launch = Launch(kernels.pointwise(ADD_ONE, 1, 1), (x, y))
    program = Executable(Plan("p", (*steps, launch), (fine, ok, x), (y,)), kernels.code)
    yes, no, result = np.array([True]), np.array([False]), floats(7)
    assert program.call([yes, no, floats(1), result]) == 2
    assert result.tolist() == [7]
    assert program.check(2).message == "second"
    assert program.call([yes, yes, floats(1), result]) == 0
    assert result.tolist() == [2]


def test_a_host_call_computes_between_native_code(kernels: Kernels) -> None:
    add = kernels.pointwise(ADD_ONE, 4, 2)
    x, y = Buffer("x", float32, 4), Buffer("y", float32, 4)
    t, u = Buffer("t", float32, 4), Buffer("u", float32, 4)
    call = HostCall(Shout(), {"by": 10}, ((t, (2, 2)), (x, (2, 2))), (u, (2, 2)))
    steps = (Launch(add, (x, t)), call, Launch(add, (u, y)))
    plan = Plan("p", steps, (x,), (y,), {}, {t: 0, u: 64}, 128)
    result = np.zeros(4, np.float32)
    program = Executable(plan, kernels.code)
    for _ in range(2):
        assert program.call([floats(0, 1, 2, 3), result]) == 0
        assert result.tolist() == [11, 31, 51, 71]


def test_a_host_call_computes_16_bit_floats_in_float32(kernels: Kernels) -> None:
    x, y = Buffer("x", bfloat16, 2), Buffer("y", bfloat16, 2)
    call = HostCall(Shout(), {"by": 1.001}, ((x, (2,)),), (y, (2,)))
    given = to_storage(floats(1.5, 300), bfloat16)
    result = np.zeros(2, np.uint16)
    Executable(Plan("p", (call,), (x,), (y,)), kernels.code).call([given, result])
    expected = to_storage(to_compute(given, bfloat16) * np.float32(1.001), bfloat16)
    assert (result == expected).all()


def test_a_host_call_inside_repeat_sees_the_rounds_views(kernels: Kernels) -> None:
    x, y = Buffer("x", float32, 3), Buffer("y", float32, 3)
    a, b = Buffer("a", float32, 1), Buffer("b", float32, 1)
    call = HostCall(Shout(), {"by": 3}, ((a, ()),), (b, ()))
    loop = Repeat(3, (call,), ((a, x, 0, 1), (b, y, 2, -1)))
    result = np.zeros(3, np.float32)
    Executable(Plan("p", (loop,), (x,), (y,)), kernels.code).call([floats(1, 2, 3), result])
    assert result.tolist() == [9, 6, 3]


def test_an_error_in_a_host_call_reaches_the_caller_and_the_next_call_works(
    kernels: Kernels,
) -> None:
    x, y = Buffer("x", float32, 1), Buffer("y", float32, 1)
    program = Executable(
        Plan("p", (HostCall(Refuse(), {}, ((x, (1,)),), (y, (1,))),), (x,), (y,)), kernels.code
    )
    for _ in range(2):
        with pytest.raises(ArgumentError, match="refuse: no"):
            program.call([floats(1), floats(1)])


def test_phases_share_a_workspace_after_the_arena(kernels: Kernels) -> None:
    kernel = kernels.pointwise(ADD_ONE, 3, 1)
    function, chunks = kernels.code[kernel].phases[0]
    code = {kernel: Code(((function, chunks), (function, chunks)), 1000)}
    program = Executable(chain(kernels, [kernel, kernel], 3), code)
    assert program.arena_bytes == 64 + 1000
    result = np.zeros(3, np.float32)
    program.call([floats(0, 1, 2), result])
    assert result.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    "arrays",
    [[], [np.zeros(3, "f")], [np.zeros(3, "f"), [0.0, 0.0, 0.0]], (np.zeros(3), np.zeros(3)), None],
    ids=["none", "one", "a list", "a tuple", "None"],
)
def test_a_call_without_the_right_number_of_arrays_is_refused(
    kernels: Kernels, arrays: Any
) -> None:
    program = Executable(chain(kernels, [kernels.pointwise(ADD_ONE, 3, 3)], 3), kernels.code)
    with pytest.raises(StateError, match="chain: a call takes a list of 2 NumPy arrays"):
        program.call(arrays)


def test_memory_that_is_not_there_is_said_before_anything_is_allocated(
    kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = [Buffer(f"big{n}", float32, 10**9 * (n + 1)) for n in range(3)]
    kernel = kernels.pointwise(ADD_ONE, 3, 3)
    x, y = Buffer("x", float32, 3), Buffer("y", float32, 3)
    launches = tuple(Launch(kernel, (x, b), ("model.conv1, train.py:7",)) for b in big)
    offsets = {b: n * 10**10 for n, b in enumerate(big)}
    plan = Plan("step", launches, (x,), (y,), {}, offsets, 3 * 10**10)
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 10**9)
    with pytest.raises(OutOfMemoryError) as caught:
        Executable(plan, kernels.code)
    assert isinstance(caught.value, MemoryError)
    assert str(caught.value).splitlines() == [
        "step: needs 30 GB of memory for results, intermediate ones too, 8 GB are available; "
        "nothing was allocated",
        "  big2: 12 GB (3,000,000,000 elements of float32), made by model.conv1, train.py:7",
        "  big1: 8 GB (2,000,000,000 elements of float32), made by model.conv1, train.py:7",
        "  big0: 4 GB (1,000,000,000 elements of float32), made by model.conv1, train.py:7",
        "  y: 12 bytes (3 elements of float32)",
        "  hint: a smaller batch needs proportionally less; so do fewer or narrower layers",
    ]


def test_a_dropped_executable_gives_its_memory_back_at_once(kernels: Kernels) -> None:
    gc.disable()
    try:
        plan = chain(kernels, [kernels.pointwise(ADD_ONE, 3, 3)] * 2, 3)
        program = Executable(plan, kernels.code)
        gone = weakref.ref(program)
        arena = weakref.ref(program._commands)
        del program
        assert gone() is None
        assert arena() is None
    finally:
        gc.enable()


def test_the_function_alone_keeps_what_it_needs(kernels: Kernels) -> None:
    plan = chain(kernels, [kernels.pointwise(ADD_ONE, 3, 3)] * 2, 3)
    call = Executable(plan, kernels.code).call
    gc.collect()
    result = np.zeros(3, np.float32)
    assert call([floats(0, 1, 2), result]) == 0
    assert result.tolist() == [2, 3, 4]


def test_a_profile_names_each_launch_with_its_times(kernels: Kernels) -> None:
    slow = kernels.pointwise(SLOW.format(rounds=5000), 8, 1)
    plan = chain(kernels, [slow, kernels.pointwise(ADD_ONE, 8, 8), slow], 8)
    program = Executable(plan, kernels.code)
    arrays = [np.zeros(8, np.float32), np.zeros(8, np.float32)]
    program.call(arrays)
    failed, timings = program.profile_call(arrays)
    assert failed == 0
    whole = [t for t in timings if t.thread < 0]
    assert [t.launch for t in whole] == list(plan.steps)
    assert [t.chunks for t in whole] == [8, 1, 8]
    assert all(t.start < t.end for t in timings)
    assert all(a.end <= b.start for a, b in itertools.pairwise(whole))
    for launch in (plan.steps[0], plan.steps[2]):
        shares = [t.chunks for t in timings if t.thread >= 0 and t.launch is launch]
        assert sum(shares) in (0, 8)  # 0: all of it in the calling thread, without a region


def test_a_profile_counts_the_rounds_of_a_loop(kernels: Kernels) -> None:
    x, y = Buffer("x", float32, 6), Buffer("y", float32, 6)
    a, b = Buffer("a", float32, 2), Buffer("b", float32, 2)
    add = kernels.pointwise(ADD_ONE, 2, 2)
    loop = Repeat(3, (Launch(add, (a, b)),), ((a, x, 0, 2), (b, y, 0, 2)))
    program = Executable(Plan("p", (loop,), (x,), (y,)), kernels.code)
    _, timings = program.profile_call([np.zeros(6, np.float32), np.zeros(6, np.float32)])
    assert len([t for t in timings if t.thread < 0]) == 3


# --- Ctrl-C --------------------------------------------------------------------------------------

INTERRUPTED = """
    import os, signal, threading, time
    import numpy as np
    from chainrule.ir.expr import Buffer
    from chainrule.core.dtype import float32
    from chainrule.ir.kernel import Launch, Plan, Repeat
    from chainrule.runtime.executable import Executable
    from runtime_plans import SLOW, Kernels

    kernels = Kernels()
    slow = kernels.pointwise(SLOW.format(rounds=100_000), 1, 1)
    add = kernels.pointwise("%r = fadd float %v, 1.0", 1, 1)
    x, y, t = (Buffer(n, float32, 1) for n in "xyt")
    write, long = Launch(add, (x, y)), Repeat(ROUNDS, (Launch(slow, (x, t)),))
    steps = (write, long) if EARLY else (long, write)
    program = Executable(Plan("p", steps, (x,), (y,), {}, {t: 0}, 64), kernels.code)
    state = np.zeros(1, np.float32)
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    start = time.perf_counter()
    try:
        program.call([state, state])
    except KeyboardInterrupt:
        print("interrupted", state[0] == 1, time.perf_counter() - start)
"""


def interrupt(*, early: bool, rounds: int) -> tuple[bool, float]:
    """Return whether the output was written, and after how many seconds the call ended."""
    head = f"EARLY, ROUNDS = {early}, {rounds}\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(INTERRUPTED)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE), *filter(None, sys.path)))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.startswith("interrupted"), done.stderr
    _, written, seconds = done.stdout.split()
    return written == "True", float(seconds)


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_ctrl_c_stops_a_long_program_that_has_written_nothing() -> None:
    # Rounds of 0.1 ms and more: 40 seconds at least.
    written, seconds = interrupt(early=False, rounds=400_000)
    assert not written
    assert seconds < 10


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_ctrl_c_after_the_first_written_output_waits_for_the_last() -> None:
    written, seconds = interrupt(early=True, rounds=12_000)
    assert written
    assert seconds > 0.5
