"""DataLoader: what is left after an interruption, order, threads, errors. Oracle: plain slicing."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError, ChainruleError, DataError, ShapeError, StateError
from chainrule.data.dataset import Subset, TensorDataset
from chainrule.data.loader import DataLoader
from chainrule.graph.tensor import Tensor, tensor

Array = NDArray[Any]


def identity(array: Array) -> Array:
    return array


def values(batches: Iterator[tuple[Array, ...]] | DataLoader[Array]) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches]


def loader_of(n: int, batch_size: int = 4, **options: Any) -> DataLoader[Array]:
    return DataLoader(TensorDataset(np.arange(n)), batch_size, convert=identity, **options)


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("chainrule-loader")]


def wait_for_no_threads() -> None:
    end = time.monotonic() + 10
    while loader_threads() and time.monotonic() < end:
        time.sleep(0.005)
    assert not loader_threads()


@settings(deadline=None)
@given(
    n=st.integers(0, 60),
    batch_size=st.integers(1, 9),
    drop_last=st.booleans(),
    workers=st.integers(0, 3),
    factor=st.integers(1, 3),
    seed=st.integers(0, 2**64 - 1),
)
def test_epoch_holds_every_example_once(
    n: int, batch_size: int, drop_last: bool, workers: int, factor: int, seed: int
) -> None:
    loader = loader_of(
        *(n, batch_size),
        shuffle=True,
        drop_last=drop_last,
        seed=seed,
        num_workers=workers,
        prefetch_factor=factor,
    )
    batches = values(loader)
    assert len(batches) == len(loader)
    flat = [i for batch in batches for i in batch]
    assert len(flat) == len(set(flat)) == (n // batch_size * batch_size if drop_last else n)
    assert all(len(batch) == batch_size for batch in batches[:-1])


@settings(deadline=None, max_examples=150)
@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 7),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    before=st.integers(0, 50),
    workers=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    factor=st.integers(1, 4),
)
def test_resumed_loader_gives_exactly_the_batches_that_were_left(
    n: int,
    batch_size: int,
    shuffle: bool,
    drop_last: bool,
    before: int,
    workers: tuple[int, int],
    factor: int,
) -> None:
    def new(num_workers: int) -> DataLoader[Array]:
        return loader_of(
            *(n, batch_size),
            shuffle=shuffle,
            drop_last=drop_last,
            seed=5,
            num_workers=num_workers,
            prefetch_factor=factor,
        )

    def endless(loader: DataLoader[Array]) -> Iterator[list[int]]:
        while True:
            for (batch,) in loader:
                yield batch.tolist()

    undisturbed = new(0)
    if not len(undisturbed):
        return
    whole = endless(undisturbed)
    expected = [next(whole) for _ in range(before + 2 * len(undisturbed) + 1)]
    first = new(workers[0])
    run = endless(first)
    seen = [next(run) for _ in range(before)]
    state = json.loads(json.dumps(first.state_dict()))
    del run
    second = new(workers[1])
    second.load_state_dict(state)
    rest = endless(second)
    seen += [next(rest) for _ in range(2 * len(undisturbed) + 1)]
    assert seen == expected


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first = loader_of(50, shuffle=True, seed=3)
    epochs = [values(first) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    other = loader_of(50, shuffle=True, seed=3, num_workers=2)
    other.set_epoch(2)
    assert values(other) == epochs[2]
    assert values(loader_of(50, shuffle=True, seed=4)) != epochs[0]


def test_order_without_shuffle_is_that_of_the_data() -> None:
    assert values(loader_of(10)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert values(loader_of(10, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_iteration_after_a_broken_off_one_runs_the_next_epoch() -> None:
    loader = loader_of(20, shuffle=True)
    next(iter(loader))
    assert loader.state_dict()["position"] == 1
    second = values(loader)
    assert second == values_of_epoch(20, 1)
    assert loader.epoch == 2


def values_of_epoch(n: int, epoch: int) -> list[list[int]]:
    loader = loader_of(n, shuffle=True)
    loader.set_epoch(epoch)
    return values(loader)


def test_set_epoch_keeps_a_loaded_position_in_that_epoch_only() -> None:
    loader = loader_of(20, shuffle=True)
    loader.load_state_dict(loader.state_dict() | {"epoch": 3, "position": 2})
    loader.set_epoch(3)
    assert values(loader) == values_of_epoch(20, 3)[2:]
    loader.load_state_dict(loader.state_dict() | {"epoch": 3, "position": 2})
    loader.set_epoch(4)
    assert values(loader) == values_of_epoch(20, 4)


def test_state_after_the_last_batch_leaves_nothing_of_that_epoch() -> None:
    loader = loader_of(8, shuffle=True)
    batches = iter(loader)
    next(batches)
    next(batches)
    fresh = loader_of(8, shuffle=True)
    fresh.load_state_dict(loader.state_dict())
    assert values(fresh) == []
    assert values(fresh) == values_of_epoch(8, 1)


def test_two_iterations_at_once_do_not_disturb_each_other() -> None:
    loader = loader_of(12, shuffle=True, num_workers=1)
    pairs = list(zip(loader, loader, strict=True))
    assert [a[0].tolist() for a, _ in pairs] == values_of_epoch(12, 0)
    assert [b[0].tolist() for _, b in pairs] == values_of_epoch(12, 1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": 1}, "seed was 1 when it was saved, now it is 0"),
        ({"batch_size": 5}, "batch_size was 5"),
        ({"examples": 21}, "examples was 21"),
        ({"shuffle": True}, "shuffle was True"),
        ({"drop_last": True}, "drop_last was True"),
        ({"position": 6}, "key 'position': got 6, expected an integer from 0 to 5"),
        ({"position": -1}, "key 'position': got -1"),
        ({"position": 1.0}, "key 'position': got 1.0"),
        ({"epoch": "0"}, "key 'epoch': got '0'"),
        ({"epoch": True}, "key 'epoch': got True"),
        ({"more": 1}, "unknown key 'more'"),
    ],
)
def test_load_state_of_another_loader_is_refused(change: dict[str, Any], text: str) -> None:
    loader = loader_of(20)
    state = loader.state_dict()
    with pytest.raises(DataError, match=text):
        loader.load_state_dict(state | change, "last.json")
    assert loader.state_dict() == state


@pytest.mark.parametrize("state", [None, [], {}, "x"])
def test_load_state_of_something_else_is_refused(state: object) -> None:
    with pytest.raises(DataError, match=r"^last\.json: "):
        loader_of(20).load_state_dict(state, "last.json")


def test_batches_are_tensors_of_the_datasets_types() -> None:
    x = np.random.default_rng(0).random((6, 2, 2)).astype(np.float32)
    (inputs, targets), *_ = DataLoader(TensorDataset(x, np.arange(6)), batch_size=4)
    assert isinstance(inputs, Tensor)
    assert np.array_equal(inputs.numpy(), x[:4])
    assert str(inputs.dtype) == "chainrule.float32"
    assert str(targets.dtype) == "chainrule.int64"


def test_batches_share_no_memory_with_the_dataset() -> None:
    x = np.zeros((4, 2))
    for (batch,) in DataLoader(TensorDataset(x), 2, convert=identity):
        batch += 1
    assert not x.any()


def test_dataset_of_single_samples_is_stacked() -> None:
    class Squares:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> tuple[Array, int, float]:
            return np.full((2,), index), index**2, index / 2

    batches = list(DataLoader(Squares(), 2, num_workers=2, convert=identity))
    inputs, squares, halves = batches[1]
    assert inputs.tolist() == [[2, 2], [3, 3]]
    assert squares.tolist() == [4, 9]
    assert halves.dtype == np.float32
    assert squares.dtype == np.int64


def test_dataset_with_many_at_once_is_asked_once_a_batch() -> None:
    asked = []

    class Many(TensorDataset):
        def __getitems__(self, index: Array) -> Any:
            asked.append(index.tolist())
            return [self[i] for i in index]

    assert values(DataLoader(Many(np.arange(5)), 2, convert=identity)) == [[0, 1], [2, 3], [4]]
    assert asked == [[0, 1], [2, 3], [4]]


def test_dataset_may_be_an_array_a_tensor_a_list_or_a_subset() -> None:
    rows = np.arange(10).reshape(5, 2)
    for dataset in (rows, tensor(rows), list(rows), Subset(TensorDataset(rows), range(5))):
        assert values(DataLoader(dataset, 4, convert=identity)) == [rows[:4].tolist(), [[8, 9]]]
    subset = Subset(Subset(TensorDataset(rows), [4, 2, 0]), np.array([2, 0]))
    assert subset[0][0].tolist() == [0, 1]
    assert values(DataLoader(subset, 2, convert=identity)) == [[[0, 1], [8, 9]]]


class Failing:
    """Fails at one sample, in the way asked for."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> int:
        if index == 9:
            raise self.error
        return index


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_error_in_the_dataset_comes_at_its_batch_with_its_place(workers: int) -> None:
    batches = iter(DataLoader(Failing(KeyError("cat.png")), 4, num_workers=workers))
    assert [len(next(batches)[0]) for _ in range(2)] == [4, 4]
    with pytest.raises(KeyError, match=r"cat\.png") as caught:
        next(batches)
    notes = caught.value.__notes__
    assert notes == ["DataLoader: in batch 2 of epoch 0 (examples 8, 9, 10, 11)"]
    assert any(entry.name == "__getitem__" for entry in caught.traceback)
    with pytest.raises(StopIteration):
        next(batches)
    wait_for_no_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_error_of_ours_in_the_dataset_gets_a_line_of_context(workers: int) -> None:
    loader = DataLoader(Failing(DataError("cat.png: truncated")), 4, num_workers=workers)
    with pytest.raises(DataError, match=r"truncated\n  DataLoader: in batch 2 of epoch 0"):
        list(loader)


@pytest.mark.parametrize("workers", [0, 2])
def test_stop_iteration_in_the_dataset_does_not_end_the_epoch_silently(workers: int) -> None:
    loader = DataLoader(Failing(StopIteration()), 4, num_workers=workers)
    with pytest.raises(StateError, match="StopIteration in batch 2"):
        list(loader)


@pytest.mark.parametrize("end", ["break", "del", "loader", "finish"])
def test_threads_end_when_iteration_does(end: str) -> None:
    loader = loader_of(1000, num_workers=3)
    batches = iter(loader)
    next(batches)
    assert loader_threads()
    if end == "break":
        for _ in batches:
            break
        del batches
    elif end == "finish":
        list(batches)
    else:
        if end == "loader":
            del loader
        del batches
    gc.collect()
    wait_for_no_threads()


def test_prefetch_stays_within_its_bound() -> None:
    fetched = []

    class Counting(TensorDataset):
        def __getitems__(self, index: Array) -> tuple[Array, ...]:
            fetched.append(int(index[0]))
            return super().__getitems__(index)

    loader = DataLoader(
        Counting(np.arange(100)), num_workers=2, prefetch_factor=3, convert=identity
    )
    batches = iter(loader)
    next(batches)
    end = time.monotonic() + 10
    while len(fetched) < 7 and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(0.05)  # time enough to go too far
    assert len(fetched) == 7  # one handed out, two threads three ahead
    assert loader.state_dict()["position"] == 1


def test_threads_overlap_waiting() -> None:
    class Slow:
        def __len__(self) -> int:
            return 24

        def __getitem__(self, index: int) -> int:
            time.sleep(0.03)
            return index

    start = time.perf_counter()
    assert len(values(DataLoader(Slow(), 2, num_workers=6, convert=identity))) == 12
    assert time.perf_counter() - start < 0.6  # 0.72 one after another, 0.12 in parallel


def test_ctrl_c_interrupts_a_waiting_loader() -> None:
    program = """
import time
from chainrule.data.loader import DataLoader
class Slow:
    def __len__(self): return 5
    def __getitem__(self, index):
        if index == 0:
            print("waiting", flush=True)
        time.sleep(3600)
try:
    next(iter(DataLoader(Slow(), num_workers=2)))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert output == "interrupted\n"
    assert process.returncode == 0, errors


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_size": 0}, "batch_size is 0, expected an integer from 1"),
        ({"batch_size": 2.0}, r"batch_size is 2\.0"),
        ({"batch_size": True}, "batch_size is True"),
        ({"shuffle": 1}, "shuffle is 1, expected True or False"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"prefetch_factor": 0}, "prefetch_factor is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"dataset": 5}, "int is no dataset"),
        ({"dataset": {0: 1}}, "dict is no dataset"),
    ],
)
def test_loader_with_impossible_arguments_says_why(arguments: dict, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        DataLoader(**{"dataset": TensorDataset(np.arange(3))} | arguments)


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (
            [np.zeros(2), np.zeros(3)],
            r"field 0 of sample 1 has shape \[3\], that of sample 0 \[2\]",
        ),
        ([(1, 2), (1,)], "samples of 1 and of 2 fields"),
        ([{"x": 1}, {"x": 2}], "field 0 of sample 0 is dict"),
    ],
)
def test_samples_that_cannot_be_stacked_say_why(samples: list[Any], text: str) -> None:
    with pytest.raises(ChainruleError, match=text):
        list(DataLoader(samples, 2))


def test_tensor_dataset_with_unequal_lengths_is_refused() -> None:
    with pytest.raises(ShapeError, match="need equal first axes"):
        TensorDataset(np.zeros((3, 2)), np.zeros(4))
    with pytest.raises(ShapeError, match="need equal first axes"):
        TensorDataset(np.float32(1))
    with pytest.raises(ArgumentError, match="no arrays"):
        TensorDataset()


def test_dataset_that_grew_is_noticed() -> None:
    rows = [1, 2]
    loader = DataLoader(rows)
    rows.append(3)
    with pytest.raises(StateError, match="the dataset now has 3 examples"):
        iter(loader)
