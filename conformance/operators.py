"""Run PyTorch's operator samples (OpInfo) on the functions that chainrule has under its names.

Usage: python conformance/operators.py [NAME ...] [--dtype float64 float32] [--details] [--out FILE]

For each operator that both have: every sample that PyTorch's own tests use, values and the
gradients of all inputs, compared with PyTorch's. Names that differ and samples that are left out
stand in operator_names.py, each with its reason. Needs torch and expecttest.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import chainrule
import chainrule.nn.functional as F
from chainrule.core.errors import ChainruleError

sys.path.insert(0, str(Path(__file__).parent))
from operator_names import (
    CHANGED_SAMPLES,
    FIRST_FUNCTIONS,
    KNOWN,
    LEFT_OUT,
    OTHER_ARGUMENTS,
    OTHER_NAMES,
    OTHER_RESULTS,
    SAMPLES_LEFT_OUT,
    VALUES_ONLY,
)

# Relative and absolute; PyTorch's own for comparing devices, tenfold for gradients in float32.
TOLERANCES = {"float64": (1e-7, 1e-9), "float32": (1e-4, 1e-4)}


@dataclass
class Report:
    """What came out for one operator in one dtype.

    Attributes:
        name: PyTorch's name of the operator.
        dtype: The dtype.
        agree: How many samples agree, in values and gradients.
        left_out: How many samples are left out, by reason.
        differ: What is different, a line each.
    """

    name: str
    dtype: str
    agree: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    differ: list[str] = field(default_factory=list)


def find(name: str) -> Callable[..., Any] | None:
    """Return our function for an operator: a method of tensors if there is one of that name."""
    path = OTHER_NAMES.get(name, name)
    if path.startswith("nn.functional."):
        return getattr(F, path.removeprefix("nn.functional."), None)
    if path.startswith(("linalg.", "array_api.")):
        room, _, function = path.partition(".")
        return getattr(getattr(chainrule, room), function, None)
    if "." in path or path.startswith("_"):
        return None
    found = getattr(chainrule.Tensor, path, None)
    if callable(found) and not path.startswith("chainrule."):
        return found
    found = getattr(chainrule, path, None)
    return found if callable(found) else None


def operators(names: Sequence[str] = (), *, dtype: str) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """Yield each operator that both have in a dtype, and our function for it."""
    import torch
    from torch.testing._internal.common_methods_invocations import op_db

    for op in op_db:
        if names and op.name not in names:
            continue
        if op.name in LEFT_OUT or getattr(torch, dtype) not in op.dtypes:
            continue
        ours = find(op.name)
        if ours is not None:
            yield op, ours


def known_differences() -> set[str]:
    """Return the operators whose differences are explained in operator_names.py."""
    return set(KNOWN)


def to_ours(value: Any) -> Any:
    """Return an argument of PyTorch's as one of ours."""
    import torch

    if isinstance(value, torch.Tensor):
        made = chainrule.tensor(value.detach().numpy())
        if value.requires_grad:
            made.requires_grad_()
        return made
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.device):
        return value.type
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, dict):
        return {key: to_ours(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(to_ours(item) for item in value)
    return value


def leaves(value: Any) -> list[Any]:
    """Return all tensors inside nested arguments or results, of either library."""
    import torch

    if isinstance(value, torch.Tensor | chainrule.Tensor):
        return [value]
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return []


def detached(value: Any) -> Any:
    """Return an argument of PyTorch's with leaves in the place of its tensors."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {key: detached(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        items = [detached(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def inputs_of(op: Any, sample: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a sample, as the operator's wrapper prepares them.

    Some operators take symmetric or triangular matrices: the wrapper makes them of any.
    """
    caught: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def catch(*args: Any, **kwargs: Any) -> Any:
        caught.append((args, kwargs))
        return op.op(*args, **kwargs)

    op.gradcheck_wrapper(catch, sample.input, *sample.args, **sample.kwargs)
    args, kwargs = detached(caught[0][0]), detached(caught[0][1])
    change = CHANGED_SAMPLES.get(op.name)
    return (args, kwargs) if change is None else change(args, kwargs)


def without_reason(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return why a sample is left out, or an empty string."""
    for applies, reason in SAMPLES_LEFT_OUT.get(op.name, ()):
        if applies(args, kwargs):
            return reason
    if any(
        leaf.is_complex() or leaf.is_quantized or leaf.layout != _strided()
        for leaf in leaves([args, kwargs])
    ):
        return "complex, quantized or sparse"
    if any("complex" in str(value) for value in kwargs.values()):
        return "complex, quantized or sparse"
    return ""


def _strided() -> Any:
    import torch

    return torch.strided


def compare(op: Any, ours: Callable[..., Any], sample: Any, dtype: str) -> str:
    """Return what differs between both libraries on a sample; empty if nothing."""
    import torch

    args, kwargs = inputs_of(op, sample)
    reason = without_reason(op, args, kwargs)
    if reason:
        return f"left out: {reason}"
    first = FIRST_FUNCTIONS.get(op.name, lambda value: value)
    expected = op.op(first(args[0]), *args[1:], **kwargs)
    if any(leaf.is_complex() for leaf in leaves(expected)):
        return "left out: complex, quantized or sparse"
    adapt = OTHER_ARGUMENTS.get(op.name)
    mine, mine_kwargs = to_ours(args), to_ours(kwargs)
    given = leaves([mine, mine_kwargs])
    if adapt is not None:
        mine, mine_kwargs = adapt(mine, mine_kwargs)
    try:
        result = ours(*(first(each) for each in mine[:1]), *mine[1:], **mine_kwargs)
    except (ChainruleError, TypeError, AttributeError, ValueError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
    view = OTHER_RESULTS.get(op.name, lambda value: value)
    wanted, got = leaves(view(expected)), leaves(view(result))
    if not wanted and not got:
        return "" if result == expected else f"{result} != {expected}"
    if len(wanted) != len(got):
        return f"{len(got)} results, expected {len(wanted)}"
    for number, (x, t) in enumerate(zip(got, wanted, strict=True)):
        theirs = t.detach().float() if t.dtype == torch.bfloat16 else t.detach()
        text = different(np.asarray(x), theirs.numpy(), dtype, f"result {number}")
        if text:
            return text
        if x.dtype.name != str(t.dtype).removeprefix("torch."):
            return f"result {number}: dtype {x.dtype.name}, expected {t.dtype}"
    if not op.supports_autograd or not any(t.requires_grad for t in wanted):
        return ""
    if any(applies(args, kwargs) for applies, _ in VALUES_ONLY.get(op.name, ())):
        return ""
    return compare_gradients(leaves([args, kwargs]), given, wanted, got, dtype)


def compare_gradients(
    theirs: list[Any], given: list[Any], wanted: list[Any], got: list[Any], dtype: str
) -> str:
    """Return what differs between gradients of a weighted sum of all results."""
    import torch

    rng = np.random.default_rng(0)
    their_sum: Any = 0
    our_sum: Any = 0
    for x, t in zip(got, wanted, strict=True):
        if not t.requires_grad:
            continue
        weight = rng.uniform(0.5, 1.5, tuple(t.shape))
        their_sum = their_sum + (t * torch.as_tensor(weight, dtype=t.dtype)).sum()
        if x.node is not None:  # else its gradient is 0, which PyTorch has to agree with
            our_sum = our_sum + (x * chainrule.tensor(weight, dtype=x.dtype)).sum()
    their_sum.backward()
    if isinstance(our_sum, chainrule.Tensor):
        our_sum.backward()
    for number, (x, t) in enumerate(zip(given, theirs, strict=True)):
        if not t.requires_grad:
            continue
        expected = np.zeros(tuple(t.shape)) if t.grad is None else t.grad.numpy()
        found = np.zeros(x.shape) if x.grad is None else np.asarray(x.grad)
        text = different(found, expected, dtype, f"gradient {number}")
        if text:
            return text
    return ""


def different(found: Any, expected: Any, dtype: str, what: str) -> str:
    """Return how two arrays differ, or an empty string."""
    if found.shape != expected.shape:
        return f"{what}: shape {found.shape}, expected {expected.shape}"
    rtol, atol = TOLERANCES[dtype]
    scale = float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected)))
    if np.allclose(found, expected, rtol, atol * max(1.0, scale), equal_nan=True):
        return ""
    with np.errstate(all="ignore"):
        gap = np.nanmax(np.abs(np.subtract(found, expected, dtype=np.float64)))
    return f"{what}: differs by {gap:.3g} of {scale:.3g}"


def examine(op: Any, ours: Callable[..., Any], dtype: str, most: int = 0) -> Report:
    """Return the report of one operator; ``most`` limits the number of samples."""
    import torch

    torch.manual_seed(0)
    report = Report(
        op.name if not op.variant_test_name else f"{op.name}.{op.variant_test_name}", dtype
    )
    samples = op.sample_inputs("cpu", getattr(torch, dtype), requires_grad=op.supports_autograd)
    for number, sample in enumerate(samples):
        if most and number >= most:
            break
        try:
            text = compare(op, ours, sample, dtype)
        except Exception as error:  # a sample that cannot be compared does not end the run
            text = f"{type(error).__name__}: {str(error)[:150]}"
        if text.startswith("left out: "):
            reason = text.removeprefix("left out: ")
            report.left_out[reason] = report.left_out.get(reason, 0) + 1
        elif text:
            shown = f"{sample.summary()}"[:200].replace("\n", " ")
            report.differ.append(f"{text}   [{shown}]")
        else:
            report.agree += 1
    return report


def main() -> int:
    """Run the operators asked for, print the score."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--dtype", nargs="+", default=["float64", "float32"])
    parser.add_argument("--details", type=int, default=0, help="differences shown per operator")
    parser.add_argument("--most", type=int, default=0, help="samples per operator")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    lines, good, count, samples = [], 0, 0, 0
    for dtype in chosen.dtype:
        for op, ours in operators(chosen.names, dtype=dtype):
            report = examine(op, ours, dtype, chosen.most)
            if not report.agree and not report.differ:
                continue
            count += 1
            samples += report.agree + len(report.differ)
            good += not report.differ
            if report.differ:
                total = report.agree + len(report.differ)
                lines.append(f"{report.name} {dtype}: {report.agree} of {total} agree")
                lines += [f"    {text}" for text in report.differ[: chosen.details]]
    lines += [f"  known: {name}: {KNOWN[name]}" for name in sorted(KNOWN)]
    lines.insert(0, f"{good} of {count} operators (by dtype) agree on all of {samples} samples")
    print("\n".join(lines))
    if chosen.out:
        chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
