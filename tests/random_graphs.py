"""Random graphs of tensor functions, for the fuzzer: what they are, how they run, their source.

A graph is a list of calls on named values; it runs eagerly or compiled, and prints as a Python
program that shows the same without this file.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import chainrule
import chainrule.nn.functional as F
from chainrule.core.dtype import DType
from chainrule.graph.op import COMPOSITES, OPS
from chainrule.graph.tensor import Tensor, apply, tensor

CALLS = 2


@dataclass(frozen=True)
class Leaf:
    """A tensor that a graph starts from.

    Attributes:
        name: Its name.
        array: Its elements.
        dtype: Its dtype.
        text: Source of the elements; their own text if empty.
        argument: Whether the function gets it as an argument, or finds it outside.
        grad: Whether it requires a gradient.
    """

    name: str
    array: np.ndarray = field(repr=False)
    dtype: DType
    text: str = ""
    argument: bool = True
    grad: bool = False

    def tensor(self) -> Tensor:
        """Return a new tensor of the elements."""
        made = tensor(self.array, dtype=self.dtype)
        return made.requires_grad_() if self.grad else made

    @property
    def source(self) -> str:
        """The line that makes it."""
        elements = self.text or f"np.array({self.array.tolist()}).reshape({self.array.shape})"
        ending = ".requires_grad_()" if self.grad else ""
        return f"{self.name} = chainrule.tensor({elements}, dtype={self.dtype!r}){ending}"


@dataclass(frozen=True)
class Call:
    """One step: an op, a composite, a method that changes its first input, or the derivative.

    Attributes:
        name: The value's name; for an update, that of the tensor changed.
        function: Name of the op, composite or method; ``backward`` for the derivative.
        inputs: Names of the values it is given.
        attrs: Its attributes.
    """

    name: str
    function: str
    inputs: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def is_update(self) -> bool:
        """Whether it is a method like ``add_``."""
        return self.function.endswith("_")

    def run(self, values: dict[str, Tensor]) -> None:
        """Do the step."""
        given = [values[i] for i in self.inputs]
        if self.function == "backward":
            backward(given)
        elif self.is_update:
            with chainrule.no_grad():
                getattr(given[0], self.function)(*given[1:], **self.attrs)
        else:
            values[self.name] = function_of(self.function)(*given, **self.attrs)

    @property
    def source(self) -> str:
        """The lines that do the step."""
        attrs = "".join(f", {name}={value!r}" for name, value in self.attrs.items())
        if self.function == "backward":
            return f"backward([{', '.join(self.inputs)}])"
        if self.is_update:
            rest = ", ".join(self.inputs[1:])
            line = f"{self.inputs[0]}.{self.function}({rest}{attrs})"
            return f"with chainrule.no_grad():\n    {line}"
        if self.function in OPS:
            head = f'apply(OPS["{self.function}"]'
            return f"{self.name} = {', '.join((head, *self.inputs))}{attrs})"
        inside = (", ".join(self.inputs) + attrs).removeprefix(", ")
        if self.function in OTHERS:
            return f'{self.name} = OTHERS["{self.function}"]({inside})'
        return f'{self.name} = COMPOSITES["{self.function}"].function({inside})'


def scanned(x: Tensor, *, reverse: bool) -> Tensor:
    """Return the states of a small recurrent network over the first axis."""

    def step(h: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        h = (h * 0.5 + row).tanh()
        return h, h * row + 1.0

    last, hs = chainrule.scan(step, chainrule.zeros_like(x[0]), x, reverse=reverse)
    return chainrule.cat([hs, last.unsqueeze(0)], 0)


def branched(x: Tensor) -> Tensor:
    """Return one function or another, as the sum decides."""
    return chainrule.cond(x.sum() > 0, lambda x: x.sin() * 2.0, lambda x: x * x, x)


def repeated(x: Tensor) -> Tensor:
    """Return numbers halved until they are small; without a derivative."""
    start = x.detach().abs()
    return chainrule.while_loop(lambda y: y.sum() > 1.0, lambda y: y * 0.5, start)


# Functions that are no composites: random numbers, and what Python's loops and branches become.
OTHERS: dict[str, Callable[..., Tensor]] = {
    "dropout": lambda x: F.dropout(x, 0.4),
    "scanned": scanned,
    "branched": branched,
    "repeated": repeated,
}


def function_of(name: str) -> Callable[..., Tensor]:
    """Return an op, a composite, or another function of tensors."""
    if name in OTHERS:
        return OTHERS[name]
    if name in OPS:
        return lambda *inputs, **attrs: apply(OPS[name], *inputs, **attrs)
    return COMPOSITES[name].function


def weights(shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers near 1, the same for the same shape."""
    seed = zlib.crc32(repr(shape).encode())
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


def backward(results: Sequence[Tensor]) -> None:
    """Differentiate the weighted sum of results that depend on a leaf."""
    parts = [(r * tensor(weights(r.shape), dtype=r.dtype)).sum() for r in results if r.node]
    if parts:
        sum((p.float() for p in parts[1:]), parts[0].float()).backward()


@dataclass(frozen=True)
class Result:
    """One thing that a run leaves: an output, a gradient, or a changed tensor."""

    label: str
    dtype: DType
    array: np.ndarray


@dataclass(frozen=True)
class Graph:
    """A random function of tensors."""

    seed: int
    leaves: tuple[Leaf, ...] = ()
    calls: tuple[Call, ...] = ()
    outputs: tuple[str, ...] = ()

    def run(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> list[Result]:
        """Run the function several times, wrapped; return all it leaves."""
        chainrule.manual_seed(self.seed)
        tensors = {leaf.name: leaf.tensor() for leaf in self.leaves}
        arguments = [leaf.name for leaf in self.leaves if leaf.argument]

        def function(*given: Tensor) -> list[Tensor]:
            values = {**tensors, **dict(zip(arguments, given, strict=True))}
            for leaf in self.leaves:
                if leaf.grad:
                    values[leaf.name].grad = None
            for call in self.calls:
                call.run(values)
            return [values[name] for name in self.outputs]

        run = wrap(function)
        found: list[Result] = []
        for number in range(CALLS):
            made = run(*(tensors[name] for name in arguments))
            named = [*zip(self.outputs, made, strict=True), *tensors.items()]
            for leaf in self.leaves:
                grad = tensors[leaf.name].grad
                if grad is not None:
                    named.append((f"{leaf.name}.grad", grad))
            found += [
                Result(f"call {number}: {name}", t.dtype, np.array(t.detach().array))
                for name, t in named
            ]
        return found

    @property
    def source(self) -> str:
        """A program that runs the function eagerly and compiled, and prints the differences."""
        body = [line for call in self.calls for line in call.source.split("\n")]
        arguments = ", ".join(leaf.name for leaf in self.leaves if leaf.argument)
        cleared = [f"{leaf.name}.grad = None" for leaf in self.leaves if leaf.grad]
        made = [leaf.source for leaf in self.leaves]
        names = ", ".join(leaf.name for leaf in self.leaves)
        used = [word for word in ("OTHERS", "backward") if word in str(body)]
        helper = [f"from tests.random_graphs import {', '.join(used)}"] if used else []
        inside = [*cleared, *body, f"return [{', '.join(self.outputs)}]"]
        lines = [
            *("import numpy as np", "from numpy import inf, nan", "import chainrule.nn.functional"),
            "from chainrule.graph.op import COMPOSITES, OPS",
            "from chainrule.graph.tensor import apply",
            *helper,
            "def run(wrap):",
            f"    chainrule.manual_seed({self.seed})",
            *(f"    {line}" for line in made),
            f"    def f({arguments}):",
            *(f"        {line}" for line in inside),
            "    f = wrap(f)",
            f"    results = [f({arguments}) for _ in range({CALLS})]",
            f"    return results, [{names}], [t.grad for t in [{names}]]",
            "print(run(lambda f: f))",
            "print(run(chainrule.compile))",
        ]
        # The name that a dtype shows is not always the one that it is found under.
        return re.sub(r"chainrule\.bool\b", "chainrule.bool_", "\n".join(lines))

    # --- smaller graphs, for shrinking ----------------------------------------------------------

    def without(self, name: str) -> Graph:
        """Return the graph without a call; what needed its value is gone too."""
        gone, calls = {name}, []
        for call in self.calls:
            if call.function == "backward":
                call = replace(call, inputs=tuple(i for i in call.inputs if i not in gone))
                if call.inputs:
                    calls.append(call)
            elif gone.isdisjoint((*call.inputs, call.name)):
                calls.append(call)
            elif not call.is_update:
                gone.add(call.name)
        outputs = tuple(o for o in self.outputs if o not in gone)
        return replace(self, calls=tuple(calls), outputs=outputs)

    def tidy(self) -> Graph:
        """Return the graph without leaves and calls that nothing needs."""
        needed = set(self.outputs)
        calls: list[Call] = []
        for call in reversed(self.calls):
            if call.function == "backward" or call.is_update or call.name in needed:
                calls.append(call)
                needed.update(call.inputs)
        leaves = tuple(leaf for leaf in self.leaves if leaf.name in needed)
        return replace(self, leaves=leaves, calls=tuple(reversed(calls)))
