"""How random graphs are made: from the registry's ops, their samples, and shapes of every size."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from random_graphs import Call, Graph, Leaf, function_of

import chainrule
import chainrule.ops
from chainrule.core.dtype import DType, as_dtype, bool_, float16, int64
from chainrule.core.errors import ChainruleError
from chainrule.graph.op import COMPOSITES, OPS
from chainrule.graph.sample import In, Sample
from chainrule.graph.tensor import Tensor

for _module in pkgutil.iter_modules(chainrule.ops.__path__):
    importlib.import_module(f"chainrule.ops.{_module.name}")

SIZES = (0, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 31, 33, 64, 100, 300, 1000)
MOST = 6000
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0)
DTYPES = ("float32",) * 12 + ("float64",) * 2 + ("float16", "bfloat16")
OTHERS = ("int64", "int32", "int8", "uint8", "bool")
# Next to values that are not finite, their kernels multiply by the zeros of the padding.
PADS_WITH_ZEROS = ("conv", "unfold", "fold")
# The sign of NaN is nobody's business.
SIGNS = ("signbit", "copysign")
# What they return is not for people.
LEFT_OUT = ("random_bits",)
REDUCTIONS = ("sum", "max", "min", "prod", "any", "all")
NAMED = (
    *("mean", "var", "std", "logsumexp", "softmax", "log_softmax", "vector_norm", "argmax"),
    *("argmin", "cumsum", "cumprod", "sort", "count_nonzero"),
)


@lru_cache(maxsize=1)
def samples() -> tuple[tuple[str, tuple[Sample, ...]], ...]:
    """Return each op and composite with its samples."""
    found = [(name, tuple(op.samples())) for name, op in OPS.items()]
    found += [(name, tuple(entry.samples())) for name, entry in COMPOSITES.items()]
    return tuple((name, made) for name, made in found if name not in LEFT_OUT)


@lru_cache(maxsize=2)
def element_wise(count: int) -> tuple[tuple[str, Sample], ...]:
    """Return the functions of so many tensors that work element by element."""
    found = {}
    for name, s in ((name, s) for name, made in samples() for s in made):
        shapes = {i.shape for i in s.inputs}
        if len(s.inputs) != count or s.attrs or shapes != {(3, 5) if count == 1 else (3, 4)}:
            continue
        given = [chainrule.tensor(i.make(np.random.default_rng(0))) for i in s.inputs]
        if function_of(name)(*given).shape == given[0].shape:
            found.setdefault(name, s)
    return tuple(found.items())


class Maker:
    """Makes one random graph.

    Args:
        seed: Decides everything.
        length: How many calls at most.
    """

    def __init__(self, seed: int, length: int = 14) -> None:
        self.rng = np.random.default_rng(seed)
        self.seed = seed
        self.leaves: list[Leaf] = []
        self.calls: list[Call] = []
        self.values: dict[str, Tensor] = {}
        # In one graph of eight, numbers are not all finite.
        self.special = self.chance(0.12)
        self.gradients = self.chance(0.6)
        moves = (
            *(self.unary, self.unary, self.binary, self.binary, self.move, self.move),
            *(self.reduce, self.named, self.contract, self.contract),
            *(self.from_sample, self.from_sample, self.from_sample, self.from_sample),
            *(self.choose, self.cast, self.update, self.pick, self.window, self.convolve),
            self.control,
        )
        for _ in range(int(self.rng.integers(1, length + 1))):
            moves[int(self.rng.integers(len(moves)))]()
        if not self.calls:
            self.unary()

    # --- chance -----------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        """Return True so often."""
        return bool(self.rng.random() < probability)

    def one(self, choices: Sequence[Any]) -> Any:
        """Return one of several things."""
        return choices[int(self.rng.integers(len(choices)))]

    def shape(self, dims: int = -1) -> tuple[int, ...]:
        """Return a random shape of not too many elements."""
        dims = int(self.one((0, 1, 1, 2, 2, 2, 3, 3, 4))) if dims < 0 else dims
        while True:
            shape = tuple(int(self.one(SIZES)) for _ in range(dims))
            if np.prod(shape) <= MOST and (0 not in shape or self.chance(0.2)):
                return shape

    def value(self, *, floating: bool = False, dims: int = 0) -> str:
        """Return the name of a value, a recent one by preference, or of a new leaf."""
        fitting = [
            name
            for name, t in self.values.items()
            if t.ndim >= dims and (t.dtype.is_floating or not floating)
        ]
        if not fitting or self.chance(0.1):
            return self.leaf(
                self.shape(max(dims, int(self.one((0, 1, 2, 2, 3))))), floating=floating
            )
        return fitting[-1 - int(len(fitting) * self.rng.random() ** 2)]

    # --- leaves and calls -------------------------------------------------------------------

    def leaf(
        self,
        shape: tuple[int, ...],
        dtype: DType | None = None,
        *,
        floating: bool = True,
        low: float = -2.0,
        high: float = 2.0,
    ) -> str:
        """Add a leaf; returns its name."""
        if dtype is None:
            dtype = as_dtype(self.one(DTYPES if floating or self.chance(0.75) else OTHERS))
        seed = int(self.rng.integers(10_000))
        rng, start = np.random.default_rng(seed), f"np.random.default_rng({seed})"
        array: np.ndarray
        if dtype is bool_:
            array, text = rng.random(shape) < 0.5, f"{start}.random({shape}) < 0.5"
        elif not dtype.is_floating:
            low, high = (0, 6) if dtype.name.startswith("u") else (int(low), int(high) + 1)
            array, text = (
                rng.integers(low, high, shape),
                f"{start}.integers({low}, {high}, {shape})",
            )
        else:
            array = rng.uniform(low, high, shape)
            text = f"{start}.uniform({low}, {high}, {shape})"
            if self.special and self.chance(0.5) and array.size:
                flat = array.reshape(-1)
                flat[self.rng.integers(flat.size, size=2)] = self.rng.choice(SPECIAL, 2)
                array, text = flat.reshape(shape), ""
        name = f"x{len(self.leaves)}"
        grad = self.gradients and dtype.is_floating and self.chance(0.7)
        made = Leaf(name, array, dtype, text, self.chance(0.6), grad)
        self.leaves.append(made)
        self.values[name] = made.tensor().detach()
        return name

    def call(self, function: str, *inputs: str, **attrs: Any) -> str | None:
        """Add a call if it is allowed and its result is of use; returns its name."""
        given = [self.values[i] for i in inputs]
        if self.special and (function.startswith(PADS_WITH_ZEROS) or function in SIGNS):
            return None
        try:
            with np.errstate(all="ignore"):
                result = function_of(function)(*given, **attrs)
        except (ChainruleError, TypeError, IndexError, ValueError):
            return None
        if result.size > 8 * MOST or not self.usable(result):
            return None
        name = f"v{len(self.calls)}"
        self.calls.append(Call(name, function, inputs, attrs))
        self.values[name] = result
        return name

    def usable(self, result: Tensor) -> bool:
        """Return whether a result's numbers say something about those that made them."""
        if not result.dtype.is_floating or result.size == 0:
            return True
        numbers = np.asarray(result, np.float64)
        if not self.special and not np.isfinite(numbers).all():
            return False
        largest = np.max(np.abs(numbers), initial=0.0, where=np.isfinite(numbers))
        return bool(largest < (1e3 if result.dtype is float16 else 1e6))

    def within(self, name: str, wanted: In) -> str | None:
        """Return a value moved into the range that a sample asks for."""
        if (wanted.low, wanted.high) == (-2.0, 2.0) and self.chance(0.9):
            return name
        middle, half = (wanted.low + wanted.high) / 2, (wanted.high - wanted.low) / 2
        squashed = self.call("tanh", name)
        dtype = self.values[name].dtype
        if squashed is None:
            return None
        scaled = self.call("multiply", squashed, self.number(half, dtype))
        return None if scaled is None else self.call("add", scaled, self.number(middle, dtype))

    def number(self, value: float, dtype: DType) -> str:
        """Add a leaf of one number."""
        name = f"x{len(self.leaves)}"
        self.leaves.append(Leaf(name, np.array(value), dtype, repr(value), argument=False))
        self.values[name] = self.leaves[-1].tensor()
        return name

    # --- kinds of calls ---------------------------------------------------------------------

    def unary(self) -> None:
        """Add a function of each element."""
        name, s = self.one(element_wise(1))
        x = self.value(floating=s.inputs[0].kind == "float")
        moved = self.within(x, s.inputs[0]) if s.inputs[0].kind == "float" else x
        if moved is not None:
            self.call(name, moved)

    def binary(self) -> None:
        """Add a function of pairs of elements, with broadcasting."""
        name, s = self.one(element_wise(2))
        x = self.value(floating=s.inputs[0].kind == "float")
        shape, dtype = self.values[x].shape, self.values[x].dtype
        fitting = [n for n, t in self.values.items() if t.dtype is dtype and t.shape in (shape, ())]
        if self.chance(0.4):
            y = self.one(fitting)
        else:
            cut = shape[int(self.rng.integers(len(shape) + 1)) :]
            y = self.leaf(tuple(1 if self.chance(0.3) else n for n in cut), dtype)
        moved = self.within(x, s.inputs[0]), self.within(y, s.inputs[1])
        if None not in moved:
            self.call(name, *(moved if self.chance(0.7) else reversed(moved)))

    def move(self) -> None:
        """Add a movement."""
        x = self.value()
        shape, rng = self.values[x].shape, self.rng
        dims = len(shape)
        axes = tuple(int(a) for a in rng.permutation(dims))
        some = tuple(sorted(axes[: int(rng.integers(dims + 1))]))
        ranges = tuple(self.range(n) for n in shape)
        widths = tuple((int(rng.integers(-1, 3)), int(rng.integers(0, 3))) for _ in shape)
        new = tuple(int(self.one((1, 2, 3))) for _ in range(int(rng.integers(0, 2))))
        larger = (*new, *(n if n != 1 else int(self.one((1, 3, 8))) for n in shape))
        axis = int(rng.integers(dims)) if dims else 0
        options: tuple[tuple[str, dict[str, Any]], ...] = (
            ("reshape", {"shape": self.other_shape(shape)}),
            ("reshape", {"shape": self.other_shape(shape)}),
            ("permute", {"axes": axes}),
            ("expand", {"shape": larger}),
            ("flip", {"axes": some}),
            ("slice", {"ranges": ranges}),
            ("pad", {"widths": widths, "value": self.one((0.0, 0.0, 1.5))}),
            ("roll", {"shift": int(rng.integers(-3, 4)), "axis": axis}),
            ("tile", {"repeats": (2,) * max(dims, 1)}),
            ("repeat_interleave", {"repeats": 2, "axis": axis}),
            ("diagonal", {"offset": int(rng.integers(-1, 2))}),
            (self.one(("tril", "triu")), {"k": int(rng.integers(-2, 3))}),
            ("unsqueeze", {"axis": axis}),
        )
        name, attrs = self.one(options)
        if self.chance(0.15) and dims:
            other = self.leaf((*shape[:axis], 2, *shape[axis + 1 :]), self.values[x].dtype)
            self.call("concat", *self.one(((x, other), (other, x), (x, x, other))), axis=axis)
        else:
            self.call(name, x, **attrs)

    def range(self, size: int) -> tuple[int, int, int]:
        """Return start, count and step of a slice of an axis."""
        if self.chance(0.4) or size == 0:
            return (0, size, 1)
        step = int(self.one((1, 1, 2, 3, -1, -2)))
        start = int(self.rng.integers(size))
        most = (size - 1 - start) // step + 1 if step > 0 else start // -step + 1
        return (start, int(self.rng.integers(0 if self.chance(0.1) else 1, most + 1)), step)

    def other_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return another shape of as many elements."""
        left, found = int(np.prod(shape)), []
        if left == 0:
            return (0, 3)
        while left > 1 and len(found) < 3:
            factors = [f for f in range(1, left + 1) if left % f == 0]
            found.append(int(self.one(factors)))
            left //= found[-1]
        return (*found, left) if left > 1 or self.chance(0.3) else tuple(found)

    def reduce(self) -> None:
        """Add a reduction over some axes."""
        x = self.value()
        dims = self.values[x].ndim
        axes = tuple(int(a) for a in self.rng.permutation(dims))[: int(self.rng.integers(dims + 1))]
        name = self.one(REDUCTIONS)
        if name == "prod" and _may_leave_the_range(self.values[x], axes):
            name = "sum"
        self.call(name, x, axes=tuple(sorted(axes)), keepdims=self.chance(0.5))

    def named(self) -> None:
        """Add something along one axis."""
        x = self.value(floating=True, dims=1)
        self.call(self.one(NAMED), x, axis=int(self.rng.integers(self.values[x].ndim)))

    def contract(self) -> None:
        """Add a product of matrices."""
        x = self.value(floating=True, dims=2)
        shape, dtype = self.values[x].shape, self.values[x].dtype
        inner, outer = shape[-1], int(self.one(SIZES[:-2]))
        if inner * outer > MOST:
            outer = 3
        if self.chance(0.3):
            self.call("linear", x, self.leaf((outer, inner), dtype), self.leaf((outer,), dtype))
        elif self.chance(0.3) and len(shape) > 1:
            y = self.call(
                "permute", x, axes=(*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
            )
            if y is not None:
                self.call("matmul", *((x, y) if self.chance(0.5) else (y, x)))
        else:
            batch = shape[:-2] if self.chance(0.3) else ()
            self.call("matmul", x, self.leaf((*batch, inner, outer), dtype))

    def convolve(self) -> None:
        """Add a convolution, of an image of its own more often than not."""
        dims = int(self.one((1, 1, 2, 2, 2, 3)))
        found = [n for n, t in self.values.items() if t.ndim == dims + 2 and t.dtype.is_floating]
        groups = int(self.one((1, 1, 1, 2, 3)))
        if found and self.chance(0.6):
            x = self.one(found)
        else:
            channels = groups * int(self.one((1, 1, 2, 3, 8)))
            size = tuple(
                int(self.one((1, 3, 4, 7, 8, 11) if dims < 3 else (1, 3, 4, 5)))
                for _ in range(dims)
            )
            x = self.leaf((int(self.one((1, 2, 5))), channels, *size))
        shape, dtype = self.values[x].shape, self.values[x].dtype
        kernel = tuple(int(self.one((1, 2, 3, 3, 5))) for _ in range(dims))
        many = groups * int(self.one((1, 1, 2, 5, 17)))
        stride, dilation = int(self.one((1, 1, 2, 3))), int(self.one((1, 1, 1, 2)))
        attrs = {"stride": stride, "dilation": dilation, "groups": groups}
        padding = int(self.one((0, 1, 1, 2)))
        if shape[1] % groups:
            return
        if self.chance(0.7):
            w = self.leaf((many, shape[1] // groups, *kernel), dtype)
            self.call(f"conv{dims}d", x, w, self.leaf((many,), dtype), padding=padding, **attrs)
        else:
            w = self.leaf((shape[1], many // groups, *kernel), dtype)
            self.call(f"conv_transpose{dims}d", x, w, padding=min(padding, 1), **attrs)

    def window(self) -> None:
        """Add a pooling."""
        x = self.value(floating=True, dims=2)
        dims = min(self.values[x].ndim - 1, 3)
        size, stride = int(self.one((1, 2, 2, 3))), int(self.one((1, 2, 2, 3)))
        padding = int(self.one((0, 0, 1)))
        attrs = {"kernel_size": size, "stride": stride, "padding": padding}
        self.call(f"{self.one(('max', 'avg'))}_pool{dims}d", x, **attrs)

    def control(self) -> None:
        """Add random numbers, a loop or a branch."""
        x = self.value(floating=True, dims=1)
        function = self.one(("dropout", "scanned", "branched", "repeated"))
        if function == "scanned" and not 0 < self.values[x].shape[0] < 20:
            return
        if function == "repeated" and self.special:
            return  # it might never end
        attrs = {"reverse": self.chance(0.5)} if function == "scanned" else {}
        self.call(function, x, **attrs)

    def choose(self) -> None:
        """Add a choice between two values."""
        x = self.value()
        shape, dtype = self.values[x].shape, self.values[x].dtype
        like = [n for n, t in self.values.items() if t.spec == self.values[x].spec]
        flags = [n for n, t in self.values.items() if t.dtype is bool_ and t.shape == shape]
        condition = self.one(flags) if flags else self.leaf(shape, bool_)
        self.call(
            "where", condition, x, self.one(like) if self.chance(0.6) else self.leaf((), dtype)
        )

    def cast(self) -> None:
        """Add a change of dtype."""
        x = self.value()
        if self.values[x].dtype.is_floating:
            names = DTYPES[-5:] if self.special or self.chance(0.8) else ("int32", "int64", "bool")
        else:
            names = (*DTYPES[-5:], *OTHERS)
        self.call("astype", x, dtype=as_dtype(self.one(names)))

    def update(self) -> None:
        """Add a change of a leaf that needs no gradient."""
        states = [leaf for leaf in self.leaves if not leaf.grad and leaf.dtype.is_floating]
        if not states:
            return
        state = self.one(states)
        x = self.values[state.name]
        fitting = [n for n, t in self.values.items() if t.spec == x.spec and n != state.name]
        other = self.one(fitting) if fitting else self.leaf(x.shape, state.dtype)
        method = self.one(("add_", "copy_", "mul_", "sub_"))
        with chainrule.no_grad():
            changed = getattr(x.clone(), method)(self.values[other])
        if self.usable(changed):
            self.calls.append(Call(state.name, method, (state.name, other)))
            self.values[state.name] = changed

    def pick(self) -> None:
        """Add a gather or scatter by integers."""
        x = self.value(dims=1)
        shape = self.values[x].shape
        axis = int(self.rng.integers(len(shape)))
        count = int(self.one((1, 3, 8)))
        if not shape[axis]:
            return
        bounds = {"low": -shape[axis], "high": shape[axis] - 1}
        if self.chance(0.5):
            at = self.leaf((count,), int64, **bounds)
            self.call("index", x, at, axes=(axis,), position=axis)
        else:
            at = self.leaf((*shape[:axis], count, *shape[axis + 1 :]), int64, **bounds)
            self.call("gather", x, at, axis=axis)

    def from_sample(self) -> None:
        """Add a call on one of its own samples, with a value for an input where one fits."""
        name, made = self.one(samples())
        s = self.one(made)
        dtype = as_dtype(self.one(DTYPES))
        inputs = [self.fitting(wanted, dtype) for wanted in s.inputs]
        if None not in inputs:
            self.call(name, *inputs, **s.attrs)

    def fitting(self, wanted: In, dtype: DType) -> str | None:
        """Return the name of a value for an input of a sample."""
        if wanted.kind == "float" and wanted.values is None and self.chance(0.6):
            size = int(np.prod(wanted.shape))
            large = [n for n, t in self.values.items() if t.dtype is dtype and t.size >= size]
            if large:
                x = self.one(large)
                flat = self.call("reshape", x, shape=(self.values[x].size,))
                part = flat and self.call("slice", flat, ranges=((0, size, 1),))
                whole = part and self.call("reshape", part, shape=wanted.shape)
                return whole and self.within(whole, wanted)
        array = wanted.make(self.rng)
        kind = {"float": dtype, "int": int64, "bool": bool_}[wanted.kind]
        name = f"x{len(self.leaves)}"
        grad = self.gradients and kind.is_floating and self.chance(0.7)
        self.leaves.append(Leaf(name, array, kind, "", self.chance(0.6), grad))
        self.values[name] = self.leaves[-1].tensor().detach()
        return name

    # --- the whole --------------------------------------------------------------------------

    def graph(self) -> Graph:
        """Return the graph made: some values are its outputs, those nobody reads among them."""
        made = [call.name for call in self.calls if not call.is_update]
        read = {i for call in self.calls for i in call.inputs}
        outputs = tuple(n for n in made if n not in read or self.chance(0.15)) or tuple(made[-1:])
        calls = list(self.calls)
        floats = tuple(n for n in outputs if self.values[n].dtype.is_floating)
        if floats and any(leaf.grad for leaf in self.leaves):
            calls.append(Call("", "backward", floats))
        return Graph(self.seed, tuple(self.leaves), tuple(calls), outputs).tidy()


def random_graph(seed: int, length: int = 14) -> Graph:
    """Return a random graph, the same for the same seed."""
    made = Maker(seed, length).graph()
    return replace(made, seed=seed)


def _may_leave_the_range(x: Tensor, axes: tuple[int, ...]) -> bool:
    """Return whether partial products may overflow or vanish, so that their order matters."""
    if x.dtype.kind != "float":
        return False
    values = x.detach().double().numpy()
    exponents = np.abs(np.frexp(np.where(np.isfinite(values), values, 1.0))[1])
    return bool(exponents.sum(axis=axes).max(initial=0) > 100)
