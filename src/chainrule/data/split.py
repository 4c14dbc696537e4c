"""Split: which examples train, which choose the model, which judge it.

Takes: the number of examples, and where known their classes, groups or times.
Gives: index arrays that are disjoint, complete, sorted, and the same on every machine.
The one idea: fix the size of every part first, in exact integers; chance only decides who goes
where. Groups never straddle two parts, and in a split by time the future never trains.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.core.errors import ArgumentError, ShapeError
from chainrule.data.order import FOLD, SPLIT, Index, permutation

__all__ = ["Fold", "SplitIndex", "kfold", "train_valid_test_split"]

TRAIN, VALID, TEST = range(3)


class SplitIndex(NamedTuple):
    """Sorted indices of the examples of each part; together each of 0 ... n-1 once."""

    train: Index
    valid: Index
    test: Index


class Fold(NamedTuple):
    """One fold of cross-validation: sorted indices to train on and to validate on."""

    train: Index
    valid: Index


def train_valid_test_split(
    n: int,
    *,
    valid: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    stratify: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    time: ArrayLike | None = None,
) -> SplitIndex:
    """Divide n examples into training, validation and test.

    At random by default. With ``stratify``, each part holds each class's exact share, rounded up
    or down (controlled rounding of a two-way table; Bacharach 1966); but a class so small that
    less than one example would fall to training gives one to training first. With ``groups``,
    a group lies whole in one part and the sizes are met as nearly as the groups allow (with
    ``stratify`` too, also the classes). With ``time``, training comes before validation, and
    validation before test; examples of the same time stay together.

    Args:
        n: Number of examples.
        valid: Validation part: a fraction (float, below 1) or a number of examples (int).
            0 means no such part; a fraction above 0 gets at least one example.
        test: Test part, likewise.
        seed: Integer from 0; the same seed gives the same split everywhere.
        stratify: [n] class labels.
        groups: [n] labels of what belongs together (a patient, an author).
        time: [n] numbers, datetime64 or sortable text such as ISO dates; no chance involved.

    Returns:
        Three sorted index arrays.

    Raises:
        ArgumentError: A size, or the combination of arguments, makes no sense; there are too few
            examples, groups or different times to fill every part.
        ShapeError: Labels are not of shape [n].

    Example:
        >>> split = train_valid_test_split(10, stratify=list("aaaaaaaabb"), test=0.2, valid=0)
        >>> len(split.train), len(split.valid), len(split.test)
        (8, 0, 2)
    """
    n = _count("n", n)
    if time is not None:
        if stratify is not None or groups is not None:
            raise ArgumentError("a split by time cannot also be stratified or grouped")
        return _split_by_time(_labels("time", time, n), _sizes(n, valid, test))
    label = _codes("stratify", stratify, n)
    if groups is not None:
        sizes = _sizes(n, valid, test)
        part = _assign_groups(_codes("groups", groups, n), label, sizes, seed, SPLIT)
    else:
        table = _stratified_table(np.bincount(label, minlength=1), valid, test)
        part = np.empty(n, dtype=np.int64)
        # Columns of the table: set aside for training, then the three parts.
        parts = np.tile([TRAIN, TRAIN, VALID, TEST], len(table))
        part[_class_order(label, seed, SPLIT)] = np.repeat(parts, table.ravel())
    return SplitIndex(*(np.flatnonzero(part == p) for p in (TRAIN, VALID, TEST)))


def kfold(
    n: int,
    k: int,
    *,
    seed: int = 0,
    stratify: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> list[Fold]:
    """Divide n examples into k folds; each validates once while the others train.

    Without groups, fold sizes differ by at most one, and with ``stratify`` so do the numbers of
    each class in the folds (a class with fewer than k examples is absent from some of them, and
    one with a single example is in no training part of its own fold).

    Args:
        n: Number of examples.
        k: Number of folds, from 2 to n.
        seed: Integer from 0; the same seed gives the same folds everywhere.
        stratify: [n] class labels.
        groups: [n] labels of what belongs together; a group lies whole in one fold.

    Returns:
        k folds of sorted index arrays.

    Raises:
        ArgumentError: k is out of range, or there are fewer groups than folds.
        ShapeError: Labels are not of shape [n].

    Example:
        >>> [fold.valid.size for fold in kfold(10, 3)]
        [4, 3, 3]
    """
    n, k = _count("n", n), _count("k", k)
    if not 2 <= k <= n:
        raise ArgumentError(f"k is {k}, expected from 2 to the number of examples, {n}")
    label = _codes("stratify", stratify, n)
    if groups is not None:
        sizes = [n // k + (fold < n % k) for fold in range(k)]
        part = _assign_groups(_codes("groups", groups, n), label, sizes, seed, FOLD)
    else:
        part = np.empty(n, dtype=np.int64)
        # Dealt out like cards, class after class: no fold gets two more than another.
        part[_class_order(label, seed, FOLD)] = np.arange(n) % k
    return [Fold(np.flatnonzero(part != p), np.flatnonzero(part == p)) for p in range(k)]


def _count(name: str, value: int) -> int:
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise ArgumentError(f"{name} is {value!r}, expected an integer from 0")
    return number


def _labels(name: str, values: ArrayLike, n: int) -> NDArray[np.generic]:
    array = np.asarray(values)
    if array.shape != (n,):
        raise ShapeError(f"{name} has shape {array.shape}, expected ({n},): one label an example")
    if array.dtype.kind not in "biufmMUS":
        raise ArgumentError(
            f"{name} has elements of type {array.dtype}, expected numbers, text or datetime64",
            hint=f"np.array({name}, dtype=str), or dtype='datetime64[s]' for times",
        )
    missing = np.isnan(array) if array.dtype.kind in "fmM" else np.zeros(n, dtype=bool)
    if missing.any():
        first = int(np.argmax(missing))
        raise ArgumentError(f"{name}[{first}] is {array[first]}, expected a label")
    return array


def _codes(name: str, values: ArrayLike | None, n: int) -> Index:
    """Number the different labels from 0; without labels all examples are of one class."""
    if values is None:
        return np.zeros(n, dtype=np.int64)
    codes: Index = np.unique(_labels(name, values, n), return_inverse=True)[1].astype(np.int64)
    return codes


def _sizes(n: int, valid: float, test: float, *, set_aside: int = 0) -> list[int]:
    """Return the sizes of training, validation and test among n examples."""
    sizes = [0, 0, 0]
    for part, name, wanted in ((VALID, "valid", valid), (TEST, "test", test)):
        if isinstance(wanted, float | np.floating):
            if not 0 <= wanted < 1:
                raise ArgumentError(
                    f"{name} is {wanted}, expected a fraction from 0 and below 1",
                    hint=f"{name}={int(wanted)} for a number of examples" if wanted >= 1 else "",
                )
            sizes[part] = max(math.floor(n * float(wanted) + 0.5), int(wanted > 0))
        else:
            sizes[part] = _count(name, wanted)
    sizes[TRAIN] = n - sizes[VALID] - sizes[TEST]
    if sizes[TRAIN] < 1 and not (set_aside and sizes[TRAIN] == 0):
        aside = f" ({set_aside} more, rare in their class, must train)" if set_aside else ""
        raise ArgumentError(
            f"{n} examples{aside} cannot give {sizes[VALID]} to validation and {sizes[TEST]} "
            "to test and leave one for training",
            hint="more examples, or smaller parts: valid=0 or test=0 leaves one out",
        )
    return sizes


def _class_order(label: Index, seed: int, purpose: int) -> Index:
    """Return the examples class after class, in random order within each."""
    order = permutation(len(label), seed=seed, purpose=purpose)
    result: Index = order[np.argsort(label[order], kind="stable")]
    return result


def _stratified_table(counts: Index, valid: float, test: float) -> Index:
    """Return [K, 4]: how many of each class are set aside for training, train, validate, test."""
    aside = np.zeros(len(counts), dtype=np.int64)
    while True:
        rest = counts - aside
        total = int(rest.sum())
        sizes = _sizes(total, valid, test, set_aside=int(aside.sum()))
        needy = (aside == 0) & (counts * sizes[TRAIN] < total)
        if len(counts) == 1 or not needy.any():
            return np.column_stack([aside, _share(rest, np.array(sizes))])
        aside += needy


def _share(rows: Index, columns: Index) -> Index:
    """Return a table with these sums whose entries are rows * columns / total, up or down.

    Such a table exists for every two-way table. Start with the right row sums, then carry units
    from columns with too many to columns with too few; with three columns a way that exists
    leads there directly or through the third.
    """
    total = max(int(columns.sum()), 1)
    exact = np.multiply.outer(rows, columns)
    table, rest = exact // total, exact % total
    ups = (rest.sum(axis=1) // total)[:, None]
    rank = np.argsort(np.argsort(-rest, axis=1, kind="stable"), axis=1, kind="stable")
    up = rank < ups
    while True:
        surplus = (table + up).sum(axis=0) - columns
        if not surplus.any():
            result: Index = table + up
            return result
        start, end = int(np.argmax(surplus)), int(np.argmin(surplus))
        third = 3 - start - end
        if not _carry(up, rest, start, end):
            _carry(up, rest, start, third)
            _carry(up, rest, third, end)


def _carry(up: NDArray[np.bool_], rest: Index, start: int, end: int) -> bool:
    """Round one row down in column ``start`` and up in ``end``; return whether one could be."""
    rows = np.flatnonzero(up[:, start] & ~up[:, end] & (rest[:, end] > 0))
    if not len(rows):
        return False
    row = rows[np.argmin(rest[rows, start] - rest[rows, end])]
    up[row, start], up[row, end] = False, True
    return True


def _assign_groups(
    group: Index, label: Index, sizes: Sequence[int], seed: int, purpose: int
) -> Index:
    """Return the part of each example such that no group is divided.

    Each group in turn goes to the part that lacks most of what the group holds. Groups larger
    than the smallest part come first, the largest leading, as they fit in few places; the others
    come in random order. Integer arithmetic: the same result everywhere.
    """
    wanted = [part for part, size in enumerate(sizes) if size]
    n_groups = int(group.max(initial=-1)) + 1
    if n_groups < len(wanted):
        raise ArgumentError(f"{n_groups} groups cannot fill {len(wanted)} parts")
    counts = np.bincount(label, minlength=1)
    lacks = (np.multiply.outer(np.array(sizes), counts) // max(len(label), 1)).tolist()
    weights = (len(label) // counts).tolist()  # a rare class weighs as much as a frequent one
    content = _group_content(group, label, n_groups, len(counts))
    group_sizes = np.bincount(group, minlength=n_groups)
    order = permutation(n_groups, seed=seed, purpose=purpose)
    giant = group_sizes[order] > min(sizes[part] for part in wanted)
    giants = order[giant]
    giants = giants[np.argsort(-group_sizes[giants], kind="stable")]
    part_of = np.empty(n_groups, dtype=np.int64)
    empty = set(wanted)
    for done, chosen in enumerate([*giants.tolist(), *order[~giant].tolist()]):
        # The last groups are kept for parts that would otherwise stay empty.
        open_parts = sorted(empty) if n_groups - done <= len(empty) else wanted
        scores = [
            sum(weights[c] * count * lacks[part][c] for c, count in content[chosen])
            for part in open_parts
        ]
        best = open_parts[scores.index(max(scores))]
        part_of[chosen] = best
        empty.discard(best)
        for c, count in content[chosen]:
            lacks[best][c] -= count
    parts: Index = part_of[group]
    return parts


def _group_content(
    group: Index, label: Index, n_groups: int, n_classes: int
) -> list[list[tuple[int, int]]]:
    """Return (class, how many) for each group."""
    pairs, counts = np.unique(group * n_classes + label, return_counts=True)
    content: list[list[tuple[int, int]]] = [[] for _ in range(n_groups)]
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        content[pair // n_classes].append((pair % n_classes, count))
    return content


def _split_by_time(time: NDArray[np.generic], sizes: Sequence[int]) -> SplitIndex:
    order = np.argsort(time, kind="stable")
    ordered = time[order]
    # Places where the time changes: only there may a part end.
    cuts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    wanted = [size for size in sizes if size]
    if len(cuts) + 1 < len(wanted):
        raise ArgumentError(
            f"time has {len(cuts) + 1} different values, which cannot fill {len(wanted)} parts"
        )
    ends = [0, 0, 0]
    last = 0
    target = 0
    for part, size in enumerate(sizes):
        target += size
        later = sum(1 for other in sizes[part + 1 :] if other)
        if size and later:
            usable = cuts[np.searchsorted(cuts, last, side="right") : len(cuts) - later + 1]
            last = int(usable[np.argmin(np.abs(usable - target))])
        elif size:
            last = len(order)
        ends[part] = last
    starts = [0, *ends[:-1]]
    return SplitIndex(*(np.sort(order[a:b]) for a, b in zip(starts, ends, strict=True)))
