"""Encoding, targets and pipelines: fitting, reading back. Oracles: NumPy, scikit-learn."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from chainrule.core.errors import DataError, ShapeError
from chainrule.data.encoders import TableEncoder
from chainrule.data.examples import Examples, Modality, Source
from chainrule.data.pipeline import Pipeline

Array = NDArray[Any]

MODERATE = st.floats(-1e6, 1e6, allow_subnormal=False)


def as_json(state: dict[str, Any]) -> Any:
    return json.loads(json.dumps(state, allow_nan=False))


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


# -- Tables -----------------------------------------------------------------------------------


def test_table_agrees_with_scikit_learn() -> None:
    compose = pytest.importorskip("sklearn.compose")
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = table().inputs
    assert isinstance(columns, dict)
    ours = TableEncoder.fit(columns)[0].apply(columns)
    numbers = np.column_stack([columns["age"], columns["income"]])
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    cities = OneHotEncoder(sparse_output=False).fit_transform(columns["city"][:, None])
    scaled_numbers = scaled.fit_transform(numbers)
    expected = np.column_stack(
        [scaled_numbers[:, 0], np.isnan(columns["age"]), scaled_numbers[:, 1], cities]
    )
    assert compose is not None
    assert np.allclose(ours, expected, rtol=1e-6, atol=1e-6)


def test_table_names_its_features_and_every_choice() -> None:
    columns = table().inputs
    assert isinstance(columns, dict)
    columns["id"] = np.array([f"id{i}" for i in range(400)])
    columns["empty"] = np.full(400, np.nan)
    encoder, notes = TableEncoder.fit(columns)
    assert encoder.features == (
        *("age", "age (missing)", "income"),
        *("city=(missing)", "city=Oslo", "city=Paris", "city=Seoul"),
    )
    missing = int(np.isnan(columns["age"]).sum())
    assert notes == (
        "numeric columns (2): minus the training mean, divided by the training standard deviation",
        f"column 'age': {missing} missing values of training filled with the median "
        f"{np.nanmedian(columns['age']):g}, and marked in a feature of their own",
        "categorical columns (1): one-hot, 4 features",
        "column 'same': ignored, as all its values are equal",
        "column 'id': ignored, as none of its 400 values recurs",
        "column 'empty': ignored, as it has no value in training",
    )


def one_category(values: list[str]) -> TableEncoder:
    return TableEncoder.fit({"c": np.array(values)})[0]


def test_category_rare_unknown_and_missing_share_a_feature() -> None:
    encoder = one_category(["a"] * 5 + ["b"] * 5 + ["rare", "seldom"])
    assert encoder.features == ("c=a", "c=b", "c=(other)")
    new = {"c": np.array(["a", "b", "rare", "new", "", "A", "ab"])}
    assert encoder.apply(new).argmax(axis=1).tolist() == [0, 1, 2, 2, 2, 2, 2]
    assert (encoder.apply(new).sum(axis=1) == 1).all()


def test_category_unknown_gives_zeros_where_nothing_was_learnt_of_others() -> None:
    encoder = one_category(["a"] * 5 + ["b"] * 5)
    assert encoder.apply({"c": np.array(["new", "a"])}).tolist() == [[0, 0], [1, 0]]


def test_category_of_many_values_keeps_the_most_frequent() -> None:
    values = [f"v{i:03}" for i in range(300) for _ in range(2 + i % 7)]
    encoder = one_category(values)
    assert len(encoder.features) == 101
    kept = [int(name.removeprefix("c=v")) for name in encoder.features[:-1]]
    assert min(i % 7 for i in kept) >= 4
    assert kept == sorted(kept)


def test_category_threshold_grows_with_the_table_up_to_twenty() -> None:
    for n, least in ((1000, 2), (10_000, 10), (50_000, 20)):
        values = ["x"] * (n - 2 * least + 1) + ["enough"] * least + ["few"] * (least - 1)
        columns = {"c": np.array(values)}
        assert TableEncoder.fit(columns)[0].features == ("c=enough", "c=x", "c=(other)")


def test_category_read_as_numbers_later_is_still_recognised() -> None:
    encoder = one_category(["75001", "75002"] * 5 + ["2A004"] * 5)
    new = encoder.apply({"c": np.array([75002.0, np.nan, 1.5])})
    assert new.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_numbers_read_as_text_later_are_still_recognised() -> None:
    encoder, _ = TableEncoder.fit({"x": np.array([0.0, 2.0])})
    assert encoder.apply({"x": np.array([" 4 ", "", "nan"])}).tolist() == [[3], [0], [0]]
    with pytest.raises(DataError, match=r"^new\.csv, line 9, column 'x': '1_0' is not a number"):
        encoder.apply({"x": np.array(["1", "1_0"])}, "new.csv", ("line 8", "line 9"))


@pytest.mark.parametrize(("value", "text"), [(np.inf, "inf, expected"), (1e300, "far too large")])
def test_table_with_an_impossible_number_names_its_place(value: float, text: str) -> None:
    pipeline = Pipeline.fit(table(), source_of(table(), ("young", "old")))
    new = table(5)
    assert isinstance(new.inputs, dict)
    new.inputs["income"][3] = value
    with pytest.raises(DataError, match=rf"^new\.csv, line 5, column 'income': .*{text}"):
        pipeline.inputs(new, origin="new.csv")


def test_table_with_a_missing_column_suggests_the_nearest() -> None:
    pipeline = Pipeline.fit(table(), source_of(table(), ("young", "old")))
    columns = {"ages": np.zeros(2), "income": np.zeros(2), "city": np.array(["", ""])}
    with pytest.raises(DataError, match=r"^new\.csv: column 'age' is missing\n.*mean 'ages'"):
        pipeline.inputs(Examples(columns), origin="new.csv")


def test_table_with_extra_and_reordered_columns_reads_the_same() -> None:
    examples = table()
    pipeline = Pipeline.fit(examples, source_of(examples, ("young", "old")))
    assert isinstance(examples.inputs, dict)
    shuffled = {"more": np.zeros(400), **dict(reversed(examples.inputs.items()))}
    assert np.array_equal(pipeline.inputs(Examples(shuffled)), pipeline.inputs(examples))
    del shuffled["same"]  # told nothing in training, so it is not needed
    assert np.array_equal(pipeline.inputs(Examples(shuffled)), pipeline.inputs(examples))
    assert (pipeline.numeric, pipeline.categorical) == (("age", "income"), ("city",))


def test_table_without_anything_to_learn_from_is_refused() -> None:
    columns = {"a": np.ones(20), "b": np.array([f"{i}" for i in range(20)])}
    examples = Examples(columns, np.arange(20) % 2)
    with pytest.raises(DataError, match=r"^demo\.csv: no column to learn from: column 'a': ign"):
        Pipeline.fit(examples, source_of(examples, ("no", "yes")))


# -- Images and arrays ------------------------------------------------------------------------


def images(n: int = 60, dtype: type = np.uint8) -> Examples:
    x = np.random.default_rng(0).integers(0, 256, (n, 3, 4, 4)).astype(dtype)
    return Examples(x, np.arange(n) % 2)


def test_images_are_standardised_per_channel_and_undone() -> None:
    examples = images()
    pipeline = Pipeline.fit(examples, source_of(examples, ("cat", "dog"), modality="image"))
    x = pipeline.inputs(examples)
    assert x.dtype == np.float32
    assert np.allclose(x.mean(axis=(0, 2, 3), dtype=np.float64), 0, atol=1e-6)
    assert np.allclose(x.std(axis=(0, 2, 3), dtype=np.float64), 1, atol=1e-6)
    assert np.array_equal(pipeline.undo_inputs(x).round(), examples.inputs)
    with pytest.raises(ShapeError, match="expected"):
        pipeline.undo_inputs(x[:, 0])


@pytest.mark.parametrize(
    ("shape", "dtype", "scales"),
    [
        ((50, 7), np.float32, (7,)),
        ((50, 7), np.int64, (7,)),
        ((50, 7), np.uint8, (1,)),
        ((50, 5, 7), np.float64, (1, 7)),
        ((50, 2, 5, 7), np.float64, (2, 1, 1)),
    ],
)
def test_arrays_are_scaled_feature_by_feature(
    shape: tuple[int, ...], dtype: type, scales: tuple[int, ...]
) -> None:
    x = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    examples = Examples(x, np.arange(50) / 7)
    pipeline = Pipeline.fit(examples, source_of(examples))
    assert pipeline.state_dict()["inputs"]["scaler"]["shape"] == list(scales)
    assert abs(pipeline.inputs(examples).mean(dtype=np.float64)) < 1e-6
    assert pipeline.input_shape == shape[1:]


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (np.zeros((2, 1, 4, 4), np.uint8), "an example has shape 1x4x4, in training it had 3x4x4"),
        (np.zeros((2, 3, 4, 4)), "elements are float64, training had uint8"),
        (np.array(["a"]), "elements are <U1, expected real numbers"),
        ({"a": np.zeros(2)}, "is a table, but training was on arrays"),
    ],
)
def test_images_of_another_kind_are_refused(inputs: Any, text: str) -> None:
    pipeline = Pipeline.fit(images(), source_of(images(), ("cat", "dog"), modality="image"))
    with pytest.raises(DataError, match=rf"^new: {text}"):
        pipeline.inputs(Examples(inputs), origin="new")


def test_arrays_with_a_value_not_finite_are_refused() -> None:
    examples = images(dtype=np.float64)
    pipeline = Pipeline.fit(examples, source_of(examples, ("a", "b")))
    new = images(5, np.float64)
    assert isinstance(new.inputs, np.ndarray)
    new.inputs[3, 1] = np.nan
    with pytest.raises(DataError, match=r"^x\.npy, example 3: not a finite number"):
        pipeline.inputs(new, origin="x.npy")
    with pytest.raises(DataError, match=r"^demo\.csv, training inputs: example 3, element \[1\]"):
        Pipeline.fit(new, source_of(new, ("a", "b")))


# -- Targets ----------------------------------------------------------------------------------


def pipeline_for(targets: Array, classes: tuple[str, ...] | None = None) -> Pipeline:
    examples = Examples(np.random.default_rng(0).random((len(targets), 2)), targets)
    return Pipeline.fit(examples, source_of(examples, classes))


def with_targets(targets: Array) -> Examples:
    return Examples(np.zeros((len(targets), 2)), targets)


def test_class_targets_are_indices_and_names() -> None:
    pipeline = pipeline_for(np.array([0, 1, 1, 0]), ("no", "yes", "perhaps"))
    assert pipeline.n_outputs == 3
    assert pipeline.notes[-1] == "class 'perhaps': no training example"
    assert pipeline.targets(with_targets(np.array([2, 0]))).tolist() == [2, 0]
    assert pipeline.targets(with_targets(np.array(["yes", "no"]))).tolist() == [1, 0]
    assert pipeline.undo_targets(np.array([[1, 2]])).tolist() == [["yes", "perhaps"]]
    with pytest.raises(ShapeError, match="no indices of 3 classes"):
        pipeline.undo_targets(np.array([0.1, 0.9]))
    with pytest.raises(ShapeError, match="no indices of 3 classes"):
        pipeline.undo_targets(np.array([3]))
    with pytest.raises(ShapeError, match="no indices of 3 classes"):
        pipeline.undo_targets(np.array([-1]))


def test_class_targets_of_another_source_are_matched_by_name() -> None:
    pipeline = pipeline_for(np.array([0, 1, 2]), ("ant", "bee", "cat"))
    new = with_targets(np.array([0, 1, 0]))
    assert pipeline.targets(new, classes=("bee", "ant")).tolist() == [1, 0, 1]
    with pytest.raises(
        DataError,
        match=r"^new\.csv, target 'goal', example 1: unknown class 'bees'; known: ant, bee, cat\n"
        r"  hint: did you mean 'bee'\?$",
    ):
        pipeline.targets(new, classes=("ant", "bees"), origin="new.csv")


def test_class_targets_written_as_floats_are_names() -> None:
    pipeline = pipeline_for(np.array([0, 1]), ("3", "5"))
    assert pipeline.targets(with_targets(np.array([5.0, 3.0]))).tolist() == [1, 0]
    with pytest.raises(DataError, match="unknown class '4'; known: 3, 5"):
        pipeline.targets(with_targets(np.array([4.0])))


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        (np.array([0, 2]), "example 1: class index 2, expected 0 ... 1"),
        (np.array([-1]), "example 0: class index -1"),
        (np.array(["no", ""]), "example 1: no class given; known: no, yes"),
        (np.zeros((2, 1), int), r"shape \[2, 1\], expected \[N\]"),
    ],
)
def test_class_targets_that_are_impossible_say_why(targets: Array, text: str) -> None:
    pipeline = pipeline_for(np.array([0, 1]), ("no", "yes"))
    with pytest.raises(DataError, match=text):
        pipeline.targets(Examples(np.zeros((len(targets), 2)), targets))


def test_class_targets_of_one_class_are_refused() -> None:
    with pytest.raises(DataError, match=r"one class only in training \('yes'\)"):
        pipeline_for(np.array([1, 1]), ("no", "yes"))


@given(hnp.arrays(np.float64, st.integers(2, 30), elements=MODERATE))
def test_value_targets_are_scores_and_undone_in_the_users_unit(targets: Array) -> None:
    pipeline = pipeline_for(targets)
    scores = pipeline.targets(with_targets(targets))
    assert scores.dtype == np.float32
    assert scores.shape == targets.shape
    largest = np.abs(targets).max()
    assert np.allclose(pipeline.undo_targets(scores), targets, rtol=1e-5, atol=1e-5 * largest)


def test_value_targets_of_several_columns_are_scaled_each() -> None:
    targets = np.random.default_rng(0).normal([5, -3000], [1, 100], (500, 2))
    pipeline = pipeline_for(targets)
    assert pipeline.n_outputs == 2
    assert np.allclose(pipeline.targets(with_targets(targets)).std(axis=0), 1, atol=1e-5)
    with pytest.raises(ShapeError, match=r"expected \[N, 2\]"):
        pipeline.undo_targets(np.zeros(3))


def test_value_targets_that_are_missing_are_refused() -> None:
    with pytest.raises(DataError, match=r"^demo\.csv, target 'goal', example 1: nan, expected"):
        pipeline_for(np.array([1, np.nan, 3]))
    with pytest.raises(DataError, match="no targets"):
        pipeline_for(np.array([1.0, 2])).targets(Examples(np.zeros((2, 2))))


# -- State ------------------------------------------------------------------------------------


def pipelines() -> list[Pipeline]:
    wide = Examples(images().inputs, np.random.default_rng(0).random((60, 2)))
    return [
        Pipeline.fit(table(), source_of(table(), ("young", "old"))),
        Pipeline.fit(images(), source_of(images(), ("cat", "dog"), modality="image")),
        Pipeline.fit(wide, source_of(wide), scaling="minmax"),
    ]


def test_state_read_back_gives_the_same_bits() -> None:
    for pipeline, examples in zip(pipelines(), (table(9, 1), images(9), images(9)), strict=True):
        again = Pipeline.from_state(as_json(pipeline.state_dict()))
        assert again.state_dict() == pipeline.state_dict()
        assert again.inputs(examples).tobytes() == pipeline.inputs(examples).tobytes()
        assert again.features == pipeline.features
        assert again.classes == pipeline.classes
        assert again.notes == pipeline.notes


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from paths(inner, (*path, i))


def parent_of(state: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        state = state[key]
    return state


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize(
    "junk",
    [None, True, -1, float("nan"), float("inf"), "", [], {}, [[]], 10**400],
    ids=lambda j: repr(j)[:9],
)
def test_state_with_any_value_replaced_is_refused_or_still_works(which: int, junk: Any) -> None:
    good = as_json(pipelines()[which].state_dict())
    examples = (table(9, 1), images(9), images(9))[which]
    for path in paths(good):
        state = copy.deepcopy(good)
        parent_of(state, path)[path[-1]] = copy.deepcopy(junk)
        try:
            pipeline = Pipeline.from_state(state, "pipeline.json")
        except DataError:
            continue
        # What passes is another valid pipeline: -1 as a mean, "" as a level or a name.
        assert type(junk) in (int, str, bool, list) or path == ("inputs", "columns", 0, "scaler")
        if path[-1] != "name" and "input_shape" not in path:
            assert np.isfinite(pipeline.inputs(examples)).all()


@pytest.mark.parametrize("which", range(3))
def test_state_with_a_key_missing_or_unknown_names_the_key(which: int) -> None:
    good = as_json(pipelines()[which].state_dict())
    for path in paths(good):
        if not isinstance(path[-1], str):
            continue
        state = copy.deepcopy(good)
        parent = parent_of(state, path)
        value = parent.pop(path[-1])
        with pytest.raises(DataError, match=rf"'{path[-1]}' is missing|type is None"):
            Pipeline.from_state(state)
        parent[path[-1]] = value
        parent["surplus"] = 1
        with pytest.raises(DataError, match="unknown key 'surplus'"):
            Pipeline.from_state(state)


def test_state_of_something_else_is_refused() -> None:
    for junk in (None, 5, "x", [], {}, {"format": "other"}):
        with pytest.raises(DataError, match=r"^pipeline\.json: "):
            Pipeline.from_state(junk, "pipeline.json")
