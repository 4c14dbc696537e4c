"""Blocks: memory is used again, and nobody can tell except by the time and the address."""

from __future__ import annotations

import copy
import ctypes
import gc
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule.core.dtype import Array, float32
from chainrule.core.shape import Spec
from chainrule.graph.tensor import Tensor
from chainrule.runtime import blocks
from chainrule.runtime.blocks import ALIGNMENT, LARGE, Pool
from chainrule.runtime.elements import aligned_empty

SPEC = Spec((512, 1024), float32)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    """A pool of the test's own, for `aligned_empty` too."""
    own = Pool()
    monkeypatch.setattr(blocks, "pool", own)
    return own


def place(part: Any) -> int:
    return ctypes.addressof(part)


def sizes(pool: Pool) -> list[int]:
    return [block.nbytes - ALIGNMENT for _, block in pool.kept]


@pytest.mark.parametrize("size", [LARGE, LARGE + 4, 3 * LARGE + 1])
def test_memory_is_aligned_and_of_its_size(pool: Pool, size: int) -> None:
    part = pool.lend(size)
    assert place(part) % ALIGNMENT == 0
    assert ctypes.sizeof(part) == size


def test_memory_that_nobody_refers_to_is_lent_again(pool: Pool) -> None:
    part = pool.lend(LARGE)
    before = place(part)
    del part
    assert sizes(pool) == [LARGE]
    assert place(pool.lend(LARGE)) == before


def test_memory_of_another_size_is_not_lent(pool: Pool) -> None:
    pool.lend(2 * LARGE)
    part = pool.lend(LARGE)
    assert ctypes.sizeof(part) == LARGE
    assert pool.used == LARGE + ALIGNMENT


VIEWS: dict[str, Callable[[Array], Any]] = {
    "slice": lambda array: array[3:, ::2],
    "transpose": lambda array: array.T,
    "other dtype": lambda array: array.view(np.int32),
    "memoryview": memoryview,
    "bytes of it": lambda array: np.frombuffer(memoryview(array).cast("B"), np.uint8),
    "dlpack": np.from_dlpack,
    "tensor": lambda array: Tensor(array, SPEC),
    "tensor's dlpack": lambda array: np.from_dlpack(Tensor(array, SPEC), copy=False),
    "capsule": lambda array: Tensor(array, SPEC).__dlpack__(copy=False, max_version=(1, 0)),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_memory_is_not_lent_while_a_view_of_it_lives(
    pool: Pool, view: Callable[[Array], Any]
) -> None:
    array = aligned_empty(SPEC)
    seen = view(array)
    del array
    gc.collect()
    assert pool.kept == []
    del seen
    gc.collect()
    assert sizes(pool) == [SPEC.nbytes]


def test_memory_of_a_copied_array_comes_back(pool: Pool) -> None:
    array = aligned_empty(SPEC)
    array[:] = 7
    again = copy.deepcopy(array)
    del array
    assert sizes(pool) == [SPEC.nbytes]
    assert (again == 7).all()


@pytest.mark.parametrize("seed", range(5))
def test_used_and_kept_never_exceed_what_was_used_at_once(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(blocks, "MOST_REQUESTS", 10**9)
    rng = random.Random(seed)
    lent: list[Any] = []
    most = 0
    for _ in range(300):
        if lent and rng.random() < 0.5:
            lent.pop(rng.randrange(len(lent)))
        else:
            lent.append(pool.lend(LARGE * rng.choice((1, 1, 1, 2, 3))))
        used = sum(ctypes.sizeof(part) + ALIGNMENT for part in lent)
        most = max(most, used)
        assert pool.used == used
        assert used + sum(block.nbytes for _, block in pool.kept) <= most
    lent.clear()
    assert pool.kept


def test_no_more_is_kept_than_the_limit(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MOST_BYTES", 3 * LARGE)
    parts = [pool.lend(n * LARGE) for n in (1, 1, 1, 4)]
    del parts
    assert sizes(pool) == [LARGE, LARGE]


def test_what_nobody_asks_for_goes_back_to_the_system(pool: Pool) -> None:
    parts = [pool.lend(LARGE), pool.lend(2 * LARGE)]
    del parts
    for _ in range(blocks.MOST_REQUESTS):
        pool.lend(LARGE)
    assert LARGE * 2 in sizes(pool)
    pool.lend(LARGE)
    pool.lend(LARGE)
    assert sizes(pool) == [LARGE]


def test_what_is_kept_is_released_on_demand(pool: Pool) -> None:
    pool.lend(LARGE)
    pool.release()
    assert pool.kept == []
    assert pool.used == 0


def test_a_busy_pool_is_not_waited_for(pool: Pool) -> None:
    early = pool.lend(LARGE)
    with pool._busy:
        part = pool.lend(LARGE)
        pool.release()
        del early  # as a finalizer in the middle of another request
    assert place(part) % ALIGNMENT == 0
    part = pool.lend(LARGE)
    assert pool.used == LARGE + ALIGNMENT
    assert pool.kept == []


def test_a_forked_child_need_not_wait_for_threads_it_does_not_have(pool: Pool) -> None:
    pool.lend(LARGE)
    assert pool._busy.acquire()
    pool.begin_anew()
    assert pool.kept == []
    pool.lend(LARGE)
    assert sizes(pool) == [LARGE]


def test_threads_do_not_get_the_same_memory(pool: Pool) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(100):
            array = aligned_empty(SPEC).reshape(-1)[::1024]
            array[:] = number
            threading.Event().wait(1e-5)
            if (array != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pool.used == 0


def test_arrays_that_live_until_the_end_of_the_process_do_no_harm() -> None:
    text = (
        "from chainrule.core.dtype import float32; from chainrule.core.shape import Spec\n"
        "from chainrule.runtime.elements import aligned_empty\n"
        "kept = [aligned_empty(Spec((512, 1024), float32)) for _ in range(3)]\n"
        "kept.append(kept); del kept[0]\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_result_that_is_kept_is_not_overwritten_by_later_calls(pool: Pool) -> None:
    double = chainrule.compile(lambda x: x * 2)
    x = np.arange(SPEC.size, dtype=np.float32).reshape(SPEC.shape)
    first = double(chainrule.tensor(x))
    column = first[:, 1].numpy()
    alias = np.from_dlpack(first, copy=False)[:, 1]
    del first
    for number in range(3):
        other = double(chainrule.tensor(x + number))
        assert other.numpy()[1, 1] == 2 * (x[1, 1] + number)
    assert (alias == column).all()


def test_the_memory_of_a_dropped_result_is_the_next_ones(pool: Pool) -> None:
    double = chainrule.compile(lambda x: x * 2)
    x = chainrule.ones(*SPEC.shape)
    places = {np.from_dlpack(double(x), copy=False).ctypes.data for _ in range(5)}
    assert len(places) == 1


def test_a_new_program_gets_the_memory_that_is_kept(pool: Pool) -> None:
    aligned_empty(SPEC)
    assert pool.kept
    chainrule.compile(lambda x: x + 1)(chainrule.ones(3))
    assert pool.kept == []


def test_a_gradient_returned_and_kept_is_not_overwritten(pool: Pool) -> None:
    @chainrule.compile
    def gradient(x: Tensor) -> tuple[Tensor | None, Tensor]:
        x.grad = None
        (x * x).sum().backward()
        return x.grad, x * 3

    x = chainrule.ones(*SPEC.shape, requires_grad=True)
    first, _ = gradient(x)
    second, _ = gradient(chainrule.full(SPEC.shape, 5.0, requires_grad=True))
    assert first is x.grad
    assert first is not None
    assert second is not None
    assert (first.numpy() == 2).all()
    assert (second.numpy() == 10).all()
