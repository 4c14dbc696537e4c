"""Splitting: properties on generated sizes, labels, groups and times; oracle: exact counting."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError, ChainruleError, ShapeError
from chainrule.data.order import EPOCH, SPLIT, permutation
from chainrule.data.split import SplitIndex, kfold, train_valid_test_split

Labels = NDArray[np.int64]

FRACTIONS = st.sampled_from([0.05, 0.1, 0.15, 0.2, 0.25, 1 / 3, 0.4])


def label_lists(sizes: list[int]) -> st.SearchStrategy[Labels]:
    """Labels of up to six classes of these sizes, in any order."""
    counts = st.lists(st.sampled_from(sizes), min_size=1, max_size=6)

    @st.composite
    def build(draw: st.DrawFn) -> Labels:
        sizes = draw(counts)
        labels = np.repeat(np.arange(len(sizes)), sizes)
        order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(labels))
        return labels[order]

    return build()


def check_partition(parts: SplitIndex, n: int) -> None:
    joined = np.concatenate(parts)
    assert np.array_equal(np.sort(joined), np.arange(n))
    assert all(part.dtype == np.int64 for part in parts)
    assert all((np.diff(part) > 0).all() for part in parts)


@given(n=st.integers(3, 500), valid=FRACTIONS, test=FRACTIONS, seed=st.integers(0, 2**64 - 1))
def test_split_at_random_is_complete_and_of_the_asked_sizes(
    n: int, valid: float, test: float, seed: int
) -> None:
    parts = train_valid_test_split(n, valid=valid, test=test, seed=seed)
    check_partition(parts, n)
    assert abs(len(parts.valid) - n * valid) <= 1
    assert abs(len(parts.test) - n * test) <= 1
    assert min(map(len, parts)) >= 1
    again = train_valid_test_split(n, valid=valid, test=test, seed=seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_split_with_numbers_of_examples_gives_exactly_these() -> None:
    parts = train_valid_test_split(100, valid=7, test=0)
    assert [len(part) for part in parts] == [93, 7, 0]


def test_split_with_another_seed_differs() -> None:
    splits = [train_valid_test_split(200, seed=seed).test.tolist() for seed in range(20)]
    assert len({tuple(split) for split in splits}) == 20


def test_split_is_the_same_on_every_machine() -> None:
    """Written down once; a change would move examples of existing runs between the parts."""
    parts = train_valid_test_split(12, seed=7, stratify=[0, 1] * 6)
    assert [part.tolist() for part in parts] == [[0, 1, 3, 4, 5, 6, 7, 8, 11], [10], [2, 9]]
    assert permutation(8, seed=2**64 - 1, purpose=EPOCH, number=3).tolist() == [
        5,
        4,
        6,
        0,
        1,
        2,
        3,
        7,
    ]


@settings(max_examples=200)
@given(labels=label_lists([5, 6, 8, 13, 40]), valid=FRACTIONS, test=FRACTIONS, seed=st.integers(0))
def test_split_stratified_gives_each_class_its_share_up_or_down(
    labels: Labels, valid: float, test: float, seed: int
) -> None:
    n, counts = len(labels), np.bincount(labels)
    parts = train_valid_test_split(n, valid=valid, test=test, seed=seed % 2**64, stratify=labels)
    check_partition(parts, n)
    for part in parts:
        found = np.bincount(labels[part], minlength=len(counts))
        for c, count in enumerate(counts.tolist()):
            assert abs(int(found[c]) - Fraction(count * len(part), n)) < 1


@settings(max_examples=200)
@given(labels=label_lists([1, 2, 3, 40]), valid=FRACTIONS, test=FRACTIONS)
def test_split_stratified_with_rare_classes_trains_on_all_of_them(
    labels: Labels, valid: float, test: float
) -> None:
    n, counts = len(labels), np.bincount(labels)
    try:
        parts = train_valid_test_split(n, valid=valid, test=test, stratify=labels)
    except ArgumentError:
        # Too little remains once rare classes have given to training.
        assert n - len(counts) < 3
        return
    check_partition(parts, n)
    train, valid_counts, test_counts = (
        np.bincount(labels[part], minlength=len(counts)) for part in parts
    )
    assert (train >= 1).all()
    for c in np.flatnonzero(counts == 40):
        assert abs(valid_counts[c] - 40 * valid) < 2
        assert abs(test_counts[c] - 40 * test) < 2


def test_split_stratified_with_one_example_of_a_class_trains_on_it() -> None:
    for seed in range(10):
        parts = train_valid_test_split(50, seed=seed, stratify=np.arange(50) == 17)
        assert 17 in parts.train


def test_split_stratified_with_text_labels_and_many_classes_is_exact() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([f"class {c}" for c in rng.zipf(1.5, 20_000).clip(max=400)])
    parts = train_valid_test_split(len(labels), stratify=labels)
    check_partition(parts, len(labels))
    names, counts = np.unique(labels, return_counts=True)
    for name, count in zip(names, counts, strict=True):
        if count >= 20:
            share = [np.count_nonzero(labels[part] == name) / count for part in parts]
            assert np.abs(np.array(share) - [0.7, 0.1, 0.2]).max() * count <= 2.1


def group_lists() -> st.SearchStrategy[Labels]:
    return st.lists(st.integers(0, 12), min_size=3, max_size=120).map(np.array)


@settings(max_examples=200)
@given(groups=group_lists(), seed=st.integers(0, 5), strata=st.booleans())
def test_split_grouped_never_divides_a_group(groups: Labels, seed: int, strata: bool) -> None:
    n = len(groups)
    labels = np.arange(n) % 3 if strata else None
    if len(set(groups.tolist())) < 3:
        with pytest.raises(ArgumentError, match="groups cannot fill 3 parts"):
            train_valid_test_split(n, groups=groups, seed=seed, stratify=labels)
        return
    parts = train_valid_test_split(n, groups=groups, seed=seed, stratify=labels)
    check_partition(parts, n)
    owners = [set(groups[part].tolist()) for part in parts]
    assert all(owners)
    assert sum(map(len, owners)) == len(set(groups.tolist()))


def test_split_grouped_meets_sizes_as_nearly_as_groups_allow() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 300, 3000)
    largest = int(np.bincount(groups).max())
    labels = rng.integers(0, 5, 3000)
    for stratify in (None, labels):
        parts = train_valid_test_split(3000, groups=groups, stratify=stratify)
        for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
            assert abs(len(part) - 3000 * share) <= largest
    for part, share in zip(parts, (0.7, 0.1, 0.2), strict=True):
        assert np.abs(np.bincount(labels[part]) - np.bincount(labels) * share).max() <= largest


def test_split_grouped_with_a_giant_keeps_it_in_training() -> None:
    groups = np.array(["giant"] * 90 + [f"g{i}" for i in range(10)])
    for seed in range(5):
        parts = train_valid_test_split(100, groups=groups, seed=seed)
        assert set(range(90)) <= set(parts.train.tolist())


@given(
    time=st.lists(st.integers(0, 30), min_size=3, max_size=80).map(np.array),
    valid=FRACTIONS,
    test=FRACTIONS,
)
def test_split_by_time_never_trains_on_the_future(time: Labels, valid: float, test: float) -> None:
    assume(len(time) >= 8)
    if len(set(time.tolist())) < 3:
        with pytest.raises(ArgumentError, match="different values"):
            train_valid_test_split(len(time), valid=valid, test=test, time=time)
        return
    parts = train_valid_test_split(len(time), valid=valid, test=test, time=time)
    check_partition(parts, len(time))
    assert min(map(len, parts)) >= 1
    assert time[parts.train].max() < time[parts.valid].min()
    assert time[parts.valid].max() < time[parts.test].min()


def test_split_by_time_with_distinct_times_has_the_asked_sizes() -> None:
    days = np.datetime64("2026-01-01") + np.arange(100)
    shuffled = np.random.default_rng(0).permutation(100)
    parts = train_valid_test_split(100, time=days[shuffled])
    assert [len(part) for part in parts] == [70, 10, 20]
    as_text = train_valid_test_split(100, time=days[shuffled].astype(str))
    assert all(np.array_equal(a, b) for a, b in zip(parts, as_text, strict=True))
    without = train_valid_test_split(100, time=days[shuffled], valid=0)
    assert [len(part) for part in without] == [80, 0, 20]


@settings(max_examples=150)
@given(labels=label_lists([1, 2, 5, 8, 40]), k=st.integers(2, 7), seed=st.integers(0, 5))
def test_kfold_stratified_is_even_in_sizes_and_classes(labels: Labels, k: int, seed: int) -> None:
    n = len(labels)
    assume(k <= n)
    folds = kfold(n, k, seed=seed, stratify=labels)
    assert np.array_equal(np.sort(np.concatenate([f.valid for f in folds])), np.arange(n))
    for fold in folds:
        assert np.array_equal(np.sort(np.concatenate(fold)), np.arange(n))
    sizes = [len(fold.valid) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    table = np.array([np.bincount(labels[f.valid], minlength=labels.max() + 1) for f in folds])
    assert (table.max(axis=0) - table.min(axis=0) <= 1).all()


@given(groups=group_lists(), k=st.integers(2, 6), seed=st.integers(0, 5))
def test_kfold_grouped_never_divides_a_group(groups: Labels, k: int, seed: int) -> None:
    n = len(groups)
    assume(k <= n)
    if len(set(groups.tolist())) < k:
        with pytest.raises(ArgumentError, match="groups cannot fill"):
            kfold(n, k, groups=groups, seed=seed)
        return
    for fold in kfold(n, k, groups=groups, seed=seed, stratify=np.arange(n) % 2):
        assert len(fold.train)
        assert len(fold.valid)
        assert not set(groups[fold.train].tolist()) & set(groups[fold.valid].tolist())


def test_kfold_grouped_balances_as_well_as_scikit_learn() -> None:
    model_selection = pytest.importorskip("sklearn.model_selection")
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 200, 4000)
    labels = (rng.random(200) < 0.3)[groups] ^ (rng.random(4000) < 0.1)

    def spread(folds: list[NDArray[np.int64]]) -> float:
        return float(np.ptp([labels[fold].mean() for fold in folds]))

    ours = [f.valid for f in kfold(4000, 5, groups=groups, stratify=labels)]
    peer = model_selection.StratifiedGroupKFold(5)
    theirs = [fold for _, fold in peer.split(labels, labels, groups)]
    assert spread(ours) <= spread(theirs) + 0.02
    assert max(map(len, ours)) - min(map(len, ours)) <= 100


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n": 2}, "2 examples cannot give 1 to validation and 1 to test"),
        ({"n": 0}, "0 examples"),
        ({"n": -1}, "n is -1"),
        ({"n": 10, "valid": 1.0}, "valid is 1.0, expected a fraction"),
        ({"n": 10, "valid": -0.1}, "valid is -0.1"),
        ({"n": 10, "test": float("nan")}, "test is nan"),
        ({"n": 10, "test": 10}, "leave one for training"),
        ({"n": 10, "test": True}, "test is True"),
        ({"n": 10, "seed": -1}, "seed is -1"),
        ({"n": 10, "seed": 1.5}, "seed is 1.5"),
        ({"n": 10, "stratify": range(9)}, r"stratify has shape \(9,\)"),
        ({"n": 3, "stratify": [0.5, float("nan"), 1]}, r"stratify\[1\] is nan"),
        ({"n": 10, "stratify": range(10)}, "rare in their class"),
        ({"n": 10, "time": range(10), "groups": range(10)}, "by time cannot also be"),
        ({"n": 10, "time": [None] * 10}, "elements of type object"),
    ],
)
def test_split_with_impossible_arguments_says_why(arguments: dict, text: str) -> None:
    with pytest.raises(ChainruleError, match=text):
        train_valid_test_split(**arguments)


@pytest.mark.parametrize("k", [0, 1, 11, 2.5, True])
def test_kfold_with_k_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(ArgumentError, match="k is"):
        kfold(10, k)


def test_kfold_with_labels_of_another_length_is_refused() -> None:
    with pytest.raises(ShapeError, match="groups has shape"):
        kfold(10, 2, groups=[1, 2])


@given(n=st.integers(0, 300), seed=st.integers(0, 2**64 - 1), number=st.integers(0, 2**20))
def test_permutation_holds_each_number_once(n: int, seed: int, number: int) -> None:
    order = permutation(n, seed=seed, purpose=SPLIT, number=number)
    assert np.array_equal(np.sort(order), np.arange(n))


def test_permutation_is_uniform() -> None:
    """All 24 orders of four come equally often: chi-square, 23 degrees, p = 1e-6 at 72."""
    stats = pytest.importorskip("scipy.stats")
    orders = [tuple(permutation(4, seed=1, purpose=EPOCH, number=i).tolist()) for i in range(4800)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-6
