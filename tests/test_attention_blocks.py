"""Attention block by block: against the plain form, compiled too; and what it takes of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import chainrule.nn.functional as F
from chainrule.graph.tensor import Tensor
from chainrule.ops.attention import attention_weights
from chainrule.ops.attention_blocks import Scores, attend_in_blocks, counters
from chainrule.ops.contraction import matmul

BLOCK = (3, 4)
RNG = np.random.default_rng(0)


def made(*shape: int, scale: float = 1.0) -> np.ndarray:
    return RNG.normal(size=shape) * scale


Q, K, V = made(2, 3, 7, 4), made(2, 1, 11, 4), made(1, 3, 11, 5)
WEIGHT = made(2, 3, 7, 5)
BOOLEAN = RNG.random((2, 3, 7, 11)) > 0.4
BOOLEAN[0, 0, 2] = False  # a query that looks at nothing
BOOLEAN[1, 2, :, :8] = False  # whole blocks that are left out
MASKS: dict[str, np.ndarray | None] = {
    "none": None,
    "full": BOOLEAN,
    "rows and keys": BOOLEAN[0, 0],
    "keys": BOOLEAN[:, :1, :1],
    "rows": RNG.random((2, 3, 7, 1)) > 0.3,
    "numbers": made(3, 7, 11),
    "numbers of keys": np.where(RNG.random((2, 1, 1, 11)) > 0.4, 0.0, -np.inf),
}


def plain(mask: Tensor | None, is_causal: bool) -> Callable[..., Tensor]:
    return lambda q, k, v: matmul(attention_weights(q, k, mask, is_causal), v)


def blocks(mask: Tensor | None, is_causal: bool) -> Callable[..., Tensor]:
    scores = Scores(mask, is_causal, block=BLOCK)
    return lambda q, k, v: attend_in_blocks(q, k, v, scores)


def with_gradients(attend: Callable[..., Tensor], second: bool = False) -> Callable[..., Any]:
    """Return a function that gives the result, its gradients, and theirs."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> list[Tensor | None]:
        y = attend(q, k, v)
        loss = (y * cr.tensor(WEIGHT)).sum()
        first = cr.grad(loss, [q, k, v], create_graph=second)
        total = sum((g * g).sum() for g in first if g is not None)
        return [y, *first, *(cr.grad(total, [q, k, v]) if second else ())]

    return run


def leaves(*arrays: np.ndarray) -> list[Tensor]:
    return [cr.tensor(a, requires_grad=True) for a in arrays]


def agree(got: Any, wanted: Any, rtol: float = 1e-9) -> None:
    for one, other in zip(got, wanted, strict=True):
        size = float(np.nan_to_num(np.abs(other.numpy())).max(initial=1e-3))
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=rtol, atol=rtol * size)


@pytest.mark.parametrize("name", [*MASKS, "causal"])
def test_blocks_agree_with_the_plain_form_in_every_derivative(name: str) -> None:
    """Eager; and compiled, where the second derivatives are loops too."""
    found = MASKS.get(name)
    mask = None if found is None else cr.tensor(found)
    given = leaves(Q, K, V)
    expected = with_gradients(plain(mask, name == "causal"), second=True)(*given)
    run = with_gradients(blocks(mask, name == "causal"), second=True)
    agree(run(*given), expected)
    agree(cr.compile(run)(*given), expected)


def test_blocks_without_a_batch_and_with_one_position() -> None:
    for shapes in (((5, 3), (6, 3), (6, 2)), ((1, 3), (1, 3), (1, 2)), ((4, 3), (1, 3), (1, 2))):
        q, k, v = (cr.tensor(made(*shape)) for shape in shapes)
        result = attend_in_blocks(q, k, v, Scores(block=(2, 2)))
        assert result.shape == (shapes[0][0], shapes[2][1])
        agree([result], [plain(None, False)(q, k, v)])


def test_extreme_scores_neither_overflow_nor_lose_a_row() -> None:
    """Scores of 1e4 and -1e4 in one row, rows of minus infinity, NaN in one query."""
    q = made(6, 1, scale=1e4)
    q[3], q[4] = 0.0, np.nan
    k, v = np.linspace(-1.0, 1.0, 9)[:, None], made(9, 2)
    mask = np.zeros((6, 9))
    mask[1], mask[2, 3:] = -np.inf, -np.inf
    given, bias = leaves(q, k, v), cr.tensor(mask)
    expected = plain(bias, False)(*given)
    assert np.isnan(expected.numpy()[4]).all()
    assert not expected.numpy()[1].any()
    for run in (blocks(bias, False), cr.compile(blocks(bias, False))):
        agree([run(*given)], [expected])


def test_infinite_scores_give_nan_in_their_row_only() -> None:
    q, k = np.array([[1.0], [0.0]]), np.array([[np.inf], [1.0], [2.0]])
    q, k, v = (cr.tensor(a) for a in (q, k, made(3, 1)))
    result = blocks(None, False)(q, k, v).numpy()
    np.testing.assert_array_equal(np.isnan(result), np.isnan(plain(None, False)(q, k, v).numpy()))


def test_long_sequences_are_taken_block_by_block_and_agree_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    arrays = [made(1, 2, 300, 8) for _ in range(3)]
    ours, theirs = leaves(*arrays), [torch.tensor(a, requires_grad=True) for a in arrays]
    y = F.scaled_dot_product_attention(*ours, is_causal=True)
    z = torch.nn.functional.scaled_dot_product_attention(*theirs, is_causal=True)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    y.square().sum().backward()
    z.square().sum().backward()
    for x, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(x.grad), other.grad.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_adds_up_in_single(dtype: str) -> None:
    arrays = [made(1, 600, 4) for _ in range(3)]
    exact = F.scaled_dot_product_attention(*(cr.tensor(a) for a in arrays))
    result = F.scaled_dot_product_attention(*(cr.tensor(a, dtype=dtype) for a in arrays))
    assert result.dtype.name == dtype
    error = np.abs(result.float().numpy() - exact.numpy()).max()
    assert error < (0.002 if dtype == "float16" else 0.02)


def sizes(length: int) -> tuple[int, int, int]:
    """Return the kernels of a step, the lines of its plan, and its memory."""

    def step(q: Tensor, k: Tensor, v: Tensor) -> list[Tensor | None]:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return list(cr.grad((y * y).sum(), [q, k, v]))

    lowered = cr.compile(step).trace(*leaves(*(np.zeros((2, length, 8)),) * 3)).lower()
    lines = lowered.text.splitlines()
    return sum(line.startswith("kernel") for line in lines), len(lines), lowered.memory


def test_code_does_not_grow_with_the_sequence_and_memory_grows_linearly() -> None:
    short, small, large, larger, largest = map(sizes, (256, 1024, 4096, 16384, 65536))
    assert short[:2] == small[:2] == large[:2]
    assert larger[:2] == largest[:2]
    # From some size on what is filled with zeros is cut into chunks.
    assert larger[0] <= large[0] + 1
    assert sizes(64)[0] <= short[0]
    more = (larger[2] - large[2]) / 12288
    assert (largest[2] - larger[2]) / 49152 == pytest.approx(more, rel=0.01)
    # A row of scores would take 2 * 65536 * 8 bytes for each position.
    assert more < 2 * 65536 * 8 / 500


@pytest.mark.parametrize("axes", [(), (2,)])
def test_loop_in_a_loop_does_not_mix_up_their_rounds(axes: tuple[int, ...]) -> None:
    """A product of a slice of each loop: as many rounds inside as outside, or another number."""
    xs, ys = (cr.tensor(made(n, *axes, 3, 3)) for n in (2, 2))

    def run(xs: Tensor, ys: Tensor) -> Tensor:
        def outer(total: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            def inner(t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
                return t * 0.5 + (x @ y).tanh(), x @ y

            return cr.scan(inner, total, ys)

        return cr.scan(outer, xs[0], xs)[1]

    np.testing.assert_allclose(cr.compile(run)(xs, ys).numpy(), run(xs, ys).numpy(), rtol=1e-12)


def test_blocks_inside_of_loops_and_recomputed_parts() -> None:
    """A loop over layers, a checkpoint: the gradient's loops are recorded inside of others."""
    w, x = leaves(made(3, 4, 4, scale=0.5), made(2, 7, 4))

    def layer(h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        scores = Scores(None, True, block=BLOCK)
        return h + attend_in_blocks(h @ w, h, h @ w.mT, scores), (h * h).sum()

    def run(x: Tensor, w: Tensor) -> list[Tensor | None]:
        y, norms = cr.scan(layer, x, w)
        y = cr.checkpoint(lambda y: layer(y, w[1])[0], y)
        loss = (y * y).sum() + norms.sum()
        return [loss, *cr.grad(loss, [x, w])]

    agree(cr.compile(run)(x, w), run(x, w), 1e-8)


# --- dropout ----


def dropped(p: float, seed: int, block: tuple[int, int]) -> Scores:
    state = cr.Generator(seed).reserve(counters((2, 7, 11), block))
    return Scores(None, False, p, state, block)


def test_dropout_leaves_out_that_share_and_keeps_the_mean() -> None:
    q, k = cr.zeros((40, 8, 1)), cr.zeros((40, 64, 1))
    v = cr.eye(64).expand((40, 64, 64))
    state = cr.Generator(0).reserve(counters((40, 8, 64), (4, 16)))
    weights = attend_in_blocks(q, k, v, Scores(None, False, 0.25, state, (4, 16))).numpy() * 64
    kept = weights > 0.0
    np.testing.assert_allclose(weights[kept], 1 / 0.75, rtol=1e-6)
    # 20480 draws: a standard deviation of 0.003.
    assert kept.mean() == pytest.approx(0.75, abs=0.012)
    rows = kept.reshape(-1, 64)
    assert len(np.unique(rows, axis=0)) == len(rows)  # no two queries share their draws


def test_dropout_is_the_same_in_the_gradient_and_in_a_compiled_function() -> None:
    given = leaves(made(2, 7, 3), made(2, 11, 3), made(2, 11, 2))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_in_blocks(q, k, v, dropped(0.4, 7, BLOCK))

    def run(q: Tensor, k: Tensor, v: Tensor) -> list[Tensor | None]:
        y = attend(q, k, v)
        return [y, *cr.grad((y * y).sum(), [q, k, v])]

    # The result is linear in the values: its derivative tells the weights, which are then fixed.
    q, k, v = given
    y = attend(q, k, v)
    (slope,) = cr.grad(y.sum(), v, retain_graph=True)
    assert slope is not None
    np.testing.assert_allclose((slope * v).sum().item(), y.sum().item(), rtol=1e-10)
    # Differences in one query's element.
    step = np.zeros((2, 7, 3))
    step[1, 4, 2] = 1e-6
    (gradient,) = cr.grad(y.sum(), q)
    assert gradient is not None
    after, before = (attend(q.detach() + s * cr.tensor(step), k, v).sum().item() for s in (1, -1))
    np.testing.assert_allclose(gradient.numpy()[1, 4, 2], (after - before) / 2e-6, rtol=1e-5)
    agree(cr.compile(run)(*given), run(*given))


def test_long_dropout_draws_anew_at_each_call_and_the_same_from_the_same_seed() -> None:
    x = cr.ones((1, 512, 2))
    v = cr.tensor(made(1, 512, 2))

    def run() -> Tensor:
        return F.scaled_dot_product_attention(x, x, v, dropout_p=0.5)

    compiled = cr.compile(run)
    cr.manual_seed(3)
    first, second = run(), run()
    assert (first != second).any()
    cr.manual_seed(3)
    np.testing.assert_allclose(compiled().numpy(), first.numpy(), rtol=1e-10)
    np.testing.assert_allclose(compiled().numpy(), second.numpy(), rtol=1e-10)
