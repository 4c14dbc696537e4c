"""Fuzzer: random graphs compiled and eager; whatever differs is made small and printed.

How much two runs may differ is measured, not guessed: the eager function runs again with all that
it rounds moved by a few units in the last place. Compiled results have to lie as near as those.

    python tests/fuzz_graphs.py --count 10000 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from fuzz_makers import random_graph
from random_graphs import Call, Graph, Leaf, Result

import chainrule
from chainrule.compiler.pipeline import build
from chainrule.core.dtype import DType, bfloat16, float16, float32, to_compute, to_storage
from chainrule.graph import tensor as graph_tensor
from chainrule.graph.evaluate import evaluate
from chainrule.graph.tensor import Tensor
from chainrule.runtime import stages

# Ops whose results are exact, given their inputs: there is no rounding to move.
EXACT = frozenset(
    (
        *("reshape", "permute", "expand", "slice", "unslice", "slice_scatter", "flip", "pad"),
        *("concat", "clone", "full", "arange", "gather", "index", "index_put", "where"),
        *("maximum", "minimum", "max", "min", "relu", "abs", "negative", "sign", "clip"),
        *("floor", "ceil", "round", "trunc", "equal", "not_equal", "less", "less_equal"),
        *("signbit", "argmax", "argmin", "argsort", "any", "all", "one_hot", "random_bits"),
        *("searchsorted", "max_pool", "max_pool_index", "window_take", "sliding_window"),
        *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift"),
        "bitwise_right_shift",
    )
)
DIGITS = {float16: 11, bfloat16: 8, float32: 24}
RUNS, MANY = 4, 40
BLOCK = 250


@dataclass(frozen=True)
class Difference:
    """What is wrong with a graph."""

    kind: str
    text: str


class Jitter:
    """Eager evaluation in which every rounding falls a little differently."""

    def __init__(self, seed: int, units: float) -> None:
        self.rng = np.random.default_rng(seed)
        self.units = units

    def __call__(self, op: Any, arrays: Any, attrs: Any, specs: Any, spec: Any) -> np.ndarray:
        """Evaluate an op as `evaluate` does, its inputs and result moved."""
        if op.name in EXACT:
            return evaluate(op, arrays, attrs, specs, spec)
        moved = [self.moved(a, s.dtype) for a, s in zip(arrays, specs, strict=True)]
        return self.moved(evaluate(op, moved, attrs, specs, spec), spec.dtype)

    def moved(self, array: np.ndarray, dtype: DType) -> np.ndarray:
        """Return numbers moved by some units in the last place, or the smallest subnormal one."""
        if not dtype.is_floating:
            return array
        unit = 2.0 ** -DIGITS.get(dtype, 53)
        by = self.rng.uniform(-self.units, self.units, array.shape)
        with np.errstate(all="ignore"):
            wide = np.asarray(to_compute(array, dtype), np.float64)
            return to_storage(np.asarray(wide * (1 + unit * by), dtype.compute), dtype)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Let eager mode evaluate in this way meanwhile."""
        graph_tensor.evaluate = self  # type: ignore[assignment]
        try:
            yield
        finally:
            graph_tensor.evaluate = evaluate


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function compiled, with its plan verified."""
    run = chainrule.compile(function)

    def call(*given: Tensor) -> Any:
        stages.build = partial(build, check=True)
        try:
            return run(*given)
        finally:
            stages.build = build

    return call


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function as it is."""
    return function


def difference(graph: Graph, compile: Callable[..., Any] = compiled) -> Difference | None:
    """Return what is different between a graph's eager and compiled runs, or None."""
    try:
        expected = graph.run(eager)
    except Exception as error:
        return Difference("eager", f"{type(error).__name__}: {error}")
    try:
        found = graph.run(compile)
    except Exception as error:
        return Difference(type(error).__name__, f"{type(error).__name__}: {error}")
    if [(r.label, r.dtype, r.array.shape) for r in found] != [
        (r.label, r.dtype, r.array.shape) for r in expected
    ]:
        return Difference("results", f"{_labels(found)} instead of {_labels(expected)}")
    if not any(_outside(*pair, []) for pair in zip(found, expected, strict=True)):
        return None
    moved = [jittered(graph, seed, 4.0) for seed in range(RUNS)]
    if not _differing(found, expected, moved):
        return None
    moved += [jittered(graph, seed, 2.0 ** (seed % 6)) for seed in range(RUNS, MANY)]
    texts = _differing(found, expected, moved)
    return Difference("values", "\n".join(texts)) if texts else None


def jittered(graph: Graph, seed: int, units: float) -> list[Result]:
    """Return the results of an eager run with other roundings."""
    with Jitter(seed, units).active():
        return graph.run(eager)


def _labels(results: Sequence[Result]) -> list[str]:
    return [f"{r.label} {r.dtype.name}{list(r.array.shape)}" for r in results]


def _differing(
    found: Sequence[Result], expected: Sequence[Result], moved: Sequence[Sequence[Result]]
) -> list[str]:
    texts = []
    for number, (got, wanted) in enumerate(zip(found, expected, strict=True)):
        bad = _outside(got, wanted, [run[number] for run in moved])
        if bad:
            texts.append(f"{got.label}: {bad}")
    return texts


def _outside(got: Result, wanted: Result, moved: Sequence[Result]) -> str:
    """Return a text about the worst element that is too far away, or an empty one."""
    dtype = wanted.dtype
    a, b = _wide(got), _wide(wanted)
    others = [_wide(r) for r in moved]
    if dtype.is_floating:
        unit = 2.0 ** -DIGITS.get(dtype, 53)
        allowed = 16 * unit * np.abs(b) + 4 * float(np.finfo(_limits(dtype)).tiny)
    else:
        allowed = np.zeros(b.shape)
    with np.errstate(all="ignore"):
        for other in others:
            apart = np.abs(other - b)
            # Where roundings decide whether it is finite, or an integer, anything is right.
            loose = (np.isfinite(other) != np.isfinite(b)) | (np.isnan(other) != np.isnan(b))
            if not dtype.is_floating:
                loose |= apart > 0
            allowed = np.where(
                loose, np.inf, np.maximum(allowed, np.where(apart > 0, 8 * apart, 0))
            )
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= allowed)
        same |= np.isinf(allowed)
    if same.all():
        return ""
    at = tuple(int(i) for i in np.argwhere(~same)[0])
    count = int((~same).sum())
    return (
        f"{count} of {same.size} elements differ, e.g. [{', '.join(map(str, at))}]: "
        f"{a[at]!r} instead of {b[at]!r}, allowed {allowed[at]:.3g}"
    )


def _wide(result: Result) -> np.ndarray:
    return np.asarray(to_compute(result.array, result.dtype), np.float64)


def _limits(dtype: DType) -> type:
    return np.float32 if dtype is bfloat16 else dtype.storage.type


# --- shrinking ----------------------------------------------------------------------------------


def shrunk(graph: Graph, kind: str, check: Callable[[Graph], Difference | None]) -> Graph:
    """Return the smallest graph found that has a difference of the same kind."""

    def fails(candidate: Graph) -> bool:
        found = bool(candidate.outputs) and check(candidate)
        return bool(found) and found.kind == kind  # type: ignore[union-attr]

    while True:
        size = _size(graph)
        smaller = next((g for g in _smaller(graph) if _size(g) < size and fails(g)), None)
        if smaller is None:
            return graph
        graph = smaller


def _size(graph: Graph) -> tuple[int, ...]:
    """Return what shrinking makes smaller, so that it comes to an end."""
    kinds = [(leaf.grad, not leaf.argument, "ones" not in leaf.text) for leaf in graph.leaves]
    inputs = sum(len(call.inputs) for call in graph.calls)
    return (
        len(graph.calls),
        inputs,
        len(graph.outputs),
        len(kinds),
        *map(sum, zip(*kinds, strict=True)),
    )


def _smaller(graph: Graph) -> Iterator[Graph]:
    """Yield graphs that are a little simpler."""
    for call in reversed(graph.calls):
        yield graph.without(call.name).tidy()
    for name in graph.outputs:
        if len(graph.outputs) > 1:
            yield replace(graph, outputs=(name,)).tidy()
            kept = tuple(o for o in graph.outputs if o != name)
            yield replace(graph, outputs=kept).tidy()
    made = {c.name: c for c in graph.calls if not c.is_update and c.name}
    for call in made.values():
        # What a value is read from becomes what is read.
        inner = tuple(i for i in call.inputs if i in made and call.name in graph.outputs)
        if inner:
            outputs = tuple(dict.fromkeys((*graph.outputs, *inner)))
            yield replace(graph, outputs=outputs).without(call.name).tidy()
    if len(graph.calls) > 1:
        yield from (_cut(graph, call) for call in made.values())
    for leaf in graph.leaves:
        if leaf.grad:
            yield _with(graph, replace(leaf, grad=False))
        if not leaf.argument and not leaf.grad:
            yield _with(graph, replace(leaf, argument=True))
    for call in graph.calls:
        if call.function == "backward" and len(call.inputs) > 1:
            for i in call.inputs:
                yield _swap(graph, call, replace(call, inputs=(i,)))
    for leaf in graph.leaves:
        yield from _plainer(graph, leaf)


def _plainer(graph: Graph, leaf: Leaf) -> Iterator[Graph]:
    """Yield graphs in which a leaf's numbers are simpler."""
    simple = f"np.ones({leaf.array.shape})"
    if leaf.array.size and leaf.dtype.is_floating and leaf.text != simple:
        yield _with(graph, replace(leaf, array=np.ones(leaf.array.shape), text=simple))


def _cut(graph: Graph, call: Call) -> Graph:
    """Return the graph with a leaf in the place of a call."""
    values = _values(graph, call.name)
    name = f"x_{call.name}"
    array, dtype = np.asarray(values, np.float64), values.dtype
    if not dtype.is_floating:
        array = np.asarray(values)
    leaf = Leaf(name, array, dtype)

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name if n == call.name else n for n in names)

    calls = tuple(
        replace(c, inputs=renamed(c.inputs))
        for c in graph.calls
        if c.name != call.name or not c.name
    )
    outputs = tuple(o for o in graph.outputs if o != call.name)
    return replace(graph, leaves=(*graph.leaves, leaf), calls=calls, outputs=outputs).tidy()


def _values(graph: Graph, name: str) -> Tensor:
    """Return the elements of a value in an eager run."""
    chainrule.manual_seed(graph.seed)
    values = {leaf.name: leaf.tensor() for leaf in graph.leaves}
    for call in graph.calls:
        call.run(values)
        if call.name == name and not call.is_update:
            break
    return values[name].detach()


def _with(graph: Graph, leaf: Leaf) -> Graph:
    leaves = tuple(leaf if old.name == leaf.name else old for old in graph.leaves)
    return replace(graph, leaves=leaves)


def _swap(graph: Graph, old: Call, new: Call) -> Graph:
    return replace(graph, calls=tuple(new if c is old else c for c in graph.calls))


# --- many graphs --------------------------------------------------------------------------------


def in_a_child(graph: Graph) -> Difference | None:
    """Return the difference of a graph that may end the process."""
    child = os.fork()
    if not child:
        with contextlib.redirect_stderr(None), contextlib.suppress(BaseException):
            difference(graph)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Difference("crash", f"the process ended by signal {os.WTERMSIG(status)}")
    return None


def report(graph: Graph, found: Difference, check: Callable[[Graph], Difference | None]) -> str:
    """Return a text with the smallest graph that shows a difference."""
    small = shrunk(graph, found.kind, check)
    now = check(small) or found
    return f"seed {graph.seed}: {now.text}\n{small.source}"


def run_block(first: int, count: int, length: int) -> None:
    """Check graphs, printing each seed before it is tried, and what is found."""
    for seed in range(first, first + count):
        print(f"@{seed}", flush=True)
        graph = random_graph(seed, length)
        found = difference(graph)
        if found is not None and found.kind != "eager":
            print(report(graph, found, difference), flush=True)


def run_many(first: int, count: int, length: int) -> int:
    """Check graphs in child processes, which may die; returns how many are wrong."""
    wrong, seed, start = 0, first, time.monotonic()
    while seed < first + count:
        block = min(BLOCK, first + count - seed)
        command = [sys.executable, __file__, "--child", f"--seed={seed}", f"--count={block}"]
        made = subprocess.run([*command, f"--length={length}"], stdout=subprocess.PIPE, text=True)
        parts = made.stdout.split("@")[1:]
        for part in parts:
            text = part.partition("\n")[2]
            if text.strip():
                wrong += 1
                print(text, flush=True)
        seed = seed + block if made.returncode == 0 else _after_crash(parts, seed, length)
        wrong += made.returncode != 0
        print(f"{seed - first} graphs, {wrong} wrong, {time.monotonic() - start:.0f} s", flush=True)
    return wrong


def _after_crash(parts: Sequence[str], seed: int, length: int) -> int:
    """Report the graph that ended a child; returns the next seed."""
    last = int(parts[-1].partition("\n")[0]) if parts else seed
    graph = random_graph(last, length)
    found = in_a_child(graph)
    if found is None:
        print(f"seed {last}: the process ended, but not with this graph alone", flush=True)
    else:
        print(report(graph, found, in_a_child), flush=True)
    return last + 1


def main() -> int:
    """Read the command line; returns 1 if something is wrong."""
    parser = argparse.ArgumentParser(description="Compare compiled with eager on random graphs.")
    parser.add_argument("--count", type=int, default=1000, help="how many graphs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first")
    parser.add_argument("--length", type=int, default=14, help="calls in a graph at most")
    parser.add_argument("--child", action="store_true", help="do it in this process")
    chosen = parser.parse_args()
    if chosen.child:
        run_block(chosen.seed, chosen.count, chosen.length)
        return 0
    return int(run_many(chosen.seed, chosen.count, chosen.length) > 0)


if __name__ == "__main__":
    sys.exit(main())
