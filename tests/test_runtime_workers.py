"""Workers: the same bits for any number of threads, fork, exit, concurrent calls, limits."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
from runtime_plans import SLOW, Kernels, chain

from chainrule.codegen import region
from chainrule.codegen.driver import Layout, driver_text
from chainrule.codegen.system import can_sleep
from chainrule.core.errors import ArgumentError
from chainrule.runtime import limits, workers
from chainrule.runtime.executable import Executable

ADD_ONE = "%r = fadd float %v, 1.0"
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    yield
    workers.set_num_threads(2)


@pytest.fixture
def _patient() -> Iterator[None]:
    """Let the caller rely on workers however busy other processes keep this machine."""
    memory = workers.pool().memory
    late = int(memory[region.LATE // 8])
    memory[region.LATE // 8] = 2**62
    yield
    memory[region.LATE // 8] = late


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    return Kernels()


def run_python(text: str, *, timeout: float = 60, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, with the tests' helpers importable."""
    paths = os.pathsep.join((str(HERE), *filter(None, sys.path)))
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, "PYTHONPATH": paths, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.usefixtures("_patient")
def test_every_chunk_runs_exactly_once(kernels: Kernels, threads: int) -> None:
    # In place: a chunk that ran twice, or not at all, leaves another count.
    workers.set_num_threads(threads)
    program = Executable(
        chain(kernels, [kernels.pointwise(ADD_ONE, 1000, 7)] * 9, 1000), kernels.code
    )
    counts = np.zeros(1000, np.float32)
    for _ in range(500):
        assert program.call([counts, counts]) == 0
    assert (counts == 4500).all()


@pytest.mark.usefixtures("_patient")
def test_results_have_the_same_bits_for_any_number_of_threads(kernels: Kernels) -> None:
    work = "%s = fmul contract float %v, 0x3FF3333340000000\n  %r = fadd contract float %s, %v"
    plan = chain(kernels, [kernels.pointwise(work, 10_000, 33)] * 5, 10_000)
    x = np.random.default_rng(3).standard_normal(10_000).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        workers.set_num_threads(threads)
        y = np.empty_like(x)
        Executable(plan, kernels.code).call([x, y])
        results.append(y.tobytes())
    assert len(set(results)) == 1


def test_calls_from_many_python_threads_do_not_mix(kernels: Kernels) -> None:
    workers.set_num_threads(2)
    slow = kernels.pointwise(SLOW.format(rounds=2000), 64, 4)
    program = Executable(chain(kernels, [slow] * 20, 64), kernels.code)
    other = Executable(chain(kernels, [slow] * 3, 64), kernels.code)
    wrong: list[float] = []

    def work(start: float) -> None:
        for _ in range(30):
            x, y, z = np.full(64, start, np.float32), np.empty(64, np.float32), np.empty(64, "f")
            program.call([x, y])
            other.call([x, z])
            if not ((y == start + 40_000).all() and (z == start + 6_000).all()):
                wrong.append(start)

    threads = [threading.Thread(target=work, args=(float(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes_with_workers_of_its_own(kernels: Kernels) -> None:
    workers.set_num_threads(3)
    program = Executable(
        chain(kernels, [kernels.pointwise(ADD_ONE, 1000, 10)] * 3, 1000), kernels.code
    )
    x, y = np.arange(1000, dtype=np.float32), np.zeros(1000, np.float32)
    program.call([x, y])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork with threads
        child = os.fork()
    if not child:
        y[:] = 0
        program.call([x, y])
        good = bool((y == x + 3).all()) and workers.pool().size == 3
        os._exit(0 if good else 1)
    deadline = time.monotonic() + 30
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if done == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert done == (child, 0)
    program.call([x, y])
    assert (y == x + 3).all()


USE = """
    import threading, time
    import numpy as np
    from chainrule.runtime import workers
    from chainrule.runtime.executable import Executable
    from runtime_plans import Kernels, SLOW, chain
    workers.set_num_threads(3)
    kernels = Kernels()
    slow = kernels.pointwise(SLOW.format(rounds=20000), 64, 4)
    program = Executable(chain(kernels, [slow] * 50, 64), kernels.code)
    x, y = np.zeros(64, np.float32), np.zeros(64, np.float32)
    program.call([x, y])
    print(int(y[0]))
"""


def test_the_interpreter_exits_while_workers_wait() -> None:
    done = run_python(USE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1000000\n", "")


def test_the_interpreter_exits_while_another_thread_computes() -> None:
    more = """
    def forever():
        while True:
            program.call([x, y])
    threading.Thread(target=forever, daemon=True).start()
    time.sleep(0.2)
    """
    done = run_python(textwrap.dedent(USE) + textwrap.dedent(more))
    assert (done.returncode, done.stdout, done.stderr) == (0, "1000000\n", "")


def test_the_setting_goes_before_the_environment() -> None:
    text = """
    from chainrule.runtime import workers
    print(workers.get_num_threads())
    workers.set_num_threads(5)
    print(workers.get_num_threads())
    """
    assert run_python(text, CHAINRULE_NUM_THREADS="3").stdout == "3\n5\n"


def test_a_bad_environment_is_named() -> None:
    text = "from chainrule.runtime import workers; workers.get_num_threads()"
    done = run_python(text, CHAINRULE_NUM_THREADS="many")
    assert "CHAINRULE_NUM_THREADS=many: expected a whole number from 1 on" in done.stderr


@pytest.mark.parametrize("count", [0, -1, 257, 2.0, True, "2"])
def test_a_bad_number_of_threads_is_refused(count: object) -> None:
    with pytest.raises(ArgumentError, match=r"set_num_threads: .*"):
        workers.set_num_threads(count)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "300000 100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu.max": "garbage"}, 8),
        ({}, 8),
    ],
)
def test_a_containers_limit_counts(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(limits, "_CGROUPS", tmp_path)
    monkeypatch.setattr(limits, "_group_lines", lambda: ["4:cpu,cpuacct:/a/b", "0::/c"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert limits.processors() == expected


@pytest.mark.parametrize(
    ("triple", "sleeps"),
    [
        ("x86_64-unknown-linux-gnu", True),
        ("aarch64-unknown-linux-gnu", True),
        ("arm64-apple-darwin23.1.0", True),
        ("riscv64-unknown-linux-gnu", True),
        ("x86_64-pc-windows-msvc", False),
        ("x86_64-unknown-freebsd", False),
    ],
)
def test_the_drivers_text_is_valid_for_other_systems(triple: str, sleeps: bool) -> None:
    llvm.parse_assembly(driver_text(triple, Layout(8, 16))).verify()
    assert can_sleep(triple) == sleeps
