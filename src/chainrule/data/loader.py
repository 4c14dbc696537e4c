"""Loader: mini-batches, shuffled without repetition, prefetched, resumable in mid-epoch.

Takes: a dataset. Gives: an iterable of batches, and a state that says exactly what is left.
The one idea: the order of an epoch is a pure function of (seed, epoch), so a place in the data
is three small numbers: seed, epoch, and how many batches have been handed to the user. What
worker threads fetched ahead does not count.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast, overload

import numpy as np

from chainrule.core.dtype import as_dtype
from chainrule.core.errors import ArgumentError, ChainruleError, DataError, StateError
from chainrule.data.dataset import Array, Batch, Dataset, batch_reader
from chainrule.data.order import EPOCH, Index, check_seed, permutation
from chainrule.data.prefetch import Prefetcher
from chainrule.data.state import State
from chainrule.graph.tensor import Tensor, make

__all__ = ["DataLoader", "to_tensor"]

T = TypeVar("T")

# Of a batch that failed, so many indices are shown.
SHOWN = 8


def to_tensor(array: Array) -> Tensor:
    """Return a tensor that takes over a batch's array, which nothing else refers to.

    Raises:
        DTypeError: The elements are no real numbers.
    """
    dtype = as_dtype(array.dtype)
    return make(array.astype(dtype.storage, copy=False), dtype)


@dataclass
class _Progress:
    """How far an epoch has come."""

    epoch: int
    position: int = 0
    started: bool = False


class DataLoader(Generic[T]):
    """Batches of a dataset, an epoch at each iteration.

    Every iteration runs one epoch, each example once. The first is epoch 0, or the one given to
    `set_epoch`, and every further iteration runs the next one, also when the last was broken off;
    only after `load_state_dict` it goes on in the middle.

    Args:
        dataset: A `TensorDataset`, an array, or any object with ``__len__`` and ``__getitem__``.
        batch_size: Examples in a batch.
        shuffle: Whether each epoch has an order of its own.
        drop_last: Whether to leave out a last batch of fewer examples.
        seed: Of the order; two loaders of one seed give the same order.
        num_workers: Threads that fetch ahead; 0 fetches when asked.
        prefetch_factor: Batches that each of them may be ahead.
        convert: What makes of each array of a batch what the user gets: by default a tensor.

    Raises:
        ArgumentError: An argument is out of range, or the dataset is none.

    Example:
        >>> from chainrule.data.dataset import TensorDataset
        >>> loader = DataLoader(TensorDataset(np.arange(5)), batch_size=2, convert=np.asarray)
        >>> [batch.tolist() for (batch,) in loader]
        [[0, 1], [2, 3], [4]]
    """

    @overload
    def __init__(
        self: DataLoader[Tensor],
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        prefetch_factor: int = 2,
    ) -> None: ...

    @overload
    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        prefetch_factor: int = 2,
        convert: Callable[[Array], T],
    ) -> None: ...

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        prefetch_factor: int = 2,
        convert: Callable[[Array], Any] = to_tensor,
    ) -> None:
        self._read = batch_reader(dataset)
        self.dataset = dataset
        self.batch_size = _integer("batch_size", batch_size, low=1)
        self.shuffle = _flag("shuffle", shuffle)
        self.drop_last = _flag("drop_last", drop_last)
        self.seed = check_seed(seed)
        self.num_workers = _integer("num_workers", num_workers, low=0)
        self.prefetch_factor = _integer("prefetch_factor", prefetch_factor, low=1)
        self.convert = cast("Callable[[Array], T]", convert)
        self._n = len(dataset)
        self._progress = _Progress(0)

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch."""
        full, rest = divmod(self._n, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    @property
    def epoch(self) -> int:
        """The epoch that is running, or if none is, the next one."""
        return self._progress.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        It runs from its beginning, unless a loaded state stands in the middle of that very epoch:
        then it goes on there.

        Raises:
            ArgumentError: It is no integer from 0.
        """
        epoch = _integer("epoch", epoch, low=0)
        if self._progress.started or self._progress.epoch != epoch:
            self._progress = _Progress(epoch)

    def __iter__(self) -> Iterator[tuple[T, ...]]:
        """Start the next epoch, or go on in a loaded one.

        Raises:
            StateError: The dataset has another length than when the loader was made.
        """
        if len(self.dataset) != self._n:
            raise StateError(
                f"DataLoader: the dataset now has {len(self.dataset):,} examples, "
                f"it had {self._n:,} when the loader was made",
                hint="make a new DataLoader",
            )
        before = self._progress
        if before.started:
            progress = _Progress(before.epoch + 1)
        else:
            progress = _Progress(before.epoch, before.position)
        progress.started = True
        self._progress = progress
        return _Epoch(self, progress)

    def order(self, epoch: int) -> Index:
        """Return the order in which an epoch takes the examples, [N]."""
        if self.shuffle:
            return permutation(self._n, seed=self.seed, purpose=EPOCH, number=epoch)
        return np.arange(self._n, dtype=np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Return where the newest iteration stands, as JSON.

        ``position`` counts the batches of epoch ``epoch`` that the user has been given.
        """
        return {
            "epoch": self._progress.epoch,
            "position": self._progress.position,
            **self._settings(),
        }

    def load_state_dict(self, state: object, where: str = "DataLoader state") -> None:
        """Make the next iteration give exactly the batches that were left.

        Args:
            state: A `state_dict` of a loader with the same dataset length and settings.
            where: Where it came from, for the text of errors.

        Raises:
            DataError: It is damaged, or of a loader whose batches are others.
        """
        settings = self._settings()
        checked = State(state, where, ("epoch", "position", *settings))
        for key, own in settings.items():
            saved = checked.flag(key) if isinstance(own, bool) else checked.integer(key, low=0)
            if saved != own:
                raise DataError(
                    f"{where}: {key} was {saved} when it was saved, now it is {own}: "
                    "the batches would not be those that were left",
                    hint=f"DataLoader(..., {key}={saved})" if key != "examples" else "",
                )
        epoch = checked.integer("epoch", low=0, high=2**32 - 1)
        self._progress = _Progress(epoch, checked.integer("position", low=0, high=len(self)))

    def _settings(self) -> dict[str, int | bool]:
        return {
            "examples": self._n,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "seed": self.seed,
        }


class _Epoch(Iterator[tuple[T, ...]]):
    """One run through the data. It holds no reference to its loader, nor the loader to it."""

    def __init__(self, loader: DataLoader[T], progress: _Progress) -> None:
        self._progress = progress
        self._convert = loader.convert
        self._done = False
        order, size, count = loader.order(progress.epoch), loader.batch_size, len(loader)
        read, epoch = loader._read, progress.epoch

        def fetch(number: int) -> Batch:
            index = order[number * size : (number + 1) * size]
            try:
                return read(index)
            except StopIteration as error:
                # It would end the user's loop as if the data were at their end.
                place = _place(number, epoch, index)
                raise StateError(f"DataLoader: StopIteration {place}") from error
            except ChainruleError as error:
                error.add_context(f"DataLoader: {_place(number, epoch, index)}")
                raise
            except Exception as error:
                error.add_note(f"DataLoader: {_place(number, epoch, index)}")
                raise

        self._count = count
        self._fetch = fetch
        self._prefetcher: Prefetcher[Batch] | None = None
        if loader.num_workers and progress.position < count:
            ahead = loader.num_workers * loader.prefetch_factor
            self._prefetcher = Prefetcher(
                fetch, progress.position, count, threads=loader.num_workers, ahead=ahead
            )

    def __next__(self) -> tuple[T, ...]:
        progress = self._progress
        if self._done:
            raise StopIteration
        if progress.position == self._count:
            self.close()
            progress.epoch, progress.position, progress.started = progress.epoch + 1, 0, False
            raise StopIteration
        try:
            if self._prefetcher is None:
                arrays = self._fetch(progress.position)
            else:
                arrays = self._prefetcher.take(progress.position)
            convert = self._convert
            batch = tuple([convert(array) for array in arrays])
        except BaseException:
            self.close()
            raise
        progress.position += 1
        return batch

    def close(self) -> None:
        """End the iteration and its threads."""
        self._done = True
        if self._prefetcher is not None:
            self._prefetcher.close()


def _place(number: int, epoch: int, index: Index) -> str:
    shown = ", ".join(map(str, index[:SHOWN].tolist())) + (", ..." if len(index) > SHOWN else "")
    return f"in batch {number} of epoch {epoch} (examples {shown})"


def _integer(name: str, value: int, *, low: int) -> int:
    try:
        number = low - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = low - 1
    if number < low:
        raise ArgumentError(f"DataLoader: {name} is {value!r}, expected an integer from {low}")
    return number


def _flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"DataLoader: {name} is {value!r}, expected True or False")
    return bool(value)
