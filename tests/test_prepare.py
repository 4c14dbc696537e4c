"""`prepare`: split first, fit on training alone. Oracles: counting, scikit-learn's models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError, DataError
from chainrule.data.examples import Examples, Modality, Source
from chainrule.data.open import open_source
from chainrule.data.pipeline import Pipeline
from chainrule.data.prepare import Task, prepare

Array = NDArray[Any]


def source_of(
    examples: Examples,
    classes: tuple[str, ...] | None = None,
    *,
    test: Examples | None = None,
    modality: Modality | None = None,
) -> Source:
    found: Modality = "table" if isinstance(examples.inputs, dict) else "array"
    kind: Any = "regression" if classes is None else "classification"
    return Source(
        *("demo", "demo.csv", modality or found, kind, examples, test, classes, "goal"),
    )


def table(n: int = 400, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 12, n)
    age[rng.random(n) < 0.1] = np.nan
    columns = {
        "age": age,
        "income": rng.lognormal(10, 1, n),
        "city": rng.choice(["Paris", "Oslo", "Seoul", ""], n, p=[0.5, 0.3, 0.15, 0.05]),
        "same": np.full(n, 7.0),
    }
    return Examples(columns, (age > 40).astype(np.int64), tuple(f"line {i + 2}" for i in range(n)))


def same_fit(a: Task, b: Task) -> bool:
    return a.pipeline.state_dict() == b.pipeline.state_dict() and (
        a.train.inputs.tobytes() == b.train.inputs.tobytes()
    )


def test_prepare_fits_on_training_examples_alone() -> None:
    examples = table()
    source = source_of(examples, ("young", "old"))
    before = prepare(source, seed=3)
    assert isinstance(examples.inputs, dict)
    assert isinstance(before.train.raw.inputs, dict)
    trained = np.isin(examples.inputs["income"], before.train.raw.inputs["income"])
    assert trained.sum() == len(before.train) == 280
    examples.inputs["age"][~trained] = 1e5
    examples.inputs["income"][~trained] *= 1000
    examples.inputs["city"][~trained] = "Rome"
    after = prepare(source, seed=3)
    assert same_fit(before, after)
    examples.inputs["income"][trained] *= 1.001
    assert not same_fit(before, prepare(source, seed=3))


def test_prepare_keeps_the_sets_own_test_part() -> None:
    source = source_of(table(200), ("young", "old"), test=table(50, 1))
    task = prepare(source)
    assert [len(task.train), len(task.valid), len(task.test)] == [180, 20, 50]
    assert task.test.raw is source.test
    assert "180 examples to train, 20 to validate, 50 to test (the set's own)" in task.notes[0]
    assert source.test is not None
    with pytest.raises(ArgumentError, match="fitted on the test examples"):
        Pipeline.fit(source.test, source)


def test_prepare_of_a_large_set_validates_on_five_thousand() -> None:
    examples = Examples(np.random.default_rng(0).random((50_000, 1)), np.arange(50_000) % 2)
    task = prepare(source_of(examples, ("even", "odd")))
    assert [len(task.train), len(task.valid), len(task.test)] == [35_000, 5_000, 10_000]
    task = prepare(source_of(examples, ("even", "odd")), valid=0.1, test=500)
    assert [len(task.train), len(task.valid), len(task.test)] == [44_500, 5_000, 500]


def test_prepare_stratifies_classes_by_default() -> None:
    examples = Examples(np.random.default_rng(0).random((100, 1)), (np.arange(100) < 10) * 1)
    for seed in range(5):
        task = prepare(source_of(examples, ("many", "few")), seed=seed)
        assert [int(part.targets.sum()) for part in (task.train, task.valid, task.test)] == [
            7,
            1,
            2,
        ]
        assert "stratified by class" in task.notes[0]
    counts = {
        int(prepare(source_of(examples, ("m", "f")), seed=s, stratify=False).test.targets.sum())
        for s in range(8)
    }
    assert len(counts) > 1


def test_prepare_gives_a_trainer_what_it_needs() -> None:
    task = prepare(source_of(Examples(np.random.default_rng(0).random((40, 3)), np.arange(40.0))))
    assert task.train.inputs.dtype == task.train.targets.dtype == np.float32
    assert (task.input_shape, task.n_outputs, task.classes) == ((3,), 1, None)
    values = task.pipeline.undo_targets(task.valid.targets)
    assert np.allclose(values, np.asarray(task.valid.raw.targets))
    assert [note.split(":")[0] for note in task.notes] == ["split", "inputs", "target"]


@pytest.mark.parametrize(
    ("examples", "arguments", "text"),
    [
        (table(9), {}, r"^demo\.csv: 9 examples, too few to split"),
        (Examples(np.zeros((20, 2))), {}, r"^demo\.csv: examples without targets"),
        (table(20), {"valid": 0}, "valid is 0, expected a part to choose by"),
        (table(20), {"test": 0.0}, "test is 0, expected a part to judge by"),
        (table(20), {"test": 20}, "leave one for training"),
        (table(20), {"scaling": "standard"}, "unknown scaling"),
    ],
)
def test_prepare_of_what_cannot_be_prepared_says_why(
    examples: Examples, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises((DataError, ArgumentError), match=text):
        prepare(source_of(examples, ("young", "old")), **arguments)


def test_prepare_stratified_without_classes_is_refused() -> None:
    with pytest.raises(ArgumentError, match="stratify=True needs classes"):
        prepare(source_of(Examples(np.zeros((20, 2)), np.zeros(20))), stratify=True)


# -- Real data --------------------------------------------------------------------------------


def test_digits_are_prepared_as_images() -> None:
    pytest.importorskip("sklearn")
    task = prepare(open_source("digits"))
    assert task.train.inputs.shape == (1258, 1, 8, 8)
    assert (len(task.valid), len(task.test), task.n_outputs) == (180, 359, 10)


def test_adult_is_prepared_well_enough_for_a_linear_model(data_dir: Path) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    assert data_dir
    task = prepare(open_source("adult"))
    assert [len(task.train), len(task.valid), len(task.test)] == [29_305, 3_256, 16_281]
    model = linear_model.LogisticRegression(max_iter=60, tol=1e-3)
    model.fit(task.train.inputs, task.train.targets)
    assert model.score(task.test.inputs, task.test.targets) > 0.848


def test_california_housing_is_prepared_with_its_missing_values(data_dir: Path) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    assert data_dir
    task = prepare(open_source("california-housing"))
    assert "total_bedrooms (missing)" in task.pipeline.features
    model = linear_model.LinearRegression().fit(task.train.inputs, task.train.targets)
    assert model.score(task.test.inputs, task.test.targets) > 0.6
