"""Benchmarks: counts, statistics, tables and pictures; the peers' losses where installed."""

from __future__ import annotations

import importlib.util
import math
import statistics
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from benchmarks import table
from benchmarks.chart import chart
from benchmarks.counts import batch, bytes_moved, contractions, first_weights, flops, parameters
from benchmarks.limits import Limits
from benchmarks.peers import PEERS, why_absent
from benchmarks.peers.alike import network
from benchmarks.peers.byhand import Steps as ByHand
from benchmarks.peers.own import runner
from benchmarks.run import CURVE, TOLERANCE, compare, turns
from benchmarks.summary import difference, duration, spread
from benchmarks.workloads import EPOCH, WORKLOADS, Workload

from chainrule import nn, zeros

TIMES = [0.004, 0.001, 0.002, 0.003, 0.010]


def records() -> list[dict[str, Any]]:
    """Return a run of two workloads, as `run_workload` gives them."""
    common = {"losses": [1.0], "steps": 10, "idle": 0.0, "first": 0.5, "memory": 2**20}
    whole = {
        "torch": {**common, "times": [2 * t for t in TIMES]},
        "jax": {**common, "times": TIMES, "first_warm": 0.05},
        "numpy": {"absent": "not <written> by hand"},
    }
    partial = {
        "torch": {**common, "times": TIMES},
        "jax": {**common, "times": [0.012], "wrong": "its losses differ", "idle": 0.1},
    }
    work = {"flops": 3 * 10**8, "bytes": 10**6, "target": 1.0}
    return [
        {"name": "A", "title": "first & best", **work, "peers": whole},
        {"name": "B", "title": "second", **work, "peers": partial},
    ]


# --- statistics --------------------------------------------------------------------------------


def test_spread_is_median_and_quartiles_of_numpy() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 5, 14):
        values = rng.random(count).tolist()
        assert spread(values) == pytest.approx(np.percentile(values, (25, 50, 75)).tolist())


def test_spread_of_one_value_is_that_value() -> None:
    assert spread([3.0]) == (3.0, 3.0, 3.0)
    assert spread([3.0]).range == 0.0


def test_difference_is_the_largest_in_parts_of_the_first_value() -> None:
    assert difference([2.0, 1.2, 1.0], [2.0, 1.0, 0.9]) == pytest.approx(0.1)


def test_difference_of_a_curve_with_nan_is_noted_as_wrong() -> None:
    losses = {"torch": [1.0, 1.0, 1.0], "jax": [1.0, math.nan, 1.0]}
    peers: dict[str, Any] = {name: {"losses": curve} for name, curve in losses.items()}
    compare(WORKLOADS["W1"], peers)
    assert "wrong" in peers["jax"]
    assert "wrong" not in peers["torch"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.5, "2.50 s"),
        (12.34, "12.3 s"),
        (0.1234, "123 ms"),
        (3.21e-4, "321 us"),
        (5e-8, "0.05 us"),
    ],
)
def test_duration_has_a_fitting_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_turns_let_everyone_begin_equally_often() -> None:
    orders = list(turns(["a", "b", "c"], 6))
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    for place in range(3):
        assert sorted(order[place] for order in orders) == ["a", "a", "b", "b", "c", "c"]


# --- counts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_parameters_are_those_of_the_network(name: str) -> None:
    workload = WORKLOADS[name]
    model = network(nn, workload.layers)
    expected = {key: value.shape for key, value in model.named_parameters()}
    assert dict(parameters(workload.layers)) == expected


@pytest.mark.parametrize("name", ["W1", "W4", "W5", "W6", "W14"])
def test_output_shape_is_that_of_the_network(name: str) -> None:
    workload = WORKLOADS[name]
    model = network(nn, workload.layers).eval()
    _, shape = contractions(workload.layers, workload.shape)
    assert model(zeros((1, *workload.shape))).shape == (1, *shape)


def test_flops_of_a_step_are_three_products_but_one_for_each_layer() -> None:
    first, second = 784 * 100, 100 * 10
    assert flops(WORKLOADS["W1"]) == 100 * 2 * (3 * (first + second) - first)
    assert flops(WORKLOADS["F1"]) == EPOCH * 2 * (3 * (first + second) - first)


def test_flops_of_resnet_20_are_those_of_the_literature() -> None:
    # He et al. 2016 and others state 41 million multiplications for an image.
    assert flops(WORKLOADS["I6-1"]) / 2 == pytest.approx(41e6, rel=0.01)


def test_bytes_of_a_step_without_products_are_three_passes() -> None:
    assert bytes_moved(WORKLOADS["W14"]) == 3 * 4 * 4096 * 1024


def test_first_weights_and_batches_are_the_same_each_time() -> None:
    workload = WORKLOADS["W1"]
    for one, other in zip(batch(workload), batch(workload), strict=True):
        np.testing.assert_array_equal(one, other)
    one, other = first_weights(workload), first_weights(workload)
    assert all((one[name] == other[name]).all() for name in one)
    assert statistics.stdev(one["0.weight"].ravel().tolist()) == pytest.approx(
        math.sqrt(2 / 784), rel=0.02
    )


# --- peers -------------------------------------------------------------------------------------


def curve(steps: Any) -> list[float]:
    return [steps.loss(steps.step()) for _ in range(CURVE)]


@pytest.mark.parametrize("name", ["W1", "W2", "W12"])
def test_step_of_chainrule_agrees_with_the_one_by_hand(name: str) -> None:
    workload = WORKLOADS[name]
    weights, data = first_weights(workload), batch(workload)
    own = curve(runner(workload, weights, data, compiled=False))
    by_hand = curve(ByHand(workload, weights, data))
    assert difference(own, by_hand) < TOLERANCE
    assert own[-1] < own[0]


def test_by_hand_exists_for_plain_training_alone() -> None:
    def taking_part(peer: str) -> set[str]:
        return {name for name, w in WORKLOADS.items() if not why_absent(PEERS[peer], w)}

    assert taking_part("numpy") == {"W1", "W2", "W11", "W12"}
    assert taking_part("eager") == set(WORKLOADS)


def test_peer_that_is_not_installed_says_so() -> None:
    peer = PEERS["jax"].__class__("x", "X", "x", "no_such_package")
    assert why_absent(peer, WORKLOADS["W1"]) == "no_such_package is not installed"


def test_every_workload_names_a_known_optimizer_if_it_trains() -> None:
    def trains(workload: Workload) -> bool:
        return workload.kind in ("train", "fit")

    for workload in (w for w in WORKLOADS.values() if not w.case):
        assert trains(workload) == (workload.optimizer in ("sgd", "adam"))


@pytest.mark.parametrize("name", [n for n, w in WORKLOADS.items() if w.case])
def test_every_case_has_its_file_and_counts_its_work(name: str) -> None:
    workload = WORKLOADS[name]
    assert importlib.util.find_spec(f"benchmarks.cases.{workload.case}") is not None
    assert flops(workload) == workload.work[0] > bytes_moved(workload) / 10 > 0
    assert why_absent(PEERS["numpy"], workload) == "not written for this network"


# --- tables and pictures -----------------------------------------------------------------------


def test_table_of_times_shows_median_spread_and_ratio() -> None:
    lines = table.times(records()).splitlines()
    assert lines[0].split() == ["workload", "PyTorch", "JAX"]
    assert "6.00 ms ±67%  1.00x" in lines[2]
    assert "3.00 ms ±67%  2.00x" in lines[2]
    assert "!12.0 ms ± 0%  0.25x" in lines[3]
    assert len({line.index("first") for line in lines[2:3]} | {lines[3].index("second")}) == 1


def test_table_of_shares_shows_the_fraction_of_the_limit() -> None:
    text = table.shares(records(), Limits(flops=1e11, bandwidth=1e10))
    row = text.splitlines()[2].split()
    assert row[-5:] == ["3.00", "ms", "flops", "50%", "100%"]


def test_table_of_beginnings_shows_cold_warm_and_memory() -> None:
    assert "500 ms/50.0 ms 1 MiB" in table.beginnings(records())


def test_remarks_name_absent_wrong_and_restless_peers() -> None:
    assert table.remarks(records()) == [
        "NumPy by hand: not <written> by hand (A)",
        "JAX: its losses differ (B)",
        "JAX: used 83% as much time between turns as in them (B)",
    ]


def test_chart_is_well_formed_and_its_bars_grow_from_one() -> None:
    root = ET.fromstring(chart(records(), "a & b"))
    space = "{http://www.w3.org/2000/svg}"
    bars = [r for r in root.iter(f"{space}rect") if r.find(f"{space}title") is not None]
    assert [bar.find(f"{space}title").text for bar in bars] == ["JAX: 2.00x", "JAX: 0.25x"]
    (one,) = (line for line in root.iter(f"{space}line") if line.get("class") == "one")
    faster, slower = bars
    assert float(faster.get("x")) == pytest.approx(float(one.get("x1")), abs=0.1)
    assert float(slower.get("x")) + float(slower.get("width")) == pytest.approx(
        float(one.get("x1")), abs=0.2
    )
    # Four times slower is twice as long as two times faster.
    assert float(slower.get("width")) == pytest.approx(2 * float(faster.get("width")), abs=0.2)


def test_chart_has_colours_for_dark_pages() -> None:
    assert "prefers-color-scheme:dark" in chart(records(), "")
