"""Linear algebra against NumPy and PyTorch: values, gradients, stacks, empty and singular matrices.

What every op and function is checked for (differences, compiled, special values) is generated in
test_every_op.py; here is what has several results, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import linalg
from chainrule.testing import gradgradcheck

RNG = np.random.default_rng(7)
STACK = RNG.standard_normal((2, 4, 4))
SYMMETRIC = STACK + np.swapaxes(STACK, -1, -2)
POSITIVE = STACK @ np.swapaxes(STACK, -1, -2) + np.eye(4)
SHAPES = [(4, 4), (3, 5), (5, 3), (2, 3, 2), (0, 3), (3, 0), (2, 0, 0), (0, 2, 2)]
Numbers = np.ndarray[Any, Any]


def close(found: cr.Tensor, expected: Any) -> None:
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("full", [True, False])
def test_svd_factors_make_the_matrix_and_agree_with_numpy(
    shape: tuple[int, ...], full: bool
) -> None:
    a = RNG.standard_normal(shape)
    u, s, vh = linalg.svd(cr.tensor(a), full_matrices=full)
    expected = np.linalg.svd(a, full_matrices=full)
    close(s, expected.S)
    assert u.shape == expected.U.shape
    assert vh.shape == expected.Vh.shape
    least = s.shape[-1]
    close((u[..., :least] * s.unsqueeze(-2)) @ vh[..., :least, :], a)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr_factors_make_the_matrix(shape: tuple[int, ...], mode: str) -> None:
    a = RNG.standard_normal(shape)
    q, r = linalg.qr(cr.tensor(a), mode)
    expected = np.linalg.qr(a, mode=mode)  # type: ignore[call-overload]
    assert (q.shape, r.shape) == (expected.Q.shape, expected.R.shape)
    close(q @ r, a)
    close(r, np.triu(np.asarray(r)))


def test_eigh_and_slogdet_of_a_stack_agree_with_numpy() -> None:
    w, v = linalg.eigh(cr.tensor(SYMMETRIC))
    close(w, np.linalg.eigh(SYMMETRIC).eigenvalues)
    close(v @ (w.unsqueeze(-1) * v.mT), SYMMETRIC)
    sign, log = linalg.slogdet(cr.tensor(STACK))
    close(sign, np.linalg.slogdet(STACK).sign)
    close(log, np.linalg.slogdet(STACK).logabsdet)
    sign, log = linalg.slogdet(cr.zeros(2, 2))
    assert (sign.item(), log.item()) == (0.0, -np.inf)


def test_cholesky_of_either_side() -> None:
    close(linalg.cholesky(cr.tensor(POSITIVE)), np.linalg.cholesky(POSITIVE))
    close(
        linalg.cholesky(cr.tensor(POSITIVE), upper=True), np.linalg.cholesky(POSITIVE, upper=True)
    )


@pytest.mark.parametrize("right", [(4,), (4, 3), (2, 4), (2, 4, 1), (1, 4, 2)], ids=str)
def test_solve_agrees_with_torch_for_vectors_and_stacks(right: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    b = RNG.standard_normal(right)
    expected = torch.linalg.solve(torch.tensor(STACK), torch.tensor(b)).numpy()
    close(linalg.solve(cr.tensor(STACK), cr.tensor(b)), expected)


def test_solve_of_the_standard_takes_only_1d_vectors() -> None:
    b = RNG.standard_normal((2, 4, 4))
    solve = cr.array_api.linalg.solve
    close(solve(cr.tensor(b), cr.tensor(b[0])), np.linalg.solve(b, b[0]))
    close(solve(cr.tensor(b), cr.tensor(b[0, 0])), np.linalg.solve(b, b[0, 0]))
    with pytest.raises(cr.ShapeError, match="need as many rows, got 4 != 2"):
        solve(cr.tensor(b), cr.tensor(b[:, 0]))


def loss_of_svd(a: Any) -> Any:
    u, s, vh = a
    k = s.shape[-1]
    return (u[..., :k] * s[..., None, :] ** 2) @ vh[..., :k, :] + abs(u[..., :1] @ vh[..., :1, :])


# Functions of factors that do not depend on what LAPACK leaves open, in both libraries.
LOSSES: dict[str, tuple[Callable[[Any, Any], Any], Numbers]] = {
    "svd": (lambda m, a: loss_of_svd(m.svd(a)), STACK),
    "svd tall": (lambda m, a: loss_of_svd(m.svd(a, full_matrices=False)), STACK[..., :3]),
    "svd wide": (lambda m, a: loss_of_svd(m.svd(a, full_matrices=False)), STACK[:, :2]),
    "svd full wide": (lambda m, a: loss_of_svd(m.svd(a)), STACK[:, :2]),
    "qr": (lambda m, a: m.qr(a)[0] ** 2 + m.qr(a)[1] ** 2, STACK),
    "qr tall": (lambda m, a: m.qr(a)[0] ** 2 @ m.qr(a)[1] ** 2, STACK[..., :3]),
    "qr wide": (lambda m, a: m.qr(a)[0] ** 2 @ m.qr(a)[1] ** 2, STACK[:, :2]),
    "eigh": (lambda m, a: m.eigh(a + a.mT)[1] ** 2 * m.eigh(a + a.mT)[0][..., None, :], STACK),
    "slogdet": (lambda m, a: m.slogdet(a)[1] * m.slogdet(a)[0], STACK),
    "cholesky": (lambda m, a: m.cholesky(a @ a.mT + POSITIVE_OF[m]), STACK),
    "norm": (lambda m, a: m.norm(a, dim=(-2, -1)) + m.norm(a, 3, dim=-1)[..., 0], STACK),
    "multi_dot": (lambda m, a: m.multi_dot([a[0], a[1], a[0]]), STACK),
    "tensorinv": (lambda m, a: m.tensorinv(a[0].reshape(2, 2, 4), ind=2), STACK),
    "tensorsolve": (lambda m, a: m.tensorsolve(a[0].reshape(2, 2, 4), a[1, :2, :2]), STACK),
}
POSITIVE_OF: dict[Any, Any] = {}


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_agree_with_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    POSITIVE_OF.update({linalg: cr.tensor(POSITIVE), torch.linalg: torch.tensor(POSITIVE)})
    function, array = LOSSES[name]
    x, t = cr.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    ours, theirs = function(linalg, x), function(torch.linalg, t)
    close(ours.detach(), theirs.detach().numpy())
    weight = np.random.default_rng(3).uniform(0.5, 1.5, ours.shape)
    (ours * cr.tensor(weight)).sum().backward()
    (theirs * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(np.asarray(x.grad), t.grad.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["svd", "qr wide", "eigh", "cholesky"])
def test_second_gradients_agree_with_differences(name: str) -> None:
    function, array = LOSSES[name]
    small = array[0][:2, :2] if "wide" not in name else array[0][:2, :3]
    POSITIVE_OF[linalg] = cr.eye(2, dtype="float64")
    gradgradcheck(lambda a: function(linalg, a), cr.tensor(small))


def test_equal_values_have_gradients_where_vectors_do_not_matter() -> None:
    """Of repeated eigenvalues and of singular values 0 the sum is smooth; NaN would come of 0/0."""
    x = cr.eye(3, dtype="float64").requires_grad_()
    linalg.eigvalsh(x).sum().backward()
    close(x.grad, np.eye(3))
    y = cr.tensor(np.diag([2.0, 2.0, 0.0]), requires_grad=True)
    (linalg.svdvals(y) ** 2).sum().backward()
    close(y.grad, np.diag([4.0, 4.0, 0.0]))


def test_determinant_of_a_singular_matrix_has_its_cofactors_as_gradient() -> None:
    x = cr.tensor([[1.0, 2.0], [2.0, 4.0]], dtype="float64", requires_grad=True)
    linalg.det(x).backward()
    close(x.grad, [[4.0, -2.0], [-2.0, 1.0]])


def test_pinv_of_a_poor_matrix_agrees_with_numpy() -> None:
    poor = STACK[0][:, :2] @ STACK[1][:2]
    close(linalg.pinv(cr.tensor(poor)), np.linalg.pinv(poor))
    assert linalg.matrix_rank(cr.tensor(poor)).item() == 2
    limits = cr.tensor([0.1, 1e3], dtype="float64")
    assert linalg.matrix_rank(cr.tensor(STACK), atol=limits).tolist()[1] == 0


def test_power_zero_and_triangular_sides() -> None:
    close(linalg.matrix_power(cr.tensor(STACK), 0), np.broadcast_to(np.eye(4), (2, 4, 4)))
    lower, b = np.tril(STACK[0]), STACK[1]
    found = linalg.solve_triangular(cr.tensor(STACK[0]), cr.tensor(b), upper=False)
    close(found, np.linalg.solve(lower, b))


def test_compiled_factors_agree_and_errors_come_through() -> None:
    @cr.compile
    def step(a: cr.Tensor) -> cr.Tensor:
        w, v = linalg.eigh(a @ a.mT)
        return (v * w.unsqueeze(-2)) @ v.mT + linalg.inv(a)

    close(step(cr.tensor(STACK)), STACK @ np.swapaxes(STACK, -1, -2) + np.linalg.inv(STACK))
    with pytest.raises(cr.ArgumentError, match="is singular"):
        step(cr.zeros((2, 4, 4), dtype="float64"))


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "singular": (
        lambda: linalg.inv(cr.tensor(np.stack([np.eye(2), np.zeros((2, 2))]))),
        cr.ArgumentError,
        r"inv: the matrix \[1\] of the stack is singular",
    ),
    "triangle": (
        lambda: linalg.solve_triangular(cr.zeros(2, 2), cr.ones(2, 1), upper=True),
        cr.ArgumentError,
        r"solve_triangular: the matrix is singular: element \[0, 0\] is 0",
    ),
    "indefinite": (
        lambda: linalg.cholesky(cr.tensor([[1.0, 2.0], [2.0, 1.0]])),
        cr.ArgumentError,
        "cholesky: the matrix is not positive definite",
    ),
    "nan": (
        lambda: linalg.svd(cr.tensor([[1.0, float("nan")]])),
        cr.ArgumentError,
        r"svd: element \[0, 1\] is nan, expected finite",
    ),
    "oblong": (
        lambda: linalg.det(cr.ones(2, 3)),
        cr.ShapeError,
        r"det: got f32\[2,3\], expected sq",
    ),
    "vector": (lambda: linalg.qr(cr.ones(3)), cr.ShapeError, "qr: got .* expected a matrix"),
    "integers": (
        lambda: linalg.eigh(cr.tensor([[1, 0], [0, 1]])),
        cr.DTypeError,
        "eigh: got i64.*floating",
    ),
    "norm": (
        lambda: linalg.matrix_norm(cr.ones(2, 2), "nuk"),
        cr.ArgumentError,
        "did you mean 'nuc'",
    ),
    "cross": (lambda: linalg.cross(cr.ones(4), cr.ones(4)), cr.ShapeError, "expected 3"),
    "mode": (lambda: linalg.qr(cr.ones(2, 2), "raw"), cr.ArgumentError, "unknown mode: 'raw'"),
    "one matrix": (lambda: linalg.multi_dot([cr.ones(2, 2)]), cr.ArgumentError, "two or more"),
    "rtol": (lambda: linalg.pinv(cr.ones(2, 2), rtol=-1), cr.ArgumentError, "rtol is -1"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_arguments_are_refused_by_name(name: str) -> None:
    call, error, text = ERRORS[name]
    with pytest.raises(error, match=text):
        call()


def test_complete_qr_of_a_tall_matrix_has_no_gradient() -> None:
    q, _ = linalg.qr(cr.ones((3, 2)).requires_grad_() + cr.eye(3, 2), "complete")
    with pytest.raises(cr.GradientError, match='mode="reduced"'):
        q.sum().backward()
