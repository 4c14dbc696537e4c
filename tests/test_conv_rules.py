"""Convolutions that the compiler turns into something else: the same values and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from program_tools import Builder

import chainrule as cr
import chainrule.nn.functional as F
from chainrule.compiler.pipeline import simplified

torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")

# function, input, weight, arguments
CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("conv_transpose2d", (3, 5, 1, 1), (5, 4, 3, 2), {}),
    ("conv2d", (2, 3, 4, 5), (7, 3, 4, 5), {}),
    ("conv1d", (2, 4, 5), (4, 1, 5), {"groups": 4}),
    ("conv_transpose2d", (2, 6, 3, 4), (6, 1, 4, 4), {"stride": 2, "padding": 1}),
    (
        *("conv_transpose2d", (2, 6, 3, 4), (6, 2, 3, 2)),
        {"stride": (2, 3), "padding": 1, "output_padding": 1},
    ),
    ("conv2d", (2, 1, 8, 8), (6, 1, 4, 4), {"stride": 2, "padding": 1}),
    ("conv2d", (2, 1, 8, 8), (6, 1, 3, 3), {"dilation": 2, "padding": 1}),
    ("conv2d", (2, 6, 5, 6), (6, 1, 3, 3), {"padding": 1, "groups": 6}),
    ("conv2d", (2, 6, 5, 6), (6, 1, 3, 2), {"padding": (2, 1), "groups": 6, "dilation": 2}),
    ("conv2d", (2, 6, 7, 6), (6, 1, 3, 3), {"padding": 1, "groups": 6, "stride": 2}),
]


def test_rewritten_convolutions_agree_with_pytorch() -> None:
    rng = np.random.default_rng(0)
    given = [
        [cr.tensor(rng.normal(size=shape), requires_grad=True) for shape in case[1:3]]
        for case in CASES
    ]

    @cr.compile
    def run(*flat: Any) -> list[Any]:
        results = []
        for (name, _, _, attrs), x, w in zip(CASES, flat[::2], flat[1::2], strict=True):
            y = getattr(F, name)(x, w, **attrs)
            (y * y).sum().backward()
            results.append(y)
        return results

    results = run(*(tensor for pair in given for tensor in pair))
    for (name, _, _, attrs), (x, w), y in zip(CASES, given, results, strict=True):
        theirs = [torch.tensor(t.detach().numpy(), requires_grad=True) for t in (x, w)]
        z = getattr(torch.nn.functional, name)(*theirs, **attrs)
        (z * z).sum().backward()
        for ours, other in ((y, z), (x.grad, theirs[0].grad), (w.grad, theirs[1].grad)):
            np.testing.assert_allclose(
                np.asarray(ours), other.detach().numpy(), 1e-9, 1e-9, err_msg=f"{name} {attrs}"
            )


BUILT: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = [
    ("conv_input_grad", (3, 5, 1, 1), (5, 4, 3, 2), {"size": (3, 2)}, "matmul"),
    ("conv_weight_grad", (3, 4, 3, 2), (3, 5, 1, 1), {"kernel": (3, 2)}, "matmul"),
    ("conv_input_grad", (2, 6, 3, 3), (6, 1, 3, 3), {"size": (5, 5)}, "overlap_add"),
    ("conv_input_grad", (2, 6, 3, 3), (6, 3, 3, 3), {"size": (5, 5)}, "conv_input_grad"),
    ("conv_input_grad", (2, 6, 3, 3), (6, 1, 3, 3), {"size": (5, 5), "groups": 6}, "conv"),
]


@pytest.mark.parametrize("case", BUILT, ids=str)
def test_rule_applies(case: Any) -> None:
    name, first, second, attrs, expected = case
    build = Builder()
    one = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
    result = build(name, build.input(first), build.input(second), **(one | attrs))
    names = [step.op.name for step in simplified(build.program(result)).instructions]
    assert expected in names
    assert (name in names) == (name == expected)
