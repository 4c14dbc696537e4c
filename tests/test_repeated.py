"""Bodies of loops that are equal: planned once, right on other buffers, told apart in profiles."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.ir.kernel import Contraction, Kernel
from chainrule.runtime.commands import launches


def kernels_inside(run: Any, *given: Any) -> list[tuple[Kernel | Contraction, tuple[str, ...]]]:
    """Return the kernels that loops launch, with where they come from."""
    steps = run.trace(*given).lower().plan.steps
    loops = [step for step in steps if not hasattr(step, "kernel")]
    return [(step.kernel, step.origin) for step, _ in launches(loops)]


def doubled(carry: Any, x: Any) -> Any:
    total = carry * 0.5 + x.sin()
    return total, total * x


def test_equal_loops_share_kernels_and_keep_their_own_numbers() -> None:
    @cr.compile
    def run(x: Any, y: Any) -> Any:
        return *cr.scan(doubled, x[0], x), *cr.scan(doubled, y[1], y)

    rng = np.random.default_rng(0)
    given = [cr.tensor(rng.normal(size=(5, 40))) for _ in range(2)]
    inside = [kernel for kernel, _ in kernels_inside(run, *given)]
    assert len(inside) > len(set(inside)) == len(inside) // 2
    found = run(*given)
    for x, first, pair in ((given[0], 0, found[:2]), (given[1], 1, found[2:])):
        array = x.numpy()
        carry = array[first]
        for n, row in enumerate(array):
            carry = carry * 0.5 + np.sin(row)
            np.testing.assert_allclose(pair[1].numpy()[n], carry * row, rtol=1e-12)
        np.testing.assert_allclose(pair[0].numpy(), carry, rtol=1e-12)


def test_a_loop_that_gets_one_tensor_twice_is_another_one() -> None:
    def product(carry: Any, pair: Any) -> Any:
        return carry, pair[0] * pair[1] + carry

    @cr.compile
    def run(x: Any, y: Any, c: Any) -> Any:
        return cr.scan(product, c, (x, y))[1], cr.scan(product, c, (x, x))[1]

    rng = np.random.default_rng(0)
    x, y, c = (rng.normal(size=shape) for shape in ((3, 40), (3, 40), (40,)))
    first, second = run(cr.tensor(x), cr.tensor(y), cr.tensor(c))
    np.testing.assert_allclose(first.numpy(), x * y + c, rtol=1e-12)
    np.testing.assert_allclose(second.numpy(), x * x + c, rtol=1e-12)


def test_shared_kernels_are_launched_in_the_name_of_their_own_layers() -> None:
    model = nn.Sequential(*(nn.Conv2d(32, 32, 3, padding=1) for _ in range(3)))
    run = cr.compile(model)
    launched = kernels_inside(run, cr.zeros(32, 32, 16, 16))
    products = [pair for pair in launched if isinstance(pair[0], Contraction)]
    assert len({kernel for kernel, _ in products}) == 1
    layers = [next(part for part in origin if "Conv2d" in part) for _, origin in products]
    assert [layer.split()[0] for layer in layers] == ["model.0", "model.1", "model.2"]
