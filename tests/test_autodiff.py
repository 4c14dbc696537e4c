"""Differentiation: branches, loops, depth, order, modes, hooks, recomputation.

Oracles: derivatives worked out by hand, PyTorch, and differences.
"""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import chainrule as cr
from chainrule.core.errors import DTypeError, GradientError, ShapeError
from chainrule.testing import gradcheck, gradgradcheck, numerical_gradient


def leaf(values: object) -> cr.Tensor:
    return cr.tensor(values, dtype="float64", requires_grad=True)


def test_branches_that_meet_again_add_up() -> None:
    x = leaf(3.0)
    a = x * 2
    b = a + x
    c = a * b  # 2x (3x) = 6x²
    c.backward()
    assert x.grad is not None
    assert x.grad.item() == 36.0


def test_a_tensor_used_twice_in_one_op_gets_both_gradients() -> None:
    x = leaf([1.0, -2.0])
    (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, -4.0]


def test_gradients_accumulate_over_calls() -> None:
    x = leaf(1.0)
    for _ in range(3):
        (x * 2).backward()
    assert x.grad is not None
    assert x.grad.item() == 6.0


def test_chain_of_100_000_nodes_does_not_overflow_the_stack() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 0.5
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 1.0
    del y  # freeing the chain must not recurse either
    gc.collect()


def test_loop_with_data_dependent_length() -> None:
    x = leaf(1.1)
    y = x
    while y.item() < 100.0:
        y = y * y
    y.backward()  # x^64
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(64 * 1.1**63, rel=1e-12)


def test_derivatives_of_any_order() -> None:
    x = leaf(0.7)
    y = x.sin()
    for order in range(1, 7):
        (y,) = cr.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(np.sin(0.7 + order * np.pi / 2), rel=1e-12)


def test_leaves_do_not_share_one_gradient() -> None:
    a, b = leaf([1.0]), leaf([2.0])
    (a + b).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    a.grad.zero_()
    assert b.grad.tolist() == [1.0]


def test_gradient_of_a_transposed_matrix_lies_in_row_order() -> None:
    w = leaf(np.ones((3, 4)))
    (cr.ones((2, 4), dtype="float64") @ w.mT).sum().backward()
    assert w.grad is not None
    assert w.grad.array.flags.c_contiguous


def test_no_grad_records_nothing_and_is_a_decorator() -> None:
    x = leaf(1.0)
    with cr.no_grad():
        assert not (x * 2).requires_grad

    @cr.no_grad()
    def double(x: cr.Tensor) -> cr.Tensor:
        return x * 2

    assert not double(x).requires_grad
    with cr.no_grad(), cr.enable_grad():
        assert (x * 2).requires_grad


def test_detach_cuts_the_graph() -> None:
    x = leaf(2.0)
    y = x * x.detach()
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 2.0


def test_grad_leaves_dot_grad_alone_and_reports_unused_inputs() -> None:
    x, z = leaf(2.0), leaf(1.0)
    (g,) = cr.grad(x * x, x)
    assert g is not None
    assert g.item() == 4.0
    assert x.grad is None
    with pytest.raises(GradientError, match="do not depend on input 1"):
        cr.grad(x * x, (x, z))
    assert cr.grad(x * x, (x, z), allow_unused=True)[1] is None


def test_grad_with_respect_to_an_inner_tensor() -> None:
    x = leaf(3.0)
    y = x * x
    z = y * y + x
    (gy,) = cr.grad(z, y, retain_graph=True)
    (gx,) = cr.grad(z, x)
    assert gy is not None
    assert gx is not None
    assert gy.item() == 18.0
    assert gx.item() == 2 * 9 * 6 + 1


def test_second_backward_needs_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(GradientError, match="retain_graph=True"):
        y.backward()
    z = x * x
    z.backward(retain_graph=True)
    z.backward()


def test_backward_of_several_elements_needs_a_gradient() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(GradientError, match="has 2 elements, expected one"):
        (x * 2).backward()
    (x * 2).backward(cr.tensor([1.0, 10.0], dtype="float64"))
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(ShapeError, match="gradient"):
        (x * 2).backward(cr.tensor([1.0], dtype="float64"))


def test_backward_without_any_leaf_says_so() -> None:
    with pytest.raises(GradientError, match="requires_grad=True"):
        cr.tensor(1.0).backward()


def test_in_place_change_of_a_leaf_is_refused_while_recording() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(GradientError, match="in-place change of a leaf"):
        x += 1.0
    with cr.no_grad():
        x += 1.0
    assert x.tolist() == [2.0, 3.0]
    assert x.is_leaf
    assert x.requires_grad


def test_graph_recorded_before_an_in_place_update_stays_true() -> None:
    x = leaf(3.0)
    y = x * x
    with cr.no_grad():
        x.fill_(100.0)
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == 6.0


def test_in_place_on_a_result_rebinds_the_handle() -> None:
    x = leaf([1.0, 2.0])
    y = x * 1
    alias = y
    y += x
    y[0] = 10.0
    assert alias is y
    assert y.tolist() == [10.0, 4.0]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 2.0]


def test_in_place_keeps_shape_and_dtype() -> None:
    x = cr.zeros(3)
    with pytest.raises(ShapeError, match="does not fit in place"):
        x += cr.ones((2, 3))
    x += cr.ones(3, dtype="float64")
    assert x.dtype is cr.float32
    n = cr.zeros(3, dtype="int64")
    with pytest.raises(DTypeError, match="does not fit in place"):
        n += 0.5


def test_hooks_see_and_change_gradients() -> None:
    x = leaf([1.0, 2.0])
    seen: list[list[float]] = []
    y = x * 3
    y.register_hook(lambda g: seen.append(g.tolist()))
    number = x.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert seen == [[1.0, 1.0]]
    assert x.grad is not None
    assert x.grad.tolist() == [30.0, 30.0]
    x.remove_hook(number)
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3.0, 3.0]


def test_hook_on_a_leaf_survives_an_update() -> None:
    x = leaf(1.0)
    x.register_hook(lambda g: g * 2)
    with cr.no_grad():
        x += 1.0
    (x * 1).backward()
    assert x.grad is not None
    assert x.grad.item() == 2.0


def test_retain_grad_keeps_the_gradient_of_a_result() -> None:
    x = leaf(2.0)
    y = x * x
    y.retain_grad()
    (y * 3).backward()
    assert y.grad is not None
    assert y.grad.item() == 3.0


def test_elements_are_freed_when_no_derivative_reads_them() -> None:
    x = leaf(np.ones(1000))
    middle = x + 1  # read by nothing: add saves neither inputs nor output
    array = weakref.ref(middle.array)
    y = (middle + 1).sum()
    del middle
    assert array() is None
    y.backward()
    assert x.grad is not None


def test_vjp_and_jvp_agree_with_the_jacobian() -> None:
    a = np.random.default_rng(0).normal(size=(3, 4))
    x = cr.tensor(np.linspace(-1.0, 1.0, 4))
    jacobian = (1 - np.tanh(a @ np.asarray(x)) ** 2)[:, None] * a

    def f(x: cr.Tensor) -> cr.Tensor:
        return (cr.tensor(a) @ x).tanh()

    value, pull = cr.vjp(f, x)
    u = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(np.asarray(value), np.tanh(a @ np.asarray(x)), rtol=1e-12)
    np.testing.assert_allclose(np.asarray(pull(cr.tensor(u))[0]), u @ jacobian, rtol=1e-12)
    v = np.array([1.0, 0.0, -1.0, 2.0])
    _, pushed = cr.jvp(f, [x], [cr.tensor(v)])
    np.testing.assert_allclose(np.asarray(pushed), jacobian @ v, rtol=1e-12)


def test_vjp_and_jvp_nest() -> None:
    x = leaf(0.3)
    _, pull = cr.vjp(lambda x: x.sin(), x)
    (first,) = pull(cr.tensor(1.0, dtype="float64"))
    (second,) = cr.grad(first, x)
    assert second is not None
    assert second.item() == pytest.approx(-np.sin(0.3), rel=1e-12)
    one = cr.tensor(1.0, dtype="float64")
    _, pushed = cr.jvp(lambda x: x.exp() * x, [x], [one])
    (slope,) = cr.grad(pushed, x)
    assert slope is not None
    assert slope.item() == pytest.approx((2 + 0.3) * np.exp(0.3), rel=1e-12)


def test_hessian_vector_product_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(0)
    w, x, v = rng.normal(size=(5, 4)), rng.normal(size=(4,)), rng.normal(size=(4,))

    def ours(x: cr.Tensor) -> cr.Tensor:
        return ((cr.tensor(w) @ x).tanh() ** 2).sum()

    def theirs(x: object) -> object:
        return (torch.tanh(torch.from_numpy(w) @ x) ** 2).sum()

    expected = torch.autograd.functional.hvp(theirs, torch.from_numpy(x), torch.from_numpy(v))[1]
    t = leaf(x)
    (g,) = cr.grad(ours(t), t, create_graph=True)
    assert g is not None
    (h,) = cr.grad((g * cr.tensor(v)).sum(), t)
    np.testing.assert_allclose(np.asarray(h), expected.numpy(), rtol=1e-10)


@pytest.mark.parametrize("order", [1, 2])
def test_checkpoint_gives_the_same_derivatives(order: int) -> None:
    w = leaf(np.random.default_rng(0).normal(size=(3, 3)))
    x = leaf([0.1, -0.2, 0.3])

    def block(x: cr.Tensor) -> cr.Tensor:
        return (w @ (w @ x).tanh()).tanh()

    def derivatives(y: cr.Tensor) -> list[np.ndarray]:
        total = (y * y).sum()
        if order == 2:
            (g,) = cr.grad(total, x, create_graph=True)
            assert g is not None
            total = (g * g).sum()
        return [np.asarray(g) for g in cr.grad(total, (x, w))]

    plain = derivatives(block(block(x)))
    recomputed = derivatives(cr.checkpoint(block, cr.checkpoint(block, x)))
    for a, b in zip(plain, recomputed, strict=True):
        # Not to the bit: two blocks' contributions are summed in another order.
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_checkpoint_reaches_parameters_through_backward_and_keeps_little() -> None:
    w = leaf(np.full(1000, 0.5))
    x = leaf(np.ones(1000))
    calls = []

    def block(x: cr.Tensor) -> cr.Tensor:
        calls.append(1)
        return (x * w).exp().sin()

    y = cr.checkpoint(block, x)
    assert y.node is not None
    assert sum(a is not None for a in y.node.saved) == 1
    y.sum().backward()
    assert len(calls) == 2
    assert w.grad is not None
    expected = np.cos(np.exp(0.5)) * np.exp(0.5)
    np.testing.assert_allclose(np.asarray(w.grad), expected, rtol=1e-12)


def test_checkpoint_repeats_random_numbers_and_leaves_the_generator_alone() -> None:
    cr.manual_seed(3)
    x = leaf(np.ones(100))
    masks = []

    def noisy(x: cr.Tensor) -> cr.Tensor:
        mask = cr.rand(100, dtype="float64")
        masks.append(mask.tolist())
        return x * mask

    y = cr.checkpoint(noisy, x)
    after = cr.rand(3).tolist()
    y.sum().backward()
    assert masks[0] == masks[1]
    assert x.grad is not None
    assert x.grad.tolist() == masks[0]
    cr.manual_seed(3)
    cr.rand(100, dtype="float64")
    assert cr.rand(3).tolist() == after


def test_gradcheck_needs_float64() -> None:
    with pytest.raises(DTypeError, match="expected float64"):
        gradcheck(lambda x: x, cr.tensor([1.0]))


def test_gradgradcheck_catches_a_second_derivative_that_is_cut() -> None:
    def cut(x: cr.Tensor) -> cr.Tensor:
        return x * x.detach() + (x * x - x * x.detach()).detach()

    x = cr.tensor([0.5, 1.5], dtype="float64")
    with pytest.raises(GradientError):
        gradgradcheck(cut, x)


def test_numerical_gradient_needs_a_scalar() -> None:
    with pytest.raises(ShapeError, match="expected one element"):
        numerical_gradient(lambda x: x, cr.tensor([1.0, 2.0]))


def test_requires_grad_of_integers_is_refused() -> None:
    with pytest.raises(DTypeError, match=r"x\.float\(\)"):
        cr.tensor([1, 2], requires_grad=True)


def test_reading_what_an_op_did_not_save_is_an_error() -> None:
    from chainrule.core.errors import StateError
    from chainrule.graph.op import Op
    from chainrule.graph.tensor import apply

    class Careless(Op):
        """x², whose derivative reads what it did not declare."""

        name = "careless"

        def infer(self, x: object) -> object:
            return x

        def eval(self, x: np.ndarray) -> np.ndarray:
            return x * x

        def vjp(self, grad: cr.Tensor, output: cr.Tensor, x: cr.Tensor) -> tuple[cr.Tensor]:
            return (grad * x * 2,)

        def samples(self) -> list[object]:
            return []

    x = leaf(2.0)
    with pytest.raises(StateError, match="saves"):
        apply(Careless(), x).backward()
