"""Formulas of every op against its NumPy definition, run by the interpreter of the kernel language.

The checks are generated from the registry: every sample of every op, in every dtype that the op
takes, with NaN, infinities and signed zeros sprinkled in. Oracle: `Op.eval`.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import chainrule.ops
from chainrule.core.dtype import ALL, DType, bool_, float64, to_storage, uint32, uint64
from chainrule.core.errors import ChainruleError, IndexRangeError
from chainrule.graph.op import OPS
from chainrule.graph.sample import Sample
from chainrule.graph.tensor import Tensor, apply, tensor
from chainrule.ir.definition import Definition
from chainrule.ir.expr import Call, Load, Ref, computed
from chainrule.ir.interpreter import evaluate

for _module in pkgutil.iter_modules(chainrule.ops.__path__):
    importlib.import_module(f"chainrule.ops.{_module.name}")

# Ops that compiled programs compute by `eval`, and why there is no formula.
WITHOUT = {
    "argsort": "sorting is no sum or choice over positions",
    "searchsorted": "a formula without control flow would compare with every element",
    "segment_argmax": "the places of maxima of runs whose ends are data",
    **dict.fromkeys(
        ("cholesky", "cofactors", "det", "eigh", "pinv", "qr", "slogdet", "solve", "svd"),
        "LAPACK's, which a formula for one element cannot be",
    ),
}
# Ops that add, so that results depend on the order of additions and zeros lose their sign.
ADDING = {
    *("sum", "prod", "cumsum", "matmul", "conv", "conv_input_grad", "conv_weight_grad"),
    *("window_sum", "overlap_add", "window_put", "ungather", "unindex"),
}
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0)


@dataclass(frozen=True)
class Case:
    """One op on one sample, its floating inputs in one dtype."""

    name: str
    position: int
    sample: Sample
    dtype: DType

    @property
    def id(self) -> str:
        return f"{self.name}-{self.sample.name or self.position}-{self.dtype.short}"

    def inputs(self) -> list[Tensor]:
        rng = np.random.default_rng(zlib.crc32(f"{self.name}/{self.position}".encode()))
        made = []
        for prototype in self.sample.inputs:
            array = prototype.make(rng)
            if prototype.kind != "float":
                made.append(tensor(array))
                continue
            if self.dtype.kind in ("uint", "bool"):
                array = np.abs(array)
            made.append(tensor(array, dtype=self.dtype))
        return made


def _cases() -> list[Case]:
    found = []
    for name, op in OPS.items():
        if name in WITHOUT:
            continue
        for position, sample in enumerate(op.samples()):
            has_floats = any(i.kind == "float" for i in sample.inputs)
            for dtype in ALL if has_floats else (float64,):
                case = Case(name, position, sample, dtype)
                if _is_taken(case):
                    found.append(case)
    return found


def _is_taken(case: Case) -> bool:
    try:
        apply(OPS[case.name], *case.inputs(), **case.sample.attrs)
    except (ChainruleError, TypeError):  # NumPy's, for convolutions of booleans
        return False
    return True


CASES = _cases()
FLOATING = [
    c for c in CASES if c.dtype.is_floating and any(i.kind == "float" for i in c.sample.inputs)
]


def by_id(case: Case) -> str:
    return case.id


def ref(x: Tensor) -> Ref:
    return Ref("x", x.shape, x.dtype)


def lowered(name: str, inputs: list[Tensor], attrs: dict[str, Any]) -> np.ndarray:
    refs = [ref(x) for x in inputs]
    formulas = OPS[name].lower(*refs, **attrs)
    assert formulas is not None
    spec = OPS[name].infer(*(x.spec for x in inputs), **attrs)
    assert (formulas[-1].target.shape, formulas[-1].target.dtype) == spec
    for formula in formulas:
        assert formula.body.dtype is computed(formula.target.dtype)
    found = evaluate(formulas, {r: x.array for r, x in zip(refs, inputs, strict=True)})
    return to_storage(found, spec.dtype)


def expect_same(case: Case, inputs: list[Tensor]) -> None:
    expected = apply(OPS[case.name], *inputs, **case.sample.attrs)
    found = Tensor(lowered(case.name, inputs, case.sample.attrs), expected.spec)
    if not expected.dtype.is_floating:
        np.testing.assert_array_equal(found.array, expected.array)
        return
    got, want = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if case.name not in ADDING:
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))
        return
    # A sample has at most some sixty elements, so rounding grows by that factor at most.
    digits = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}[expected.dtype.name]
    scale = max(1.0, float(np.max(np.abs(want), initial=0.0, where=np.isfinite(want))))
    tolerance = 64 * 2.0**-digits
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("case", CASES, ids=by_id)
def test_formulas_agree_with_eval(case: Case) -> None:
    expect_same(case, case.inputs())


@pytest.mark.parametrize("case", FLOATING, ids=by_id)
def test_special_values_agree_with_eval(case: Case) -> None:
    inputs = case.inputs()
    rng = np.random.default_rng(1)
    for number, x in enumerate(inputs):
        if not x.dtype.is_floating or not x.size or _meets_zeros(case, number):
            continue
        array = np.asarray(x, np.float64).copy()
        for value in rng.permutation(SPECIAL)[: 2 + number]:
            array.flat[rng.integers(array.size)] = value
        inputs[number] = tensor(array, dtype=x.dtype)
    expect_same(case, inputs)


def _meets_zeros(case: Case, number: int) -> bool:
    """Return whether an input is multiplied by zeros that `eval` leaves out."""
    if case.name != "conv_input_grad":
        return False
    kernel, stride = case.sample.inputs[1].shape[2:], case.sample.attrs["stride"]
    return number == 1 or any(k > s and k % s for k, s in zip(kernel, stride, strict=True))


def test_ops_without_formulas_are_known() -> None:
    missing = set()
    for name, op in OPS.items():
        for position, sample in enumerate(op.samples()):
            case = Case(name, position, sample, float64)
            if op.lower(*map(ref, case.inputs()), **sample.attrs) is None:
                missing.add(name)
    assert missing == set(WITHOUT)


def _geometry(rng: np.random.Generator, axes: int) -> tuple[dict[str, Any], list[int]]:
    """Return random attributes of a window, and sizes of an input that it fits into."""
    kernel = tuple(rng.integers(1, 5, axes).tolist())
    stride = tuple(rng.integers(1, 5, axes).tolist())
    # Strides are seldom combined with dilation, in nature and here.
    dilation = tuple(int(rng.integers(1, 4)) if s == 1 or rng.random() < 0.2 else 1 for s in stride)
    padding = tuple(map(tuple, rng.integers(0, 4, (axes, 2)).tolist()))
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [int(span + rng.integers(0, 6)) for span in spans]
    attrs = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return attrs, size


def _numbers(rng: np.random.Generator, *shape: int) -> Tensor:
    """Return small whole numbers, whose sums are exact in any order."""
    return tensor(rng.integers(-3, 4, shape), dtype=float64)


def expect_equal(name: str, *inputs: Tensor, **attrs: Any) -> Tensor:
    expected = apply(OPS[name], *inputs, **attrs)
    np.testing.assert_array_equal(lowered(name, list(inputs), attrs), expected.array)
    return expected


@pytest.mark.parametrize("seed", range(40))
def test_convolutions_of_any_geometry_agree_with_eval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attrs, size = _geometry(rng, int(rng.integers(1, 3)))
    kernel = attrs.pop("kernel")
    groups, inputs, outputs = (int(n) for n in rng.integers(1, 4, 3))
    attrs["groups"] = groups
    x = _numbers(rng, 2, groups * inputs, *size)
    w = _numbers(rng, groups * outputs, inputs, *kernel)
    out = expect_equal("conv", x, w, **attrs)
    g = _numbers(rng, *out.shape)
    expect_equal("conv_input_grad", g, w, size=tuple(size), **attrs)
    expect_equal("conv_weight_grad", x, g, kernel=kernel, **attrs)


@pytest.mark.parametrize("seed", range(40))
def test_windows_of_any_geometry_agree_with_eval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attrs, size = _geometry(rng, int(rng.integers(1, 3)))
    x = _numbers(rng, 2, 2, *size)
    windows = expect_equal("sliding_window", x, **attrs)
    expect_equal("window_sum", x, **attrs)
    largest = expect_equal("max_pool", x, **attrs)
    index = expect_equal("max_pool_index", x, **attrs)
    if np.isfinite(largest.array).all():  # no window lies in the padding alone
        expect_equal("window_take", x, index, **attrs)
    g = _numbers(rng, *largest.shape)
    expect_equal("window_put", g, index, size=tuple(size), **attrs)
    del attrs["kernel"]
    expect_equal("overlap_add", _numbers(rng, *windows.shape), size=tuple(size), **attrs)


@pytest.mark.parametrize("dtype", [uint32, uint64], ids=lambda d: d.name)
@pytest.mark.parametrize("low", [0, 2**32 - 5, 2**63 - 5, 2**64 - 5])
def test_random_bits_are_the_same_bits(low: int, dtype: DType) -> None:
    state = tensor(np.array([0xDEADBEEF12345678, low, 2**64 - 1], np.uint64))
    expect_equal("random_bits", state, shape=(7, 11), dtype=dtype)


@pytest.mark.parametrize("start", [0, -5, 2**63, 2**64 - 3])
def test_arange_wraps_as_eval_does(start: int) -> None:
    expect_equal("arange", start=start, step=-3, count=5, dtype=uint64)


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        *(((2, 3, 4), (4, 3, 2)), ((6, 4), (2, 3, 2, 2)), ((2, 1, 3), (1, 2, 3, 1))),
        *(((4, 6), (2, 12)), ((2, 2, 3), (2, 6)), ((0, 2), (2, 0, 5)), ((1,), ())),
    ],
)
def test_reshape_of_any_kind_agrees_with_eval(
    shape: tuple[int, ...], target: tuple[int, ...]
) -> None:
    expect_equal("reshape", _numbers(np.random.default_rng(0), *shape), shape=target)


def test_splitting_an_axis_reads_by_axes_and_merging_reads_flat() -> None:
    x = Ref("x", (6, 4), float64)
    (split,) = OPS["reshape"].lower(x, shape=(2, 3, 4)) or ()
    (merged,) = OPS["reshape"].lower(x, shape=(24,)) or ()
    assert isinstance(split.body, Load)
    assert isinstance(merged.body, Load)
    assert len(split.body.indices) == 2
    assert len(merged.body.indices) == 1


@pytest.mark.parametrize("name", ["matmul", "conv", "conv_input_grad", "conv_weight_grad"])
def test_contractions_read_both_factors_without_conditions(name: str) -> None:
    for position, sample in enumerate(OPS[name].samples()):
        inputs = Case(name, position, sample, float64).inputs()
        formulas = OPS[name].lower(*map(ref, inputs), **sample.attrs) or ()
        sums = [f for f in formulas if isinstance(f, Definition) and f.fn]
        assert len(sums) == 1
        product = sums[0].body
        assert isinstance(product, Call)
        assert product.fn == "multiply"
        for factor in product.args:
            assert isinstance(factor, Load)
            assert not factor.guards
            assert not any(factor.dynamic)


def _bad_calls() -> list[tuple[str, list[Tensor], dict[str, Any]]]:
    table, row = tensor(np.ones((4, 3))), tensor(np.ones((1, 3)))
    layout = {"axes": (0,), "position": 0}
    found: list[tuple[str, list[Tensor], dict[str, Any]]] = []
    for value in (4, -5):
        index = tensor(np.array([value]))
        found.append(("index", [table, index], layout))
        found.append(("unindex", [row, index], {"shape": (4, 3), **layout}))
        found.append(("index_put", [table, row, index], layout))
        wide = tensor(np.full((1, 3), value))
        found.append(("gather", [table, wide], {"axis": 0}))
        found.append(("ungather", [row, wide], {"axis": 0, "size": 4}))
        found.append(("one_hot", [index], {"num_classes": 4}))
    found.append(("one_hot", [tensor(np.array([2**64 - 1], np.uint64))], {"num_classes": 4}))
    pair = [tensor(np.array([0, 1])), tensor(np.array([[2], [3]]))]
    found.append(("index", [table, *pair], {"axes": (0, 1), "position": 0}))
    return found


@pytest.mark.parametrize(
    "call", _bad_calls(), ids=lambda c: f"{c[0]}-{np.asarray(c[1][-1]).flat[-1]}"
)
def test_condition_fails_where_eval_refuses(
    call: tuple[str, list[Tensor], dict[str, Any]],
) -> None:
    name, inputs, attrs = call
    with pytest.raises(IndexRangeError):
        apply(OPS[name], *inputs, **attrs)
    holds, error = _condition(name, inputs, attrs)
    assert not holds
    assert isinstance(error, IndexRangeError)
    assert name in str(error)


@pytest.mark.parametrize("case", [c for c in CASES if c.dtype is float64], ids=by_id)
def test_condition_holds_where_eval_gives_a_result(case: Case) -> None:
    inputs = case.inputs()
    if OPS[case.name].condition(*map(ref, inputs), **case.sample.attrs) is not None:
        assert _condition(case.name, inputs, case.sample.attrs)[0]


def _condition(name: str, inputs: list[Tensor], attrs: dict[str, Any]) -> tuple[bool, Exception]:
    refs = [ref(x) for x in inputs]
    found = OPS[name].condition(*refs, **attrs)
    assert found is not None
    formulas, error = found
    assert (formulas[-1].target.shape, formulas[-1].target.dtype) == ((), bool_)
    arrays = {r: x.array for r, x in zip(refs, inputs, strict=True)}
    return bool(evaluate(formulas, arrays)), error
