"""Metrics against scikit-learn: any cut into batches gives the value over the whole set."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule
from chainrule.core.errors import (
    ArgumentError,
    DataError,
    DTypeError,
    IndexRangeError,
    ShapeError,
)
from chainrule.train.metrics import (
    R2,
    Accuracy,
    BalancedAccuracy,
    ClassReport,
    ConfusionMatrix,
    MacroF1,
    MeanAbsoluteError,
    MetricSet,
    RootMeanSquaredError,
    TopK,
    metric_by_name,
)

sklearn = pytest.importorskip("sklearn.metrics", reason="the extra 'full' is not installed")

K = 4


def run(metric: Any, output: np.ndarray, target: np.ndarray, cuts: list[int]) -> Any:
    """Update with batches that end at the given places, going on from a saved state each time."""
    for part_output, part_target in zip(
        np.split(output, sorted(cuts)), np.split(target, sorted(cuts)), strict=True
    ):
        if len(part_output):
            metric.update(chainrule.tensor(part_output), chainrule.tensor(part_target))
        state = metric.state_dict()
        metric.reset()
        metric.load_state_dict(state)
    return metric.compute()


cuts_of = st.lists(st.integers(0, 60), max_size=5)
seeds = st.integers(0, 2**32 - 1)


def classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(60, K)).astype(np.float32)
    # Some classes may not occur.
    return logits, rng.choice(rng.integers(0, K, 3), 60)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, cuts=cuts_of)
def test_class_metrics_equal_sklearn_however_cut(seed: int, cuts: list[int]) -> None:
    logits, target = classes(seed)
    predicted = logits.argmax(1)
    assert run(Accuracy(), logits, target, cuts) == sklearn.accuracy_score(target, predicted)
    matrix = sklearn.confusion_matrix(target, predicted, labels=range(K))
    assert run(ConfusionMatrix(), logits, target, cuts) == matrix.tolist()
    f1 = sklearn.f1_score(target, predicted, average="macro", zero_division=0)
    assert run(MacroF1(), logits, target, cuts) == pytest.approx(f1, rel=1e-14)
    balanced = sklearn.recall_score(
        target, predicted, labels=np.unique(target), average="macro", zero_division=0
    )
    assert run(BalancedAccuracy(), logits, target, cuts) == pytest.approx(balanced, rel=1e-14)
    report = run(ClassReport(), logits, target, cuts)
    scores = sklearn.precision_recall_fscore_support(
        target, predicted, labels=range(K), zero_division=0
    )
    for name, expected in zip(("precision", "recall", "f1", "support"), scores, strict=True):
        assert report[name] == pytest.approx(expected.tolist(), rel=1e-14), name
    for k in (1, 2, 3):
        top = sklearn.top_k_accuracy_score(target, logits, k=k, labels=range(K))
        assert run(TopK(k), logits, target, cuts) == top
    assert run(TopK(K), logits, target, cuts) == 1.0


@settings(max_examples=30, deadline=None)
@given(seed=seeds, cuts=cuts_of, columns=st.integers(1, 3), mean=st.sampled_from([0.0, 1e6]))
def test_regression_metrics_equal_sklearn_however_cut(
    seed: int, cuts: list[int], columns: int, mean: float
) -> None:
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(60, columns)) + mean
    predicted = true + rng.normal(size=(60, columns)) * 0.5
    mae = sklearn.mean_absolute_error(true, predicted)
    assert run(MeanAbsoluteError(), predicted, true, cuts) == pytest.approx(mae, rel=1e-12)
    rmse = math.sqrt(sklearn.mean_squared_error(true, predicted))
    assert run(RootMeanSquaredError(), predicted, true, cuts) == pytest.approx(rmse, rel=1e-12)
    r2 = sklearn.r2_score(true, predicted)
    assert run(R2(), predicted, true, cuts) == pytest.approx(r2, rel=1e-8 if mean else 1e-12)


def test_r2_keeps_its_digits_where_the_textbook_formula_loses_them() -> None:
    rng = np.random.default_rng(0)
    true = 1e9 + rng.normal(size=1000)
    predicted = true + 0.1 * rng.normal(size=1000)
    metric = R2()
    for i in range(0, 1000, 7):
        metric.update(predicted[i : i + 7], true[i : i + 7])
    assert metric.compute() == pytest.approx(sklearn.r2_score(true, predicted), abs=1e-6)


def test_r2_is_nan_where_it_is_undefined() -> None:
    metric = R2()
    assert math.isnan(metric.compute())
    metric.update([1.0], [2.0])
    assert math.isnan(metric.compute())
    metric.update([1.0, 3.0], [2.0, 2.0])
    assert math.isnan(metric.compute())


@pytest.mark.parametrize("shape", [(50,), (50, 1)])
def test_accuracy_of_one_logit_an_example_equals_sklearn(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    logits, target = rng.normal(size=50), rng.integers(0, 2, 50)
    metric = Accuracy()
    metric.update(logits.reshape(shape), target.astype(np.float32).reshape(shape))
    assert metric.compute() == sklearn.accuracy_score(target, logits > 0)
    matrix = ConfusionMatrix()
    matrix.update(logits.reshape(shape), target)
    assert matrix.compute() == sklearn.confusion_matrix(target, logits > 0).tolist()


def test_accuracy_takes_probabilities_as_targets() -> None:
    rng = np.random.default_rng(2)
    logits, soft = rng.normal(size=(40, 3)), rng.dirichlet(np.ones(3), 40)
    metric = Accuracy()
    metric.update(logits, soft)
    assert metric.compute() == sklearn.accuracy_score(soft.argmax(1), logits.argmax(1))


def test_accuracy_counts_every_pixel_of_a_segmentation() -> None:
    rng = np.random.default_rng(3)
    logits, target = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    metric = Accuracy()
    metric.update(logits, target)
    assert metric.compute() == (logits.argmax(1) == target).mean()


def test_ignored_targets_are_left_out() -> None:
    logits, target = classes(5)
    ignored = target.copy()
    ignored[::3] = -100
    kept = ignored != -100
    for metric in (Accuracy(), MacroF1(), TopK(2)):
        metric.update(logits, ignored)
        expected = type(metric)(2) if isinstance(metric, TopK) else type(metric)()
        expected.update(logits[kept], target[kept])
        assert metric.compute() == expected.compute()


def test_logits_with_nan_count_as_wrong() -> None:
    logits, target = np.eye(3)[[0, 1, 2]], np.array([0, 1, 2])
    logits[1, 2] = np.nan
    for metric in (Accuracy(), TopK(2)):
        metric.update(logits, target)
        assert metric.compute() == pytest.approx(2 / 3)
    matrix = ConfusionMatrix()
    matrix.update(logits, target)
    assert matrix.compute() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert matrix.unanswered.tolist() == [0, 1, 0]
    assert matrix.scores().recall.tolist() == [1.0, 0.0, 1.0]


def test_of_equal_logits_the_lower_class_ranks_first() -> None:
    metric = TopK(1)
    metric.update(np.zeros((3, 3)), np.array([0, 1, 2]))
    assert metric.compute() == pytest.approx(1 / 3)


def test_half_precision_outputs_are_measured() -> None:
    for dtype in ("float16", "bfloat16"):
        metric = MeanAbsoluteError()
        metric.update(chainrule.tensor([1.0, 2.0], dtype=dtype), chainrule.tensor([1.0, 4.0]))
        assert metric.compute() == 1.0


def test_metrics_are_nan_before_the_first_batch() -> None:
    for name in ("accuracy", "f1", "balanced_accuracy", "mae", "rmse", "r2", "top3"):
        assert math.isnan(metric_by_name(name).compute()), name
    assert ConfusionMatrix().compute() == []


@pytest.mark.parametrize(
    ("metric", "output", "target", "error", "text"),
    [
        (MeanAbsoluteError(), np.zeros((3, 1)), np.zeros((3, 2)), ShapeError, "need equal shapes"),
        (MeanAbsoluteError(), np.zeros((3, 3)), np.zeros(3), ShapeError, "[3, 3]"),
        (Accuracy(), np.zeros((3, 2)), np.zeros(4, int), ShapeError, "need class indices [3]"),
        (Accuracy(), np.zeros((3, 2)), np.zeros(3), DTypeError, "float64"),
        (Accuracy(), np.zeros((2, 2)), np.array([0, 2]), IndexRangeError, "class index 2"),
        (Accuracy(), np.zeros((2, 2)), np.array([0, -1]), IndexRangeError, "class index -1"),
        (Accuracy(), np.zeros((2, 1)), np.array([0, 3]), IndexRangeError, "target 3"),
        (TopK(5), np.zeros(3), np.zeros(3, int), ShapeError, "top5"),
    ],
)
def test_misfits_are_explained(
    metric: Any, output: np.ndarray, target: np.ndarray, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=r"^" + metric.name) as caught:
        metric.update(output, target)
    assert text in str(caught.value)


def test_names_are_checked() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'accuracy'"):
        MetricSet(["acuracy"])
    with pytest.raises(ArgumentError, match="is used twice"):
        MetricSet(["accuracy", "accuracy"])
    with pytest.raises(ArgumentError, match="that of another column"):
        MetricSet({"loss": "mae"})
    with pytest.raises(ArgumentError, match=r"pass an object: Accuracy\(\)"):
        MetricSet([Accuracy])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="watch="):
        MetricSet([len])  # type: ignore[list-item]
    assert MetricSet({"top": "top5", "a": Accuracy()}).names == ("top", "a")


def test_a_metric_of_the_users_own_is_taken() -> None:
    class Count:
        def __init__(self) -> None:
            self.n = 0

        def update(self, output: Any, target: Any) -> None:
            self.n += len(output)

        def compute(self) -> int:
            return self.n

        def reset(self) -> None:
            self.n = 0

        def state_dict(self) -> dict[str, Any]:
            return {"n": self.n}

        def load_state_dict(self, state: Any) -> None:
            self.n = state["n"]

    metrics = MetricSet([Count()])
    metrics.update(np.zeros(3), np.zeros(3))
    assert metrics.compute() == {"Count": 3}


def test_a_damaged_state_is_refused() -> None:
    for state in ([1], {"right": "x"}, {"right": {"a": 1}}):
        with pytest.raises(DataError):
            Accuracy().load_state_dict(state)
    with pytest.raises(DataError, match="holds the metrics"):
        MetricSet(["mae"]).load_state_dict({"r2": {}}, "last.json")
    with pytest.raises(DataError, match="r2"):
        R2().load_state_dict({"count": np.array(1.0)})
