"""Products: every form of matmul and einsum against NumPy, and the texts of their errors."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.core.shape import Spec
from chainrule.graph.op import OPS
from chainrule.ops.contraction import linear
from chainrule.ops.einsum import einsum

SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((3,), (4, 3, 2)),
    ((4, 2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((0, 2, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((2, 40, 3), (3, 4)),
]


@pytest.mark.parametrize(("first", "second"), SHAPES, ids=str)
def test_matmul_agrees_with_numpy(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(first), rng.standard_normal(second)
    result = cr.matmul(cr.tensor(x), cr.tensor(y))
    np.testing.assert_allclose(np.asarray(result), np.matmul(x, y), rtol=1e-12)
    assert result.shape == np.matmul(x, y).shape


@pytest.mark.parametrize(("first", "second"), SHAPES, ids=str)
def test_matmul_gradients_agree_with_torch(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal(first), rng.standard_normal(second)
    ours = [cr.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    result, expected = ours[0] @ ours[1], theirs[0] @ theirs[1]
    weight = rng.standard_normal(result.shape)
    (result * cr.tensor(weight)).sum().backward()
    (expected * torch.as_tensor(weight)).sum().backward()
    for x, t in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(x.grad), t.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "float32", "float16"])
def test_matmul_keeps_the_dtype(dtype: str) -> None:
    x = cr.tensor([[1, 2], [3, 4]], dtype=dtype)
    result = x @ x
    assert result.dtype is x.dtype
    assert result.tolist() == [[7, 10], [15, 22]]


def test_matmul_of_a_transposed_weight_and_a_strided_stack_agrees_with_numpy() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 3, 50)), rng.standard_normal((7, 3))
    result = cr.tensor(x).permute(0, 2, 1) @ cr.tensor(w).T
    np.testing.assert_allclose(np.asarray(result), x.transpose(0, 2, 1) @ w.T, rtol=1e-12)


def test_matmul_computes_no_gradient_that_nobody_needs() -> None:
    x, w = cr.ones((2, 3)), cr.ones((3, 4)).requires_grad_()
    product = x @ w
    to_x, to_w = OPS["matmul"].vjp(cr.ones((2, 4)), product, x, w)
    assert to_x is None
    assert to_w.shape == (3, 4)


def test_matmul_counts_two_operations_for_each_product() -> None:
    cost = OPS["matmul"].cost(Spec((2, 3), cr.float32), Spec((3, 5), cr.float32))
    assert cost.flops == 2 * 2 * 3 * 5
    assert cost.bytes == 4 * (6 + 15 + 10)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (
            (2, 5),
            (3, 4),
            "matmul: inner dimensions differ: x f32[2,5] @ y f32[3,4] needs "
            "x.shape[-1] == y.shape[-2], got 5 != 3",
        ),
        ((2, 5), (4, 5), "hint: x @ y.mT"),
        ((5, 2), (5, 4), "hint: x.mT @ y"),
        ((2, 3, 4), (5, 4, 2), "shapes [2] and [5] do not broadcast"),
        ((), (3,), "a 0-d tensor has no axis to sum over"),
        ((4,), (3, 2), "needs x.shape[-1] == y.shape[-2], got 4 != 3"),
    ],
)
def test_matmul_of_shapes_that_do_not_fit_says_why(
    first: tuple[int, ...], second: tuple[int, ...], text: str
) -> None:
    with pytest.raises(cr.ShapeError) as caught:
        cr.matmul(cr.ones(first), cr.ones(second))
    assert text in str(caught.value)


def test_matmul_of_booleans_is_refused() -> None:
    with pytest.raises(cr.DTypeError, match=r"hint: convert them first: x\.float\(\)"):
        cr.matmul(cr.ones((2, 2)) > 0, cr.ones((2, 2)) > 0)


def test_linear_of_a_wrong_width_names_weight_and_remedy() -> None:
    with pytest.raises(cr.ShapeError) as caught:
        linear(cr.ones((2, 5)), cr.ones((3, 4)))
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "linear: inner dimensions differ: x f32[2,5] @ weightᵀ f32[4,3] needs "
        "x.shape[-1] == weight.shape[-1], got 5 != 4"
    )
    assert lines[1].startswith("  called at test_contraction.py:")
    assert lines[2] == "  hint: nn.Linear(5, 3), or reshape x to [..., 4]"


def test_linear_of_unflattened_images_hints_at_flatten() -> None:
    with pytest.raises(cr.ShapeError, match=r"x\.flatten\(1\), which gives \[8, 12\]"):
        linear(cr.ones((8, 3, 2, 2)), cr.ones((10, 12)))


def test_linear_with_a_wrong_bias_is_refused() -> None:
    with pytest.raises(cr.ShapeError, match="one element for each of the 3 outputs"):
        linear(cr.ones((2, 4)), cr.ones((3, 4)), cr.ones((4,)))


@pytest.mark.parametrize("axes", [0, 1, 2, ((0, 1), (1, 0)), ((-1,), (0,))])
def test_tensordot_agrees_with_numpy(axes: object) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 3)), rng.standard_normal((3, 3))
    result = cr.tensordot(cr.tensor(x), cr.tensor(y), axes=axes)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.asarray(result), np.tensordot(x, y, axes), rtol=1e-12)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bhij,bhjd->bihd", (2, 3, 4, 6), (2, 3, 6, 5)),
    ("i,i", (4,), (4,)),
    ("ij", (2, 3)),
    ("ji", (2, 3)),
    ("iij->j", (3, 3, 2)),
    ("iiii->i", (2, 2, 2, 2)),
    ("ijij->ij", (2, 3, 2, 3)),
    ("...ii->...i", (2, 3, 3)),
    ("i...,i...->...", (2, 3), (2, 4, 3)),
    ("...i,...i", (2, 1, 3), (4, 3)),
    ("i...j->...", (2, 4, 3)),
    ("ab,bc,cd,de->ae", (2, 3), (3, 4), (4, 2), (2, 3)),
    ("a,b,c,d,e->ebcda", (2,), (2,), (2,), (2,), (2,)),
    ("ijk,ijl,ijm->klm", (2, 3, 2), (2, 3, 3), (2, 3, 4)),
    ("ij,ij,ij->", (2, 3), (2, 3), (2, 3)),
    (" i j , j k -> i k ", (2, 3), (3, 4)),
    ("->", ()),
    (",", (), ()),
    ("Aa,aB->AB", (2, 3), (3, 4)),
]


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda case: case[0])
def test_einsum_agrees_with_numpy(case: tuple[object, ...]) -> None:
    equation, *shapes = case
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]  # type: ignore[call-overload]
    result = einsum(equation, *map(cr.tensor, arrays))
    expected = np.einsum(equation, *arrays)  # type: ignore[call-overload]
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-10)
    assert result.shape == expected.shape


def test_einsum_takes_a_list_and_integers() -> None:
    x = cr.tensor([[1, 2], [3, 4]])
    assert einsum("ij,jk->ik", [x, x]).tolist() == [[7, 10], [15, 22]]
    assert einsum("ii", x).item() == 5


def test_einsum_without_dots_in_the_output_sums_over_them() -> None:
    torch = pytest.importorskip("torch", reason="the extra 'peers' is not installed")
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    expected = torch.einsum("...i->i", torch.tensor(x))
    np.testing.assert_allclose(np.asarray(einsum("...i->i", cr.tensor(x))), expected.numpy())


@pytest.mark.parametrize(
    ("equation", "shapes", "text"),
    [
        (
            "ij,jk",
            ((2, 3), (4, 5)),
            "einsum 'ij,jk': subscript 'j' has size 3 in operand 1 f32[2,3] but 4 in operand 2 "
            "f32[4,5]",
        ),
        ("ij,j", ((2, 3),), "names 2 operands, got 1"),
        ("ijk", ((2, 3),), "subscripts 'ijk' of operand 1 name 3 axes, but it has 2: f32[2,3]"),
        ("i", ((2, 3),), "hint: '...i' lets further axes come before"),
        ("ij->ik", ((2, 3),), "subscript 'k' of the output is in no operand"),
        ("ij->ii", ((2, 3),), "subscript 'i' stands 2 times in the output"),
        ("i1", ((2, 3),), "'1' in 'i1' is not a subscript"),
        ("ij->i->j", ((2, 3),), "more than one '->'"),
        ("ii", ((2, 3),), "subscript 'i' has size 2 in operand 1"),
        ("...i,...i", ((2, 3), (4, 3)), "axis -1 of '...' has size 2 in operand 1"),
        ("i", (), "no operands were given"),
    ],
)
def test_einsum_that_is_wrong_names_the_subscript(
    equation: str, shapes: tuple[tuple[int, ...], ...], text: str
) -> None:
    with pytest.raises(cr.ChainruleError) as caught:
        einsum(equation, *(cr.ones(shape) for shape in shapes))
    assert text in str(caught.value)
