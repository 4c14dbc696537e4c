"""Every op and composite function, on every sample it declares, through every check there is.

The checks are generated from the registry, so a new op cannot forget them. Oracles: the op's own
shape rule, differences of its values (first and second order), and PyTorch for values and
gradients. What is traced, scheduled into kernels and run by their interpreter is compared with the
op itself, and so is their machine code (all samples of an op in one program, for speed). How many
checks were generated is recorded in every_op_count.txt and may not fall.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiled import Together, differentiate
from interpreted import interpreted, interpreted_gradients
from references import REFERENCES

import chainrule
import chainrule.ops
from chainrule.core.dtype import ALL, DType, bfloat16, float16, float32, float64
from chainrule.core.errors import ChainruleError
from chainrule.graph.op import COMPOSITES, OPS
from chainrule.graph.sample import In, Sample
from chainrule.graph.tensor import Tensor, apply, tensor
from chainrule.testing import gradcheck, gradgradcheck

for _module in pkgutil.iter_modules(chainrule.ops.__path__):
    importlib.import_module(f"chainrule.ops.{_module.name}")

COUNT_FILE = Path(__file__).with_name("every_op_count.txt")


@dataclass(frozen=True)
class Subject:
    """One op or composite on one sample."""

    name: str
    position: int
    sample: Sample
    call: Callable[..., Any]
    primitive: bool
    differentiable: bool

    @property
    def id(self) -> str:
        return f"{self.name}-{self.sample.name or self.position}"

    def arrays(self) -> list[np.ndarray]:
        seed = zlib.crc32(f"{self.name}/{self.position}".encode())
        rng = np.random.default_rng(seed)
        return [i.make(rng) for i in self.sample.inputs]

    def tensors(self, dtype: DType = float64) -> list[Tensor]:
        return [
            tensor(a, dtype=dtype) if i.kind == "float" else tensor(a)
            for a, i in zip(self.arrays(), self.sample.inputs, strict=True)
        ]

    def run(self, *inputs: Tensor) -> Tensor:
        return self.call(*inputs, **self.sample.attrs)

    @property
    def has_float_input(self) -> bool:
        return any(i.kind == "float" for i in self.sample.inputs)


def subjects() -> list[Subject]:
    found = []
    for name, op in OPS.items():

        def call(*inputs: Tensor, _op: Any = op, **attrs: Any) -> Tensor:
            return apply(_op, *inputs, **attrs)

        for position, sample in enumerate(op.samples()):
            found.append(Subject(name, position, sample, call, True, op.differentiable))
    for name, entry in COMPOSITES.items():
        for position, sample in enumerate(entry.samples()):
            found.append(
                Subject(name, position, sample, entry.function, False, entry.differentiable)
            )
    return found


SUBJECTS = subjects()
DIFFERENTIABLE = [s for s in SUBJECTS if s.differentiable and s.has_float_input]
WITH_FLOATS = [s for s in SUBJECTS if s.has_float_input]
DTYPE_CASES = [(s, d) for s in WITH_FLOATS for d in (float32, float16, bfloat16)]
CHECKS = {
    "values": SUBJECTS,
    "gradient": DIFFERENTIABLE,
    "second gradient": DIFFERENTIABLE,
    "dtype": DTYPE_CASES,
    "torch values": SUBJECTS,
    "torch gradients": DIFFERENTIABLE,
    "special values": WITH_FLOATS,
    "inputs unchanged": SUBJECTS,
    "interpreted values": SUBJECTS,
    "interpreted gradient": DIFFERENTIABLE,
    "interpreted dtype": DTYPE_CASES,
    "interpreted special values": WITH_FLOATS,
    "compiled values": SUBJECTS,
    "compiled gradient": DIFFERENTIABLE,
    "compiled dtype": DTYPE_CASES,
    "compiled special values": WITH_FLOATS,
}
NAMES = sorted({*OPS, *COMPOSITES})
# Their kernels multiply by zeros that stand for padding, where the op itself leaves them out: next
# to NaN and infinity more elements become NaN.
PADS_WITH_ZEROS = (
    *("conv_input_grad", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
)


def by_id(case: Any) -> str:
    return case.id


def dtype_id(case: Any) -> str:
    return f"{case[0].id}-{case[1].name}" if isinstance(case, tuple) else str(case)


@pytest.mark.parametrize("subject", SUBJECTS, ids=by_id)
def test_shape_rule_agrees_with_the_result(subject: Subject) -> None:
    inputs = subject.tensors()
    result = subject.run(*inputs)
    assert result.array.shape == result.shape
    assert result.array.dtype == result.dtype.storage
    if subject.primitive:
        spec = OPS[subject.name].infer(*(x.spec for x in inputs), **subject.sample.attrs)
        assert result.spec == spec
        cost = OPS[subject.name].cost(*(x.spec for x in inputs), **subject.sample.attrs)
        assert cost.flops >= 0
        assert cost.bytes >= result.nbytes


@pytest.mark.parametrize("subject", DIFFERENTIABLE, ids=by_id)
def test_gradient_agrees_with_differences(subject: Subject) -> None:
    gradcheck(subject.run, subject.tensors())


@pytest.mark.parametrize("subject", DIFFERENTIABLE, ids=by_id)
def test_second_gradient_agrees_with_differences(subject: Subject) -> None:
    gradgradcheck(subject.run, subject.tensors())


@pytest.mark.parametrize("case", DTYPE_CASES, ids=dtype_id)
def test_dtype_is_kept_and_value_close_to_float64(case: tuple[Subject, DType]) -> None:
    subject, dtype = case
    inputs = subject.tensors(dtype)
    result = subject.run(*inputs)
    exact = subject.run(*(x.double() if x.dtype is dtype else x for x in inputs))
    if not exact.dtype.is_floating:
        assert result.dtype is exact.dtype
        return
    assert result.dtype in (dtype, exact.dtype)
    assert_close_to_float64(result, exact, dtype)


@pytest.mark.parametrize("subject", SUBJECTS, ids=by_id)
def test_values_agree_with_reference(subject: Subject) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    inputs = subject.tensors()
    expected = REFERENCES[subject.name](*map(to_torch, inputs), **subject.sample.attrs)
    result = subject.run(*inputs)
    expected = torch.as_tensor(expected)
    assert tuple(expected.shape) == result.shape
    np.testing.assert_allclose(
        np.asarray(result), expected.detach().numpy(), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("subject", DIFFERENTIABLE, ids=by_id)
def test_gradients_agree_with_reference(subject: Subject) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    inputs = subject.tensors()
    theirs = [to_torch(x) for x in inputs]
    floats = [i for i, x in enumerate(inputs) if x.dtype.is_floating]
    for i in floats:
        inputs[i].requires_grad_()
        theirs[i].requires_grad_()
    expected = REFERENCES[subject.name](*theirs, **subject.sample.attrs)
    if not getattr(expected, "requires_grad", False):
        pytest.skip("the reference has no derivative; differences are checked")
    result = subject.run(*inputs)
    if result.node is None:
        raise AssertionError("the reference has a derivative, ours has none")
    weight = np.random.default_rng(2).uniform(0.5, 1.5, result.shape)
    (result * tensor(weight)).sum().backward()
    (expected * torch.as_tensor(weight)).sum().backward()
    for i in floats:
        other = theirs[i].grad
        want = np.zeros(inputs[i].shape) if other is None else other.numpy()
        got = np.zeros(inputs[i].shape) if inputs[i].grad is None else np.asarray(inputs[i].grad)
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("subject", WITH_FLOATS, ids=by_id)
def test_special_values_agree_with_reference(subject: Subject) -> None:
    """NaN, inf and -0.0 in any place give what the reference gives, or the same refusal."""
    pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    inputs = subject.tensors()
    for special in (np.nan, np.inf, -np.inf, -0.0):
        changed = [poisoned(x, special) for x in inputs]
        try:
            result = subject.run(*changed)
        except ChainruleError:
            continue
        expected = REFERENCES[subject.name](*map(to_torch, changed), **subject.sample.attrs)
        got, want = np.asarray(result), np.asarray(expected)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12, err_msg=f"with {special}")


@pytest.mark.parametrize("subject", SUBJECTS, ids=by_id)
def test_inputs_are_not_changed_and_result_is_repeatable(subject: Subject) -> None:
    inputs = subject.tensors()
    before = [x.numpy() for x in inputs]
    first = subject.run(*inputs)
    second = subject.run(*inputs)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    for x, array in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(np.asarray(x), array)


@pytest.mark.parametrize("subject", SUBJECTS, ids=by_id)
def test_interpreted_values_agree(subject: Subject) -> None:
    inputs = subject.tensors()
    expected = subject.run(*inputs)
    result = interpreted(subject.run, inputs)
    assert result.spec == expected.spec
    np.testing.assert_allclose(np.asarray(result), np.asarray(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("subject", DIFFERENTIABLE, ids=by_id)
def test_interpreted_gradients_agree(subject: Subject) -> None:
    inputs = subject.tensors()
    for x in inputs:
        if x.dtype.is_floating:
            x.requires_grad_()
    result = subject.run(*inputs)
    if result.node is None:
        return
    weight = tensor(np.random.default_rng(2).uniform(0.5, 1.5, result.shape))

    def backward(*given: Tensor) -> None:
        (subject.run(*given) * weight).sum().backward()

    found = interpreted_gradients(backward, inputs)
    backward(*inputs)
    for x, got in zip(inputs, found, strict=True):
        assert (got is None) == (x.grad is None)
        if x.grad is not None:
            np.testing.assert_allclose(got, np.asarray(x.grad), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("case", DTYPE_CASES, ids=dtype_id)
def test_interpreted_value_is_close_to_float64(case: tuple[Subject, DType]) -> None:
    subject, dtype = case
    inputs = subject.tensors(dtype)
    result = interpreted(subject.run, inputs)
    assert result.spec == subject.run(*inputs).spec
    exact = subject.run(*(x.double() if x.dtype is dtype else x for x in inputs))
    if exact.dtype.is_floating:
        assert_close_to_float64(result, exact, dtype)
    else:
        np.testing.assert_array_equal(np.asarray(result), np.asarray(subject.run(*inputs)))


@pytest.mark.parametrize("subject", WITH_FLOATS, ids=by_id)
def test_interpreted_special_values_agree(subject: Subject) -> None:
    inputs = subject.tensors()
    zeros = subject.name in PADS_WITH_ZEROS
    for special in (-0.0,) if zeros else (np.nan, np.inf, -np.inf, -0.0):
        changed = [poisoned(x, special) for x in inputs]
        try:
            expected = np.asarray(subject.run(*changed))
        except ChainruleError:
            continue
        got = np.asarray(interpreted(subject.run, changed))
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12, err_msg=f"with {special}")


@pytest.mark.parametrize("name", NAMES)
def test_compiled_values_agree(name: str) -> None:
    """Also with NaN, inf and -0.0 in the same program."""
    chosen = [s for s in SUBJECTS if s.name == name]
    together = Together([s.run for s in chosen], [len(s.sample.inputs) for s in chosen])
    given = [s.tensors() for s in chosen]
    zeros = name in PADS_WITH_ZEROS
    for special in (None, -0.0) if zeros else (None, np.nan, np.inf, -np.inf, -0.0):
        inputs = [
            x if special is None else poisoned_if_allowed(s, x, special)
            for s, x in zip(chosen, given, strict=True)
        ]
        for subject, x, result in zip(chosen, inputs, together(inputs), strict=True):
            expected = subject.run(*x)
            assert result.spec == expected.spec, subject.id
            assert_close(result, expected, 1e-10, 1e-12, f"{subject.id} with {special}")


@pytest.mark.parametrize("name", sorted({s.name for s in DIFFERENTIABLE}))
def test_compiled_gradients_agree(name: str) -> None:
    chosen = [s for s in DIFFERENTIABLE if s.name == name]
    counts = [len(s.sample.inputs) for s in chosen]
    together = Together([s.run for s in chosen], counts, backward=True)
    inputs, copies = ([leaves(s.tensors()) for s in chosen] for _ in range(2))
    results = together(inputs)
    for subject, x, copy, result in zip(chosen, inputs, copies, results, strict=True):
        expected = subject.run(*copy)
        differentiate(expected)
        assert_close(result, expected, 1e-10, 1e-12, subject.id)
        for got, wanted in zip(x, copy, strict=True):
            assert (got.grad is None) == (wanted.grad is None), subject.id
            if got.grad is not None and wanted.grad is not None:
                assert_close(got.grad, wanted.grad, 1e-8, 1e-10, subject.id)


@pytest.mark.parametrize("name", sorted({s.name for s in WITH_FLOATS}))
def test_compiled_values_are_close_to_float64(name: str) -> None:
    cases = [case for case in DTYPE_CASES if case[0].name == name]
    together = Together([s.run for s, _ in cases], [len(s.sample.inputs) for s, _ in cases])
    inputs = [subject.tensors(dtype) for subject, dtype in cases]
    for (subject, dtype), x, result in zip(cases, inputs, together(inputs), strict=True):
        expected = subject.run(*x)
        assert result.spec == expected.spec, subject.id
        exact = subject.run(*(i.double() if i.dtype is dtype else i for i in x))
        if exact.dtype.is_floating:
            assert_close_to_float64(result, exact, dtype, dtype_id((subject, dtype)))
        else:
            assert_close(result, expected, 0.0, 0.0, dtype_id((subject, dtype)))


@pytest.mark.parametrize("name", NAMES)
def test_every_subject_has_samples_and_a_reference(name: str) -> None:
    assert name in REFERENCES
    assert any(subject.name == name for subject in SUBJECTS)


@pytest.mark.parametrize("name", sorted(OPS))
def test_wrong_number_of_dimensions_is_an_error_that_names_the_op(name: str) -> None:
    """Inputs of an absurd common shape are either fine or refused by name."""
    op = OPS[name]
    first = next(iter(op.samples()))
    strange = [tensor(np.zeros((2, 3, 5)), dtype=float64) for _ in first.inputs]
    if not strange:
        return
    strange[-1] = tensor(np.zeros((7, 1)), dtype=float64)
    refusal = refusal_of(lambda: apply(op, *strange, **first.attrs))
    assert refusal is None or name in refusal


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("name", sorted(OPS))
def test_every_dtype_works_or_is_refused_by_name(name: str, dtype: DType) -> None:
    op = OPS[name]
    first = next(iter(op.samples()))
    rng = np.random.default_rng(0)
    inputs = [
        tensor(np.abs(i.make(rng)), dtype=dtype) if i.kind == "float" else tensor(i.make(rng))
        for i in first.inputs
    ]
    refusal = refusal_of(lambda: apply(op, *inputs, **first.attrs))
    if refusal is None:
        result = apply(op, *inputs, **first.attrs)
        assert result.array.dtype == result.dtype.storage
    else:
        assert name in refusal


def test_count_of_checks_does_not_fall(record_property: Any) -> None:
    count = sum(map(len, CHECKS.values())) + len(OPS) * (len(ALL) + 2) + len(COMPOSITES)
    print(f"\n{len(OPS)} ops, {len(COMPOSITES)} composites, {count} generated checks")
    record_property("generated_checks", count)
    assert count >= int(COUNT_FILE.read_text())


def assert_close(result: Tensor, expected: Tensor, rtol: float, atol: float, text: str) -> None:
    got, wanted = np.asarray(result), np.asarray(expected)
    np.testing.assert_allclose(got, wanted, rtol=rtol, atol=atol, err_msg=text)


def assert_close_to_float64(result: Tensor, exact: Tensor, dtype: DType, text: str = "") -> None:
    """Fail unless a result in a short dtype is as close as roundings of its size allow."""
    digits = {float32: 24, float16: 11, bfloat16: 8}[dtype]
    expected = np.asarray(exact)
    # A sample has at most some sixty elements, so rounding grows by that factor at most.
    tolerance = 64 * 2.0**-digits
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))))
    got = np.asarray(result, dtype=np.float64)
    np.testing.assert_allclose(got, expected, tolerance, tolerance * scale, err_msg=text)


def leaves(inputs: list[Tensor]) -> list[Tensor]:
    return [x.requires_grad_() if x.dtype.is_floating else x for x in inputs]


def poisoned_if_allowed(subject: Subject, inputs: list[Tensor], value: float) -> list[Tensor]:
    """Return inputs with a special value, or as they are where the op refuses it."""
    changed = [poisoned(x, value) for x in inputs]
    return inputs if refusal_of(lambda: subject.run(*changed)) else changed


def refusal_of(call: Callable[[], object]) -> str | None:
    """Return the text of the error that a call is refused with, or None."""
    try:
        call()
    except ChainruleError as error:
        return str(error)
    return None


def poisoned(x: Tensor, value: float) -> Tensor:
    if not x.dtype.is_floating or x.size == 0:
        return x
    array = x.numpy()
    array.flat[x.numel() // 2] = value
    return tensor(array)


def to_torch(x: Tensor) -> Any:
    import torch

    return torch.from_numpy(x.numpy()) if x.dtype is not bfloat16 else None


def test_a_planted_wrong_gradient_is_caught() -> None:
    """The check can fail: an op whose derivative is 1 % off is found, and named."""
    from chainrule.graph.op import INPUTS, Op

    class Crooked(Op):
        """x², with a wrong derivative."""

        name = "crooked"
        saves = INPUTS

        def infer(self, x: Any) -> Any:
            return x

        def eval(self, x: Any) -> Any:
            return x * x

        def vjp(self, grad: Tensor, output: Tensor, x: Tensor) -> tuple[Tensor]:
            return (grad * x * 2.02,)

        def samples(self) -> Any:
            return [Sample((In((3,)),))]

    x = tensor([0.5, 1.0, 2.0], dtype=float64)
    report = gradcheck(lambda x: apply(Crooked(), x), x, raise_exception=False)
    assert not report
    assert report.op == "crooked"
    assert report.error == pytest.approx(0.02 / 2.02, rel=1e-6)
    with pytest.raises(chainrule.GradientError, match="crooked: gradient wrong: worst at input 0"):
        gradcheck(lambda x: apply(Crooked(), x), x)
