"""Scaling: statistics, extremes, memory, undoing. Oracles: NumPy and scikit-learn."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from chainrule.core.errors import ArgumentError, DataError
from chainrule.data.scalers import Scaler

Array = NDArray[Any]

MODERATE = st.floats(-1e6, 1e6, allow_subnormal=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def matrices(elements: st.SearchStrategy[float]) -> st.SearchStrategy[Array]:
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
    return hnp.arrays(np.float64, shapes, elements=elements)


def as_json(state: dict[str, Any]) -> Any:
    return json.loads(json.dumps(state, allow_nan=False))


@settings(max_examples=200, deadline=None)
@given(x=matrices(MODERATE))
def test_scaler_agrees_with_scikit_learn(x: Array) -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    varies = np.ptp(x, axis=0) > 1e-6
    for method, peer in (
        ("zscore", preprocessing.StandardScaler()),
        ("minmax", preprocessing.MinMaxScaler()),
    ):
        ours = Scaler.fit(x, axis=(1,), method=method).apply(x)
        theirs = peer.fit_transform(x)
        assert np.allclose(ours[:, varies], theirs[:, varies], rtol=2e-6, atol=2e-6)


@given(x=matrices(FINITE), method=st.sampled_from(["zscore", "minmax"]))
def test_scaler_of_any_finite_numbers_is_finite_or_refused(x: Array, method: str) -> None:
    try:
        scaler = Scaler.fit(x, axis=(1,), method=method)
    except DataError:
        assert np.abs(x).max() > 1e300
        return
    assert np.isfinite(scaler.apply(x)).all()
    assert (scaler.scale > 0).all()
    again = Scaler.from_state(as_json(scaler.state_dict()))
    assert again.shift.tobytes() == scaler.shift.tobytes()
    assert again.scale.tobytes() == scaler.scale.tobytes()


@given(x=matrices(MODERATE), method=st.sampled_from(["zscore", "minmax"]))
def test_scaler_undone_gives_the_values_back(x: Array, method: str) -> None:
    scaler = Scaler.fit(x, axis=(1,), method=method)
    # float32 between: seven digits of the values' spread.
    spread = np.maximum(np.abs(x).max(axis=0), scaler.scale)
    assert (np.abs(scaler.undo(scaler.apply(x)) - x) <= 1e-6 * spread * 10).all()


@pytest.mark.parametrize("value", [0.1, 1e8 + 0.1, -3e-300, 0.0])
def test_scaler_of_a_constant_feature_gives_zero(value: float) -> None:
    for method in ("zscore", "minmax"):
        scaler = Scaler.fit(np.full((1001, 2), value), axis=(1,), method=method)
        assert scaler.scale.tolist() == [1, 1]
        assert not scaler.apply(np.full((3, 2), value)).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64])
def test_scaler_per_channel_agrees_with_numpy(dtype: type) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3000, 3, 9, 9)).astype(dtype)
    scaler = Scaler.fit(x, axis=(1,))
    assert np.allclose(scaler.shift[:, 0, 0], x.mean(axis=(0, 2, 3), dtype=np.float64))
    assert np.allclose(scaler.scale[:, 0, 0], x.std(axis=(0, 2, 3), dtype=np.float64))
    expected = (x - scaler.shift) / scaler.scale
    assert np.array_equal(scaler.apply(x), expected.astype(np.float32))


def test_scaler_keeps_small_differences_of_large_numbers() -> None:
    x = 1e9 + np.arange(1000.0)[:, None]
    assert np.isclose(Scaler.fit(x, axis=(1,)).scale[0], np.arange(1000).std(), rtol=1e-12)


def test_scaler_needs_little_memory_beyond_its_result() -> None:
    x = np.random.default_rng(0).integers(0, 256, (20_000, 784), dtype=np.uint8)
    tracemalloc.start()
    result = Scaler.fit(x, axis=(1,)).apply(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < result.nbytes + 12e6


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scaler_with_a_value_not_finite_names_its_place(value: float) -> None:
    x = np.ones((400_000, 2), dtype=np.float32)
    x[300_017, 1] = value
    with pytest.raises(DataError, match=r"^x\.npy: example 300017, element \[1\] is -?(nan|inf)"):
        Scaler.fit(x, axis=(1,), what="x.npy")


def test_scaler_with_an_unknown_method_suggests_the_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"unknown scaling: 'z-score'\n.*did you mean 'zscore'"):
        Scaler.fit(np.ones((2, 2)), method="z-score")
