"""A fixed slice of the fuzzer's graphs, and that the fuzzer finds and shrinks a planted fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fuzz_graphs import difference, eager, jittered, shrunk
from fuzz_makers import random_graph
from random_graphs import Call, Graph, Leaf

from chainrule.codegen.target import host
from chainrule.compiler.trace import tensors_in
from chainrule.core.dtype import float32
from chainrule.graph.tensor import Tensor
from chainrule.runtime import stages
from chainrule.runtime.executable import load

SEEDS = range(150)


@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_is_eager_on_a_random_graph(seed: int) -> None:
    graph = random_graph(seed)
    found = difference(graph)
    assert found is None, f"{found.text}\n{graph.source}"


# Parts of what this processor can do, so that code for others runs on it.
SMALLER = {
    "256 bits": {"vector_bytes": 32, "registers": 16},
    "128 bits": {"vector_bytes": 16, "registers": 16, "fma": False, "half": False},
    "scalar": {"vector_bytes": 0, "registers": 16, "fma": False, "half": False},
}


@pytest.mark.parametrize("name", SMALLER)
def test_code_for_smaller_processors_agrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = replace(host(), **SMALLER[name])
    if target.vector_bytes > host().vector_bytes:
        pytest.skip("this processor has shorter vectors")

    def load_for_target(plan: Any) -> Any:
        return load(plan, target)

    monkeypatch.setattr(stages, "load", load_for_target)
    for seed in range(200, 220):
        graph = random_graph(seed)
        found = difference(graph)
        assert found is None, f"{found.text}\n{graph.source}"


def test_most_graphs_run_and_have_gradients_updates_and_special_values() -> None:
    graphs = [random_graph(seed) for seed in SEEDS]
    functions = {call.function for graph in graphs for call in graph.calls}
    assert {"backward", "add_", "copy_", "matmul", "reshape", "slice", "conv2d"} <= functions
    assert len(functions) > 120
    shapes = [leaf.array.shape for graph in graphs for leaf in graph.leaves]
    assert sum(0 in shape for shape in shapes) > 20
    assert sum(shape == () for shape in shapes) > 20
    numbers = [leaf.array for graph in graphs for leaf in graph.leaves if leaf.dtype.is_floating]
    assert sum(bool(np.isnan(array).any()) for array in numbers) > 5


def test_a_planted_fault_is_found_and_made_small() -> None:
    """A compiler that is 1e-4 off wherever a tanh is, in a graph with much else."""

    def crooked(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Tensor) -> Any:
            made = function(*given)
            for x in tensors_in(made):
                if x.origin == "tanh":
                    x._array = x._array + np.float32(1e-4)
            return made

        return run

    def check(graph: Graph) -> Any:
        return difference(graph, crooked)

    rng = np.random.default_rng(0)
    leaves = (
        Leaf("x0", rng.normal(size=(3, 4)), float32),
        Leaf("x1", rng.normal(size=(4,)), float32, grad=True),
    )
    calls = (
        Call("v0", "multiply", ("x0", "x1")),
        Call("v1", "sin", ("v0",)),
        Call("v2", "tanh", ("v1",)),
        Call("v3", "exp", ("v0",)),
    )
    graph = Graph(0, leaves, calls, ("v2", "v3"))
    found = check(graph)
    assert found is not None
    assert found.kind == "values"
    small = shrunk(graph, found.kind, check)
    assert [call.function for call in small.calls] == ["tanh"]
    assert 'v2 = apply(OPS["tanh"]' in small.source


def test_what_only_rounding_decides_is_no_difference() -> None:
    """The floor of something that is 3 but for its rounding may be 2 or 3."""
    leaves = (Leaf("x0", np.full(50, 0.3), float32), Leaf("x1", np.array(10.0), float32))
    calls = (Call("v0", "multiply", ("x0", "x1")), Call("v1", "floor", ("v0",)))
    graph = Graph(0, leaves, calls, ("v1",))
    found = {float(r.array[0]) for seed in range(20) for r in jittered(graph, seed, 4.0)[:1]}
    assert found == {2.0, 3.0}

    def lower(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: [x - 1.0 for x in function(*given)]

    assert difference(graph, eager) is None
    assert difference(graph, lower) is None
